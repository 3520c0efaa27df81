package e2e

import (
	"database/sql"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/planet"
)

// callsOnly is for stories that count pushes: nobody is told of a missed call.
func callsOnly(o *stage.Options) {
	configured(func(c *config.Config) { c.Projects[0].MissedCalls.Push = false })(o)
}

// family are a user's phones with apps of one's own, which know notices, and with LINE's,
// which do not.
type family struct {
	iphone, android, mac, line, pc *sim.Phone
}

func (s *scene) family(user string) family {
	own := func(kind sim.PhoneKind, name string) *sim.Phone {
		return s.phoneOf(sim.PhoneRequest{UserID: user, DisplayName: "Bob", Kind: kind, Name: name, Notices: true, Acknowledges: true})
	}
	return family{
		iphone: own(sim.IOS, "iPhone"), android: own(sim.Android, "Android"), mac: own(sim.MacOS, "Mac"),
		line: s.phone(user, sim.Android, "LINE's Android"), pc: s.phone(user, sim.Windows, "LINE's PC"),
	}
}

func (f family) own() []*sim.Phone { return []*sim.Phone{f.iphone, f.android, f.mac} }

// Every way in which a call can go: its outcome, its history, and who is told that it was
// missed.
func TestJourneysOfACall(t *testing.T) {
	t.Parallel()
	s := play(t, func(o *stage.Options) { o.RingTime = 5 * time.Second })
	s.phone("alice", sim.IOS, "Alice's iPhone")
	f := s.family("bob")
	told := 0
	for _, j := range []struct {
		name    string
		plan    sim.Plan
		play    func(c *sim.Call)
		outcome planet.Outcome
		rings   bool // there was a Notify that rang
		missed  bool
	}{
		{name: "answered", plan: sim.Plan{Kind: sim.PlanAnswered, By: "Android"}, outcome: planet.OutcomeCompleted, rings: true},
		{name: "declined", plan: sim.Plan{Kind: sim.PlanDeclined, By: "iPhone"}, outcome: planet.OutcomeDeclined, rings: true},
		{name: "cancelled", play: func(c *sim.Call) { c.Hangup() }, outcome: planet.OutcomeCanceled, rings: true, missed: true},
		{name: "unanswered", outcome: planet.OutcomeMissed, rings: true, missed: true},
		{name: "busy without Notify", plan: sim.Plan{Kind: sim.PlanBusy}, outcome: planet.OutcomeBusy},
		{name: "push error", plan: sim.Plan{EditNotify: withoutParam}, outcome: planet.OutcomePushFailed, missed: true},
	} {
		c := s.call("alice", "bob", j.plan)
		if j.play != nil {
			j.play(c)
		}
		s.over(c)
		story := s.settled(c.SessionID())
		if story.Call.Outcome != j.outcome || story.Call.State != bell.CallEnded || len(story.Deliveries) > 0 != j.rings {
			t.Errorf("%s: %s, %q with %d deliveries", j.name, story.Call.State, story.Call.Outcome, len(story.Deliveries))
		}
		if !j.missed {
			continue
		}
		told++
		s.told(f, told, c.SessionID())
		if at := stamp(t, f.mac.Notices()[told-1].Fields["app_called_at"]); j.rings && !at.Equal(story.Call.NotifiedAt.Truncate(time.Millisecond)) {
			t.Errorf("%s: the call is said to be of %v, and was of %v", j.name, at, story.Call.NotifiedAt)
		}
	}
	s.nobodyElse(f, told)
	if got := s.calls("bob"); len(got) != 6 {
		t.Errorf("the history has %d calls, want the 6 that were made, and no notices", len(got))
	}
}

// withoutParam makes a Notify that is refused.
func withoutParam(params []planet.RawParam) (kept []planet.RawParam) {
	for _, p := range params {
		if p.Name != "param" {
			kept = append(kept, p)
		}
	}
	return kept
}

