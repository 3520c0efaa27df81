package clustertest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDB(t *testing.T) {
	clustertest.Run(t, func(t *testing.T) clustertest.Bench {
		db := clustertest.NewDB(time.Now)
		link := db.Connect(0)
		do := func(t *testing.T, run func()) {
			if err := link.Do(t.Context(), run); err != nil {
				t.Fatal(err)
			}
		}
		return clustertest.Bench{
			Store: link,
			Insert: func(t *testing.T, rings ...bell.Ring) {
				do(t, func() {
					for _, r := range rings {
						db.Insert(r)
					}
				})
			},
			Record: func(t *testing.T, d bell.Delivery) { do(t, func() { db.Record(d) }) },
			End:    func(t *testing.T, c bell.Call) { do(t, func() { db.End(c.Environment, c.SessionID) }) },
			Delivery: func(t *testing.T, r bell.Ring) (d bell.Delivery) {
				do(t, func() { d = db.Delivery(r.Delivery.ID) })
				return d
			},
			PutDevice:    func(t *testing.T, d bell.Device) { do(t, func() { db.PutDevice(d) }) },
			RemoveDevice: func(t *testing.T, id string) { do(t, func() { db.RemoveDevice(id) }) },
		}
	})
}
