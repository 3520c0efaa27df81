package call_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// What does not fit is refused: a call does not ring then, and an event is not answered 200.
func TestFullBacklog(t *testing.T) {
	for name, test := range map[string]struct {
		limit   func(*call.Config)
		refused float64
	}{
		"items": {func(c *call.Config) { c.BacklogItems = 2 }, 2},
		"bytes": {func(c *call.Config) { c.BacklogBytes = 3200 }, 4}, // what became of s1's deliveries too
	} {
		t.Run(name, func(t *testing.T) {
			in(t, test.limit, func(t *testing.T, w *ward) {
				w.store.ail(healthy, refuses)
				w.mustRing("s1")
				w.mustRing("s2")
				if got, err := w.Ring(t.Context(), w.acme, notify("s3")); !errors.Is(err, bell.Overload) {
					t.Errorf("Ring = %+v, %v", got, err)
				}
				if err := w.End(t.Context(), w.acme, event("s1")); !errors.Is(err, bell.Overload) {
					t.Errorf("End = %v", err)
				}
				synctest.Wait()
				if n := w.figure("backlog_refused_total"); n != test.refused {
					t.Errorf("%v refusals were counted, want %v", n, test.refused)
				}
				w.store.ail(healthy, healthy)
				pass(time.Minute)
				w.wantRung("s1", 0) // its end was refused, and withdrew all the same
				w.wantRung("s2", 1)
				w.wantRung("s3", 0)
				if w.store.calls[callKey{planet.Evaluation, "s1"}].CCParam != "" {
					t.Error("cc_param outlived the call whose end was refused")
				}
				if err := w.End(t.Context(), w.acme, event("s1")); err != nil { // there is room again
					t.Error(err)
				}
			})
		})
	}
}

// An item that the store will never take does not hold up the others.
func TestWhatCannotBeRecordedIsGivenUp(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		w.mustRing("s1")
		if err := w.Journal(t.Context(), w.acme, call.JournalItem{Kind: call.KindRecording, DedupKey: "1"}); err != nil {
			t.Error(err)
		}
		w.store.fakeStore.mu.Lock()
		w.store.fail["BeginCall"] = errDisk
		w.store.fakeStore.mu.Unlock()
		w.store.ail(healthy, healthy)
		pass(5 * time.Second)
		if n := w.figure("backlog_lost_total"); n != 1 || len(w.store.journal) != 1 || w.figure("backlog_items") != 0 {
			t.Errorf("%v lost, %d recorded", n, len(w.store.journal))
		}
		w.wantRung("s1", 1)
	})
}

// A stop records what waits; what it cannot record it counts.
func TestStopRecordsWhatWaits(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		in(t, nil, func(t *testing.T, w *ward) {
			w.store.ail(healthy, refuses)
			w.mustRing("s1")
			w.mustRing("s2")
			if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
				t.Error(err)
			}
			pass(3 * time.Second)
			if recovers {
				time.AfterFunc(time.Second, func() { w.store.ail(healthy, healthy) })
			}
			w.end()
			told := w.told.String()
			if lost := strings.Contains(told, "is lost\" calls=2 events=1 outcomes=4"); lost == recovers {
				t.Errorf("recovers %v, and the log says:\n%s", recovers, told)
			}
			if recovers {
				w.wantRecord("s2", bell.CallRinging, bell.DeliveryAccepted)
			}
			if err := w.End(t.Context(), w.acme, event("late")); !recovers && !errors.Is(err, bell.Overload) {
				t.Errorf("after the stop: %v", err)
			}
		})
	}
}

// An outcome that was on its way to the store when the call ended is recorded before the end.
func TestOutcomeIsRecordedBeforeTheEnd(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		if _, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil {
			t.Fatal(err)
		}
		w.store.ail(healthy, hangs)
		var work sync.WaitGroup
		work.Go(func() { // shows the trouble 50 ms before the outcome has waited long enough
			if err := w.Journal(t.Context(), w.acme, call.JournalItem{Kind: call.KindRecording, DedupKey: "1"}); err != nil {
				t.Error(err)
			}
		})
		pass(time.Second + acceptAfter/2)
		if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
			t.Error(err)
		}
		work.Wait()
		pass(time.Second)
		w.store.ail(healthy, healthy)
		pass(10 * time.Second)
		for _, d := range w.store.deliveries {
			if d.SessionID == "s1" && d.DeviceID == "a" && d.State != bell.DeliveryAccepted {
				t.Errorf("the record says %q", d.State)
			}
		}
	})
}

