package e2e

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// spans takes OTLP over HTTP.
type spans struct {
	*httptest.Server
	mu  sync.Mutex
	all []*otlp.Span
	raw bytes.Buffer
}

func newSpans(t *testing.T) *spans {
	s := &spans{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
			t.Errorf("%s: no OTLP", r.URL.Path)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw.Write(body)
		for _, resource := range in.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				s.all = append(s.all, scope.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *spans) by() map[string][]*otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[string][]*otlp.Span{}
	for _, span := range s.all {
		by[span.Name] = append(by[span.Name], span)
	}
	return by
}

// A call to a phone and a desktop that acknowledges is one trace: its callbacks, a push, a hand-over,
// two receipts. No secret is in it, and metrics have it as an example.
func TestACallIsOneTrace(t *testing.T) {
	t.Parallel()
	c := newSpans(t)
	var mu sync.Mutex
	parents := map[string]string{} // what the customer's own systems were told, by path
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		parents[r.URL.Path] = r.Header.Get("Traceparent")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(outside.Close)
	s := play(t, configured(func(cfg *config.Config) {
		cfg.Telemetry.Traces = config.Traces{Endpoint: c.URL, SampleRatio: 1}
		cfg.Webhooks.AllowHTTP, cfg.Webhooks.AllowPrivate = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		key := planet.Secret("whsec_" + secret("traced", 64))
		cfg.Projects[0].Events = []config.Endpoint{{Name: "main", URL: planet.Secret(outside.URL + "/events"), Secret: key, Types: []bell.EventType{bell.EventCallEnded}}}
		cfg.Projects[0].PolicyHook = config.PolicyHook{URL: outside.URL + "/hook", Timeout: time.Second, Secret: key}
	}))
	phone := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.IOS, Name: "iPhone", Acknowledges: true})
	desk := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.MacOS, Name: "Mac", Acknowledges: true})
	one := s.call("alice", "bob", sim.Plan{})
	s.rang(phone, 1)
	s.rang(desk, 1)
	s.await("both have said so", func() bool { return s.metric("planetbell_call_to_received_seconds_count") == 2 })
	one.Hangup()
	s.over(one)

	s.await("both systems were told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(parents) == 2
	})
	r := s.request(http.MethodGet, s.App.AdminURL()+"/metrics", "")
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	page := s.do(r).body
	s.stop() // sends what waits
	by := c.by()
	for name, n := range map[string]int{"notify": 1, "push": 1, "hand-over": 1, "receipt": 2, "call-event": 1} {
		if len(by[name]) != n {
			t.Errorf("%d spans %q, want %d", len(by[name]), name, n)
		}
	}
	if len(by["notify"]) != 1 {
		t.FailNow()
	}
	root := by["notify"][0]
	for name, all := range by {
		for _, span := range all {
			if !bytes.Equal(span.TraceId, root.TraceId) || name != "notify" && !bytes.Equal(span.ParentSpanId, root.SpanId) {
				t.Errorf("%s is elsewhere: trace %x, parent %x", name, span.TraceId, span.ParentSpanId)
			}
		}
	}
	for path, parent := range parents {
		if want := "00-" + hex.EncodeToString(root.TraceId) + "-" + hex.EncodeToString(root.SpanId) + "-01"; parent != want {
			t.Errorf("%s was told %q, want %q", path, parent, want)
		}
	}
	for _, metric := range []string{"planetbell_call_to_accept_seconds_bucket", "planetbell_push_latency_seconds_bucket", "planetbell_http_request_duration_seconds_bucket"} {
		found := false
		for line := range strings.Lines(page) {
			found = found || strings.HasPrefix(line, metric) && strings.Contains(line, `trace_id="`+hex.EncodeToString(root.TraceId)+`"`)
		}
		if !found {
			t.Errorf("%s has no example", metric)
		}
	}
	for _, secret := range []string{testlog.Text, testlog.Hex, one.CCParam().Reveal(), "alice"} {
		if bytes.Contains(c.raw.Bytes(), []byte(secret)) {
			t.Error("a secret, or a user, was sent to the collector")
		}
	}
}
