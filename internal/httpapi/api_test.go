package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The secrets of the tests. All hold canaries.
var (
	callbackSecret = testlog.HexSecret(1, 32)
	clientKey      = testlog.TextSecret("client-key")
	appToken       = testlog.TextSecret("app-token")
	gatewayToken   = testlog.TextSecret("gateway-token")
	pushToken      = testlog.TextSecret("push-token")
	ccParam        = testlog.CCParam(7)
)

const (
	service = "my-service"
	sid     = "6364e8b3-bdac-436e-9631-0bce2498ce0c"
)

// The fakes: structs with function fields.

type accounts struct {
	signUp       func(context.Context, account.SignUp) (planet.Secret, error)
	authenticate func(context.Context, planet.Secret) (bell.Identity, error)
	accessToken  func(context.Context, bell.Identity) (planet.Secret, error)
}

func (f accounts) SignUp(ctx context.Context, in account.SignUp) (planet.Secret, error) {
	return f.signUp(ctx, in)
}

func (f accounts) Authenticate(ctx context.Context, t planet.Secret) (bell.Identity, error) {
	return f.authenticate(ctx, t)
}

func (f accounts) AccessToken(ctx context.Context, id bell.Identity) (planet.Secret, error) {
	return f.accessToken(ctx, id)
}

type devices struct {
	register    func(context.Context, bell.Identity, device.Description) (device.Notice, error)
	updateToken func(context.Context, bell.Identity, device.Address) (device.Notice, error)
	polling     func(context.Context, bell.Identity, bool) (string, error)
	deviceOf    func(context.Context, bell.Identity) (string, error)
}

func (f devices) Register(ctx context.Context, id bell.Identity, d device.Description) (device.Notice, error) {
	return f.register(ctx, id, d)
}

func (f devices) UpdateToken(ctx context.Context, id bell.Identity, a device.Address) (device.Notice, error) {
	return f.updateToken(ctx, id, a)
}

func (f devices) Polling(ctx context.Context, id bell.Identity, notices bool) (string, error) {
	return f.polling(ctx, id, notices)
}

func (f devices) DeviceOf(ctx context.Context, id bell.Identity) (string, error) {
	return f.deviceOf(ctx, id)
}

type receipts struct {
	receive func(context.Context, bell.Receipt) error
	over    func(planet.SessionID) bool // nil: none is
}

func (f receipts) Receive(ctx context.Context, r bell.Receipt) (bell.Arrival, error) {
	return bell.Arrival{Over: f.over != nil && f.over(r.SessionID)}, f.receive(ctx, r)
}

type calls struct {
	ring    func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error)
	end     func(context.Context, *bell.Project, planet.CallEvent) error
	journal func(context.Context, *bell.Project, call.JournalItem) error
}

func (f calls) Ring(ctx context.Context, p *bell.Project, n planet.NotifyCallback) (call.RingResult, error) {
	return f.ring(ctx, p, n)
}

func (f calls) End(ctx context.Context, p *bell.Project, e planet.CallEvent) error {
	return f.end(ctx, p, e)
}

func (f calls) Journal(ctx context.Context, p *bell.Project, item call.JournalItem) error {
	return f.journal(ctx, p, item)
}

type history struct {
	history func(context.Context, call.HistoryQuery) (call.HistoryPage, error)
}

func (f history) History(ctx context.Context, q call.HistoryQuery) (call.HistoryPage, error) {
	return f.history(ctx, q)
}

type rooms struct {
	take   func(context.Context, *bell.Project, planet.GroupCallEvent) error
	invite func(context.Context, *bell.Project, room.Request) (room.Invited, error)
}

func (f rooms) Take(ctx context.Context, p *bell.Project, e planet.GroupCallEvent) error {
	return f.take(ctx, p, e)
}

func (f rooms) Invite(ctx context.Context, p *bell.Project, r room.Request) (room.Invited, error) {
	return f.invite(ctx, p, r)
}

type mailbox struct {
	wait   func(context.Context, bell.Poll) (*bell.Letter, error)
	stream func(context.Context, *bell.Stream, func(bell.StreamEvent) bool) error
}

