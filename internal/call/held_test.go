package call_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// A call whose rows somebody has locked rings from memory and is recorded later; the store is
// not called sick for it, so the next call does not wait in memory.
func TestHeldRowsRingFromMemory(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, held)
		w.mustRing("s1")
		if err := w.End(t.Context(), w.acme, event("before")); err != nil {
			t.Error(err)
		}
		w.store.ail(healthy, healthy)
		if got, err := w.Ring(t.Context(), w.acme, notify("s2")); err != nil || got != (call.RingResult{Devices: 2}) {
			t.Errorf("the next call: %+v, %v", got, err)
		}
		pass(5 * time.Second)
		w.wantRung("s1", 1)
		w.wantRecord("s1", bell.CallRinging, bell.DeliveryAccepted)
		w.wantRecord("before", bell.CallEnded, bell.DeliveryAccepted)
	})
}

// One thing that cannot be recorded does not keep the others from it, whatever comes first.
func TestOneStuckItemStopsNoOther(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		const calls = 5
		for n := range calls {
			w.mustRing(planet.SessionID(fmt.Sprint("s", n)))
		}
		pass(3 * time.Second)
		w.store.mu.Lock()
		w.store.stuck = "s0"
		w.store.mu.Unlock()
		w.store.ail(healthy, healthy)
		pass(5 * time.Second)
		for n := 1; n < calls; n++ {
			w.wantRecord(planet.SessionID(fmt.Sprint("s", n)), bell.CallRinging, bell.DeliveryAccepted)
		}
		w.store.mu.Lock()
		w.store.stuck = ""
		w.store.mu.Unlock()
		pass(5 * time.Second)
		w.wantRecord("s0", bell.CallRinging, bell.DeliveryAccepted)
	})
}
