package sim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// apiScene is the Server API with an app server that keeps the callbacks it gets.
type apiScene struct {
	*ServerAPI
	clock  *ManualClock
	secret planet.Secret

	mu        sync.Mutex
	callbacks []url.Values // with "name" and, once the request was answered, "answered"
	arrived   chan struct{}
}

func newAPIScene(t *testing.T) *apiScene {
	t.Helper()
	s := &apiScene{clock: NewManualClock(testNow), secret: planet.Secret(testlog.HexSecret(3, 64)), arrived: make(chan struct{}, 1000)}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		v.Set("name", r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		s.mu.Lock()
		s.callbacks = append(s.callbacks, v)
		s.mu.Unlock()
		s.arrived <- struct{}{}
	}))
	t.Cleanup(app.Close)
	cloud := NewCloud(CloudOptions{Clock: s.clock})
	t.Cleanup(cloud.Close)
	for service, key := range map[string]string{"svc": "key", "other": "other-key"} {
		if err := cloud.AddProject(Project{ServiceID: service, CallbackURL: app.URL + "/cb/x", APIKey: key, APISecret: s.secret}); err != nil {
			t.Fatal(err)
		}
	}
	s.ServerAPI = NewServerAPI(ServerAPIOptions{Cloud: cloud})
	return s
}

// got waits for n callbacks and returns them.
func (s *apiScene) got(t *testing.T, n int) []url.Values {
	t.Helper()
	ctx := testContext(t)
	for range n {
		select {
		case <-s.arrived:
		case <-ctx.Done():
			t.Fatal("a callback did not come")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.callbacks)
}

// ask sends a request as it should be, changed by edit.
func (s *apiScene) ask(method, target, body string, edit func(*http.Request)) answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.SetBasicAuth("key", s.secret.Reveal())
	switch {
	case strings.Contains(target, "/v2/"):
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Content-Type", "application/json")
	case method == http.MethodPost:
		r.Header.Set("Content-Type", "text/plain")
	}
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func (s *apiScene) openRoom(t *testing.T, users ...string) *Room {
	t.Helper()
	room, _, err := s.cloud.OpenRoom(t.Context(), planet.RoomRef{ServiceID: "svc", RoomID: "room"},
		Participant{User: planet.UserRef{ServiceID: "svc", UserID: users[0]}}, planet.VideoCall)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users[1:] {
		room.Join(t.Context(), Participant{User: planet.UserRef{ServiceID: "svc", UserID: u}})
	}
	s.got(t, len(users))
	return room
}

const (
	kickPath      = "/tas/v1/gcall/svc/room/member"
	broadcastPath = "/tas/v1/gcall/svc/room/data/broadcast"
	agentPath     = "/tas/v2/agt_call/audio_caller/svc/bob"
	agentBody     = `{"requestContext":{"userId":"agent","serviceId":"svc"},"mediaSourceType":"STORED_SOURCE",
		"storedSource":{"storedAudioSources":[{"contentId":"abc"}],"playWaitTime":1000,"playCount":2}}`
)

// The documented example of docs/line-planet.md 7.5.
const documentedBody = `{ "requestContext": {"userId":"agent-1","serviceId":"svc"}, "mediaSourceType":"STORED_SOURCE",
  "storedSource": {"storedAudioSources":[{"contentId":"abc"}],"playWaitTime":1000,"playCount":2},
  "recordOnCloud": false, "useResponderPreparation": false }`

func TestServerAPIIsStrict(t *testing.T) {
	s := newAPIScene(t)
	s.openRoom(t, "alice", "bob")
	ids := func(n int) string { return strings.Repeat("u,", n-1) + "u" }
	with := func(old, fresh string) string { return strings.Replace(agentBody, old, fresh, 1) }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		method, target, body string
		edit                 func(*http.Request)
		want                 int
	}{
		{"DELETE", kickPath + "?user_id=carol&reason=Spam", "", nil, 200},
		{"DELETE", kickPath + "?user_id=" + ids(100) + "&reason=x", "", nil, 200},
		{"DELETE", kickPath + "?user_id=" + ids(101) + "&reason=x", "", nil, 400},
		{"DELETE", kickPath + "?user_id=carol", "", nil, 400},
		{"DELETE", kickPath + "?user_id=carol&reason=a-b", "", nil, 400},
		{"DELETE", kickPath + "?user_id=ca;rol&reason=x", "", nil, 400},
		{"DELETE", kickPath + "?reason=x", "", nil, 400},
		{"DELETE", kickPath + "?user_id=a,,b&reason=x", "", nil, 400},
		{"DELETE", kickPath + "?user_id=carol&reason=x", "body", nil, 400},
		{"POST", kickPath + "?user_id=carol&reason=x", "", nil, 400},
		{"DELETE", "/tas/v1/gcall/svc/nobody/member?user_id=carol&reason=x", "", nil, 404},
		{"DELETE", "/tas/v1/gcall/svc/ro%2Fom/member?user_id=carol&reason=x", "", nil, 400},
		{"DELETE", "/tas/v1/gcall/other/room/member?user_id=carol&reason=x", "", nil, 403},
		{"DELETE", kickPath + "?user_id=carol&reason=x", "", header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("key:wrong"))), 401},
		{"DELETE", kickPath + "?user_id=carol&reason=x", "", header("Authorization", "Bearer x"), 401},
		{"DELETE", kickPath + "?user_id=carol&reason=x", "", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"POST", broadcastPath, strings.Repeat("x", 3072), nil, 200},
		{"POST", broadcastPath, strings.Repeat("x", 3073), nil, 400},
		{"POST", broadcastPath, "", nil, 400},
		{"POST", broadcastPath, "x", header("Content-Type", "application/json"), 400},
		{"POST", "/tas/v1/gcall/svc/nobody/data/broadcast", "x", nil, 404},
		{"POST", "/tas/v1/gcall/svc/room/data/multicast", "x", nil, 404},
		{"GET", "/", "", nil, 404},
		{"POST", agentPath, agentBody, nil, 200},
		{"POST", agentPath, documentedBody, nil, 200},
		{"POST", agentPath, agentBody, header("Accept", "text/html"), 400},
		{"POST", agentPath, agentBody, header("Content-Type", "text/plain"), 400},
		{"GET", agentPath, agentBody, nil, 400},
		{"POST", agentPath, with(`"abc"`, `""`), nil, 400},
		{"POST", agentPath, with(`{"storedAudio`, `[{"storedAudio`), nil, 400},
		{"POST", agentPath, `{"requestContext":{"userId":"agent","serviceId":"svc"},"mediaSourceType":"STORED_SOURCE","storedSource":[]}`, nil, 400},
		{"POST", agentPath, with(`"playCount":2`, `"playCount":0`), nil, 400},
		{"POST", agentPath, with(`STORED_SOURCE`, `LIVE`), nil, 400},
		{"POST", agentPath, with(`"agent"`, `"bob"`), nil, 400},
		{"POST", agentPath, with(`"agent"`, `""`), nil, 400},
		{"POST", agentPath, with(`"serviceId":"svc"`, `"serviceId":"other"`), nil, 403},
		{"POST", agentPath, with(`"media`, `"guess":1,"media`), nil, 400},
		{"POST", agentPath, with(`{"req`, `{"appSvrData":"`+strings.Repeat("x", 4095)+`","req`), nil, 200},
		{"POST", agentPath, with(`{"req`, `{"appSvrData":"`+strings.Repeat("x", 4096)+`","req`), nil, 400},
	} {
		before := s.Executed()
		a := s.ask(c.method, c.target, c.body, c.edit)
		if a.status != c.want || (s.Executed() > before) != (c.want == 200) {
			t.Errorf("%s %.80s %.40s: %d %s", c.method, c.target, c.body, a.status, a.body)
		}
		if v2 := strings.Contains(c.target, "/v2/"); v2 != json.Valid([]byte(a.body)) || !v2 && a.body != "" {
			t.Errorf("%s %.80s: body %q", c.method, c.target, a.body) // v1 has none, v2 is JSON
		}
	}
}

