package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// customer is the customer's own endpoint, which decides about calls.
type customer struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	answer  string
	hangs   chan struct{} // if set, answers wait until it is closed
	callers []string
}

// decides makes the endpoint and the setting that has it asked.
func decides(t *testing.T, timeout time.Duration) (*customer, setting) {
	c := &customer{t: t}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c, configured(func(cfg *config.Config) {
		cfg.Projects[0].PolicyHook = config.PolicyHook{
			URL: c.server.URL + "/" + testlog.TextSecret("path-of-the-hook"), Timeout: timeout, CacheMax: time.Minute,
			Secret: planet.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(testlog.TextSecret("secret-of-the-hook")))),
		}
	})
}

func (c *customer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var question struct {
		Caller struct {
			UserID string `json:"user_id"`
		} `json:"caller"`
	}
	if err != nil || json.Unmarshal(body, &question) != nil || r.Header.Get("Webhook-Signature") == "" {
		c.t.Errorf("the hook is asked in another form: %v", err)
	}
	c.mu.Lock()
	c.callers = append(c.callers, question.Caller.UserID)
	answer, hangs := c.answer, c.hangs
	c.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-r.Context().Done(): // the server has given up
		}
	}
	_, _ = io.WriteString(w, answer) // the server may have given up
}

func (c *customer) says(answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *customer) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.callers...)
}

// as sends a request of the app that a phone has.
func (s *scene) as(p *sim.Phone, method, path, body string) envelope {
	s.t.Helper()
	r := s.request(method, s.App.PublicURL()+path, body)
	r.Header.Set("Authorization", "Bearer "+p.AppToken().Reveal())
	a := s.do(r)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s %s was answered %d", method, path, a.status)
	}
	return a.envelope(s.t)
}

// silent places a call that must not ring, and returns its story once it is over.
func (s *scene) silent(from, to string, why bell.Suppression) console.CallStory {
	s.t.Helper()
	c := s.call(from, to, sim.Plan{})
	if n := c.Report().Notifies[0]; !n.OK() {
		s.t.Errorf("Notify was answered %d %s", n.Status, n.Err)
	}
	story := s.story(c.SessionID())
	if story.Call.Suppressed != why || len(story.Deliveries) > 0 {
		s.t.Errorf("%s calls %s: suppressed %q with %d deliveries, want %q with none", from, to, story.Call.Suppressed, len(story.Deliveries), why)
	}
	c.Hangup()
	s.over(c)
	story = s.story(c.SessionID())
	if story.Call.State != bell.CallEnded || story.Call.Suppressed != why {
		s.t.Errorf("in the end it is %s, suppressed %q", story.Call.State, story.Call.Suppressed)
	}
	return story
}

// Whom a user blocks, and who calls while he wants no calls, hears it ring; nothing rings.
func TestCallsThatAreNotWanted(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) { c.Projects[0].CallRules = true }))
	iphone := s.phone("bob", sim.IOS, "iPhone")
	android := s.phone("bob", sim.Android, "Android")

	s.as(android, http.MethodPost, "/v2/block_user", `{"userId":"eve"}`)
	s.silent("eve", "bob", bell.SuppressBlocked)
	s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
	s.rang(android, 1)
	if data := string(s.as(iphone, http.MethodGet, "/v2/blocked_users", "").Data); !strings.Contains(data, `"userId":"eve"`) {
		t.Errorf("bob's other phone sees %s", data)
	}

	s.as(iphone, http.MethodPost, "/v2/do_not_disturb", `{"on":true}`)
	s.silent("alice", "bob", bell.SuppressDoNotDisturb)
	s.as(iphone, http.MethodPost, "/v2/do_not_disturb", `{"on":false}`)
	s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 2)

	// The operator's way, and rules outlive the server.
	const path = "/admin/v1/users/demo-service/bob/rules"
	var rules console.UserRules
	if status := s.admin(http.MethodGet, path, "", &rules); status != http.StatusOK || len(rules.Blocked) != 1 || rules.DoNotDisturb.On {
		t.Errorf("the operator's view, %d: %+v", status, rules)
	}
	if status := s.admin(http.MethodPut, path, `{"blocked":[{"service_id":"demo-service","user_id":"alice"}]}`, nil); status != http.StatusOK {
		t.Errorf("the operator's change was answered %d", status)
	}
	s.stop()
	s.start()
	s.silent("alice", "bob", bell.SuppressBlocked)
	s.call("eve", "bob", sim.Plan{})
	for _, p := range []*sim.Phone{iphone, android} {
		if got := s.rang(p, 3)[2]; got.Call.CallerUserID != "eve" {
			t.Errorf("%s rings for %s", p.Name(), got.Call.CallerUserID)
		}
		if n := len(p.Received()); n != 3 {
			t.Errorf("%s got %d calls, want 3", p.Name(), n)
		}
	}
}

