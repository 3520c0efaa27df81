package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// Devices of an app that acknowledges: the operator sees that each has the call, when and
// how, also when its receipt comes after the end of the call.
func TestTheOperatorSeesWhatWasReceived(t *testing.T) {
	t.Parallel()
	s := play(t)
	channels := map[string]bell.Channel{}
	var phones []*sim.Phone
	for kind, channel := range map[sim.PhoneKind]bell.Channel{sim.IOS: bell.APNsVoIP, sim.Android: bell.FCM, sim.MacOS: bell.LongPoll} {
		p := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: kind, Name: string(kind), Acknowledges: true})
		phones = append(phones, p)
		channels[string(kind)] = channel
	}
	old := s.phone("bob", sim.AndroidLP, "LINE's own app")
	c := s.call("alice", "bob", sim.Plan{})
	for _, p := range append(phones, old) {
		s.rang(p, 1)
	}
	s.await("three devices have said so", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryReceived] == 3 })
	story := s.settled(c.SessionID())
	seen := map[bell.Channel]bool{}
	for _, d := range story.Deliveries {
		if d.State != bell.DeliveryReceived {
			if d.State != bell.DeliveryAccepted || d.Channel != bell.LongPoll || d.Receipt != nil {
				t.Errorf("a device that does not acknowledge is %s by %s, receipt %+v", d.State, d.Channel, d.Receipt)
			}
			continue
		}
		r := d.Receipt
		if r == nil || r.Channel != d.Channel || r.ReceivedAt.Before(story.Call.NotifiedAt) || r.DeviceReceivedAt.IsZero() {
			t.Errorf("the receipt of the delivery by %s is %+v", d.Channel, r)
			continue
		}
		if fcm := d.Channel == bell.FCM; fcm != (r.Priority == "high" && r.OriginalPriority == "high") {
			t.Errorf("by %s: priority %q, originally %q", d.Channel, r.Priority, r.OriginalPriority)
		}
		seen[d.Channel] = true
	}
	if len(seen) != 3 {
		t.Errorf("received by %v", seen)
	}
	if n := s.metric("planetbell_call_to_received_seconds_count"); n != 3 {
		t.Errorf("%v receipts are measured, want 3", n)
	}
	c.Hangup()
	s.over(c)

	// Late, and once more.
	late := s.receipt(old, c.SessionID())
	if late.status != http.StatusOK || s.receipt(old, c.SessionID()).status != http.StatusOK {
		t.Errorf("a late receipt is answered %d %s", late.status, late.body)
	}
	if n := states(s.story(c.SessionID()))[bell.DeliveryReceived]; n != 4 {
		t.Errorf("%d deliveries are received after the late receipt, want 4", n)
	}
	if a := s.receipt(old, "11111111-1111-4111-8111-111111111111"); a.status != http.StatusNotFound || a.envelope(t).Message == "" {
		t.Errorf("a receipt of no call is answered %d %s", a.status, a.body)
	}
	eve := s.phone("eve", sim.Windows, "Eve's PC")
	if a := s.receipt(eve, c.SessionID()); a.status != http.StatusNotFound {
		t.Errorf("a receipt of somebody else's call is answered %d", a.status)
	}
}

// A client that acknowledges and loses the answer to its poll gets the call again: in its
// next poll, and after a restart of the server.
func TestAPollThatLosesItsAnswerGetsTheCallAgain(t *testing.T) {
	t.Parallel()
	s := play(t, configured(shortHold))
	p := s.phone("bob", sim.Windows, "PC")
	s.leave(p)
	c := s.call("alice", "bob", sim.Plan{})
	for range 2 { // the second is held until the call is visible again
		if got := s.polled(p, "?ack=1"); got != c.SessionID() {
			t.Fatalf("the poll got %q", got)
		}
	}
	s.await("the hand-out is on record", func() bool { return len(s.only(c.SessionID()).Attempts) == 1 })
	if d := s.only(c.SessionID()); d.State != bell.DeliveryPending || d.Attempts[0].Reason != "polled" {
		t.Errorf("before its receipt the delivery is %s, its attempt %+v", d.State, d.Attempts[0])
	}

	s.stop()
	s.start()
	if got := s.polled(p, "?ack=1"); got != c.SessionID() {
		t.Fatalf("after the restart the poll got %q", got)
	}
	if a := s.receipt(p, c.SessionID()); a.status != http.StatusOK {
		t.Fatalf("the receipt is answered %d %s", a.status, a.body)
	}
	if got := s.polled(p, "?ack=1"); got != "" {
		t.Errorf("after the receipt a poll got %q", got)
	}
	if d := s.only(c.SessionID()); d.State != bell.DeliveryReceived || len(d.Attempts) != 2 {
		t.Errorf("the delivery is %s with %d attempts, want received with one for each process", d.State, len(d.Attempts))
	}
	c.Hangup()
	s.over(c)
}

// LINE's apps do not recognise a call that they have had, so they get it once, whatever
// becomes of the answer.
func TestAnOfficialClientGetsACallOnce(t *testing.T) {
	t.Parallel()
	s := play(t, configured(shortHold))
	p := s.phone("bob", sim.Windows, "PC")
	s.leave(p)
	c := s.call("alice", "bob", sim.Plan{})
	if got := s.polled(p, ""); got != c.SessionID() {
		t.Fatalf("the poll got %q", got)
	}
	for _, query := range []string{"", "?ack=1"} {
		if got := s.polled(p, query); got != "" {
			t.Errorf("a second poll%s got %q", query, got)
		}
	}
	if d := s.only(c.SessionID()); d.State != bell.DeliveryAccepted || d.Receipt != nil {
		t.Errorf("the delivery is %s, receipt %+v", d.State, d.Receipt)
	}
	c.Hangup()
	s.over(c)
}

// only is the one delivery of a call.
func (s *scene) only(sid planet.SessionID) console.Delivery {
	s.t.Helper()
	story := s.story(sid)
	if len(story.Deliveries) != 1 {
		s.t.Fatalf("%d deliveries, want 1", len(story.Deliveries))
	}
	return story.Deliveries[0]
}

// polled polls once by hand and returns the session of the call that came, "" when none
// did.
func (s *scene) polled(p *sim.Phone, query string) planet.SessionID {
	s.t.Helper()
	a := s.do(s.asClient(p, "notification/lp"+query))
	if a.status == http.StatusServiceUnavailable {
		return ""
	}
	var call struct {
		SessionID planet.SessionID `json:"app_session_id"`
	}
	if err := json.Unmarshal(a.envelope(s.t).Data, &call); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("a poll was answered %d: %v", a.status, err)
	}
	return call.SessionID
}

// receipt sends a receipt of a phone's app by hand.
func (s *scene) receipt(p *sim.Phone, sid planet.SessionID) answer {
	s.t.Helper()
	r := s.request(http.MethodPost, s.App.PublicURL()+"/v2/notification/ack", `{"sid":"`+string(sid)+`"}`)
	r.Header.Set("Authorization", "Bearer "+p.AppToken().Reveal())
	return s.do(r)
}
