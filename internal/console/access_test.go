package console_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestEveryAdminRouteWantsTheToken(t *testing.T) {
	routes := []string{
		"GET /admin/v1/projects", "GET /admin/v1/devices", "POST /admin/v1/devices",
		"DELETE /admin/v1/devices/" + phone, "GET /admin/v1/calls", "GET /admin/v1/calls/" + string(sid),
		"POST /admin/v1/access_tokens", "GET /debug/info", "GET /debug/pprof/", "GET /debug/pprof/cmdline",
		"GET /debug/pprof/heap", "GET /debug/pprof/profile", "GET /debug/pprof/trace",
		"GET /debug/pprof/symbol", "POST /debug/pprof/symbol",
	}
	for _, route := range routes {
		t.Run(route, func(t *testing.T) {
			method, path, _ := strings.Cut(route, " ")
			h := newHandler(t, newFake(t), testConfig()) // the fake would panic if asked
			w := ask(t, h, method, path, "", func(r *http.Request) { r.Header.Del("Authorization") })
			wantProblem(t, w, http.StatusUnauthorized, "unauthorized", "The admin token is missing")
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Error("the refusal does not say how to authenticate")
			}
			w = ask(t, h, method, path, "", header("Authorization", "Bearer "+adminToken.Reveal()+"x"))
			wantProblem(t, w, http.StatusUnauthorized, "unauthorized", "The admin token is wrong")
		})
	}
}

func TestTokenForms(t *testing.T) {
	token := adminToken.Reveal()
	tests := []struct {
		name   string
		config planet.Secret
		header string
		status int
	}{
		{"bearer", adminToken, "Bearer " + token, http.StatusOK},
		{"scheme in another letter case", adminToken, "bEARER " + token, http.StatusOK},
		{"basic", adminToken, "Basic " + token, http.StatusUnauthorized},
		{"no scheme", adminToken, token, http.StatusUnauthorized},
		{"prefix of the token", adminToken, "Bearer " + token[:len(token)-1], http.StatusUnauthorized},
		{"two spaces", adminToken, "Bearer  " + token, http.StatusUnauthorized},
		{"empty token configured", "", "Bearer ", http.StatusUnauthorized},
		{"short token configured", "short", "Bearer short", http.StatusUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := testConfig()
			config.Token = test.config
			w := ask(t, newHandler(t, newFake(t), config), "GET", "/admin/v1/projects", "", header("Authorization", test.header))
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			if len(test.config) < console.MinToken && !strings.Contains(w.Body.String(), "The admin API is closed") {
				t.Errorf("the refusal does not say that no token is set: %s", w.Body)
			}
		})
	}
}

func TestWithoutTokenOnlyThisMachineIsLetIn(t *testing.T) {
	tests := []struct {
		name, remote, host string
		open               bool
		token              planet.Secret
		status             int
	}{
		{"loopback", "127.0.0.1:5", "127.0.0.1:8081", true, "", 200},
		{"IPv6 loopback", "[::1]:5", "[::1]:8081", true, "", 200},
		{"localhost", "127.0.0.1:5", "localhost:8081", true, "", 200},
		{"elsewhere", "192.0.2.7:5", "127.0.0.1:8081", true, "", 401},
		{"through a proxy here", "127.0.0.1:5", "admin.example.com", true, "", 401},
		{"by another address", "127.0.0.1:5", "192.0.2.1:8081", true, "", 401},
		{"no address", "@", "localhost", true, "", 401},
		{"not allowed", "127.0.0.1:5", "127.0.0.1:8081", false, "", 401},
		{"a token is set", "127.0.0.1:5", "127.0.0.1:8081", true, adminToken, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := testConfig()
			config.Token, config.OpenOnLoopback = test.token, test.open
			w := ask(t, newHandler(t, newFake(t), config), "GET", "/admin/v1/projects", "", func(r *http.Request) {
				r.Header.Del("Authorization")
				r.RemoteAddr, r.Host = test.remote, test.host
			})
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
		})
	}
}

// A proxy on this machine may send the loopback address as Host, as nginx does if it is not told
// otherwise; what it says of its clients gives it away.
func TestWhatCameThroughAProxyIsNotLetIn(t *testing.T) {
	config := testConfig()
	config.Token, config.OpenOnLoopback = "", true
	bare := func(r *http.Request) { r.Header.Del("Authorization") }
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"} {
		h := newHandler(t, newFake(t), config)
		for _, value := range []string{"127.0.0.1", ""} {
			w := ask(t, h, "GET", "/admin/v1/projects", "", bare, header(name, value))
			wantProblem(t, w, http.StatusUnauthorized, "unauthorized", "through a proxy")
			if w := ask(t, h, "GET", "/", "", bare, header(name, value)); w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/signin") {
				t.Errorf("%s: a page is answered %d, %q", name, w.Code, w.Header().Get("Location"))
			}
		}
	}
	if w := ask(t, newHandler(t, newFake(t), config), "GET", "/admin/v1/projects", "", bare); w.Code != http.StatusOK {
		t.Errorf("without a proxy: %d", w.Code)
	}
}

