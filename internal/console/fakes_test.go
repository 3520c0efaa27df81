package console_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// noon is when the tests take place.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

var adminToken = planet.Secret(testlog.TextSecret("admin-token-of-the-tests"))

const (
	phone = "0198f000-0000-7000-8000-000000000001"
	pad   = "0198f000-0000-7000-8000-000000000002"
	poll  = "0198f000-0000-7000-8000-000000000003"
	sid   = planet.SessionID("9a1b2c3d-0000-4000-8000-00000000000a")
)

// fake is every service; a test sets what it expects to be asked. What is not set and
// asked all the same fails the test.
type fake struct {
	t        testing.TB
	devices  func(f device.Filter, after string, limit int) ([]bell.Device, error)
	add      func(p *bell.Project, n device.NewDevice) (bell.Device, error)
	remove   func(id string) error
	calls    func(f call.Filter, before call.Cursor, limit int) ([]bell.Call, error)
	show     func(ctx context.Context, e planet.Environment, id planet.SessionID) (call.Record, error)
	journal  func(id planet.SessionID) ([]bell.JournalEntry, error)
	rooms    func(f room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error)
	run      func(e planet.Environment, id planet.SessionID) (bell.RoomRun, error)
	people   func(run *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error)
	mint     func(p *bell.Project, userID string) (planet.Secret, error)
	notices  []bell.Call   // of every call
	about    []call.Filter // for which they were asked
	projects []*bell.Project
	events   console.Events
	rules    *policy.Rules // of everybody
	rulesErr error
	audit    fakeAudit
	watch    call.Watch

	fakeFigures
}

// fakeAudit keeps what was done, oldest first.
type fakeAudit struct {
	mu      sync.Mutex
	entries []audit.Entry
	fail    error
}

func (f *fakeAudit) Audit(_ context.Context, e audit.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.entries = append(f.entries, e)
	return nil
}

func (f *fakeAudit) AuditLog(_ context.Context, filter audit.Filter, before audit.Cursor, limit int) ([]audit.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	var found []audit.Entry
	for _, e := range slices.Backward(f.entries) {
		past := !before.At.IsZero() && (e.At.After(before.At) || e.At.Equal(before.At) && e.ID >= before.ID)
		if len(found) < limit && !past && (filter.Who == "" || filter.Who == e.Who) && (filter.Outcome == "" || filter.Outcome == e.Outcome) {
			found = append(found, e)
		}
	}
	return found, nil
}

func (f *fake) RulesOf(context.Context, *bell.Project, string) (policy.Rules, error) {
	return *f.rules, f.rulesErr
}

func (f *fake) ReplaceRules(_ context.Context, p *bell.Project, userID string, rules policy.Rules) error {
	if p.Name != "main" || userID != "bob" {
		f.t.Errorf("rules of %s in %s are replaced", userID, p.Name)
	}
	*f.rules = rules
	return f.rulesErr
}

func (f *fake) List(_ context.Context, filter device.Filter, after string, limit int) ([]bell.Device, error) {
	return f.devices(filter, after, limit)
}

func (f *fake) Add(_ context.Context, p *bell.Project, n device.NewDevice) (bell.Device, error) {
	return f.add(p, n)
}
func (f *fake) Remove(_ context.Context, id string) error { return f.remove(id) }

func (f *fake) MintFor(_ context.Context, p *bell.Project, userID string) (planet.Secret, error) {
	return f.mint(p, userID)
}
func (f *fake) All() []*bell.Project { return f.projects }