// While much is still to be recorded, the store is asked again; only what belongs behind
// something that waits has to wait too.
func TestOrderIsKeptWhileTheBacklogShrinks(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		const calls = 200
		for n := range calls {
			w.mustRing(planet.SessionID(fmt.Sprint("s", n)))
		}
		pass(3 * time.Second)
		w.store.ail(healthy, slow)
		for w.figure("backlog_items") > calls/2 {
			pass(10 * time.Millisecond)
		}
		if got, err := w.Ring(t.Context(), w.acme, notify("new")); err != nil || got.FromMemory {
			t.Errorf("a new call: %+v, %v", got, err)
		}
		last := planet.SessionID(fmt.Sprint("s", calls-1))
		if err := w.End(t.Context(), w.acme, event(last)); err != nil {
			t.Error(err)
		}
		pass(time.Minute)
		w.store.ail(healthy, healthy)
		w.wantRecord(last, bell.CallEnded, bell.DeliveryAccepted)
	})
}

// A claim leaves out what this process rings: also a call whose record is under way, and
// one that was recorded after the claim had read the store.
func TestClaimLeavesOutWhatRings(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		claim := func(before func()) int {
			t.Helper()
			rings, err := w.Claim(func() ([]bell.Ring, error) {
				before()
				c := bell.Call{Environment: planet.Evaluation, SessionID: "s1"}
				return []bell.Ring{{Call: &c}, {Call: &bell.Call{Environment: planet.Evaluation, SessionID: "foreign"}}}, nil
			})
			if err != nil {
				t.Error(err)
			}
			return len(rings)
		}
		w.store.ail(healthy, undecided)
		var work sync.WaitGroup
		work.Go(func() { w.mustRing("s1") })
		pass(100 * time.Millisecond)
		if n := claim(func() {}); n != 1 {
			t.Errorf("%d were claimed while the Notify is under way", n)
		}
		work.Wait()
		if n := claim(func() {}); n != 1 {
			t.Errorf("%d were claimed while the call waits", n)
		}
		recover := func() { w.store.ail(healthy, healthy); pass(30 * time.Second) }
		if n := claim(recover); n != 1 || w.figure("backlog_items") != 0 {
			t.Errorf("%d were claimed while the call was recorded", n)
		}
		if n := claim(func() {}); n != 2 {
			t.Errorf("%d were claimed afterwards, want 2: there is nothing against it", n)
		}
	})
}

// Delivery records an outcome that it could not record again every second; it waits once,
// or a minute of trouble would fill the backlog with nothing else.
func TestAnOutcomeWaitsOnce(t *testing.T) {
	for _, begun := range []string{"on disk", "in memory"} {
		t.Run(begun, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *ward) {
				if begun == "in memory" {
					w.store.ail(healthy, refuses)
				}
				if _, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil {
					t.Fatal(err)
				}
				w.store.ail(healthy, refuses)
				pass(time.Second)
				var late bell.Delivery
				w.store.mu.Lock()
				for _, d := range w.store.deliveries {
					late = d
				}
				w.store.mu.Unlock()
				if late.ID == "" {
					late = bell.Delivery{ID: "d", Environment: planet.Evaluation, SessionID: "s1"}
				}
				late.State = bell.DeliveryFailed
				a := bell.Attempt{DeliveryID: late.ID, Number: 7, StartedAt: time.Now()}
				_ = w.RecordAttempt(t.Context(), late, a)
				before := w.figure("backlog_bytes")
				for range 50 {
					_ = w.RecordAttempt(t.Context(), late, a)
				}
				if after := w.figure("backlog_bytes"); after != before || before == 0 {
					t.Errorf("the backlog grew from %v to %v bytes", before, after)
				}
				w.store.ail(healthy, healthy)
				pass(time.Minute)
			})
		})
	}
}

// A Notify that is repeated because its process died, and is on its way when what that
// process left is claimed, does not keep the call from ringing.
func TestClaimWaitsForARepeat(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, slow)
		var work sync.WaitGroup
		work.Go(func() {
			if got, err := w.Ring(t.Context(), w.acme, notify("before")); err != nil || !got.Repeated {
				t.Errorf("the repeat: %+v, %v", got, err)
			}
		})
		pass(100 * time.Millisecond)
		rings, err := w.Claim(func() ([]bell.Ring, error) {
			return []bell.Ring{{Call: &bell.Call{Environment: planet.Evaluation, SessionID: "before"}}}, nil
		})
		if err != nil || len(rings) != 1 {
			t.Errorf("%d were claimed, want 1 (%v)", len(rings), err)
		}
		work.Wait()
	})
}
