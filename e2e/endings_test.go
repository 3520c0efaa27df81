package e2e

import (
	"bytes"
	"database/sql"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look at what the server wrote

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// However a call ends, the operator sees how, and nothing of its cc_param is left.
func TestHowCallsEnd(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.phone("bob", sim.IOS, "iPhone")
	mac := s.phone("bob", sim.MacOS, "Mac")
	var params []planet.CCParam
	for _, e := range []struct {
		plan    sim.Plan
		outcome planet.Outcome
		devices int
	}{
		{sim.Plan{Kind: sim.PlanAnswered, By: "Mac"}, planet.OutcomeCompleted, 2},
		{sim.Plan{Kind: sim.PlanDeclined, By: "iPhone"}, planet.OutcomeDeclined, 2},
		{sim.Plan{Kind: sim.PlanUnanswered}, planet.OutcomeCanceled, 2}, // hung up below
		{sim.Plan{Kind: sim.PlanBusy}, planet.OutcomeBusy, 0},
	} {
		before := len(mac.Received())
		c := s.call("alice", "bob", e.plan)
		if e.plan.Kind == sim.PlanUnanswered {
			s.rang(mac, before+1)
			c.Hangup()
		}
		r := s.over(c)
		for _, event := range r.Events {
			if !event.OK() {
				t.Errorf("%s: the Call Event was answered %d %s", e.plan.Kind, event.Status, event.Err)
			}
		}
		story := s.settled(c.SessionID())
		if story.Call.Outcome != e.outcome || story.Call.State != bell.CallEnded || len(story.Deliveries) != e.devices {
			t.Errorf("%s: the record says %s, %q with %d deliveries, want %q with %d", e.plan.Kind,
				story.Call.State, story.Call.Outcome, len(story.Deliveries), e.outcome, e.devices)
		}
		params = append(params, c.CCParam())
	}
	s.stop()
	s.erased(params...)
}

// A call that nobody answers is missed. A call whose end is never reported rings no
// longer than the ring, and then its cc_param is erased too.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	s := play(t, func(o *stage.Options) { o.RingTime = 2 * time.Second })
	s.phone("bob", sim.IOS, "iPhone")
	c := s.call("alice", "bob", sim.Plan{})
	s.over(c)
	if got := s.story(c.SessionID()).Call.Outcome; got != planet.OutcomeMissed {
		t.Errorf("the outcome is %q, want missed", got)
	}

	pc := s.phone("carol", sim.Windows, "PC")
	s.leave(pc)
	const sid = "7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a01"
	if a := s.callback(s.project(), "notify", notify(sid, "demo-service", "carol")); a.status != http.StatusOK {
		t.Fatalf("Notify was answered %d", a.status)
	}
	story := s.settled(sid)
	if len(story.Deliveries) != 1 || story.Deliveries[0].State != bell.DeliveryExpired {
		t.Errorf("the deliveries are %v, want one expired", states(story))
	}
	s.stop()
	s.erased(c.CCParam(), planet.CCParam(testlog.CCParam(1)))
}

// The end of a call withdraws what was still to be sent: no phone rings for a call that
// is over.
func TestTheEndWithdrawsWhatIsStillToBeSent(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	android := s.phone("bob", sim.Android, "Android")
	pc := s.phone("bob", sim.Windows, "PC")
	s.leave(pc)
	if err := s.World.SetFault("fcm", sim.Answer{Hang: true}, 0); err != nil {
		t.Fatal(err)
	}
	first := s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
	s.await("the iPhone's delivery is recorded", func() bool {
		return states(s.story(first.SessionID()))[bell.DeliveryAccepted] == 1
	})
	first.Hangup()
	s.over(first)
	story := s.settled(first.SessionID())
	for _, d := range story.Deliveries {
		want := bell.DeliveryWithdrawn
		if d.Channel == bell.APNsVoIP {
			want = bell.DeliveryAccepted
		}
		if d.State != want {
			t.Errorf("the delivery by %s is %s, want %s", d.Channel, d.State, want)
		}
	}

	// The next call comes after everything that could still have been sent.
	s.World.ClearFaults()
	second := s.call("alice", "bob", sim.Plan{})
	pc.ResumePolling()
	for _, p := range []*sim.Phone{android, pc} {
		if got := s.rang(p, 1); len(got) != 1 || got[0].Call.CCParam != second.CCParam().Reveal() {
			t.Errorf("%s got %d calls, want the second one only", p.Name(), len(got))
		}
	}
	second.Hangup()
	s.over(second)
	s.stop()
	s.erased(first.CCParam(), second.CCParam())
}

// A Call Event that overtakes its Notify wins: the call is over, and nothing rings.
func TestTheEventOvertakesNotify(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	const sid = "7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a02"
	for _, cb := range []struct {
		name   string
		values url.Values
	}{{"call-event", callEvent(sid, "demo-service", "bob")}, {"notify", notify(sid, "demo-service", "bob")}} {
		if a := s.callback(s.project(), cb.name, cb.values); a.status != http.StatusOK {
			t.Errorf("%s was answered %d", cb.name, a.status)
		}
	}
	story := s.settled(sid)
	if len(story.Deliveries) != 0 || story.Call.Outcome != planet.OutcomeCanceled || story.Call.NotifiedAt.IsZero() {
		t.Errorf("the record has %d deliveries, outcome %q, Notify at %v", len(story.Deliveries), story.Call.Outcome, story.Call.NotifiedAt)
	}
	c := s.call("alice", "bob", sim.Plan{})
	if got := s.rang(iphone, 1); len(got) != 1 || got[0].Call.CCParam != c.CCParam().Reveal() {
		t.Errorf("the iPhone got %d calls, want the second one only", len(got))
	}
	c.Hangup()
	s.over(c)
	s.stop()
	s.erased(c.CCParam(), planet.CCParam(testlog.CCParam(1)))
}

// erased looks into the files of a stopped server for secrets of calls that are over.
func (s *scene) erased(params ...planet.CCParam) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.Config.Database.Path+"?mode=ro")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var kept, calls int
	if err := db.QueryRowContext(s.ctx, "SELECT count(*), count(nullif(cc_param, '')) FROM calls").Scan(&calls, &kept); err != nil {
		s.t.Fatal(err)
	}
	if calls < len(params) || kept != 0 {
		s.t.Errorf("%d of %d calls still have their cc_param", kept, calls)
	}
	files, err := filepath.Glob(s.Config.Database.Path + "*")
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no database files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		for i, p := range params {
			if bytes.Contains(data, []byte(p.Reveal())) {
				s.t.Errorf("%s still holds the bytes of cc_param %d", filepath.Base(file), i+1)
			}
		}
	}
}