func (f *fake) ByName(name string) (*bell.Project, bool) {
	for _, p := range f.projects {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// fakeCalls keeps the two List methods apart.
type fakeCalls struct{ *fake }

func (f fakeCalls) List(_ context.Context, filter call.Filter, before call.Cursor, limit int) ([]bell.Call, error) {
	if filter.About != "" && f.notices == nil {
		return nil, nil
	}
	if filter.About != "" {
		f.about = append(f.about, filter)
		return f.notices, nil
	}
	return f.calls(filter, before, limit)
}

func (f fakeCalls) Show(ctx context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
	return f.show(ctx, e, id)
}

func (f fakeCalls) JournalOf(_ context.Context, id planet.SessionID) ([]bell.JournalEntry, error) {
	return f.journal(id)
}

// fakeRooms keeps the List methods apart.
type fakeRooms struct{ *fake }

func (f fakeRooms) List(_ context.Context, filter room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error) {
	return f.rooms(filter, before, limit)
}

func (f fakeRooms) Show(_ context.Context, e planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
	return f.run(e, id)
}

func (f fakeRooms) People(_ context.Context, run *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error) {
	return f.people(run, after, limit)
}

func newFake(t testing.TB) *fake {
	return &fake{t: t, projects: []*bell.Project{
		{
			Name: "main", Environment: planet.Evaluation, ServiceID: "bell-eval", EnvironmentLabel: "evaluation",
			APIKey: "key", APISecret: planet.Secret(testlog.HexSecret(1, 64)),
			ClientKey:      planet.Secret(testlog.TextSecret("client-key")),
			CallbackSecret: planet.Secret(testlog.HexSecret(2, 32)),
		},
		{Name: "live", Environment: planet.Real, ServiceID: "bell-real", EnvironmentLabel: "real"},
	}}
}

func (f *fake) services() console.Services {
	return console.Services{
		Devices: f, Calls: fakeCalls{f}, Rooms: fakeRooms{f}, Tokens: f, Projects: f, Events: f.events, Rules: f,
		Figures: f, Window: f, Trials: f, Route: func(d *bell.Device) string { return f.routes[d.ID] },
		Watch: &f.watch, Audit: &f.audit,
	}
}

func testConfig() console.Config {
	return console.Config{
		Token: adminToken, Hosts: []string{"Admin.Example.com"}, PublicURL: "https://bell.example.com/",
		Version: "v0.0.1-test", Now: func() time.Time { return noon },
		Channels: func(p *bell.Project) []bell.Channel {
			if p.Name == "main" {
				return []bell.Channel{bell.APNsVoIP, bell.LongPoll}
			}
			return nil
		},
	}
}

func newHandler(t testing.TB, f *fake, config console.Config) http.Handler {
	return console.New(config, f.services(), testlog.New(t), prometheus.NewRegistry())
}

// ask sends one request with the admin token and returns the answer, which is kept to be
// searched for secrets.
func ask(t testing.TB, h http.Handler, method, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8081"
	r.RemoteAddr = "127.0.0.1:50000"
	r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	noSecrets(t, method+" "+r.Pattern, w.Body.String())
	checkContract(t, r, w)
	return w
}

func noSecrets(t testing.TB, what, text string) {
	t.Helper()
	for _, canary := range []string{testlog.Hex, testlog.Text} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows a secret", what)
			return
		}
	}
	testlog.Keep(t, what, text)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(w.Body.String()))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode the answer %d: %v", w.Code, err)
	}
	return v
}

// wantProblem checks an error answer: status, kind, and a part of its sentence.
func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, kind, part string) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	p := decode[console.Problem](t, w)
	if p.Status != status || p.Kind != kind || !strings.Contains(p.Detail, part) || p.Title == "" {
		t.Errorf("problem %+v, want kind %s and a detail with %q", p, kind, part)
	}
}

// golden compares text with a file under testdata.
func golden(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// indented makes JSON readable in a golden file.
func indented(t testing.TB, body io.Reader) string {
	t.Helper()
	var v json.RawMessage
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func phoneOf(user string) bell.Device {
	return bell.Device{
		ID: phone, Owner: bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "bell-eval", UserID: user}},
		Project: "main", SessionID: "session-1", AppType: "IOS", AppVersion: "2.1", AppID: "com.example.bell",
		Channel: bell.APNsVoIP, PushToken: planet.Secret(testlog.HexSecret(7, 64)),
		APNsServer: bell.APNsProduction, APNsServerGuessed: true,
		RegisteredAt: noon.Add(-48 * time.Hour), LastSeenAt: noon.Add(-time.Minute),
	}
}
