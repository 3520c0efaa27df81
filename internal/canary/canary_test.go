package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	every   = time.Minute
	timeout = 15 * time.Second
	ringing = 300 * time.Millisecond // from Notify to the poll's answer
)

var (
	secretPath = testlog.HexSecret(1, 32)
	clientKey  = planet.Secret(testlog.TextSecret("client-key"))
	vouched    = planet.Secret(testlog.TextSecret("vouched"))
)

// fake is a server with one user, who is registered already; it refuses what the real one would.
type fake struct {
	t *testing.T

	mu     sync.Mutex
	token  string
	begun  chan map[string]string             // calls to be polled
	events []string                           // the kinds of what came, in order
	spoil  func(*http.Request) *http.Response // answers instead, unless nil
	change func(map[string]string)            // changes what a device is told
	down   error
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, begun: make(chan map[string]string, 10), change: func(map[string]string) {}}
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	f.mu.Lock()
	spoil, down := f.spoil, f.down
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	f.events = append(f.events, name)
	f.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if spoil != nil {
		if w := spoil(r); w != nil {
			return w, nil
		}
	}
	switch r.URL.Path {
	case "/cb/" + secretPath + "/notify", "/cb/" + secretPath + "/call-event":
		return f.callback(r, name), nil
	case "/v2/register_user":
		return f.register(r), nil
	}
	f.mu.Lock()
	known := f.token != "" && r.Header.Get("Authorization") == "Bearer "+f.token
	f.mu.Unlock()
	switch {
	case !known:
		return reply(401, nil), nil
	case name == "lp":
		return f.poll(r)
	case name == "ack" && fieldsOf(r)["sid"] == "", name == "update_notification_token" && fieldsOf(r)["notificationType"] != "lp":
		return reply(400, nil), nil
	}
	return reply(200, map[string]string{}), nil
}

func fieldsOf(r *http.Request) map[string]any {
	text, _ := r.GetBody()
	all, _ := io.ReadAll(text)
	fields := map[string]any{}
	_ = json.Unmarshal(all, &fields)
	return fields
}

func (f *fake) register(r *http.Request) *http.Response {
	in := fieldsOf(r)
	switch {
	case in["apiKey"] != clientKey.Reveal() || in["userId"] != "callee" || in["serviceId"] != "svc":
		return reply(403, nil)
	case r.Header.Get("Authorization") != "Bearer "+vouched.Reveal():
		return reply(409, nil) // somebody has it
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token = testlog.TextSecret("app-token") + time.Now().String()
	return reply(200, map[string]string{"accessToken": f.token})
}

func (f *fake) callback(r *http.Request, name string) *http.Response {
	if name == "call-event" {
		e, err := planet.ParseCallEvent(r.URL.Query())
		if err != nil || e.Callee.UserID != "callee" {
			f.t.Errorf("Call Event: %v", err)
		}
		f.mu.Lock()
		f.events = append(f.events, string(e.Outcome()))
		f.mu.Unlock()
		return reply(200, nil)
	}
	n, err := planet.ParseNotify(r.URL.Query())
	if err != nil || n.Caller.UserID != "caller" || n.Callee != (planet.UserRef{ServiceID: "svc", UserID: "callee"}) {
		f.t.Errorf("Notify: %+v, %v", n, err)
	}
	if p := n.CCParam.Reveal(); !strings.HasPrefix(p, "+/") || len(p) < 100 {
		f.t.Errorf("a weak cc_param of %d characters", len(p))
	}
	fields := map[string]string{"app_session_id": string(n.SessionID), "cc_param": n.CCParam.Reveal()}
	f.change(fields)
	f.begun <- fields
	return reply(200, nil)
}

func (f *fake) poll(r *http.Request) (*http.Response, error) {
	if r.URL.RawQuery != "ack=1" {
		return reply(400, nil), nil
	}
	select {
	case fields := <-f.begun:
		<-time.After(ringing)
		return reply(200, fields), nil
	case <-time.After(25 * time.Second):
		return reply(503, nil), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func reply(status int, data map[string]string) *http.Response {
	text, _ := json.Marshal(map[string]any{"status": "x", "data": data})
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(text))}
}

// all returns what came since the last time.
func (f *fake) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.events = nil }()
	return f.events
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// yard is a service that runs, with one canary.
type yard struct {
	*fake
	registry *prometheus.Registry
	logs     *bytes.Buffer
	stop     func()
}

