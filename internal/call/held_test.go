package call_test

import (
	"context"
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

// An event outwaits a store that has too much to do for a moment: it is on disk when it is answered. A
// store that goes on having too much to do gets it later.
func TestAnEventOutwaitsABusyStore(t *testing.T) {
	for _, f := range []fault{held, overload} {
		for busy, waits := range map[time.Duration]float64{time.Second: 0, 10 * time.Second: 1} {
			t.Run(fmt.Sprint(f, " for ", busy), func(t *testing.T) {
				in(t, nil, func(t *testing.T, w *ward) {
					if _, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil {
						t.Fatal(err)
					}
					pass(5 * time.Second)
					w.store.ail(healthy, f)
					time.AfterFunc(busy, func() { w.store.ail(healthy, healthy) })
					begun := time.Now()
					if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
						t.Error(err)
					}
					if took := time.Since(begun); took > 2600*time.Millisecond {
						t.Errorf("it was answered after %v; Planet Cloud waits for three seconds", took)
					}
					if n := w.figure("backlog_items"); n != waits {
						t.Errorf("%v events wait in memory, want %v", n, waits)
					}
					pass(20 * time.Second)
					w.wantRecord("s1", bell.CallEnded, bell.DeliveryAccepted)
				})
			})
		}
	}
}

// One thing that is slow to be recorded holds up no other.
func TestASlowItemHoldsUpNoOther(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		for n := range 5 {
			if err := w.Journal(t.Context(), w.acme, call.JournalItem{Kind: call.KindRecording, DedupKey: fmt.Sprint(n)}); err != nil {
				t.Error(err)
			}
		}
		write := func(context.Context) error {
			<-time.After(8 * time.Second)
			return nil
		}
		entry := bell.JournalEntry{Kind: "group-call-event", SessionID: "slow", Environment: planet.Evaluation, DedupKey: "slow"}
		if err := w.Keep(t.Context(), entry, write); err != nil {
			t.Error(err)
		}
		const calls = 300 // many times what is recorded at once
		for n := range calls {
			w.mustRing(planet.SessionID(fmt.Sprint("s", n)))
		}
		w.store.ail(healthy, healthy)
		pass(4 * time.Second)
		if n := w.figure("backlog_items"); n != 1 {
			t.Errorf("%v items wait for one that is slow, want that one alone", n)
		}
		pass(10 * time.Second)
		if n := w.figure("backlog_items"); n != 0 {
			t.Errorf("%v items wait in the end", n)
		}
	})
}