func TestRefusalsAreLimitedAndTheRightTokenStillOpens(t *testing.T) {
	now := noon
	config := testConfig()
	config.Now = func() time.Time { return now }
	var log strings.Builder
	h := console.New(config, newFake(t).services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	guess := func() int {
		return ask(t, h, "GET", "/admin/v1/projects", "", header("Authorization", "Bearer a wrong guess")).Code
	}
	codes := map[int]int{}
	for range 30 {
		codes[guess()]++
	}
	if codes[http.StatusUnauthorized] != 10 || codes[http.StatusTooManyRequests] != 20 {
		t.Errorf("30 wrong guesses at once: %v, want 10 times 401 and 20 times 429", codes)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 10 {
		t.Errorf("%d log lines for 30 guesses, want 10", lines)
	}
	if w := ask(t, h, "GET", "/admin/v1/projects", ""); w.Code != http.StatusOK {
		t.Errorf("the right token: %d; somebody's guesses lock the operator out", w.Code)
	}
	now = now.Add(time.Second)
	if got := guess(); got != http.StatusUnauthorized {
		t.Errorf("a second later: %d, want 401", got)
	}
	if strings.Contains(log.String(), "a wrong guess") {
		t.Error("the log shows what was sent as token")
	}
}

func TestHostHeader(t *testing.T) {
	tests := []struct {
		host   string
		status int
	}{
		{"localhost", 200},
		{"LOCALHOST.:8081", 200},
		{"bell.localhost:8081", 200},
		{"127.0.0.1", 200},
		{"[::1]:8081", 200},
		{"[::1]", 200},
		{"10.1.2.3:8081", 200},
		{"admin.example.com", 200},
		{"ADMIN.example.com.:443", 200},
		{"evil.example.net", http.StatusMisdirectedRequest},
		{"localhost.evil.example.net", http.StatusMisdirectedRequest},
		{"127.0.0.1.evil.example.net:8081", http.StatusMisdirectedRequest},
		{"", http.StatusMisdirectedRequest},
	}
	h := newHandler(t, newFake(t), testConfig())
	for _, test := range tests {
		for _, path := range []string{"/admin/v1/projects", "/metrics"} {
			w := ask(t, h, "GET", path, "", func(r *http.Request) { r.Host = test.host })
			if w.Code != test.status {
				t.Errorf("host %q, %s: %d, want %d", test.host, path, w.Code, test.status)
			}
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	h := newHandler(t, newFake(t), testConfig())
	for _, change := range []func(*http.Request){
		header("Sec-Fetch-Site", "cross-site"),
		header("Origin", "https://evil.example.net"),
	} {
		w := ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", change)
		wantProblem(t, w, http.StatusForbidden, "forbidden", "other web sites")
	}
}

func TestSecurityHeadersOnEveryAnswer(t *testing.T) {
	h := newHandler(t, newFake(t), testConfig())
	for _, path := range []string{"/livez", "/admin/v1/projects", "/nowhere", "/admin/v1/devices?limit=x"} {
		w := ask(t, h, "GET", path, "")
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: content security policy %q", path, csp)
		}
	}
}

func TestWhereThereIsNothing(t *testing.T) {
	h := newHandler(t, newFake(t), testConfig())
	wantProblem(t, ask(t, h, "GET", "/admin/v2/devices", ""), http.StatusNotFound, "not_found", "nothing at this address")
	w := ask(t, h, "PUT", "/admin/v1/devices", "{}")
	wantProblem(t, w, http.StatusMethodNotAllowed, "wrong_method", "Allow header")
	if allow := w.Header().Get("Allow"); !strings.Contains(allow, "POST") || !strings.Contains(allow, "GET") {
		t.Errorf("Allow: %q", allow)
	}
}

func TestErrorsOfServices(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		kind   string
		detail string
	}{
		{"invalid", bell.E(bell.Invalid, "user ID: too long.", nil), 400, "invalid", "user ID: too long."},
		{"taken", fmt.Errorf("add: %w", bell.E(bell.Taken, "It is taken.", nil)), 409, "taken", "It is taken."},
		{"bare kind", fmt.Errorf("look up: %w", bell.Unavailable), 503, "unavailable", "try again"},
		{"forbidden", bell.Forbidden, 403, "forbidden", "not allowed"},
		{"too many", bell.TooMany, 429, "too_many", "wait"},
		{"deadline", fmt.Errorf("write: %w", context.DeadlineExceeded), 503, "unavailable", "try again"},
		{"unknown", errors.New("disk I/O error at /var/lib/x"), 500, "internal", "the server's log says what"},
		{"unknown kind", bell.E("weird", "disk I/O error at /var/lib/x", nil), 500, "internal", "the server's log says what"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return nil, test.err }
			w := ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/devices", "")
			wantProblem(t, w, test.status, test.kind, test.detail)
			if strings.Contains(w.Body.String(), "/var/lib") {
				t.Error("the answer shows the cause")
			}
		})
	}
}