// An event that overtakes its Notify: the call never rings, and was missed all the same, once.
func TestTheEventOfAMissedCallOvertakesNotify(t *testing.T) {
	t.Parallel()
	s := play(t)
	f := s.family("bob")
	const sid = "7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a02"
	for _, cb := range []struct {
		name   string
		values url.Values
	}{
		{"call-event", callEvent(sid, "demo-service", "bob")},
		{"notify", notify(sid, "demo-service", "bob")},
		{"call-event", callEvent(sid, "demo-service", "bob")},
	} {
		if a := s.callback(s.project(), cb.name, cb.values); a.status != http.StatusOK {
			t.Errorf("%s was answered %d", cb.name, a.status)
		}
	}
	s.told(f, 1, sid)
	if story := s.story(sid); len(story.Deliveries) != 0 || story.Call.Outcome != planet.OutcomeCanceled || story.Call.NotifiedAt.IsZero() {
		t.Errorf("the record has %d deliveries, outcome %q, Notify at %v", len(story.Deliveries), story.Call.Outcome, story.Call.NotifiedAt)
	}
	s.nobodyElse(f, 1)
}

// A notice that was on its way when the server stopped goes on with the next one.
func TestANoticeGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) { c.ShutdownTimeout = 4 * time.Second }))
	f := s.family("bob")
	for _, fault := range []string{"fcm", "apns-production"} {
		if err := s.World.SetFault(fault, sim.Answer{Hang: true}, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := s.call("alice", "bob", sim.Plan{})
	c.Hangup()
	s.over(c)
	s.await("the notice is recorded", func() bool { return len(s.story(c.SessionID()).Notices) == 1 })
	s.stop()
	s.World.ClearFaults()
	s.start()
	s.told(f, 1, c.SessionID())
	s.nobodyElse(f, 1)
}

// A process that dies between the end of a call and its notice leaves the call marked: the
// next one tells of it, and of one that was told before nothing.
func TestACrashBeforeAMissedCallIsTold(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly)
	f := s.family("bob")
	c := s.call("alice", "bob", sim.Plan{})
	c.Hangup()
	s.over(c)
	s.stop()
	s.mark(c.SessionID())
	s.Config.Projects[0].MissedCalls.Push = true
	s.start()
	s.told(f, 1, c.SessionID())

	s.stop()
	s.mark(c.SessionID())
	s.start()
	s.await("the repeat is noticed", func() bool {
		return s.metric(`planetbell_notices_total{purpose="missed_call",result="repeated"}`) == 1
	})
	if story := s.story(c.SessionID()); len(story.Notices) != 1 || len(story.Notices[0].Deliveries) != 4 {
		t.Errorf("the notices are %+v", story.Notices)
	}
	s.nobodyElse(f, 1)
}

// mark marks a call as missed in the file of a stopped server.
func (s *scene) mark(sid planet.SessionID) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.Config.Database.Path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	r, err := db.ExecContext(s.ctx, "UPDATE calls SET missed_at = ? WHERE session_id = ?", time.Now().UnixMicro(), string(sid))
	if err != nil {
		s.t.Fatal(err)
	}
	if n, _ := r.RowsAffected(); n != 1 {
		s.t.Fatalf("%d calls were marked", n)
	}
}

// A project that does not want it tells nobody.
func TestMissedCallsAreNotTold(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly)
	f := s.family("bob")
	c := s.call("alice", "bob", sim.Plan{})
	c.Hangup()
	s.over(c)
	second := s.call("alice", "bob", sim.Plan{Kind: sim.PlanDeclined, By: "Mac"})
	s.over(second)
	s.nobodyElse(f, 0)
	if n := s.story(c.SessionID()).Notices; len(n) != 0 {
		t.Errorf("%d notices", len(n))
	}
}

