package telemetry

import (
	"bytes"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var headerSecret = testlog.TextSecret("collector-key")

// collectorOf takes spans over OTLP/HTTP, and nothing else.
type collectorOf struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	raw   bytes.Buffer
	down  bool
}

func newCollector(t *testing.T) *collectorOf {
	c := &collectorOf{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.down:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("X-Key") != headerSecret ||
			r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &in) != nil:
			t.Errorf("%s %s: no OTLP", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.raw.Write(body)
		for _, resource := range in.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collectorOf) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// got are the spans that came, by name; of several the last.
func (c *collectorOf) got() map[string]*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := map[string]*otlp.Span{}
	for _, s := range c.spans {
		by[s.Name] = s
	}
	return by
}

func newTraces(t *testing.T, endpoint string, ratio float64, log io.Writer) *Traces {
	t.Helper()
	before := goleak.IgnoreCurrent()
	traces, err := NewTraces(t.Context(), TraceConfig{
		Endpoint: endpoint, Headers: planet.Secret("X-Key=" + headerSecret + ", X-More=1"), SampleRatio: ratio, Version: "v1", Node: "a",
		Log: slog.New(slog.NewJSONHandler(io.MultiWriter(log, testlog.Writer(t)), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := traces.Close(t.Context()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
			goleak.IgnoreAnyFunction("net/http.(*conn).serve"), goleak.IgnoreAnyFunction("internal/poll.runtime_pollWait"))
	})
	return traces
}

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const sid = planet.SessionID("9a1b2c3d-0000-4000-8000-00000000000a")

func aRing(channel bell.Channel) *bell.Ring {
	c := &bell.Call{
		Environment: planet.Real, SessionID: sid, CCParam: planet.CCParam(testlog.CCParam(1)),
		Caller: planet.UserRef{ServiceID: "svc", UserID: testlog.TextSecret("alice")}, Callee: planet.UserRef{ServiceID: "svc", UserID: testlog.TextSecret("bob")},
	}
	return &bell.Ring{Call: c, Device: bell.Device{ID: "device-1", Channel: channel, PushToken: planet.Secret(testlog.HexSecret(1, 64))}}
}

// tell writes a whole call: Notify, a refused and a taken push, a hand-over, a receipt, Call Event.
func tell(traces *Traces, traceparent string) (traceID string) {
	traceID, end := traces.Callback("notify", planet.Real, sid, traceparent, noon)
	refused := bell.Outcome{Verdict: bell.RetryBackoff, Reason: "InternalServerError", Status: 500, Detail: testlog.Text}
	traces.Attempt(aRing(bell.APNsVoIP), "acme", "production", bell.Attempt{DeliveryID: "d-1", Number: 1, StartedAt: noon.Add(time.Second), Took: 30 * time.Millisecond, Outcome: refused})
	end(200)
	traces.Attempt(aRing(bell.LongPoll), "mailbox", "", bell.Attempt{DeliveryID: "d-2", Number: 1, StartedAt: noon.Add(2 * time.Second), Outcome: bell.Outcome{Verdict: bell.Accepted, Reason: "polled"}})
	traces.Receipt(&bell.Receipt{Environment: planet.Real, SessionID: sid, DeviceID: "device-1", At: noon.Add(3 * time.Second)}, "d-2")
	_, end = traces.Callback("call-event", planet.Real, sid, "", noon.Add(time.Minute))
	end(503)
	return traceID
}

func attributes(s *otlp.Span) map[string]any {
	all := map[string]any{}
	for _, a := range s.Attributes {
		if n := a.Value.GetIntValue(); n != 0 {
			all[a.Key] = n
		} else {
			all[a.Key] = a.Value.GetStringValue()
		}
	}
	return all
}

func TestACallIsOneTrace(t *testing.T) {
	c := newCollector(t)
	traces := newTraces(t, c.URL, 1, io.Discard)
	id := tell(traces, "")
	if want := (tracedCall{planet.Real, sid}).derive().String(); id != want {
		t.Errorf("trace %s, want the derived %s", id, want)
	}
	parent := traces.Traceparent(planet.Real, sid)
	if err := traces.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := c.got()
	if len(spans) != 5 {
		t.Fatalf("%d kinds of spans", len(spans))
	}
	root := spans["notify"]
	for name, s := range spans {
		if hex.EncodeToString(s.TraceId) != id {
			t.Errorf("%s is in trace %x", name, s.TraceId)
		}
		if name != "notify" && !bytes.Equal(s.ParentSpanId, root.SpanId) {
			t.Errorf("the parent of %s is %x", name, s.ParentSpanId)
		}
	}
	if len(root.ParentSpanId) != 0 || parent != "00-"+id+"-"+hex.EncodeToString(root.SpanId)+"-01" || traces.OfSubject("call/real/"+string(sid)) != parent {
		t.Errorf("the root's parent is %x, what follows outside is told %q", root.ParentSpanId, parent)
	}
	push := spans["push"]
	want := map[string]any{
		"planetbell.sid": string(sid), "planetbell.environment": "real", "planetbell.delivery": "d-1", "planetbell.device": "device-1",
		"planetbell.channel": "apns_voip", "planetbell.credential": "acme", "planetbell.server": "production", "planetbell.attempt": int64(1),
		"planetbell.verdict": "retry_backoff", "planetbell.reason": "InternalServerError", "http.response.status_code": int64(500),
	}
	if diff := cmp.Diff(want, attributes(push)); diff != "" {
		t.Error(diff)
	}
	if push.StartTimeUnixNano != uint64(noon.Add(time.Second).UnixNano()) || push.EndTimeUnixNano-push.StartTimeUnixNano != uint64(30*time.Millisecond) {
		t.Errorf("the push was from %d to %d", push.StartTimeUnixNano, push.EndTimeUnixNano)
	}
	for name, status := range map[string]otlp.Status_StatusCode{
		"notify": otlp.Status_STATUS_CODE_UNSET, "push": otlp.Status_STATUS_CODE_ERROR,
		"hand-over": otlp.Status_STATUS_CODE_UNSET, "call-event": otlp.Status_STATUS_CODE_ERROR,
	} {
		if got := spans[name].Status.GetCode(); got != status {
			t.Errorf("%s has the status %v", name, got)
		}
	}
	for _, secret := range []string{testlog.Text, testlog.Hex, "eyJ"} {
		if bytes.Contains(c.raw.Bytes(), []byte(secret)) {
			t.Errorf("%q was sent to the collector", secret)
		}
	}
}

// Whoever traces the callback already has the whole call below it, also the Call Event that does
// not say so; and decides whether it is sampled.
func TestTraceparentOfTheCallback(t *testing.T) {
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	c := newCollector(t)
	traces := newTraces(t, c.URL, 0, io.Discard)
	if got := tell(traces, "00-"+id+"-"+span+"-01"); got != id {
		t.Errorf("trace %s", got)
	}
	if err := traces.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := c.got()
	if len(spans) != 5 || hex.EncodeToString(spans["notify"].ParentSpanId) != span || hex.EncodeToString(spans["call-event"].TraceId) != id {
		t.Errorf("%v", spans)
	}
}

func TestWhatIsNotSampled(t *testing.T) {
	c := newCollector(t)
	for name, test := range map[string]struct {
		ratio  float64
		parent string
	}{
		"none are": {0, ""}, "the callback says no": {1, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}, "nonsense": {0, "00-zz-b7ad6b7169203331-01"},
	} {
		traces := newTraces(t, c.URL, test.ratio, io.Discard)
		if id := tell(traces, test.parent); id != "" {
			t.Errorf("%s: trace %s", name, id)
		}
		if p := traces.Traceparent(planet.Real, sid); p != "" && !strings.HasSuffix(p, "-00") {
			t.Errorf("%s: others are told %q", name, p)
		}
		if err := traces.provider.ForceFlush(t.Context()); err != nil || len(c.got()) != 0 {
			t.Errorf("%s: error %v, %d spans", name, err, len(c.got()))
		}
	}
}

// Another node, or this one after a restart, writes into the same trace.
func TestAnotherNodeFindsTheTrace(t *testing.T) {
	c := newCollector(t)
	traces := newTraces(t, c.URL, 1, io.Discard)
	traces.Attempt(aRing(bell.FCM), "acme", "", bell.Attempt{DeliveryID: "d-1", Number: 2, StartedAt: noon, Outcome: bell.Outcome{Verdict: bell.Accepted}})
	if err := traces.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := (tracedCall{planet.Real, sid}).derive()
	if got := c.got()["push"]; got == nil || !bytes.Equal(got.TraceId, want[:]) || len(got.ParentSpanId) != 0 {
		t.Errorf("%v", got)
	}
}

// What the collector does not take is lost and said once; nobody waits for it.
func TestTheCollectorIsDown(t *testing.T) {
	c := newCollector(t)
	c.set(true)
	var log bytes.Buffer
	traces := newTraces(t, c.URL, 1, &log)
	for range 3 {
		tell(traces, "")
		if err := traces.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * traceQueue { // more than may wait
		traces.Receipt(&bell.Receipt{Environment: planet.Real, SessionID: sid, At: noon}, "d")
	}
	if err := traces.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.set(false)
	tell(traces, "")
	if err := traces.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if strings.Count(text, "does not take spans") != 1 || strings.Count(text, "takes spans again") != 1 {
		t.Errorf("logged: %s", text)
	}
	if strings.Contains(text, testlog.Text) || strings.Contains(text, c.URL) {
		t.Error("the log has a secret, or the address")
	}
	if len(c.got()) != 5 {
		t.Errorf("%d kinds of spans after its recovery", len(c.got()))
	}
}

func TestTraceHeaders(t *testing.T) {
	got, err := ParseTraceHeaders("Authorization=Basic dGVzdA==, X-Scope = a ,")
	if diff := cmp.Diff(map[string]string{"Authorization": "Basic dGVzdA==", "X-Scope": "a"}, got); diff != "" || err != nil {
		t.Errorf("error %v: %s", err, diff)
	}
	for _, wrong := range []string{testlog.Text, "=" + testlog.Text, "a=b,c:d=" + testlog.Text, "a=" + testlog.Text + "\n"} {
		if _, err := ParseTraceHeaders(planet.Secret(wrong)); wrong != "a="+testlog.Text+"\n" && (err == nil || strings.Contains(err.Error(), testlog.Text)) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// A trace ID is never all zeroes, which would be none.
func TestIDs(t *testing.T) {
	for range 100 {
		id, span := (ids{}).NewIDs(t.Context())
		if !id.IsValid() || !span.IsValid() || id == (trace.TraceID{}) {
			t.Fatal("an ID is none")
		}
	}
}
