package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// The services that the server really has fit.
var (
	_ console.Devices  = (*device.Service)(nil)
	_ console.Calls    = (*call.Service)(nil)
	_ console.Tokens   = (*account.Service)(nil)
	_ console.Projects = (*bell.Projects)(nil)
)

// willing is a fake that says yes to everything.
func willing(t testing.TB) *fake {
	f := newFake(t)
	f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return []bell.Device{phoneOf("bob")}, nil }
	f.add = func(_ *bell.Project, n device.NewDevice) (bell.Device, error) {
		d := phoneOf("bob")
		d.PushToken = n.PushToken
		return d, nil
	}
	f.remove = func(string) error { return nil }
	f.calls = func(call.Filter, call.Cursor, int) ([]bell.Call, error) { return []bell.Call{missedCall()}, nil }
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		return storyOfMissedCall(), nil
	}
	f.journal = func(planet.SessionID) ([]bell.JournalEntry, error) { return journalOfMissedCall(), nil }
	f.mint = func(*bell.Project, string) (planet.Secret, error) { return "for the fuzzer, not secret", nil }
	return f
}

// FuzzHandler sends anything that a client with the token can send. The services never
// fail, so no answer may be the server's fault; and since the body holds a secret,
// wherever the fuzzer puts it, no answer and no log line may repeat it.
func FuzzHandler(f *testing.F) {
	secret := testlog.TextSecret("push-token")
	for _, seed := range [][3]string{
		{"GET", "/admin/v1/devices?limit=5", ""},
		{"GET", "/admin/v1/calls?before=1-a", ""},
		{"GET", "/admin/v1/calls/" + string(sid) + "?environment=real", ""},
		{"DELETE", "/admin/v1/devices/" + phone, ""},
		{"POST", "/admin/v1/devices", `{"project":"main","user_id":"bob","channel":"fcm","push_token":"%s"}`},
		{"POST", "/admin/v1/devices", `{"%s":1}`},
		{"POST", "/admin/v1/devices", `{"project":"main"}%s`},
		{"POST", "/admin/v1/devices", `{"push_token":["%s"]}`},
		{"POST", "/admin/v1/access_tokens", `{"project":"%s","user_id":"alice"}`},
		{"POST", "/admin/v1/access_tokens", `%s`},
		{"PATCH", "/admin", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		path, query, _ := strings.Cut(target, "?")
		r := httptest.NewRequest("GET", "/", strings.NewReader(strings.ReplaceAll(body, "%s", secret)))
		r.Method, r.Host = method, "localhost"
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
		r.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(path, "/debug/") || strings.Contains(target, testlog.Text) {
			return // profiles take their time; a secret in the URL is not this test's
		}
		var log strings.Builder
		h := console.New(testConfig(), willing(t).services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q %q: %d", method, target, w.Code)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Error("no security headers")
		}
		if strings.Contains(w.Body.String(), testlog.Text) || strings.Contains(log.String(), testlog.Text) {
			t.Errorf("%q %q: the answer or the log repeats the secret", method, target)
		}
		kind := w.Header().Get("Content-Type")
		if strings.HasSuffix(kind, "json") && (!json.Valid(w.Body.Bytes()) || !utf8.Valid(w.Body.Bytes())) {
			t.Errorf("%q %q: the answer is not JSON", method, target)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	h := newHandler(t, willing(t), testConfig())
	requests := []struct {
		method, target, body string
		status               int
		change               func(*http.Request)
	}{
		{"GET", "/admin/v1/devices", "", 200, nil},
		{"GET", "/admin/v1/calls/" + string(sid), "", 200, nil},
		{"POST", "/admin/v1/devices", `{"project":"main","user_id":"bob","channel":"fcm","push_token":"x"}`, 201, nil},
		{"DELETE", "/admin/v1/devices/" + phone, "", 204, nil},
		{"GET", "/readyz", "", 200, nil},
		{"GET", "/metrics", "", 200, nil},
		{"GET", "/debug/info", "", 200, nil},
		{"GET", "/nowhere", "", 404, nil},
	}
	var wg sync.WaitGroup
	for range 8 {
		for _, request := range requests {
			wg.Go(func() {
				w := ask(t, h, request.method, request.target, request.body)
				if w.Code != request.status {
					t.Errorf("%s %s: %d, want %d", request.method, request.target, w.Code, request.status)
				}
			})
		}
	}
	wg.Wait()
}

func TestAnswersHoldOnlyWhatTheyShould(t *testing.T) {
	h := newHandler(t, willing(t), testConfig())
	for _, target := range []string{"/admin/v1/devices", "/admin/v1/calls", "/admin/v1/calls/" + string(sid), "/admin/v1/projects"} {
		body := ask(t, h, "GET", target, "").Body.String() // ask looks for secrets
		for _, word := range []string{"cc_param", "<secret>", "app_server_data", "session-1", "their own"} {
			if strings.Contains(body, word) {
				t.Errorf("%s holds %q", target, word)
			}
		}
	}
}

func TestNamesThatAreNotRepeated(t *testing.T) {
	h := newHandler(t, willing(t), testConfig())
	for name, shown := range map[string]bool{
		"user": true, "app_version": true,
		testlog.TextSecret("x"):         false,
		testlog.HexSecret(1, 64):        false,
		"abcdefghijklmnopqrstuvwxyzabc": false,
		"Upper":                         false,
	} {
		inBody := ask(t, h, "POST", "/admin/v1/devices", fmt.Sprintf(`{%q:1}`, name))
		inQuery := ask(t, h, "GET", "/admin/v1/devices?"+name+"=1", "")
		wantProblem(t, inBody, http.StatusBadRequest, "invalid", "There is no field")
		wantProblem(t, inQuery, http.StatusBadRequest, "invalid", "There is no parameter")
		for where, text := range map[string]string{"body": inBody.Body.String(), "query": inQuery.Body.String()} {
			if strings.Contains(text, name) != shown {
				t.Errorf("a wrong name in the %s is repeated: %v, want %v", where, !shown, shown)
			}
		}
	}
}

func TestMetricsMethods(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "x", Help: "x"}, func() float64 { return 1 }))
	h := console.New(testConfig(), willing(t).services(), testlog.New(t), registry)
	if w := ask(t, h, "HEAD", "/metrics", ""); w.Code != http.StatusOK {
		t.Errorf("HEAD /metrics: %d", w.Code)
	}
	if w := ask(t, h, "POST", "/metrics", "{}"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", w.Code)
	}
}
