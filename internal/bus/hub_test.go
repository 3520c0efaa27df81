package bus_test

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/bustest"
	"github.com/planetbell/planetbell/internal/cluster"
)

func hub() bustest.Form {
	h := bus.NewHub()
	return bustest.Form{Join: func(_ testing.TB, c bus.Config, _ string) bus.Bus { return h.Join(c.Metrics) }}
}

func TestHub(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Form { return hub() })
}

func TestPublishingAloneCostsNothing(t *testing.T) {
	b := hub().Join(t, bus.Config{Name: "alone", Metrics: bus.NewMetrics(nil)}, "")
	hint := cluster.Hint{Kind: cluster.HintMailbox, DeviceID: "phone"}
	if n := testing.AllocsPerRun(1000, func() { b.Publish(hint) }); n > 0 {
		t.Errorf("%v allocations for each hint that nobody hears", n)
	}
}

func BenchmarkHub(b *testing.B) { bustest.Bench(b, hub()) }