// At most 100 in any second, counted by key.
func TestServerAPILimit(t *testing.T) {
	s := newAPIScene(t)
	ask := func() int { return s.ask("POST", "/tas/v1/gcall/svc/nobody/data/broadcast", "x", nil).status }
	for range 50 {
		if got := ask(); got != 404 {
			t.Fatal(got)
		}
	}
	s.clock.Advance(500 * time.Millisecond)
	for range 50 {
		if got := ask(); got != 404 {
			t.Fatal(got)
		}
	}
	if got := ask(); got != 429 {
		t.Errorf("the 101st: %d", got)
	}
	other := s.ask("POST", "/tas/v1/gcall/other/nobody/data/broadcast", "x", func(r *http.Request) { r.SetBasicAuth("other-key", s.secret.Reveal()) })
	if other.status != 404 {
		t.Errorf("another key: %d", other.status)
	}
	s.clock.Advance(500 * time.Millisecond)
	for i := range 51 {
		if got, want := ask(), 404; got != want && (i < 50 || got != 429) {
			t.Errorf("request %d half a second later: %d", i, got)
		}
	}
	if got := ask(); got != 429 {
		t.Errorf("the window does not slide: %d", got)
	}
}

// Kick-out removes those who are there, and tells of each (docs/line-planet.md 7.2).
func TestServerAPIKickOut(t *testing.T) {
	s := newAPIScene(t)
	room := s.openRoom(t, "alice", "bob", "carol")
	if a := s.ask("DELETE", kickPath+"?user_id=bob,nobody,alice&reason=Spam", "", nil); a.status != 200 {
		t.Fatal(a)
	}
	if got := room.Participants(); len(got) != 1 || got[0].UserID != "carol" {
		t.Errorf("in the room: %v", got)
	}
	s.ask("DELETE", kickPath+"?user_id=carol&reason=Bye", "", nil)
	events := s.got(t, 3)[3:]
	slices.SortFunc(events, func(a, b url.Values) int { return strings.Compare(b.Get("online"), a.Get("online")) })
	for i, want := range []string{"bob C 2 Spam", "alice C 1 Spam", "carol E 0 Bye"} {
		e := events[i]
		got := fmt.Sprintf("%s %s %s %s", e.Get("user_id"), e.Get("sc"), e.Get("online"), e.Get("user_rel_code"))
		if got != want || e.Get("msc") != "D" || e.Get("disconnect_reason") != "1110" || e.Get("releaser_type") != "5" || e.Get("name") != "group-call-event" {
			t.Errorf("event %d: %v, want %s", i, e, want)
		}
	}
	if a := s.ask("POST", broadcastPath, "x", nil); a.status != 404 {
		t.Errorf("the room has ended, and takes a message: %d", a.status)
	}
}