func TestGoneClientIsNotAnError(t *testing.T) {
	f := newFake(t)
	f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return nil, context.Canceled }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log strings.Builder
	h := console.New(testConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	w := ask(t, h, "GET", "/admin/v1/devices", "", func(r *http.Request) { *r = *r.WithContext(ctx) })
	if w.Code != 499 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("status %d, log %s", w.Code, log.String())
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	var none []int
	for want, value := range map[string]func(){
		"panic=string": func() { panic("impossible state of " + testlog.HexSecret(77, 64)) }, // its text may hold anything
		"out of range": func() { _ = none[len(none)] },
	} {
		f := newFake(t)
		f.devices = func(device.Filter, string, int) ([]bell.Device, error) { value(); return nil, nil }
		var log strings.Builder
		h := console.New(testConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		wantProblem(t, ask(t, h, "GET", "/admin/v1/devices", ""), http.StatusInternalServerError, "internal", "log")
		if !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "fakes_test.go") {
			t.Errorf("the log does not show the panic (%s) and its stack: %s", want, log.String())
		}
		if strings.Contains(log.String(), "impossible state") {
			t.Error("the log shows what the panic said")
		}
	}
}

// panickingWriter panics when the body comes.
type panickingWriter struct {
	*httptest.ResponseRecorder
	value any
}

func (w panickingWriter) Write([]byte) (int, error) { panic(w.value) }

// TestPanicInTheMiddleOfAnAnswer: an answer that broke off must not look whole, so net/http
// is told to cut the connection.
func TestPanicInTheMiddleOfAnAnswer(t *testing.T) {
	for _, value := range []any{"broken", http.ErrAbortHandler} {
		f := newFake(t)
		f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return nil, nil }
		h := newHandler(t, f, testConfig())
		r := httptest.NewRequest("GET", "http://localhost/admin/v1/devices", nil)
		r.Header.Set("Authorization", "Bearer "+testConfig().Token.Reveal())
		cut := func() (p any) {
			defer func() { p = recover() }()
			h.ServeHTTP(panickingWriter{httptest.NewRecorder(), value}, r)
			return nil
		}()
		if cut != http.ErrAbortHandler { //nolint:errorlint // net/http wants this very value
			t.Errorf("panic(%v) ended in %v, want the connection cut", value, cut)
		}
	}
}

func TestOneLogLinePerRequestWithoutIDsOfOthers(t *testing.T) {
	f := newFake(t)
	f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return nil, nil }
	f.remove = func(string) error { return nil }
	var log strings.Builder
	h := console.New(testConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	ask(t, h, "GET", "/admin/v1/devices?user_id=somebody", "")
	ask(t, h, "GET", "/livez", "") // debug: probes come every few seconds
	ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("log:\n%s\nwant two lines", log.String())
	}
	if !strings.Contains(lines[0], `route="GET /admin/v1/devices" status=200`) || strings.Contains(lines[0], "somebody") {
		t.Errorf("line %q", lines[0])
	}
	if !strings.Contains(lines[1], "removed_device="+phone) || !strings.Contains(lines[1], "status=204") {
		t.Errorf("line %q", lines[1])
	}
	noSecrets(t, "log", log.String())
	testlog.Keep(t, "log", log.String())
}

// A warning is about somebody who may not ask; an operator's slip of the pen is none.
func TestLevelsOfTheLog(t *testing.T) {
	for _, test := range []struct {
		target, token, want string
	}{
		{"/admin/v1/calls?limit=0", adminToken.Reveal(), `level=INFO msg="admin request" component=console route="GET /admin/v1/calls" status=400`},
		{"/admin/v1/projects", adminToken.Reveal(), `level=INFO msg="admin request" component=console route="GET /admin/v1/projects" status=200`},
		{"/admin/v1/projects", "wrong", `level=WARN msg="admin request" component=console route="GET /admin/v1/projects" status=401`},
		{"/livez", "", `level=DEBUG msg="admin request" component=console route="GET /livez" status=200`},
	} {
		var lines strings.Builder
		log := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
		h := console.New(testConfig(), willing(t).services(), log, prometheus.NewRegistry())
		ask(t, h, http.MethodGet, test.target, "", header("Authorization", "Bearer "+test.token))
		if !strings.Contains(lines.String(), test.want) {
			t.Errorf("%s: %q, want %s in it", test.target, lines.String(), test.want)
		}
		testlog.Keep(t, "log line", lines.String())
	}
}
