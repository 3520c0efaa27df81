package gcpace

import (
	"context"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPercent(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name       string
		rate, live uint64
		want       int
	}{
		{"nothing known yet", 500 * mb, 0, 100},
		{"idle", 1 * mb, 10 * mb, 100},
		{"twice a second is no harm", 20 * mb, 10 * mb, 100},
		{"busy", 160 * mb, 10 * mb, 400},
		{"very busy: no more than Most", 2000 * mb, 16 * mb, 400},
		{"a large heap is as Go has it", 400 * mb, 200 * mb, 100},
		{"a tiny heap", 2000 * mb, 1 * mb, 1600},
	} {
		if got := percent(c.rate, c.live); got != c.want {
			t.Errorf("%s: GOGC %d, want %d", c.name, got, c.want)
		}
	}
}

// A busy time, a little more of it, and quiet: three settings, the last one Go's own.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mb = 1 << 20
		ctx, cancel := context.WithCancel(t.Context())
		rates := []uint64{0, 1 * mb, 160 * mb, 170 * mb, 160 * mb, 1 * mb, 1 * mb}
		var allocated uint64
		now := func() heap {
			if len(rates) > 0 {
				allocated, rates = allocated+rates[0], rates[1:]
			}
			return heap{allocated: allocated, live: 10 * mb}
		}
		var got []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			run(ctx, now, func(percent int) { got = append(got, percent) })
		}()
		<-time.After(10 * time.Second)
		cancel()
		<-done
		if want := []int{400, 100, 100}; !slices.Equal(got, want) {
			t.Errorf("GOGC was set to %d, want %d", got, want)
		}
	})
}

// The names of the runtime's metrics are right.
func TestHeapNow(t *testing.T) {
	before := heapNow()
	kept := make([]byte, 8<<20)
	for i := range kept {
		kept[i] = byte(i)
	}
	after := heapNow()
	if after.allocated-before.allocated < uint64(len(kept)) {
		t.Errorf("8 MB were allocated, seen are %d bytes more", after.allocated-before.allocated)
	}
}

// Who has set GOGC wants that.
func TestTheOperatorsOwn(t *testing.T) {
	t.Setenv("GOGC", "150")
	before := debug.SetGCPercent(150)
	defer debug.SetGCPercent(before)
	Start()()
	if got := debug.SetGCPercent(150); got != 150 {
		t.Errorf("the operator's GOGC=150 became %d", got)
	}
}

func TestStop(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(150))
	Start()()
	if got := debug.SetGCPercent(150); got != usual {
		t.Errorf("after the stop GOGC is %d, want Go's own %d", got, usual)
	}
}
