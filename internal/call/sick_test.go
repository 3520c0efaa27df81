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
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// in lets a story play in a ward whose store is well and has shown bob's devices once.
func in(t *testing.T, change func(*call.Config), story func(t *testing.T, w *ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := admitTo(t, change)
		if _, err := w.Ring(t.Context(), w.acme, notify("before")); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		story(t, w)
		w.end()
	})
}

// mustRing sends a Notify that has to ring bob's two devices from memory.
func (w *ward) mustRing(sid planet.SessionID) {
	w.t.Helper()
	start := time.Now()
	got, err := w.Ring(w.t.Context(), w.acme, notify(sid))
	if err != nil || got != (call.RingResult{Devices: 2, FromMemory: true}) {
		w.t.Errorf("Ring = %+v, %v", got, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		w.t.Errorf("Notify was answered after %v", took)
	}
}

func (w *ward) mustRepeat(sid planet.SessionID) {
	w.t.Helper()
	if got, err := w.Ring(w.t.Context(), w.acme, notify(sid)); err != nil || got != (call.RingResult{Repeated: true}) {
		w.t.Errorf("a repeat: %+v, %v", got, err)
	}
}

// Whatever is wrong with the store, a call rings each device once, and once the store is
// well, the record is as if nothing had been: also a minute later, when leases have run out.
func TestSickStoreRingsFromMemory(t *testing.T) {
	for _, writes := range []fault{refuses, hangs, undecided} {
		for _, reads := range []fault{healthy, refuses, hangs} {
			for _, illness := range []time.Duration{time.Second, 3 * time.Second, 20 * time.Second, 2 * time.Minute} {
				if writes == undecided && illness > time.Minute {
					continue // it expires what it was never told the end of
				}
				t.Run(fmt.Sprintf("writes %s, reads %s, for %v", writes, reads, illness), func(t *testing.T) {
					in(t, nil, func(t *testing.T, w *ward) {
						w.store.ail(reads, writes)
						w.mustRing("s1")
						w.mustRepeat("s1")
						pass(illness)
						w.mustRing("s2")
						w.store.ail(healthy, healthy)
						pass(10 * time.Second)
						w.mustRepeat("s1")
						w.mustRepeat("s2")
						w.wantRecord("s1", bell.CallRinging, bell.DeliveryAccepted)
						w.wantRecord("s2", bell.CallRinging, bell.DeliveryAccepted)
						pass(time.Minute)
						w.wantRung("s1", 1)
						w.wantRung("s2", 1)
						if n := w.figure("rung_from_memory_total"); n != 2 {
							t.Errorf("%v calls were counted, want 2", n)
						}
						if n, b := w.figure("backlog_items"), w.figure("backlog_bytes"); n != 0 || b != 0 {
							t.Errorf("%v items of %v bytes are left", n, b)
						}
					})
				})
			}
		}
	}
}

// Trouble is told once when it begins and once when it is over, and no line has a secret.
func TestTroubleIsToldOnce(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(refuses, refuses)
		for n := range 20 {
			w.mustRing(planet.SessionID(fmt.Sprint("s", n)))
			pass(100 * time.Millisecond)
		}
		w.store.ail(healthy, healthy)
		pass(5 * time.Second)
		w.end()
		told := w.told.String()
		if lines := strings.Count(told, "\n"); lines != 2 || !strings.Contains(told, "level=ERROR") || !strings.Contains(told, "records calls again") {
			t.Errorf("%d lines were written:\n%s", lines, told)
		}
		if strings.Contains(told, testlog.Text) {
			t.Error("the log holds cc_param")
		}
	})
}

// Once the store is known to be in trouble, nobody waits for it.
func TestKnownTroubleCostsNoTime(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, hangs)
		w.mustRing("s1")
		start := time.Now()
		w.mustRing("s2")
		if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		w.store.ail(healthy, healthy)
	})
}

// Overload is not trouble: the call was not taken, and the caller learns it at once.
func TestOverloadRingsNothing(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, overload)
		if got, err := w.Ring(t.Context(), w.acme, notify("s1")); !errors.Is(err, bell.Overload) || errors.Is(err, bell.Unavailable) {
			t.Errorf("Ring = %+v, %v", got, err)
		}
		if err := w.End(t.Context(), w.acme, event("before")); err != nil { // an event is kept all the same
			t.Error(err)
		}
		w.store.ail(healthy, healthy)
		pass(5 * time.Second)
		w.wantRung("s1", 0)
		w.wantRecord("before", bell.CallEnded, bell.DeliveryAccepted)
		if got, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil || got.Devices != 2 || got.FromMemory {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
	})
}

// Whose devices nobody knows cannot be rung: an honest refusal.
func TestUnknownDevicesAreRefused(t *testing.T) {
	for _, reads := range []fault{refuses, hangs} {
		in(t, nil, func(t *testing.T, w *ward) {
			w.store.ail(reads, healthy)
			n := notify("s1")
			n.Callee.UserID = "carol"
			if got, err := w.Ring(t.Context(), w.acme, n); !errors.Is(err, bell.Unavailable) {
				t.Errorf("Ring = %+v, %v", got, err)
			}
			w.mustRepeat("before") // known, whoever its callee is
			pass(11 * time.Minute) // bob's devices are known no more
			if got, err := w.Ring(t.Context(), w.acme, notify("s2")); !errors.Is(err, bell.Unavailable) {
				t.Errorf("from an old memory: %+v, %v", got, err)
			}
			w.store.ail(healthy, healthy)
		})
	}
}

