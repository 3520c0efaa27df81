package delivery

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestWithdraw(t *testing.T) {
	tests := []struct {
		name     string
		at       time.Duration
		reply    reply
		sent     int
		state    bell.DeliveryState
		attempts int
	}{
		{"before the first attempt's answer", time.Second, hang(), 1, bell.DeliveryWithdrawn, 1},
		{"while an attempt is being accepted", time.Second, func(ctx context.Context, _ *bell.Ring, _ Try) bell.Outcome {
			<-ctx.Done()
			return answer(bell.Accepted) // the answer was on its way
		}, 1, bell.DeliveryAccepted, 1},
		{"while an attempt is being refused", time.Second, func(ctx context.Context, _ *bell.Ring, _ Try) bell.Outcome {
			<-ctx.Done()
			return answer(bell.Rejected)
		}, 1, bell.DeliveryWithdrawn, 1},
		{"between two attempts", 750 * time.Millisecond, script(bell.RetryThrottled), 1, bell.DeliveryWithdrawn, 1},
		{"in the second attempt", 4 * time.Second, hang(), 2, bell.DeliveryWithdrawn, 2},
		{"after it was accepted", time.Second, script(), 1, bell.DeliveryAccepted, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				b.on("d", test.reply)
				b.on("other", slowly(2*time.Second, script()))
				b.begin(t, b.rings(1, bell.APNsVoIP, "d"))
				b.begin(t, b.rings(2, bell.APNsVoIP, "other"))
				pass(test.at)
				synctest.Wait()
				b.Withdraw(planet.Evaluation, sid(1))
				synctest.Wait()
				if got := b.store.row("d/1"); got.State != test.state || got.Attempts != test.attempts {
					t.Errorf("recorded at once: %+v", got)
				}
				b.finish(t)
				if got := len(b.times("d")); got != test.sent {
					t.Errorf("%d attempts left, want %d", got, test.sent)
				}
				if got := b.store.row("other/2"); got.State != bell.DeliveryAccepted {
					t.Errorf("the other call: %+v", got)
				}
			})
		})
	}
}

func TestWithdrawWhileWaitingForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 1 })
		b.on("first", slowly(2*time.Second, script()))
		b.begin(t, b.rings(1, bell.FCM, "first"))
		synctest.Wait()
		b.begin(t, b.rings(2, bell.FCM, "second"))
		synctest.Wait()
		b.Withdraw(planet.Evaluation, sid(2))
		b.finish(t)
		if got := b.store.row("second/2"); got.State != bell.DeliveryWithdrawn || got.Attempts != 0 || len(b.times("second")) != 0 {
			t.Errorf("recorded: %+v", got)
		}
		if got := b.store.row("first/1"); got.State != bell.DeliveryAccepted {
			t.Errorf("recorded: %+v", got)
		}
	})
}

func TestWithdrawIsHonouredByALaterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBench(t, nil)
		run := make(chan error, 1)
		go func() { run <- b.Run(ctx, false) }()
		b.Withdraw(planet.Evaluation, sid(1))
		b.Withdraw(planet.Real, sid(2)) // another world's call with the same ID
		pass(withdrawnKept - time.Second)
		for call := 1; call <= 2; call++ {
			rings := b.rings(call, bell.APNsVoIP, fmt.Sprintf("d%d", call))
			if err := b.Admit(rings); err != nil {
				t.Fatal(err)
			}
			rings[0].Delivery.LeaseUntil = time.Now().Add(time.Hour)
			b.store.add(rings...)
			b.Start(rings)
		}
		synctest.Wait()
		if len(b.times("d1")) != 0 || len(b.times("d2")) != 1 {
			t.Errorf("sent to the ended call's device: %v, to the other: %v", b.times("d1"), b.times("d2"))
		}
		b.checkEmpty(t)
		pass(3 * time.Second)
		synctest.Wait()
		cancel()
		if err := <-run; err != nil {
			t.Error(err)
		}
		if len(b.withdrawn) != 0 {
			t.Errorf("%d ended calls are kept for ever", len(b.withdrawn))
		}
		b.finish(t)
	})
}

