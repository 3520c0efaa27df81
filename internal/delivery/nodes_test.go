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
