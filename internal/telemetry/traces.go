package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// tracedCalls is how many calls are remembered with their span, so that what belongs to them
// becomes its child. Of one that is forgotten, or came to another node, the trace ID is derived
// again, and only the parent is missing.
const tracedCalls = 20_000

// Traces writes what becomes of a call as one trace (OpenTelemetry): its callbacks, each attempt,
// each hand-over and receipt. The trace ID is that of the callback's traceparent (W3C Trace
// Context), or is derived from environment and session ID, so that all nodes, and the Call Event
// hours later, find the same. Spans hold IDs of sessions, deliveries and devices, and no user, token
// or cc_param. Methods never block. Safe for concurrent use. Make one with [NewTraces].
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer

	mu    sync.Mutex // guards calls
	calls *simplelru.LRU[tracedCall, trace.SpanContext]
}

type tracedCall struct {
	environment planet.Environment
	id          planet.SessionID
}

// derivedKey is under which a context has the trace ID that a span without a parent gets.
type derivedKey struct{}

// ids makes the IDs of spans, and takes the derived one of a trace.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(derivedKey{}).(trace.TraceID)
	if !ok || !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1)
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// derive makes the trace ID of a call.
func (c tracedCall) derive() (id trace.TraceID) {
	sum := sha256.Sum256([]byte("planetbell trace\x00" + string(c.environment) + "\x00" + string(c.id)))
	copy(id[:], sum[:])
	return id
}

// under is the context in which a span of the call begins: below its callback, if that is known.
func (t *Traces) under(c tracedCall) context.Context {
	if parent, ok := t.known(c); ok {
		return trace.ContextWithSpanContext(context.Background(), parent)
	}
	return context.WithValue(context.Background(), derivedKey{}, c.derive())
}

func (t *Traces) known(c tracedCall) (trace.SpanContext, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls.Get(c)
}

// Callback begins the span of a callback about a call, at start. traceparent is the header that
// came with it; empty or wrong: none. end must be called with the status that is answered. traceID
// is empty when the trace is not sampled.
func (t *Traces) Callback(kind string, environment planet.Environment, sid planet.SessionID, traceparent string, start time.Time) (traceID string, end func(status int)) {
	c := tracedCall{environment, sid}
	ctx := t.under(c)
	if traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	}
	_, span := t.tracer.Start(ctx, kind, trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(t.about(c)...))
	t.remember(c, span.SpanContext(), traceparent != "")
	return sampled(span), func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// remember keeps the first callback's span as the parent of what follows. What is not sampled
// is derived as well, unless somebody else has decided it.
func (t *Traces) remember(c tracedCall, span trace.SpanContext, foreign bool) {
	if !span.IsSampled() && !foreign {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.calls.Contains(c) {
		t.calls.Add(c, span)
	}
}

func (t *Traces) about(c tracedCall) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("planetbell.sid", string(c.id)), attribute.String("planetbell.environment", string(c.environment)),
	}
}

func sampled(span trace.Span) string {
	if c := span.SpanContext(); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

// Attempt writes the span of an attempt that is over, or of a hand-over to a poll or stream. It
// returns the trace's ID; empty when it is not sampled.
func (t *Traces) Attempt(r *bell.Ring, via, server string, a bell.Attempt) string {
	c := tracedCall{r.Call.Environment, r.Call.SessionID}
	name, kind := "push", trace.SpanKindClient
	if r.Device.Channel == bell.LongPoll {
		name, kind = "hand-over", trace.SpanKindInternal
	}
	_, span := t.tracer.Start(t.under(c), name, trace.WithTimestamp(a.StartedAt), trace.WithSpanKind(kind))
	if !span.IsRecording() {
		return ""
	}
	o := a.Outcome
	span.SetAttributes(append(t.about(c),
		attribute.String("planetbell.delivery", a.DeliveryID), attribute.String("planetbell.device", r.Device.ID),
		attribute.String("planetbell.channel", string(r.Device.Channel)), attribute.String("planetbell.credential", via),
		attribute.String("planetbell.server", server), attribute.Int("planetbell.attempt", a.Number),
		attribute.String("planetbell.verdict", string(o.Verdict)), attribute.String("planetbell.reason", o.Reason),
	)...)
	if o.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", o.Status))
	}
	if o.Verdict != bell.Accepted {
		span.SetStatus(codes.Error, o.Reason)
	}
	span.End(trace.WithTimestamp(a.StartedAt.Add(a.Took)))
	return sampled(span)
}

// Receipt writes that a device has the call.
func (t *Traces) Receipt(r *bell.Receipt, delivery string) {
	c := tracedCall{r.Environment, r.SessionID}
	_, span := t.tracer.Start(t.under(c), "receipt", trace.WithTimestamp(r.At))
	if span.IsRecording() {
		span.SetAttributes(append(t.about(c), attribute.String("planetbell.delivery", delivery), attribute.String("planetbell.device", r.DeviceID))...)
	}
	span.End(trace.WithTimestamp(r.At))
}

// Traceparent is the header by which the customer's own system continues a call's trace; empty
// when this process does not know the call's callback. Push providers are never sent one.
func (t *Traces) Traceparent(environment planet.Environment, sid planet.SessionID) string {
	span, ok := t.known(tracedCall{environment, sid})
	if !ok {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), span), carrier)
	return carrier["traceparent"]
}

// OfSubject is Traceparent for an event about a call, by the event's subject.
func (t *Traces) OfSubject(subject string) string {
	rest, ok := strings.CutPrefix(subject, "call/")
	environment, sid, found := strings.Cut(rest, "/")
	if !ok || !found {
		return ""
	}
	return t.Traceparent(planet.Environment(environment), planet.SessionID(sid))
}