// act is what happens to one call in a story of many.
type act struct {
	channel  bell.Channel
	devices  int
	pause    time.Duration // before the call
	left     time.Duration // of its ring
	withdraw time.Duration // after its start; negative: before it
	took     []time.Duration
	verdicts []bell.Verdict
}

func acts() *rapid.Generator[[]act] {
	span := func(most time.Duration) *rapid.Generator[time.Duration] {
		return rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most/ms)).Draw(t, "ms")) * ms
		})
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{
			channel: rapid.SampledFrom(channels[:3]).Draw(t, "channel"),
			devices: rapid.IntRange(1, 4).Draw(t, "devices"), pause: span(3*time.Second).Draw(t, "pause"),
			left:     span(ringTime).Draw(t, "left"),
			withdraw: span(12*time.Second).Draw(t, "withdraw") - time.Second,
			took:     rapid.SliceOfN(span(5*time.Second), 4, 4).Draw(t, "took"),
			verdicts: rapid.SliceOfN(rapid.SampledFrom(verdicts), 4, 4).Draw(t, "verdicts"),
		}
	}), 1, 12)
}

// No interleaving brings an attempt after the end of its call or of its ring, more
// attempts than the policy has, or a delivery without a final state.
func TestNothingLeavesAfterTheEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		story := acts().Draw(rt, "story")
		places := rapid.IntRange(1, 3).Draw(rt, "places")
		synctest.Test(t, func(t *testing.T) { // a failure in it ends the test without a smaller story
			b := newBench(t, func(c *Config) { c.MaxPerRoute = places })
			ends, limits, ids := b.perform(t, story)
			b.finish(t)
			for _, s := range b.sent {
				if end := ends[s.id]; s.after >= end {
					t.Errorf("%s: attempt %d at %v, its end was at %v", s.id, s.try.Number, s.after, end)
				}
				if s.try.Number > limits[s.id] {
					t.Errorf("%s: attempt %d of %d", s.id, s.try.Number, limits[s.id])
				}
			}
			for _, id := range ids {
				if got := b.store.row(id); !got.State.Final() {
					t.Errorf("%s ended as %+v", id, got)
				}
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// perform plays a story. It returns when each delivery's call or ring ended, how many
// attempts it may have, and all IDs.
func (b *bench) perform(t *testing.T, story []act) (ends map[string]time.Duration, limits map[string]int, ids []string) {
	ends, limits = map[string]time.Duration{}, map[string]int{}
	var timers []*time.Timer
	for call, a := range story {
		pass(a.pause)
		var devices []string
		for i := range a.devices {
			devices = append(devices, fmt.Sprintf("c%dd%d", call, i))
			b.on(devices[i], func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
				i := min(try.Number, len(a.took)) - 1
				return slowly(a.took[i], func(context.Context, *bell.Ring, Try) bell.Outcome { return answer(a.verdicts[i]) })(ctx, r, try)
			})
		}
		rings := b.rings(call, a.channel, devices...)
		now := time.Since(b.start)
		for i := range rings {
			rings[i].Delivery.Deadline = time.Now().Add(a.left)
			id := rings[i].Delivery.ID
			ids, limits[id] = append(ids, id), policies[a.channel].attempts
			ends[id] = now + min(a.left, max(a.withdraw, 0))
		}
		end := func() { b.Withdraw(planet.Evaluation, sid(call)); b.store.withdraw(call) }
		b.store.add(rings...)
		if a.withdraw < 0 {
			end()
		} else if a.withdraw > 0 {
			timers = append(timers, time.AfterFunc(a.withdraw-1, end)) // a hair before, so that the order is known
		}
		if err := b.Admit(rings); err != nil {
			t.Fatal(err)
		}
		b.Start(rings)
		if a.withdraw == 0 {
			end()
			for i := range rings {
				ends[rings[i].Delivery.ID] = now + 1 // it may have left in the same moment
			}
		}
	}
	pass(ringTime + 15*time.Second)
	for _, timer := range timers {
		timer.Stop()
	}
	return ends, limits, ids
}
