package sim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var (
	alice = planet.UserRef{ServiceID: "svc", UserID: "alice"}
	bob   = planet.UserRef{ServiceID: "svc", UserID: "bob"}
)

// hit is a callback as the app server saw it.
type hit struct {
	path  string
	query string
}

// values decodes the query.
func (h hit) values(t *testing.T) url.Values {
	t.Helper()
	v, err := url.ParseQuery(h.query)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cloudRig is a cloud with a small app server.
type cloudRig struct {
	*Cloud
	t     *testing.T
	clock *ManualClock
	hits  chan hit

	mu     sync.Mutex
	status map[string]int // by the last word of the path; 0 is 200
	block  chan struct{}  // notify waits for it, if there is one
}

func newCloudRig(t *testing.T, o CloudOptions) *cloudRig {
	t.Helper()
	r := &cloudRig{t: t, clock: NewManualClock(testNow), hits: make(chan hit, 1000), status: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
		r.mu.Lock()
		status, block := r.status[name], r.block
		r.mu.Unlock()
		r.hits <- hit{q.URL.Path, q.URL.RawQuery}
		if block != nil && name == "notify" {
			select {
			case <-block:
			case <-q.Context().Done():
			}
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(max(status, 200))
	}))
	t.Cleanup(srv.Close)
	o.Clock = r.clock
	r.Cloud = NewCloud(o)
	t.Cleanup(r.Close)
	if err := r.AddProject(Project{ServiceID: "svc", CallbackURL: srv.URL + "/cb/" + testlog.TextSecret("path") + "/"}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *cloudRig) next() hit {
	r.t.Helper()
	select {
	case h := <-r.hits:
		return h
	case <-testContext(r.t).Done():
		r.t.Fatal("no callback came")
		return hit{}
	}
}

func (r *cloudRig) place(p Plan) *Call {
	r.t.Helper()
	call, err := r.Place(CallRequest{Caller: alice, Callee: bob, Plan: p})
	if err != nil {
		r.t.Fatal(err)
	}
	return call
}

// pass moves the clock by d once somebody waits for exactly that.
func (r *cloudRig) pass(d time.Duration) {
	r.t.Helper()
	if err := r.clock.AwaitWaiters(testContext(r.t), 1, d); err != nil {
		r.t.Fatalf("nobody waits for %v", d)
	}
	r.clock.Advance(d)
}

func (r *cloudRig) end(c *Call) CallReport {
	r.t.Helper()
	select {
	case <-c.Done():
	case <-testContext(r.t).Done():
		r.t.Fatal("the call does not end")
	}
	return c.Report()
}

// eventOf parses a Call Event with the public parser.
func (r *cloudRig) eventOf(h hit) planet.CallEvent {
	r.t.Helper()
	if !strings.HasSuffix(h.path, "/call-event") {
		r.t.Fatalf("the callback is %s", h.path[strings.LastIndex(h.path, "/"):])
	}
	e, err := planet.ParseCallEvent(h.values(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *cloudRig) verify(phone string, c *Call) *Leg {
	r.t.Helper()
	l, err := r.Verify(phone, bob, c.CCParam().Reveal())
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func TestNotifyOnTheWire(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call, err := r.Place(CallRequest{Caller: alice, Callee: bob, Type: planet.VideoCall, AppServerData: "a b&c=é+/", Plan: Plan{Kind: PlanCanceled, After: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	h := r.next()
	if !strings.HasSuffix(h.path, "/notify") || strings.Contains(h.query, "+") {
		t.Errorf("path ends %q, raw plus %v", h.path[strings.LastIndex(h.path, "/"):], strings.Contains(h.query, "+"))
	}
	var names []string
	for _, pair := range strings.Split(h.query, "&") {
		names = append(names, pair[:strings.Index(pair, "=")])
	}
	want := []string{"from_user_id", "from_service_id", "to_user_id", "to_service_id", "sid", "type", "stid", "app_svr_data", "param"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	n, err := planet.ParseNotify(h.values(t))
	if err != nil {
		t.Fatal(err)
	}
	got := planet.NotifyCallback{
		SessionID: n.SessionID, Caller: n.Caller, Callee: n.Callee, Type: n.Type, CCParam: n.CCParam,
		AppServerData: n.AppServerData, STID: n.STID,
	}
	wantCallback := planet.NotifyCallback{
		SessionID: call.SessionID(), Caller: alice, Callee: bob, Type: planet.VideoCall, CCParam: call.CCParam(),
		AppServerData: "a b&c=é+/", STID: "a b&c=é+/",
	}
	if diff := cmp.Diff(wantCallback, got); diff != "" {
		t.Error(diff)
	}
	r.pass(time.Second)
	r.end(call)
}

func TestCCParamShape(t *testing.T) {
	for range 50 {
		sid := newUUID()
		cc := newCCParam(sid, "A")
		if !strings.HasPrefix(cc, CCParamPrefix) || !strings.Contains(cc, "+") || !strings.Contains(cc, "/") || len(cc) > 1024 {
			t.Fatalf("%d characters, prefix %v", len(cc), strings.HasPrefix(cc, CCParamPrefix))
		}
		b, err := base64.StdEncoding.DecodeString(cc)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if v["sid"] != strings.ToUpper(sid) || !strings.Contains(v["commParam"].(string), `"mpkey":`) {
			t.Error("the sid is not in upper case, or there is no mpkey")
		}
	}
}

// wantEvent is what a Call Event must say.
type wantEvent struct {
	terminate, reason, code, releaser int
	name                              string
	outcome                           planet.Outcome
	start                             time.Duration // since set-up; -1 never connected
	end                               time.Duration
	billing                           int64
}

func (r *cloudRig) checkEvent(e planet.CallEvent, want wantEvent) {
	r.t.Helper()
	got := wantEvent{
		terminate: *e.Release.Terminate, reason: *e.Release.DisconnectReason, code: *e.Release.Code,
		releaser: *e.Release.ReleaserType, name: e.Release.CodeName, outcome: e.Outcome(),
		start: -1, end: e.EndTime.Sub(e.SetupTime), billing: *e.BillingSeconds,
	}
	if !e.StartTime.IsZero() {
		got.start = e.StartTime.Sub(e.SetupTime)
		if e.Duration != got.end-got.start {
			r.t.Errorf("duration %v", e.Duration)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(wantEvent{})); diff != "" {
		r.t.Error(diff)
	}
	if !e.SetupTime.Equal(testNow) || e.Caller != alice || e.Callee != bob || e.CallerAddress == "" {
		r.t.Errorf("event %+v", e)
	}
}

func TestAnsweredCall(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{Kind: PlanAnswered, After: 2 * time.Second, Talk: 5500 * time.Millisecond})
	r.next()
	r.clock.Advance(time.Second)
	one, two := r.verify("one", call), r.verify("two", call)
	if decide, answer, after := one.Plan(); !decide || !answer || after != 2*time.Second {
		t.Errorf("plan %v %v %v", decide, answer, after)
	}
	r.clock.Advance(2 * time.Second)
	if err := one.Answer(); err != nil {
		t.Fatal(err)
	}
	<-two.Done()
	if two.Reason() != 1206 || one.Reason() != 0 {
		t.Errorf("reasons %d and %d", one.Reason(), two.Reason())
	}
	if err := two.Answer(); !errors.Is(err, ErrReleasedCall) {
		t.Errorf("the second answer: %v", err)
	}
	if _, err := r.Verify("three", bob, call.CCParam().Reveal()); !errors.Is(err, ErrReleasedCall) {
		t.Errorf("verify after the answer: %v", err)
	}
	r.pass(5500 * time.Millisecond)
	r.checkEvent(r.eventOf(r.next()), wantEvent{16, 1001, 1, 1, "NORMAL", planet.OutcomeCompleted, 3 * time.Second, 8 * time.Second, 6})
	rep := r.end(call)
	want := []LegReport{
		{Phone: "one", VerifiedAt: testNow.Add(time.Second), Latency: time.Second, Verifications: 1, DisconnectReason: 1001},
		{Phone: "two", VerifiedAt: testNow.Add(time.Second), Latency: time.Second, Verifications: 1, DisconnectReason: 1206},
	}
	if diff := cmp.Diff(want, rep.Legs); diff != "" {
		t.Error(diff)
	}
	if rep.Reason != "NORMAL" || len(rep.Notifies) != 1 || !rep.Notifies[0].OK() || !rep.Events[0].OK() {
		t.Errorf("%+v", rep)
	}
	if got := r.Reports(); len(got) != 1 || got[0].SessionID != call.SessionID() || r.Active() != 0 {
		t.Errorf("%d reports, %d active", len(got), r.Active())
	}
}

func TestCallEnds(t *testing.T) {
	tests := []struct {
		name string
		plan Plan
		live func(*cloudRig, *Call) // after Notify
		want wantEvent
		code string
	}{
		{
			"canceled",
			Plan{Kind: PlanCanceled, After: 3 * time.Second},
			func(r *cloudRig, _ *Call) { r.pass(3 * time.Second) },
			wantEvent{77, 1201, 2, 2, "CANCEL", planet.OutcomeCanceled, -1, 3 * time.Second, 0},
			"CANCEL",
		},
		{
			"canceled by hand",
			Plan{},
			func(_ *cloudRig, c *Call) { c.Hangup(); c.Hangup() },
			wantEvent{77, 1201, 2, 2, "CANCEL", planet.OutcomeCanceled, -1, 0, 0},
			"CANCEL",
		},
		{
			"unanswered",
			Plan{Kind: PlanUnanswered},
			func(r *cloudRig, _ *Call) { r.pass(time.Minute) },
			wantEvent{18, 1203, 5, 2, "NO_ANSWER", planet.OutcomeMissed, -1, time.Minute, 0},
			"NOANSWER",
		},
		{"declined", Plan{Kind: PlanDeclined}, func(r *cloudRig, c *Call) {
			one, two := r.verify("one", c), r.verify("two", c)
			if err := one.Decline(); err != nil {
				r.t.Error(err)
			}
			<-two.Done()
			if two.Reason() != 1207 {
				r.t.Errorf("the other phone ends with %d", two.Reason())
			}
		}, wantEvent{21, 1002, 3, 1, "REJECT", planet.OutcomeDeclined, -1, 0, 0}, "DECLINE"},
		{"ended by the caller", Plan{Kind: PlanAnswered, Talk: time.Second, EndedByCaller: true}, func(r *cloudRig, c *Call) {
			if err := r.verify("one", c).Answer(); err != nil {
				r.t.Error(err)
			}
			r.pass(time.Second)
		}, wantEvent{16, 1001, 1, 2, "NORMAL", planet.OutcomeCompleted, 0, time.Second, 1}, "NORMAL"},
		{"hung up by hand", Plan{Kind: PlanAnswered, Talk: time.Hour}, func(r *cloudRig, c *Call) {
			if err := r.verify("one", c).Answer(); err != nil {
				r.t.Error(err)
			}
			if err := r.clock.AwaitWaiters(testContext(r.t), 1, time.Hour); err != nil {
				r.t.Error(err)
			}
			r.clock.Advance(time.Second)
			c.Hangup()
		}, wantEvent{16, 1001, 1, 2, "NORMAL", planet.OutcomeCompleted, 0, time.Second, 1}, "NORMAL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newCloudRig(t, CloudOptions{})
			call := r.place(tt.plan)
			r.next()
			tt.live(r, call)
			r.checkEvent(r.eventOf(r.next()), tt.want)
			if rep := r.end(call); rep.Reason != tt.code || rep.DisconnectReason != tt.want.reason {
				t.Errorf("%+v", rep)
			}
			if _, err := r.Verify("late", bob, call.CCParam().Reveal()); !errors.Is(err, ErrReleasedCall) {
				t.Errorf("a late verify: %v", err)
			}
		})
	}
}

func TestBusyCallHasNoNotify(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{Kind: PlanBusy})
	r.checkEvent(r.eventOf(r.next()), wantEvent{17, 1202, 4, 1, "USER_BUSY", planet.OutcomeBusy, -1, 0, 0})
	if rep := r.end(call); len(rep.Notifies) != 0 || len(r.hits) != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestDetectBusy(t *testing.T) {
	r := newCloudRig(t, CloudOptions{DetectBusy: true})
	first := r.place(Plan{Kind: PlanAnswered, Talk: time.Minute + time.Second})
	r.next()
	if err := r.verify("one", first).Answer(); err != nil {
		t.Fatal(err)
	}
	if err := r.clock.AwaitWaiters(testContext(t), 1, time.Minute+time.Second); err != nil {
		t.Fatal(err)
	}
	second := r.place(Plan{Kind: PlanAnswered})
	if got := r.end(second); got.Reason != "BUSY" {
		t.Errorf("%+v", got)
	}
	r.next()
	first.Hangup()
	r.end(first)
	r.next()
	third := r.place(Plan{Kind: PlanCanceled, After: time.Second})
	r.pass(time.Second)
	if got := r.end(third); got.Reason != "CANCEL" {
		t.Errorf("the callee is still busy: %+v", got)
	}
}

func TestFailedNotify(t *testing.T) {
	want := wantEvent{127, 1302, 205, 4, "PUSH_ERROR", planet.OutcomePushFailed, -1, 0, 0}
	for _, status := range []int{404, 503, 400, 302} {
		r := newCloudRig(t, CloudOptions{})
		r.status["notify"] = status
		call := r.place(Plan{})
		r.next()
		r.checkEvent(r.eventOf(r.next()), want)
		if rep := r.end(call); rep.Notifies[0].Status != status || rep.Notifies[0].OK() {
			t.Errorf("%+v", rep)
		}
	}
	t.Run("no server", func(t *testing.T) {
		r := newCloudRig(t, CloudOptions{})
		secret := testlog.TextSecret("unreachable")
		if err := r.AddProject(Project{ServiceID: "svc", CallbackURL: "http://127.0.0.1:1/cb/" + secret}); err != nil {
			t.Fatal(err)
		}
		rep := r.end(r.place(Plan{}))
		if rep.Reason != "PUSH_ERROR" || rep.Notifies[0].Err == "" || strings.Contains(rep.Notifies[0].Err, secret) {
			t.Errorf("%+v", rep)
		}
		testlog.Keep(t, "error", rep.Notifies[0].Err)
	})
	t.Run("no answer in time", func(t *testing.T) {
		r := newCloudRig(t, CloudOptions{Timeout: time.Nanosecond})
		rep := r.end(r.place(Plan{}))
		if got := rep.Notifies[0].Err; got != "no answer in time" {
			t.Errorf("error %q", got)
		}
	})
}

// TestCallEventOvertakesNotify: the caller gives up while the app server still thinks.
func TestCallEventOvertakesNotify(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	r.block = make(chan struct{})
	call := r.place(Plan{Kind: PlanCanceled, After: time.Second})
	r.next()
	r.pass(time.Second)
	if e := r.eventOf(r.next()); e.Outcome() != planet.OutcomeCanceled {
		t.Errorf("%+v", e)
	}
	close(r.block)
	if rep := r.end(call); len(rep.Notifies) != 1 || !rep.Notifies[0].OK() {
		t.Errorf("%+v", rep)
	}
}