// A call that was recorded before the trouble is not rung again by a repeat that comes
// within it, and neither is one that has ended.
func TestRepeatsOfCallsFromBeforeTheTrouble(t *testing.T) {
	for _, f := range []fault{refuses, hangs, undecided} {
		in(t, nil, func(t *testing.T, w *ward) {
			if err := w.End(t.Context(), w.acme, event("overtook")); err != nil {
				t.Fatal(err)
			}
			w.store.ail(healthy, f)
			w.mustRepeat("before")
			w.mustRepeat("overtook")
			w.mustRepeat("overtook")
			w.store.ail(healthy, healthy)
			pass(10 * time.Second)
			w.wantRung("before", 1)
			w.wantRung("overtook", 0)
			c := w.store.calls[callKey{planet.Evaluation, "overtook"}]
			if c.State != bell.CallEnded || c.NotifiedAt.IsZero() || c.CCParam != "" {
				t.Errorf("recorded: %+v", c)
			}
		})
	}
}

// Copies of a Notify that come at once ring once, however the store fails.
func TestCopiesAtOnceRingOnce(t *testing.T) {
	for _, f := range faults {
		t.Run(string(f), func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *ward) {
				w.store.ail(healthy, f)
				var work sync.WaitGroup
				for range 5 {
					work.Go(func() {
						if _, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil && f != overload {
							t.Error(err)
						}
					})
				}
				work.Wait()
				w.store.ail(healthy, healthy)
				if f == overload {
					return
				}
				pass(time.Minute)
				w.wantRung("s1", 1)
			})
		})
	}
}

// A copy that comes while the first waits for the store rings nothing, also when the store
// recovers between the two.
func TestCopyThatFindsTheStoreWellAgain(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, hangs)
		var work sync.WaitGroup
		work.Go(func() { w.mustRing("s1") })
		pass(500 * time.Millisecond)
		for range 20 {
			work.Go(func() { w.mustRepeat("s1") })
		}
		pass(700 * time.Millisecond)
		w.store.ail(healthy, healthy)
		work.Wait()
		pass(time.Minute)
		w.wantRung("s1", 1)
	})
}

// A Notify whose Call Event waits to be recorded is late, whatever the store says now.
func TestNotifyBehindAnEventThatWaits(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, overload)
		if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
			t.Error(err)
		}
		pass(time.Second)
		w.store.ail(healthy, healthy)
		w.mustRepeat("s1")
		pass(10 * time.Second)
		w.wantRung("s1", 0)
		if c := w.store.calls[callKey{planet.Evaluation, "s1"}]; c.State != bell.CallEnded || c.NotifiedAt.IsZero() {
			t.Errorf("recorded: %+v", c)
		}
	})
}

// Events are kept in order behind what waits of their session, and end what rings.
func TestEventsOfASickStore(t *testing.T) {
	for _, f := range []fault{refuses, hangs, undecided} {
		t.Run(string(f), func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *ward) {
				w.store.ail(healthy, f)
				w.mustRing("s1")
				pass(10 * time.Second)
				item := call.JournalItem{Kind: "group-call-event", SessionID: "room", DedupKey: "room/1"}
				for range 3 {
					if err := errors.Join(w.End(t.Context(), w.acme, event("s1")), w.End(t.Context(), w.acme, event("before")), w.Journal(t.Context(), w.acme, item)); err != nil {
						t.Error(err)
					}
				}
				if n := w.figure("backlog_items"); n != 4 {
					t.Errorf("%v items wait, want 4: repeats are one", n)
				}
				w.mustRepeat("s1")
				w.store.ail(healthy, healthy)
				pass(time.Minute)
				w.wantRecord("s1", bell.CallEnded, bell.DeliveryAccepted)
				w.wantRecord("before", bell.CallEnded, bell.DeliveryAccepted)
				if n := len(w.store.journal); n != 3 {
					t.Errorf("%d journal entries, want 3", n)
				}
				if c := w.store.secrets[len(w.store.secrets)-1]; c != "" {
					t.Error("cc_param was recorded after the call's end")
				}
			})
		})
	}
}

// A call that ends while it cannot be recorded rings no more, and its deliveries are
// recorded as withdrawn.
func TestEndWithdrawsWhatRingsFromMemory(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		w.mustRing("s1")
		if err := w.End(t.Context(), w.acme, event("s1")); err != nil {
			t.Error(err)
		}
		w.mustRepeat("s1")
		w.store.ail(healthy, healthy)
		pass(time.Minute)
		w.wantRung("s1", 0)
		w.wantRecord("s1", bell.CallEnded, bell.DeliveryWithdrawn)
	})
}

// cc_param does not outlive the ring in the backlog.
func TestSecretIsErasedAtTheDeadline(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.store.ail(healthy, refuses)
		n := notify("s1")
		n.Raw = append(n.Raw, planet.RawParam{Name: "copy", Value: "x" + n.CCParam.Reveal()})
		if _, err := w.Ring(t.Context(), w.acme, n); err != nil {
			t.Fatal(err)
		}
		pass(55 * time.Second)
		w.store.ail(healthy, healthy)
		pass(5 * time.Second)
		w.wantRecord("s1", bell.CallRinging, bell.DeliveryAccepted)
		if c := w.store.secrets[len(w.store.secrets)-1]; c != "" {
			t.Error("cc_param was recorded after the deadline")
		}
		for _, p := range w.store.raw {
			if strings.Contains(p.Value, testlog.Text) {
				t.Error("cc_param is in the raw parameters")
			}
		}
	})
}