// A call whose event never comes is lost, and an event that comes later ends it all the same.
func TestALostCall(t *testing.T) {
	t.Parallel()
	s := play(t, func(o *stage.Options) { o.RingTime = 2 * time.Second }, configured(func(c *config.Config) { c.Calls.LostAfter = 2 * time.Second }))
	s.phone("bob", sim.Android, "Android")
	const sid = "7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a03"
	if a := s.callback(s.project(), "notify", notify(sid, "demo-service", "bob")); a.status != http.StatusOK {
		t.Fatalf("Notify was answered %d", a.status)
	}
	s.await("the call is lost", func() bool { return s.story(sid).Call.State == bell.CallLost })
	s.says(sid, "lost", "bob's ANDROID device was told", "its Call Event has not come")
	if a := s.callback(s.project(), "call-event", callEvent(sid, "demo-service", "bob")); a.status != http.StatusOK {
		t.Fatalf("the Call Event was answered %d", a.status)
	}
	if c := s.story(sid).Call; c.State != bell.CallEnded || c.Outcome != planet.OutcomeCanceled {
		t.Errorf("it is %s, %q", c.State, c.Outcome)
	}
}

// told waits until the family's own apps were told of n missed calls, the last of them sid,
// and looks at what they were told and at what the operator sees.
func (s *scene) told(f family, n int, sid planet.SessionID) {
	s.t.Helper()
	via := map[string]string{"iPhone": "apns", "Android": "fcm", "Mac": "poll"}
	for _, p := range f.own() {
		notices, err := p.AwaitNotices(s.ctx, n)
		if err != nil {
			s.t.Fatalf("%s was told of %d missed calls, want %d", p.Name(), len(notices), n)
		}
		got := notices[n-1]
		for key, want := range map[string]string{
			"app_event": "missed_call", "app_call_session_id": string(sid), "app_caller_uid": "alice", "app_callee_uid": "bob",
		} {
			if got.Fields[key] != want {
				s.t.Errorf("%s was told %s=%q, want %q", p.Name(), key, got.Fields[key], want)
			}
		}
		if got.Via != via[p.Name()] || got.Fields["app_session_id"] == string(sid) {
			s.t.Errorf("%s was told by %s, under the ID %q", p.Name(), got.Via, got.Fields["app_session_id"])
		}
	}
	var notice console.Notice
	s.await("all three have acknowledged the notice", func() bool {
		all := s.story(sid).Notices
		if len(all) == 0 {
			return false
		}
		notice = all[0]
		received := 0
		for _, d := range notice.Deliveries {
			if d.State == bell.DeliveryReceived {
				received++
			}
			if d.Channel == bell.APNsVoIP {
				s.t.Error("a missed call was sent as a VoIP push")
			}
		}
		return received == 3
	})
	if notice.Purpose != bell.PurposeMissedCall || notice.To.UserID != "bob" {
		s.t.Errorf("the notice is %+v", notice)
	}
}

// nobodyElse checks that nobody was told more, that LINE's own apps noticed nothing, and
// that no phone got what it cannot use.
func (s *scene) nobodyElse(f family, n int) {
	s.t.Helper()
	for _, p := range s.World.Phones() {
		want := 0
		for _, own := range f.own() {
			if own == p {
				want = n
			}
		}
		if got := len(p.Notices()); got != want {
			s.t.Errorf("%s was told of %d missed calls, want %d", p.Name(), got, want)
		}
		for _, r := range p.Received() {
			if r.Err != nil && !strings.Contains(r.Err.Error(), "RELEASED_CALL") {
				s.t.Errorf("%s got what it cannot use: %v", p.Name(), r.Err)
			}
		}
		if st := p.Stats(); st.Spins != 0 {
			s.t.Errorf("%s spins", p.Name())
		}
	}
}

// calls is the operator's list of a user's calls.
func (s *scene) calls(user string) []console.Call {
	s.t.Helper()
	var list console.CallList
	s.admin(http.MethodGet, "/admin/v1/calls?user_id="+user, "", &list)
	return list.Calls
}

// stamp reads Unix milliseconds.
func stamp(t *testing.T, text string) time.Time {
	t.Helper()
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Errorf("%q is no time", text)
	}
	return time.UnixMilli(ms).UTC()
}
