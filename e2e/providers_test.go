package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// deliveryBy is a call's only delivery over a channel.
func deliveryBy(t *testing.T, story console.CallStory, channel bell.Channel) console.Delivery {
	t.Helper()
	var found []console.Delivery
	for _, d := range story.Deliveries {
		if d.Channel == channel {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the call has %d deliveries by %s, want 1", len(found), channel)
	}
	return found[0]
}

func reasons(d console.Delivery) []string {
	var words []string
	for _, a := range d.Attempts {
		words = append(words, a.Reason)
	}
	return words
}

// One push service that hangs or breaks keeps no other device waiting, and the operator
// sees what became of each attempt.
func TestOneProviderIsDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault   string
		answer  sim.Answer
		down    bell.Channel
		healthy []string
		reasons []string // any of them, for each attempt
	}{
		{"fcm", sim.Answer{Hang: true}, bell.FCM, []string{"iPhone", "PC"}, []string{"timeout", "cancelled"}},
		{"apns-production", sim.Answer{Hang: true}, bell.APNsVoIP, []string{"Android", "PC"}, []string{"timeout", "cancelled"}},
		{"apns-production", sim.Answer{Close: true}, bell.APNsVoIP, []string{"Android", "PC"}, []string{"connection_lost", "dial", "cancelled", "reset", "goaway"}},
		{"oauth", sim.Answer{Hang: true}, bell.FCM, []string{"iPhone", "PC"}, []string{"UNAUTHENTICATED", "oauth_timeout", "cancelled"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			s := play(t)
			s.phone("bob", sim.IOS, "iPhone")
			s.phone("bob", sim.Android, "Android")
			s.phone("bob", sim.Windows, "PC")
			s.World.FCM.ForgetAccessTokens()
			if err := s.World.SetFault(c.fault, c.answer, 0); err != nil {
				t.Fatal(err)
			}
			call := s.call("alice", "bob", sim.Plan{})
			for _, name := range c.healthy {
				s.rang(s.World.Phone(name), 1)
			}
			s.await("the healthy devices' deliveries are recorded", func() bool {
				return states(s.story(call.SessionID()))[bell.DeliveryAccepted] == 2
			})
			call.Hangup()
			s.over(call)
			var down console.Delivery
			s.await("an attempt is recorded", func() bool {
				down = deliveryBy(t, s.settled(call.SessionID()), c.down)
				return len(down.Attempts) > 0
			})
			if down.State != bell.DeliveryWithdrawn && down.State != bell.DeliveryFailed {
				t.Errorf("the delivery is %s", down.State)
			}
			for _, a := range down.Attempts {
				if !slices.Contains(c.reasons, a.Reason) || a.Detail == "" {
					t.Errorf("attempt %d has reason %q and detail %q, want one of %q", a.Number, a.Reason, a.Detail, c.reasons)
				}
			}
			if n := len(s.World.Phone(map[bell.Channel]string{bell.FCM: "Android", bell.APNsVoIP: "iPhone"}[c.down]).Received()); n != 0 {
				t.Errorf("the device behind the broken service got %d calls", n)
			}
		})
	}
}

// A push service that is unwell for a moment is asked again inside the ring.
func TestARetryInsideTheRingRings(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone, android := s.phone("bob", sim.IOS, "iPhone"), s.phone("bob", sim.Android, "Android")
	for fault, answer := range map[string]sim.Answer{
		"apns-production": {Status: http.StatusServiceUnavailable, Reason: "ServiceUnavailable"},
		"fcm":             {Status: http.StatusServiceUnavailable, Reason: "UNAVAILABLE"},
	} {
		if err := s.World.SetFault(fault, answer, 2); err != nil {
			t.Fatal(err)
		}
	}
	c := s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
	s.rang(android, 1)
	story := s.settled(c.SessionID())
	for channel, word := range map[bell.Channel]string{bell.APNsVoIP: "ServiceUnavailable", bell.FCM: "UNAVAILABLE"} {
		d := deliveryBy(t, story, channel)
		if got := reasons(d); d.State != bell.DeliveryAccepted || len(got) != 3 || got[0] != word || got[1] != word {
			t.Errorf("%s: the delivery is %s after %q, want accepted after two times %s", channel, d.State, got, word)
		}
	}
	c.Hangup()
	s.over(c)
}