// A room that is opened again is another run: the end of the first does not hide it.
func TestServerAPIRoomAgain(t *testing.T) {
	s := newAPIScene(t)
	first := s.openRoom(t, "alice")
	second := s.openRoom(t, "bob")
	first.End(t.Context())
	if a := s.ask("POST", broadcastPath, "hello", nil); a.status != 200 {
		t.Fatal(a)
	}
	if got := second.Messages(); len(got) != 1 || got[0].Text != "hello" || len(got[0].To) != 1 || len(first.Messages()) != 0 {
		t.Errorf("%+v", got)
	}
	second.End(t.Context())
	if a := s.ask("POST", broadcastPath, "hello", nil); a.status != 404 {
		t.Error(a)
	}
}

// The Agent Call Status comes before Notify, before the answer, or after it, with the same
// sid (docs/line-planet.md 3.4 and 7.5).
func TestServerAPIAgentCall(t *testing.T) {
	for _, order := range []StatusOrder{StatusFirst, StatusEarly, StatusAfterward} {
		s := newAPIScene(t)
		s.PlanAgentCalls(AgentPlan{Order: order, Plan: Plan{Kind: PlanCanceled, After: time.Second}})
		a := s.ask("POST", agentPath, strings.Replace(agentBody, `{"req`, `{"appSvrData":"data","req`, 1), nil)
		sid := a.json(t)["data"].(map[string]any)["sid"]
		early := len(s.got(t, 0))
		all := s.got(t, 2)
		if err := s.clock.AwaitWaiters(testContext(t), 1, time.Second); err != nil {
			t.Fatal(err)
		}
		s.clock.Advance(time.Second)
		all = append(all, s.got(t, 1)[2:]...)
		var names []string
		for _, c := range all {
			names = append(names, c.Get("name"))
			if c.Get("sid") != sid {
				t.Errorf("%s has sid %q, want %q", c.Get("name"), c.Get("sid"), sid)
			}
			switch c.Get("name") {
			case "agent-call-status":
				if c.Get("result") != "Success" || c.Get("agent_type") != "AUDIO_CALLER" || c.Get("fail_reason") != "None" {
					t.Errorf("%v", c)
				}
			case "notify":
				if c.Get("from_user_id") != "agent" || c.Get("to_user_id") != "bob" || c.Get("app_svr_data") != "data" {
					t.Errorf("%v", c)
				}
			}
		}
		if order == StatusFirst && names[0] != "agent-call-status" || order == StatusEarly && (early == 0 || !slices.Contains(names[:2], "agent-call-status")) {
			t.Errorf("order %d: %v, %d before the answer", order, names, early)
		}
		if names[2] != "call-event" {
			t.Errorf("order %d: %v", order, names)
		}
	}
}

// A call that cannot be set up: the request was good, the status says why not, and nothing
// rings.
func TestServerAPIAgentCallFails(t *testing.T) {
	s := newAPIScene(t)
	s.PlanAgentCalls(AgentPlan{Order: StatusFirst, FailReason: "Invalid peerId"})
	if a := s.ask("POST", agentPath, agentBody, nil); a.status != 200 {
		t.Fatal(a)
	}
	got := s.got(t, 1)
	if len(got) != 1 || got[0].Get("result") != "Fail" || got[0].Get("fail_reason") != "Invalid peerId" || s.cloud.Active() != 0 {
		t.Errorf("%v", got)
	}
}

// All orders come, by the seed.
func TestServerAPIShuffles(t *testing.T) {
	s := newAPIScene(t)
	seen := map[StatusOrder]int{}
	for range 100 {
		seen[s.agentPlan().Order]++
	}
	if len(seen) != 3 || seen[StatusAnyOrder] != 0 {
		t.Errorf("%v", seen)
	}
	s.cloud.Close()
	if s.cloud.spawn(func(context.Context) { t.Error("works after Close") }) {
		t.Error("spawns after Close")
	}
}