func (f mailbox) Stream(ctx context.Context, s *bell.Stream, write func(bell.StreamEvent) bool) error {
	return f.stream(ctx, s, write)
}

func (f mailbox) Wait(ctx context.Context, poll bell.Poll) (*bell.Letter, error) {
	return f.wait(ctx, poll)
}

// world is a listener with fakes behind it, all of which work well until a test
// replaces them. Set what differs, then call do.
type world struct {
	t        testing.TB
	config   httpapi.Config
	project  *bell.Project
	accounts accounts
	devices  devices
	calls    calls
	history  history
	rooms    rooms
	mailbox  mailbox
	receipts receipts
	rules    *rules
	expires  time.Duration // from now until the app token does; 0: never
	webPush  *webPush
	registry *prometheus.Registry

	once    sync.Once
	handler http.Handler
	log     lockedBuffer
}

// lockedBuffer holds what was logged; servers log from other goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, registry: prometheus.NewRegistry()}
	w.config = httpapi.Config{SignUpsPerMinute: -1, MissesPerMinute: -1}
	w.project = &bell.Project{
		Name: "demo", Environment: planet.Evaluation, ServiceID: service, EnvironmentLabel: "evaluation",
		ClientKey: planet.Secret(clientKey), CallbackSecret: planet.Secret(callbackSecret), AppTokenLifetime: time.Hour,
	}
	w.accounts = accounts{
		signUp: func(context.Context, account.SignUp) (planet.Secret, error) { return planet.Secret(appToken), nil },
		authenticate: func(_ context.Context, token planet.Secret) (bell.Identity, error) {
			if token.Reveal() != appToken {
				return bell.Identity{}, bell.E(bell.Unauthorized, "The app token is not valid or has expired; register again.", nil)
			}
			return w.identity(), nil
		},
		accessToken: func(context.Context, bell.Identity) (planet.Secret, error) { return planet.Secret(gatewayToken), nil },
	}
	w.devices = devices{
		register: func(context.Context, bell.Identity, device.Description) (device.Notice, error) {
			return device.Notice{}, nil
		},
		updateToken: func(context.Context, bell.Identity, device.Address) (device.Notice, error) {
			return device.Notice{}, nil
		},
		polling:  func(context.Context, bell.Identity, bool) (string, error) { return "device-1", nil },
		deviceOf: func(context.Context, bell.Identity) (string, error) { return "device-1", nil },
	}
	w.rules, w.webPush = &rules{}, &webPush{}
	w.receipts = receipts{receive: func(context.Context, bell.Receipt) error { return nil }}
	w.calls = calls{
		ring: func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) {
			return call.RingResult{Devices: 2}, nil
		},
		end:     func(context.Context, *bell.Project, planet.CallEvent) error { return nil },
		journal: func(context.Context, *bell.Project, call.JournalItem) error { return nil },
	}
	w.history = history{history: func(context.Context, call.HistoryQuery) (call.HistoryPage, error) {
		return call.HistoryPage{}, nil
	}}
	w.rooms = rooms{
		take: func(context.Context, *bell.Project, planet.GroupCallEvent) error { return nil },
		invite: func(_ context.Context, _ *bell.Project, r room.Request) (room.Invited, error) {
			return room.Invited{Users: len(r.Users), Devices: 2 * len(r.Users)}, nil
		},
	}
	w.mailbox = mailbox{wait: func(context.Context, bell.Poll) (*bell.Letter, error) {
		return letter(func(bool) {}), nil
	}, stream: func(_ context.Context, _ *bell.Stream, write func(bell.StreamEvent) bool) error {
		write(bell.StreamEvent{Kind: bell.StreamOpened})
		return nil
	}}
	t.Cleanup(w.noSecretsLogged)
	return w
}

func (w *world) identity() bell.Identity {
	var expires time.Time
	if w.expires > 0 {
		expires = time.Now().Add(w.expires)
	}
	return bell.Identity{
		ExpiresAt: expires,
		SessionID: "session-1", Project: w.project,
		Owner: bell.Owner{Environment: w.project.Environment, User: planet.UserRef{ServiceID: service, UserID: "alice"}},
	}
}