// A refusal is recorded in the provider's own word, and is not repeated. Proof that the app
// is gone forgets its push token, and the operator sees why; what may be our own mistake
// forgets nothing.
func TestARefusalIsRecorded(t *testing.T) {
	t.Parallel()
	t.Run("another topic", func(t *testing.T) {
		t.Parallel()
		s := play(t, configured(func(c *config.Config) { c.Projects[0].APNs[0].BundleID = "com.example.another" }))
		s.phone("bob", sim.IOS, "iPhone")
		s.refused(bell.APNsVoIP, "DeviceTokenNotForTopic", http.StatusBadRequest)
	})
	t.Run("an uninstalled iOS app", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		s.phone("bob", sim.IOS, "iPhone").Uninstall()
		s.forgotten(bell.APNsVoIP, "Unregistered", http.StatusGone)
	})
	t.Run("an uninstalled Android app", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		s.phone("bob", sim.Android, "Android").Uninstall()
		s.forgotten(bell.FCM, "UNREGISTERED", http.StatusNotFound)
	})
	t.Run("a revoked service account", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		s.phone("bob", sim.Android, "Android")
		s.World.FCM.Revoke(true)
		s.World.FCM.ForgetAccessTokens()
		c := s.call("alice", "bob", sim.Plan{})
		d := deliveryBy(t, s.settled(c.SessionID()), bell.FCM)
		if d.State != bell.DeliveryFailed || len(d.Attempts) == 0 || d.Attempts[len(d.Attempts)-1].Alarm != bell.AlarmPage {
			t.Errorf("the delivery is %s after %q, want failed with an alarm", d.State, reasons(d))
		}
	})
}

// refused calls bob, whose only device is refused with the reason, twice.
func (s *scene) refused(channel bell.Channel, reason string, status int) {
	s.t.Helper()
	for range 2 {
		s.refusedOnce(channel, reason, status)
	}
	if n := s.reachable("bob"); n != 1 {
		s.t.Errorf("bob has %d devices, want the refused one still", n)
	}
}

// forgotten calls bob, whose only device is refused with proof that it is gone, and then
// again, when nothing is left to ring.
func (s *scene) forgotten(channel bell.Channel, reason string, status int) {
	s.t.Helper()
	s.refusedOnce(channel, reason, status)
	s.await("the push token is forgotten", func() bool { return s.reachable("bob") == 0 })
	d := s.devices("bob")
	if len(d) != 1 || d[0].ForgottenFor != reason || d[0].PushTokenFingerprint != "" {
		s.t.Errorf("the operator sees %+v, want one device, forgotten for %s", d, reason)
	}
	c := s.call("alice", "bob", sim.Plan{})
	if n := len(s.story(c.SessionID()).Deliveries); n != 0 {
		s.t.Errorf("a forgotten device was rung: %d deliveries", n)
	}
	c.Hangup()
	s.over(c)
}

func (s *scene) refusedOnce(channel bell.Channel, reason string, status int) {
	s.t.Helper()
	c := s.call("alice", "bob", sim.Plan{})
	d := deliveryBy(s.t, s.settled(c.SessionID()), channel)
	if d.State != bell.DeliveryFailed || d.Reason != reason || len(d.Attempts) != 1 || d.Attempts[0].Status != status {
		s.t.Errorf("the delivery is %s (%q) after %+v, want failed (%q) after one attempt", d.State, d.Reason, d.Attempts, reason)
	}
	c.Hangup()
	s.over(c)
	if got := s.story(c.SessionID()).Call.Outcome; got != planet.OutcomeCanceled {
		s.t.Errorf("the outcome is %q, want canceled", got)
	}
}

// A device that was registered for the wrong APNs server rings all the same: the other one
// is tried once, remembered, and shown to the operator. The next call goes there at once.
func TestAWrongAPNsServerIsRepaired(t *testing.T) {
	t.Parallel()
	for said, guessed := range map[string]bool{"production": false, "": true} {
		t.Run("said "+said, func(t *testing.T) {
			t.Parallel()
			s := play(t)
			token := sim.APNsTokenPrefix + strings.Repeat("0b", 26)
			s.World.Sandbox.Register(token, s.World.Settings().BundleID+".voip", nil)
			body := fmt.Sprintf(`{"project":"demo","user_id":"bob","channel":"apns_voip","push_token":%q,"apns_server":%q}`, token, said)
			if status := s.admin(http.MethodPost, "/admin/v1/devices", body, nil); status != http.StatusCreated {
				t.Fatalf("add a device: %d", status)
			}
			if d := s.devices("bob")[0]; d.APNsServer != bell.APNsProduction || d.APNsServerGuessed != guessed {
				t.Fatalf("registered as %+v", d)
			}
			for call, want := range [][]string{{"BadDeviceToken", ""}, {""}} {
				c := s.call("alice", "bob", sim.Plan{})
				d := deliveryBy(t, s.settled(c.SessionID()), bell.APNsVoIP)
				if got := reasons(d); d.State != bell.DeliveryAccepted || !slices.Equal(got, want) {
					t.Errorf("call %d: the delivery is %s after %q, want accepted after %q", call+1, d.State, got, want)
				}
				s.await("the server is remembered", func() bool { return s.devices("bob")[0].APNsServer == bell.APNsSandbox })
				c.Hangup()
				s.over(c)
			}
			if d := s.devices("bob")[0]; d.APNsServerGuessed || !d.APNsServerConfirmed {
				t.Errorf("the operator sees %+v, want a confirmed server", d)
			}
			if n := s.metric(`planetbell_apns_server_repaired_total{to="sandbox"}`); n != 1 {
				t.Errorf("%v repairs are counted, want 1", n)
			}
		})
	}
}