// Devices are told the name with which the caller registered, and a call that was kept away
// leaves no word of having been missed.
func TestCallersHaveNames(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) {
		c.Projects[0].CallRules, c.Projects[0].CallerNames, c.Projects[0].MissedCalls.Push = true, true, true
	}))
	s.phone("alice", sim.Android, "Alice's")
	pc := s.phone("bob", sim.Windows, "PC")
	s.leave(pc)
	told := func() map[string]string {
		var fields map[string]string
		if err := json.Unmarshal(s.as(pc, http.MethodGet, "/v2/notification/lp?ack=1&notices=1", "").Data, &fields); err != nil {
			t.Fatal(err)
		}
		s.as(pc, http.MethodPost, "/v2/notification/ack", `{"sid":"`+fields["app_session_id"]+`","channel":"lp"}`)
		return fields
	}
	s.as(pc, http.MethodPost, "/v2/do_not_disturb", `{"on":true}`)
	kept := s.silent("alice", "bob", bell.SuppressDoNotDisturb)
	s.as(pc, http.MethodPost, "/v2/do_not_disturb", `{"on":false}`)
	c := s.call("alice", "bob", sim.Plan{})
	if fields := told(); fields["app_caller_name"] != "ALICE" || fields["app_session_id"] != string(c.SessionID()) {
		t.Errorf("the phone is told of %q in call %s, want %s after %s", fields["app_caller_name"], fields["app_session_id"], c.SessionID(), kept.Call.SID)
	}
	c.Hangup()
	s.over(c)
	if fields := told(); fields["app_event"] != "missed_call" || fields["app_call_session_id"] != string(c.SessionID()) || fields["app_caller_name"] != "ALICE" {
		t.Errorf("the phone is told of %q in call %s, want that %s was missed", fields["app_event"], fields["app_call_session_id"], c.SessionID())
	}
}

// Without the setting there are no rules, and calls ring.
func TestRulesThatAreOff(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	r := s.request(http.MethodPost, s.App.PublicURL()+"/v2/block_user", `{"userId":"alice"}`)
	r.Header.Set("Authorization", "Bearer "+iphone.AppToken().Reveal())
	if a := s.do(r); a.status != http.StatusForbidden {
		t.Errorf("answered %d, want 403", a.status)
	}
	s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
}

// The customer's own endpoint keeps a call away, and lets another one ring.
func TestTheCustomerDecides(t *testing.T) {
	t.Parallel()
	hook, asked := decides(t, time.Second)
	s := play(t, asked)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	hook.says(`{"ring":false,"reason":"office hours"}`)
	s.silent("eve", "bob", bell.SuppressPolicy)
	hook.says(`{"ring":true,"caller_name":"Alice A.","app_fields":{"app_avatar":"7"}}`)
	pc := s.phone("bob", sim.Windows, "PC")
	s.leave(pc)
	s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
	var fields map[string]string
	if err := json.Unmarshal(s.as(pc, http.MethodGet, "/v2/notification/lp", "").Data, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["app_caller_name"] != "Alice A." || fields["app_avatar"] != "7" || fields["app_caller_uid"] != "alice" {
		t.Errorf("the phone is told of %q with avatar %q", fields["app_caller_name"], fields["app_avatar"])
	}
	if got := strings.Join(hook.asked(), " "); got != "eve alice" {
		t.Errorf("the hook was asked about calls of %s", got)
	}
	if n := s.metric(`planetbell_calls_suppressed_total{why="policy"}`); n != 1 {
		t.Errorf("%v suppressed calls were counted, want 1", n)
	}
}

// An endpoint that hangs keeps no call from ringing: the phone rings while it still hangs.
func TestTheCustomerHangs(t *testing.T) {
	t.Parallel()
	hook, asked := decides(t, 20*time.Millisecond)
	s := play(t, asked)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	hook.hangs = make(chan struct{})
	hook.says(`{"ring":false}`)
	for n := range 15 { // more than the breaker needs
		s.call("alice", "bob", sim.Plan{})
		s.rang(iphone, n+1)
	}
	close(hook.hangs)
	if n := s.metric(`planetbell_policy_hook_total{project="demo",result="timeout"}`); n < 1 {
		t.Errorf("%v questions timed out", n)
	}
}
