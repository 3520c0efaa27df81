package e2e

import (
	"net/http"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// A page with a service worker rings by Web Push: the push is decrypted and its call verified,
// and the operator sees that the browser has it. A subscription that is gone is forgotten, and
// a push service that sends elsewhere is not followed.
func TestABrowserRingsByWebPush(t *testing.T) {
	t.Parallel()
	t.Run("received", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		for _, profile := range sim.PushProfiles() {
			s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.Browser, Name: string(profile), PushProfile: profile})
		}
		n := len(sim.PushProfiles())
		for calls := 1; calls <= 2; calls++ {
			c := s.call("alice", "bob", sim.Plan{})
			for _, p := range s.World.Phones() {
				if got := s.rang(p, calls)[calls-1]; !got.Rang || got.Via != "webpush" || got.Call.CallerUserID != "alice" {
					t.Errorf("%s rings: %v, %v, for a call from %q", p.Name(), got.Rang, got.Err, got.Call.CallerUserID)
				}
			}
			s.await("all browsers have said so", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryReceived] == n })
			for _, d := range s.settled(c.SessionID()).Deliveries {
				if r := d.Receipt; d.Channel != bell.WebPush || r == nil || r.Channel != bell.WebPush || len(d.Attempts) != 1 {
					t.Errorf("the delivery by %s after %q has the receipt %+v", d.Channel, reasons(d), r)
				}
			}
			c.Hangup()
			s.over(c)
		}
		// Notices of the missed calls come beside them.
		if got := s.World.WebPush.Stats(); got.Tokens != 1 || got.Accepted < uint64(2*n) || len(got.Rejected) != 0 {
			t.Errorf("%+v, want %d pushes or more with one token", got, 2*n)
		}
	})
	t.Run("page open", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		page := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.Browser, Name: "page", Streams: true})
		s.await("the page holds its stream", func() bool { return s.metric("planetbell_streams_open") == 1 })
		if err := s.World.AddFault("webpush", sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: "600"}); err != nil {
			t.Fatal(err)
		}
		c := s.call("alice", "bob", sim.Plan{})
		if got := s.rang(page, 1)[0]; !got.Rang || got.Via != "stream" {
			t.Errorf("while the push service is away the open page rings: %v by %s, %v", got.Rang, got.Via, got.Err)
		}
		s.await("the page has said so", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryReceived] >= 1 })
		if d := deliveryBy(t, s.settled(c.SessionID()), bell.LongPoll); d.State != bell.DeliveryReceived || d.Receipt == nil {
			t.Errorf("over the stream the delivery is %s, receipt %+v", d.State, d.Receipt)
		}
		c.Hangup()
		s.over(c)
		s.World.ClearFaults()
		c = s.call("alice", "bob", sim.Plan{}) // both come, in whatever order, and it rings once
		s.rang(page, 2)
		s.await("both ways are over", func() bool { return len(s.settled(c.SessionID()).Deliveries) == 2 })
		if got := len(page.Received()); got != 2 {
			t.Errorf("the page rang %d times for two calls", got)
		}
		c.Hangup()
		s.over(c)
	})
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		for profile, proof := range map[sim.PushProfile]int{sim.PushChrome: http.StatusGone, sim.PushWNS: http.StatusNotFound} {
			s := play(t)
			s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.Browser, Name: "page", PushProfile: profile}).Uninstall()
			c := s.call("alice", "bob", sim.Plan{})
			d := deliveryBy(t, s.settled(c.SessionID()), bell.WebPush)
			if d.State != bell.DeliveryFailed || len(d.Attempts) != 1 || d.Attempts[0].Status != proof {
				t.Errorf("%s: the delivery is %s after %q", profile, d.State, reasons(d))
			}
			s.await("the subscription is forgotten", func() bool { return s.reachable("bob") == 0 })
			c.Hangup()
			s.over(c)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		page := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.Browser, Name: "page"})
		if err := s.World.AddFault("webpush", sim.Fault{Kind: sim.FaultRedirect}); err != nil {
			t.Fatal(err)
		}
		c := s.call("alice", "bob", sim.Plan{})
		d := deliveryBy(t, s.settled(c.SessionID()), bell.WebPush)
		if got := s.World.WebPush.Stats(); d.State != bell.DeliveryFailed || got.Followed != 0 || got.Accepted != 0 || s.reachable("bob") != 1 {
			t.Errorf("the delivery is %s after %q, %+v, %d devices can ring", d.State, reasons(d), got, s.reachable("bob"))
		}
		c.Hangup()
		s.over(c)
		s.World.ClearFaults()
		c = s.call("alice", "bob", sim.Plan{})
		s.rang(page, 1)
		c.Hangup()
		s.over(c)
	})
}