func newYard(t *testing.T) *yard {
	y := &yard{fake: newFake(t), registry: prometheus.NewRegistry(), logs: &bytes.Buffer{}}
	s := New(Config{
		APIURL: "https://api", Clients: y.fake, Callbacks: y.fake, Metrics: NewMetrics(y.registry),
		Log: slog.New(slog.NewJSONHandler(io.MultiWriter(y.logs, testlog.Writer(t)), nil)),
		Canaries: []Canary{{
			Name: "c", Every: every, Timeout: timeout, ClientKey: clientKey,
			Caller: planet.UserRef{ServiceID: "svc", UserID: "caller"}, Callee: planet.UserRef{ServiceID: "svc", UserID: "callee"},
			CallbackURL: planet.Secret("https://calls/cb/" + secretPath), Known: func() (planet.Secret, error) { return vouched, nil },
		}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	y.stop = func() { cancel(); <-done }
	return y
}

// round lets one call happen.
func (y *yard) round() {
	<-time.After(every)
	synctest.Wait()
}

func (y *yard) metric(t *testing.T, name, result string) float64 {
	t.Helper()
	families, err := y.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			right := result == ""
			for _, l := range m.GetLabel() {
				right = right || l.GetName() == "result" && l.GetValue() == result
			}
			if f.GetName() == name && right {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0
}

func TestItRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		defer y.stop()
		y.round()
		want := "register_user update_notification_token notify lp ack call-event completed"
		got := strings.Join(y.all(), " ")
		if other := strings.Replace(want, "notify lp", "lp notify", 1); got != want && got != other {
			t.Errorf("requests: %s", got)
		}
		if n := y.metric(t, "planetbell_canary_calls_total", resultOK); n != 1 {
			t.Errorf("%v calls", n)
		}
		if ring := y.metric(t, "planetbell_canary_ring_seconds", ""); ring < ringing.Seconds() || ring > 2*ringing.Seconds() {
			t.Errorf("rang after %v s", ring)
		}
		if last := y.metric(t, "planetbell_canary_last_success_timestamp_seconds", ""); time.Since(time.UnixMilli(int64(last*1000))) > every {
			t.Errorf("last success at %v", last)
		}
		y.round()
		if got := strings.Join(y.all(), " "); strings.Contains(got, "register_user") || !strings.Contains(got, "completed") {
			t.Errorf("the second call: %s", got)
		}
		y.set(func() { y.token = "" }) // has expired
		y.round()
		if got := strings.Join(y.all(), " "); !strings.HasPrefix(got, "update_notification_token register_user update_notification_token ") || !strings.HasSuffix(got, "completed") {
			t.Errorf("with an expired token: %s", got)
		}
		if y.logs.Len() != 0 {
			t.Errorf("logged: %s", y.logs)
		}
	})
}

func refuse(path string, status int) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, path) {
			return reply(status, nil)
		}
		return nil
	}
}

func TestTheFailingHopIsSaid(t *testing.T) {
	tests := map[string]struct {
		spoil  func(y *yard)
		hop    string
		events string // the last of what came
	}{
		"no sign-up":             {func(y *yard) { y.spoil = refuse("register_user", 500) }, hopSignUp, "register_user"},
		"dead public listener":   {func(y *yard) { y.down = errors.New("connection refused") }, hopSignUp, "register_user"},
		"no token update":        {func(y *yard) { y.spoil = refuse("token", 503) }, hopToken, "update_notification_token"},
		"callback refused":       {func(y *yard) { y.spoil = refuse("notify", 403) }, hopNotify, "failed"},
		"poll refused":           {func(y *yard) { y.spoil = refuse("lp", 404) }, hopPoll, "failed"},
		"nothing rings":          {func(y *yard) { y.spoil = refuse("notify", 200) }, hopPoll, "failed"},
		"cc_param in lower case": {func(y *yard) { y.change = func(f map[string]string) { f["cc_param"] = strings.ToLower(f["cc_param"]) } }, hopCCParam, "failed"},
		"no cc_param":            {func(y *yard) { y.change = func(f map[string]string) { delete(f, "cc_param") } }, hopCCParam, "failed"},
		"receipt refused":        {func(y *yard) { y.spoil = refuse("ack", 404) }, hopReceipt, "failed"},
		"call event refused":     {func(y *yard) { y.spoil = refuse("call-event", 503) }, hopCallEvent, "call-event"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t)
				defer y.stop()
				start := float64(time.Now().UnixMilli()) / 1000
				y.set(func() { test.spoil(y) })
				y.round()
				if events := y.all(); events[len(events)-1] != test.events {
					t.Errorf("came: %v", events)
				}
				if n := y.metric(t, "planetbell_canary_calls_total", test.hop); n != 1 {
					t.Errorf("%v failures at %s", n, test.hop)
				}
				if ok, last := y.metric(t, "planetbell_canary_calls_total", resultOK), y.metric(t, "planetbell_canary_last_success_timestamp_seconds", ""); ok != 0 || last != start {
					t.Errorf("%v went well, the last at %v", ok, last)
				}
				text := y.logs.String()
				if !strings.Contains(text, `"level":"WARN"`) || !strings.Contains(text, `"hop":"`+test.hop+`"`) || strings.Count(text, "\n") != 1 {
					t.Errorf("logged: %s", text)
				}
				for _, secret := range []string{testlog.Text, testlog.Hex, "https://", "+/"} {
					if strings.Contains(text, secret) {
						t.Errorf("%q is in the log", secret)
					}
				}
				y.set(func() { y.spoil, y.down, y.change = nil, nil, func(map[string]string) {} })
				y.round()
				if !strings.Contains(y.logs.String(), `"level":"INFO","msg":"the canary's call rang"`) {
					t.Errorf("its recovery is not said: %s", y.logs)
				}
			})
		})
	}
}

// What an earlier call left does not stand for this one.
func TestAnEarlierCallIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		defer y.stop()
		y.begun <- map[string]string{"app_session_id": "old", "cc_param": "x"}
		y.round()
		if n := y.metric(t, "planetbell_canary_calls_total", resultOK); n != 1 {
			t.Errorf("%v calls went well: %v", n, y.all())
		}
	})
}

// A stop in the middle of a call is no failure, and leaves nothing.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.set(func() { y.spoil = refuse("notify", 200) })
		<-time.After(firstWithin + time.Second)
		y.stop()
		if y.logs.Len() != 0 || y.metric(t, "planetbell_canary_calls_total", hopPoll) != 0 {
			t.Errorf("logged: %s", y.logs)
		}
		if events := y.all(); events[len(events)-1] != "failed" {
			t.Errorf("the call is not ended: %v", events)
		}
	})
}
