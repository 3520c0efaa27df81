package delivery

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

func TestAMailboxBelongsToNobodyUntilItsDevicePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Waits = func(device string) bool { return device == "here" } })
		b.on("d", script(bell.Deposited))
		for device, owner := range map[string]string{"here": "this", "elsewhere": ""} {
			now := time.Now()
			state, got, until := b.Hold(&bell.Device{ID: device, Channel: bell.LongPoll}, now, now.Add(ringTime))
			if state != bell.DeliveryPending || got != owner || !until.Equal(now.Add(ringTime)) {
				t.Errorf("%s: %s by %q until %v", device, state, got, until)
			}
		}
		rings := b.rings(1, bell.LongPoll, "elsewhere")
		if err := b.Admit(rings); err != nil {
			t.Fatal(err)
		}
		b.Start(rings)
		synctest.Wait()
		if open := b.Open(time.Now().Add(time.Hour)); len(open) != 0 {
			t.Errorf("%q is in memory", open)
		}
		b.Keep(rings)
		if rings[0].Delivery.LeaseOwner != "this" {
			t.Error("a call that cannot be recorded is not kept here")
		}
		push := b.rings(2, bell.FCM, "d")
		push[0].Delivery.LeaseOwner = "" // as of a refused one
		push[0].Delivery.State = bell.DeliveryFailed
		b.Keep(push)
		if push[0].Delivery.LeaseOwner != "" {
			t.Error("a refused delivery got an owner")
		}
		b.finish(t)
	})
}

// What somebody else continues, or has ended, is stopped; only the first is not recorded.
func TestDropWhatIsSomebodyElses(t *testing.T) {
	for name, test := range map[string]struct {
		state    bell.DeliveryState
		recorded bell.DeliveryState
	}{
		"taken over": {"", ""},
		"accepted":   {bell.DeliveryAccepted, ""},
		"withdrawn":  {bell.DeliveryWithdrawn, bell.DeliveryWithdrawn},
		"received":   {bell.DeliveryReceived, bell.DeliveryReceived},
		"expired":    {bell.DeliveryExpired, bell.DeliveryExpired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				b.on("d", script(bell.RetryBackoff, bell.RetryBackoff, bell.Accepted))
				rings := b.rings(1, bell.FCM, "d")
				b.begin(t, rings)
				synctest.Wait()
				if open := b.Open(time.Now()); len(open) != 0 {
					t.Errorf("%q were started before now", open)
				}
				if open := b.Open(time.Now().Add(time.Nanosecond)); !slices.Equal(open, []string{rings[0].Delivery.ID}) {
					t.Errorf("open: %q", open)
				}
				before := b.store.row(rings[0].Delivery.ID)
				b.Drop(rings[0].Delivery.ID, test.state)
				b.Drop("unknown", test.state)
				synctest.Wait()
				if open := b.Open(time.Now().Add(time.Hour)); len(open) != 0 {
					t.Errorf("%q goes on", open)
				}
				got := b.store.row(rings[0].Delivery.ID)
				want := test.recorded
				if want == "" {
					want = before.State
				}
				if got.State != want {
					t.Errorf("recorded as %s, want %s", got.State, want)
				}
				b.finish(t)
			})
		})
	}
}

// What finds no room can be given back, as it was claimed.
func TestTakeReturnsWhatFindsNoRoom(t *testing.T) {
	for name, end := range map[string]func(*bench){"full": func(*bench) {}, "stopping": func(b *bench) { b.Stop(context.Background()) }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.MaxInFlight = 1 })
				block := make(chan struct{})
				b.on("a", func(context.Context, *bell.Ring, Try) bell.Outcome { <-block; return answer(bell.Accepted) })
				first := b.rings(1, bell.FCM, "a")
				if name == "full" {
					b.begin(t, first)
				}
				end(b)
				rings := b.rings(2, bell.FCM, "b")
				b.store.add(rings...)
				want := rings[0].Delivery
				refused := b.Take(rings)
				if len(refused) != 1 || refused[0].Delivery != want {
					t.Errorf("refused: %+v", refused)
				}
				close(block)
				b.finish(t)
			})
		})
	}
}

func TestTakeStartsWhatWasClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", script(bell.Accepted))
		rings := b.rings(1, bell.FCM, "d")
		b.store.add(rings...)
		b.Take(nil)
		if refused := b.Take(rings); len(refused) != 0 {
			t.Errorf("%d found no room", len(refused))
		}
		synctest.Wait()
		if got := b.store.row(rings[0].Delivery.ID); got.State != bell.DeliveryAccepted {
			t.Errorf("it is %s", got.State)
		}
		b.finish(t)
	})
}

// What is taken while its first journey has not left yet is started when that has, once,
// however often it was taken.
func TestTakeStartsWhatIsUnderWayOnceMore(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*bench, *bell.Ring)
		sent      int
	}{
		"nothing else":  {func(*bench, *bell.Ring) {}, 2},
		"its call ends": {func(b *bench, r *bell.Ring) { b.Withdraw(r.Call.Environment, r.Call.SessionID) }, 1},
		"its device has it, as another process says": {func(b *bench, r *bell.Ring) { b.Received(r.Call.Environment, r.Call.SessionID, "d") }, 1},
		"its device has it":                          {func(b *bench, r *bell.Ring) { b.settle(r.Delivery.ID) }, 1},
		"its record says that it is over":            {func(b *bench, r *bell.Ring) { b.Drop(r.Delivery.ID, bell.DeliveryWithdrawn) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.Waits = func(string) bool { return true } })
				sent, block := 0, make(chan struct{})
				b.on("d", func(context.Context, *bell.Ring, Try) bell.Outcome {
					sent++
					<-block
					return answer(bell.Deposited)
				})
				rings := b.rings(1, bell.LongPoll, "d")
				rings[0].Delivery.LeaseOwner = "this"
				b.begin(t, rings)
				synctest.Wait()
				for range 3 {
					if refused := b.Take(slices.Clone(rings)); len(refused) != 0 {
						t.Errorf("%d found no room", len(refused))
					}
				}
				test.meanwhile(b, &rings[0])
				close(block)
				synctest.Wait()
				if sent != test.sent {
					t.Errorf("it was sent %d times, want %d", sent, test.sent)
				}
				if open := b.Open(time.Now().Add(time.Hour)); len(open) != 0 || b.room != 0 || len(b.calls) != 0 {
					t.Errorf("left: %q, %d in room, %d calls", open, b.room, len(b.calls))
				}
				b.finish(t)
			})
		})
	}
}

// A receipt that came to another process ends the retries here: those to that device, for
// that call.
func TestAReceiptElsewhereEndsRetriesHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Waits = func(string) bool { return false } })
		b.on("d", script(bell.RetryBackoff, bell.RetryBackoff, bell.RetryBackoff))
		b.on("e", script(bell.RetryBackoff))
		rings := b.rings(1, bell.FCM, "d", "e")
		b.begin(t, rings)
		synctest.Wait()
		b.Received(rings[0].Call.Environment, "another", "d")
		b.Received(rings[0].Call.Environment, rings[0].Call.SessionID, "unknown")
		synctest.Wait()
		if open := b.Open(time.Now().Add(time.Hour)); len(open) != 2 {
			t.Fatalf("open: %q", open)
		}
		b.Received(rings[0].Call.Environment, rings[0].Call.SessionID, "d")
		synctest.Wait()
		if open := b.Open(time.Now().Add(time.Hour)); !slices.Equal(open, []string{rings[1].Delivery.ID}) {
			t.Errorf("open: %q", open)
		}
		pass(ringTime)
		if got := b.store.row(rings[0].Delivery.ID).State; got != bell.DeliveryReceived {
			t.Errorf("the first is %s", got)
		}
		if got := b.store.row(rings[1].Delivery.ID).State; got != bell.DeliveryAccepted {
			t.Errorf("the second is %s", got)
		}
		b.finish(t)
	})
}

// A delivery whose call is just being recorded is in memory.
func TestOpenListsWhatIsAdmitted(t *testing.T) {
	b := newBench(t, nil)
	rings := b.rings(1, bell.FCM, "d")
	if err := b.Admit(rings); err != nil {
		t.Fatal(err)
	}
	if open := b.Open(time.Now()); !slices.Equal(open, []string{rings[0].Delivery.ID}) {
		t.Errorf("open: %q", open)
	}
	b.Dismiss(rings)
	if open := b.Open(time.Now()); len(open) != 0 {
		t.Errorf("open: %q", open)
	}
}