func letter(done func(bool)) *bell.Letter {
	return &bell.Letter{SessionID: sid, Payload: planet.Notification{
		CCParam: planet.CCParam(ccParam), Caller: planet.UserRef{ServiceID: service, UserID: "alice"},
		Callee: planet.UserRef{ServiceID: service, UserID: "bob"}, Type: planet.AudioCall, EnvironmentLabel: "evaluation",
		SessionID: sid, SentAt: time.UnixMilli(1_700_000_000_000), ExpiresAt: time.UnixMilli(1_700_000_055_000),
	}, Done: done}
}

// start returns the handler.
func (w *world) start() http.Handler {
	w.once.Do(func() {
		projects, err := bell.NewProjects([]*bell.Project{w.project})
		if err != nil {
			w.t.Fatal(err)
		}
		out := io.MultiWriter(testlog.Writer(w.t), &w.log)
		log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w.handler = httpapi.New(w.config, httpapi.Services{
			Projects: projects, Accounts: w.accounts, Devices: w.devices, Calls: w.calls, History: w.history, Rooms: w.rooms,
			Mailbox: w.mailbox, Receipts: w.receipts, Rules: w.rules, WebPush: w.webPush,
		}, log, w.registry)
	})
	return w.handler
}

// restart makes the next request meet a new server with the services as they are now.
func (w *world) restart() {
	w.once = sync.Once{}
	w.registry = prometheus.NewRegistry()
}

// noSecretsLogged searches every line of the test.
func (w *world) noSecretsLogged() {
	for line := range strings.Lines(w.log.String()) {
		for _, canary := range []string{testlog.Hex, testlog.Text, "/cb/" + callbackSecret[:8]} {
			if strings.Contains(line, canary) {
				w.t.Errorf("a log line holds a secret: %s", line)
			}
		}
	}
}

// metric returns a counter's or gauge's value, summed over the labels.
func (w *world) metric(name string) (sum float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// lines returns the request lines logged so far.
func (w *world) lines() []map[string]any {
	var all []map[string]any
	for text := range strings.Lines(w.log.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.t.Fatalf("log line %q: %v", text, err)
		}
		if line["msg"] == "request" {
			all = append(all, line)
		}
	}
	return all
}

// reply is an answer with its envelope.
type reply struct {
	*http.Response
	body     []byte
	envelope struct {
		Status    string
		Message   string
		Code      string
		Data      map[string]any
		Timestamp int64
	}
}

func (r *reply) data(key string) string {
	s, _ := r.envelope.Data[key].(string)
	return s
}

// do makes a request and holds the answer against the contract. headers are name and
// value by turns.
func (w *world) do(method, target, body string, headers ...string) *reply {
	w.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) *reply {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.start().ServeHTTP(rec, r)
	out := &reply{Response: rec.Result(), body: rec.Body.Bytes()}
	if strings.HasPrefix(out.Header.Get("Content-Type"), "application/json") && len(out.body) > 0 {
		if err := json.Unmarshal(out.body, &out.envelope); err != nil {
			w.t.Errorf("%s: answer %q: %v", r.Method, out.body, err)
		}
	}
	checkContract(w.t, r, out)
	return out
}

// as makes the header of an app token.
func as(token string) []string { return []string{"Authorization", "Bearer " + token} }

// cb is the path of a callback with the right secret.
func cb(kind string) string { return "/cb/" + callbackSecret + "/" + kind }

// notifyQuery is a good Notify.
func notifyQuery() string {
	return "?sid=" + sid + "&from_service_id=" + service + "&from_user_id=alice&to_service_id=" + service +
		"&to_user_id=bob&type=A&param=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(ccParam)
}

// want fails the test unless the answer is an error envelope, or a success, of status.
func (r *reply) want(t testing.TB, status int) {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("status %d, want %d; body %s", r.StatusCode, status, r.body)
	}
	wantStatus, wantCode := "success", ""
	if status >= 400 {
		wantStatus, wantCode = "error", fmt.Sprint(status)
	}
	if r.envelope.Status != wantStatus || r.envelope.Code != wantCode {
		t.Errorf("envelope has status %q and code %q, want %q and %q", r.envelope.Status, r.envelope.Code, wantStatus, wantCode)
	}
	if status >= 400 {
		testlog.Keep(t, "message", r.envelope.Message)
	}
}
