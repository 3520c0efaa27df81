package delivery

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestAllDevicesRingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		devices := []string{"a", "b", "c", "d", "e", "f"}
		for _, d := range devices {
			b.on(d, slowly(time.Second, script()))
		}
		b.begin(t, b.rings(1, bell.APNsVoIP, devices...))
		pass(time.Second)
		synctest.Wait()
		for _, d := range devices {
			if got := b.times(d); !slices.Equal(got, []time.Duration{0}) {
				t.Errorf("%s was sent to at %v", d, got)
			}
			if got := b.store.row(d + "/1"); got.State != bell.DeliveryAccepted || got.Attempts != 1 || got.Reason != "accepted" {
				t.Errorf("%s: %+v", d, got)
			}
		}
		b.checkEmpty(t)
		b.finish(t)
	})
}

func TestHangingRouteDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 2 })
		hanging := []string{"h1", "h2", "h3", "h4", "h5"}
		for _, d := range hanging {
			b.on(d, hang())
		}
		b.begin(t, b.rings(1, bell.APNsVoIP, hanging...))
		synctest.Wait()
		if got := b.count(); got != 2 {
			t.Errorf("%d attempts at once on a route with 2 places", got)
		}
		others := b.rings(2, bell.APNsVoIP, "o1", "o2", "o3")
		others[0].Device.Channel = bell.APNsAlert
		others[1].Device.Project = "other"
		others[2].Device.APNsServer = bell.APNsSandbox
		b.begin(t, others)
		synctest.Wait()
		for _, d := range []string{"o1", "o2", "o3"} {
			if got := b.store.row(d + "/2"); got.State != bell.DeliveryAccepted || b.times(d)[0] != 0 {
				t.Errorf("%s had to wait: %+v", d, got)
			}
		}
		pass(ringTime)
		synctest.Wait()
		for _, d := range hanging {
			if got := b.store.row(d + "/1"); got.State != bell.DeliveryFailed || got.Attempts != 4 {
				t.Errorf("%s: %+v", d, got)
			}
		}
		b.finish(t)
	})
}

// Places that come free because the ring is over must not be used for the same ring.
func TestPlaceThatComesFreeWithTheEndIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 1 })
		var devices []string
		for i := range 60 {
			devices = append(devices, fmt.Sprintf("d%d", i))
			b.on(devices[i], hang())
		}
		b.begin(t, b.rings(1, bell.FCM, devices...))
		synctest.Wait()
		b.Withdraw(planet.Evaluation, sid(1))
		synctest.Wait()
		attempted := 0
		for _, d := range devices {
			attempted += b.store.row(d + "/1").Attempts
		}
		if attempted != 1 {
			t.Errorf("%d attempts were recorded, 1 was made", attempted)
		}
		b.finish(t)
	})
}

func TestRetriesFollowThePolicy(t *testing.T) {
	tests := []struct {
		name    string
		channel bell.Channel
		reply   reply
		want    []time.Duration
		spares  []bool
		state   bell.DeliveryState
		reason  string
	}{
		{
			"connection lost for ever", bell.APNsVoIP, script(bell.RetryConnect, bell.RetryConnect, bell.RetryConnect, bell.RetryConnect),
			[]time.Duration{0, 25 * ms, 275 * ms, 1275 * ms},
			[]bool{false, true, false, true},
			bell.DeliveryFailed, "retry_connect",
		},
		{"connection lost once", bell.FCM, script(bell.RetryConnect), []time.Duration{0, 25 * ms}, []bool{false, true}, bell.DeliveryAccepted, "accepted"},
		{
			"time-out of each attempt", bell.APNsVoIP, hang(),
			[]time.Duration{0, 3 * time.Second, 6 * time.Second, 9 * time.Second},
			[]bool{false, true, false, true},
			bell.DeliveryFailed, "timeout",
		},
		{
			"time-out of each FCM attempt", bell.FCM, hang(),
			[]time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second},
			[]bool{false, true, false, true},
			bell.DeliveryFailed, "timeout",
		},
		{"time-out of each alert", bell.APNsAlert, hang(), []time.Duration{0, 3 * time.Second, 6 * time.Second}, []bool{false, true, false}, bell.DeliveryFailed, "timeout"},
		{
			"the provider is unwell", bell.FCM, script(bell.RetryBackoff, bell.RetryBackoff, bell.RetryBackoff),
			[]time.Duration{0, 500 * ms, 1500 * ms, 3500 * ms},
			[]bool{false, true, false, true},
			bell.DeliveryAccepted, "accepted",
		},
		{
			"credential, then throttled, then well", bell.APNsVoIP, script(bell.RetryCredential, bell.RetryThrottled),
			[]time.Duration{0, 0, 1500 * ms},
			[]bool{false, false, false},
			bell.DeliveryAccepted, "accepted",
		},
		{
			"one counter for each kind of failure", bell.APNsVoIP, script(bell.RetryConnect, bell.RetryBackoff, bell.RetryConnect),
			[]time.Duration{0, 25 * ms, 275 * ms, 525 * ms},
			[]bool{false, true, false, true},
			bell.DeliveryAccepted, "accepted",
		},
		{"refused", bell.FCM, script(bell.Rejected), []time.Duration{0}, []bool{false}, bell.DeliveryFailed, "rejected"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				b.on("d", test.reply)
				b.begin(t, b.rings(1, test.channel, "d"))
				b.finish(t)
				if diff := cmp.Diff(test.want, b.times("d")); diff != "" {
					t.Errorf("attempts: %s", diff)
				}
				var spares []bool
				for i, s := range b.sent {
					spares = append(spares, s.try.Spare)
					if s.try.Number != i+1 || !s.try.Now.Equal(b.start.Add(s.after)) {
						t.Errorf("attempt %d: %+v", i+1, s)
					}
				}
				if diff := cmp.Diff(test.spares, spares); diff != "" {
					t.Errorf("connections: %s", diff)
				}
				if got := b.store.row("d/1"); got.State != test.state || got.Reason != test.reason || got.Attempts != len(test.want) {
					t.Errorf("recorded: %+v", got)
				}
			})
		})
	}
}

func TestEachAttemptIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
			o := slowly(2*time.Second, script(bell.RetryBackoff, bell.RetryBackoff))(ctx, r, try)
			if try.Number == 1 {
				o.RetryAfter = 30 * time.Second // longer than a lease
			}
			return o
		})
		ring := b.rings(1, bell.FCM, "d")
		b.begin(t, ring)
		b.finish(t)

		record := func(state bell.DeliveryState, reason string, attempts int, after, lease time.Duration) bell.Delivery {
			d := ring[0].Delivery
			d.State, d.Reason, d.Attempts = state, reason, attempts
			d.UpdatedAt, d.LeaseUntil = b.start.Add(after), b.start.Add(lease)
			return d
		}
		// FCM's second backoff is half of 2 s. Each lease is 15 s from the next attempt.
		want := []bell.Delivery{
			record(bell.DeliverySending, "retry_backoff", 1, 2*time.Second, 47*time.Second),
			record(bell.DeliverySending, "retry_backoff", 2, 34*time.Second, 50*time.Second),
			record(bell.DeliveryAccepted, "accepted", 3, 37*time.Second, 52*time.Second),
		}
		if diff := cmp.Diff(want, b.store.records); diff != "" {
			t.Error(diff)
		}
		first := answer(bell.RetryBackoff)
		first.RetryAfter = 30 * time.Second
		attempts := []bell.Attempt{
			{DeliveryID: "d/1", Number: 1, StartedAt: b.start, Took: 2 * time.Second, Outcome: first},
			{DeliveryID: "d/1", Number: 2, StartedAt: b.start.Add(32 * time.Second), Took: 2 * time.Second, Outcome: answer(bell.RetryBackoff)},
			{DeliveryID: "d/1", Number: 3, StartedAt: b.start.Add(35 * time.Second), Took: 2 * time.Second, Outcome: answer(bell.Accepted)},
		}
		if diff := cmp.Diff(attempts, b.store.attempts["d/1"]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeliveryEndsWithTheRing(t *testing.T) {
	tests := []struct {
		name   string
		reply  reply
		before time.Duration // the ring has left when it starts
		sent   int
		state  bell.DeliveryState
		reason string
	}{
		{"over before it starts", nil, 0, 0, bell.DeliveryExpired, "deadline"},
		{"cut off in an attempt", hang(), 2 * time.Second, 1, bell.DeliveryExpired, "timeout"},
		{"cut off in a very short attempt", hang(), time.Millisecond, 1, bell.DeliveryExpired, "timeout"},
		{"no time for a retry", slowly(time.Second, script(bell.RetryThrottled)), 2 * time.Second, 1, bell.DeliveryFailed, "retry_throttled"},
		{"accepted at the last moment", slowly(2*time.Second-1, script()), 2 * time.Second, 1, bell.DeliveryAccepted, "accepted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				b.on("d", test.reply)
				rings := b.rings(1, bell.APNsVoIP, "d")
				pass(ringTime - test.before)
				b.begin(t, rings)
				b.finish(t)
				got := b.store.row("d/1")
				if got.State != test.state || got.Reason != test.reason || b.count() != test.sent {
					t.Errorf("%d sent, %+v", b.count(), got)
				}
				if now := time.Since(b.start); now > ringTime {
					t.Errorf("it took until %v", now)
				}
			})
		})
	}
}

