package console_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
)

func noToken(r *http.Request) { r.Header.Del("Authorization") }

func TestProbesNeedNoToken(t *testing.T) {
	h := newHandler(t, newFake(t), testConfig())
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ready\n"} {
		w := ask(t, h, "GET", path, "", noToken)
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", path, w.Code, w.Body, want)
		}
		if w := ask(t, h, "HEAD", path, "", noToken); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
}

func TestReadySaysWhichNode(t *testing.T) {
	config := testConfig()
	config.Node = "node1"
	h := newHandler(t, newFake(t), config)
	if w := ask(t, h, "GET", "/readyz", "", noToken); w.Code != http.StatusOK || w.Body.String() != "ready: node1\n" {
		t.Errorf("/readyz of one of several nodes: %d %q", w.Code, w.Body)
	}
}

func TestNotReadySaysWhat(t *testing.T) {
	config := testConfig()
	config.Ready = func(ctx context.Context) string {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Error("the readiness check has no deadline")
		}
		return "The database is being migrated."
	}
	h := newHandler(t, newFake(t), config)
	wantProblem(t, ask(t, h, "GET", "/readyz", "", noToken), http.StatusServiceUnavailable, "unavailable", "The database is being migrated.")
	if w := ask(t, h, "GET", "/livez", "", noToken); w.Code != http.StatusOK {
		t.Errorf("not ready is not dead: /livez answers %d", w.Code)
	}
}

// Whoever asks is told which server this is, also while it starts or stops.
func TestReadyAnswersANonce(t *testing.T) {
	config := testConfig()
	config.AnswerNonce = func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Answer", "to "+r.Header.Get("Question")) }
	for waits, want := range map[string]int{"": http.StatusOK, "The server is starting or stopping.": http.StatusServiceUnavailable} {
		config.Ready = func(context.Context) string { return waits }
		h := newHandler(t, newFake(t), config)
		for _, method := range []string{"GET", "HEAD"} {
			w := ask(t, h, method, "/readyz", "", noToken, header("Question", "nonce"))
			if got := w.Header().Get("Answer"); w.Code != want || got != "to nonce" {
				t.Errorf("%s: %d %q, want %d", method, w.Code, got, want)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	rings := prometheus.NewCounter(prometheus.CounterOpts{Name: "planetbell_rings_total", Help: "Rings."})
	registry.MustRegister(rings)
	rings.Add(3)
	h := console.New(testConfig(), newFake(t).services(), testlog.New(t), registry)
	w := ask(t, h, "GET", "/metrics", "", noToken)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "planetbell_rings_total 3\n") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestInfo(t *testing.T) {
	now := noon
	config := testConfig()
	config.Now = func() time.Time { return now }
	h := newHandler(t, newFake(t), config)
	now = now.Add(90 * time.Second)
	info := decode[console.Info](t, ask(t, h, "GET", "/debug/info", ""))
	if info.Version != "v0.0.1-test" || info.UptimeSeconds != 90 || !info.StartedAt.Equal(noon) || info.Goroutines < 1 || !strings.HasPrefix(info.Go, "go") {
		t.Errorf("info %+v", info)
	}
}

func TestProfiles(t *testing.T) {
	h := newHandler(t, newFake(t), testConfig())
	for path, part := range map[string]string{
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile:",
		"/debug/pprof/symbol":            "num_symbols",
	} {
		w := ask(t, h, "GET", path, "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %d, without %q", path, w.Code, part)
		}
	}
}

func TestZeroConfigWorksAndLetsNobodyIn(t *testing.T) {
	h := console.New(console.Config{}, newFake(t).services(), testlog.New(t), prometheus.NewRegistry())
	if w := ask(t, h, "GET", "/readyz", "", noToken); w.Code != http.StatusOK {
		t.Errorf("/readyz: %d", w.Code)
	}
	for _, change := range []func(*http.Request){noToken, header("Authorization", "Bearer "), func(*http.Request) {}} {
		wantProblem(t, ask(t, h, "GET", "/admin/v1/devices", "", change), http.StatusUnauthorized, "unauthorized", "closed")
	}
}