// A place that comes free only after the end of the ring.
func TestDeliveryThatNeverGotAPlaceExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 1 })
		for _, d := range []string{"d1", "d2", "d3"} {
			b.on(d, hang())
		}
		first := b.rings(1, bell.FCM, "d1", "d2", "d3")
		pass(ringTime - 5*time.Second)
		b.begin(t, first)
		b.finish(t)
		reasons := map[string]int{}
		for _, d := range []string{"d1/1", "d2/1", "d3/1"} {
			got := b.store.row(d)
			reasons[string(got.State)+" "+got.Reason]++
		}
		if diff := cmp.Diff(map[string]int{"expired timeout": 1, "expired deadline": 2}, reasons); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeviceWithoutARouteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.nowhere = "d"
		b.begin(t, b.rings(1, bell.FCM, "d", "e"))
		b.finish(t)
		if got := b.store.row("d/1"); got.State != bell.DeliveryFailed || got.Reason != "no_fcm_credential" || got.Attempts != 0 {
			t.Errorf("recorded: %+v", got)
		}
		if got := b.store.row("e/1"); got.State != bell.DeliveryAccepted {
			t.Errorf("recorded: %+v", got)
		}
		if len(b.store.attempts["d/1"]) != 0 {
			t.Errorf("attempts without a route: %v", b.store.attempts["d/1"])
		}
	})
}

func TestAdmissionIsBoundedByRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxInFlight = 5 })
		for _, d := range []string{"a", "b", "c"} {
			b.on(d, slowly(time.Second, script()))
		}
		b.begin(t, b.rings(1, bell.APNsAlert, "a", "b", "c"))
		mixed := append(b.rings(2, bell.APNsAlert, "d", "e", "f"), b.rings(2, bell.FCM, "g")...)
		if err := b.Admit(mixed); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"sending ", "sending ", "failed route_full", "sending "} {
			d := mixed[i].Delivery
			if got := string(d.State) + " " + d.Reason; got != want || d.State.Final() != (d.LeaseOwner == "") {
				t.Errorf("%s is %q, held by %q, want %q", d.ID, got, d.LeaseOwner, want)
			}
		}
		if err := b.Admit(b.rings(3, bell.APNsAlert, "h", "i")); bell.KindOf(err) != bell.Overload {
			t.Errorf("a call without room for any device was taken: %v", err)
		}
		if err := b.Admit(nil); err != nil {
			t.Errorf("nothing was refused: %v", err)
		}
		if got := b.metric(t, "planetbell_deliveries_in_flight"); got != 6 {
			t.Errorf("in flight = %v, want 6", got)
		}
		b.Start(mixed[2:3]) // refused: it must not ring
		b.Dismiss(mixed)
		pass(time.Second)
		b.checkEmpty(t)
		if b.count() != 3 {
			t.Errorf("%d attempts left, want 3", b.count())
		}
		if got := b.metric(t, "planetbell_deliveries_dropped_total", "full"); got != 3 {
			t.Errorf("dropped = %v, want 3", got)
		}
		b.finish(t)
		if err := b.Admit(b.rings(4, bell.FCM, "j")); bell.KindOf(err) != bell.Unavailable {
			t.Errorf("a stopped engine took a delivery: %v", err)
		}
	})
}

func TestOneDeliveryIsStartedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", slowly(time.Second, script()))
		rings := b.rings(1, bell.APNsVoIP, "d")
		b.begin(t, rings)
		b.begin(t, rings)
		b.finish(t)
		if got := b.count(); got != 1 {
			t.Errorf("%d attempts left", got)
		}
	})
}

func TestPushesAreHeldForAMomentAndLettersToTheEnd(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Lease = 7 * time.Second })
	now := time.Unix(1_700_000_000, 0)
	for channel, want := range map[bell.Channel]struct {
		state bell.DeliveryState
		until time.Time
	}{
		bell.APNsVoIP: {bell.DeliverySending, now.Add(7 * time.Second)},
		bell.FCM:      {bell.DeliverySending, now.Add(7 * time.Second)},
		bell.LongPoll: {bell.DeliveryPending, now.Add(ringTime)},
	} {
		state, owner, until := b.Hold(&bell.Device{Channel: channel}, now, now.Add(ringTime))
		if state != want.state || owner != "this" || !until.Equal(want.until) {
			t.Errorf("%s: %s by %s until %v", channel, state, owner, until)
		}
	}
}
