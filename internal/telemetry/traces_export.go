package telemetry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/planetbell/planetbell/planet"
)

// How spans are sent.
const (
	traceQueue   = 8192            // that may wait, some 8 MB; more are dropped
	traceBatch   = 2 * time.Second // how long they wait for others, at most
	traceTimeout = 5 * time.Second // of one request to the collector
	traceLast    = 2 * time.Second // what a stop gives to the last ones
	traceNoTime  = 100 * time.Millisecond
	traceWords   = 200 // bytes of what a collector says that go into the log
)

// TraceConfig is where traces go.
type TraceConfig struct {
	Endpoint    string // OTLP over HTTP: https://collector:4318, or with its path
	Headers     planet.Secret
	SampleRatio float64 // of calls whose callback does not say; 0 to 1
	RootCAs     *x509.CertPool
	Version     string
	Node        string
	Log         *slog.Logger
	Registerer  prometheus.Registerer // nil: no metrics
}

// ParseTraceHeaders reads headers that are written as name=value, with commas between them. Its
// error repeats no value.
func ParseTraceHeaders(s planet.Secret) (map[string]string, error) {
	headers := map[string]string{}
	for i, pair := range strings.Split(s.Reveal(), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		strange := func(r rune) bool { return r <= ' ' && r != ' ' || r > '~' }
		if !found || name == "" || strings.ContainsAny(name, " :") || strings.ContainsFunc(name+value, strange) {
			return nil, fmt.Errorf("header %d: want name=value, with commas between several", i+1)
		}
		headers[name] = value
	}
	return headers, nil
}

// silence keeps the library from writing to standard error: what goes wrong is said here.
var silence sync.Once

// NewTraces makes a Traces that sends to a collector, from goroutines of its own. A collector that
// is down is no error: that is logged once, and its spans are lost. Close it.
func NewTraces(ctx context.Context, c TraceConfig) (*Traces, error) {
	silence.Do(func() { otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) })
	headers, err := ParseTraceHeaders(c.Headers)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, errors.New("the endpoint of traces is no URL")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := newExporter(ctx, u, headers, c.RootCAs)
	if err != nil {
		return nil, fmt.Errorf("make the sender of traces: %w", withoutAddress(err))
	}
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "planetbell_trace_spans_total", Help: "Spans that were sent to the collector of traces, or lost because it did not take them.",
	}, []string{"result"})
	if c.Registerer != nil {
		c.Registerer.MustRegister(spans)
	}
	calls, err := simplelru.NewLRU[tracedCall, trace.SpanContext](tracedCalls, nil)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithIDGenerator(ids{}), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "planetbell"), attribute.String("service.version", c.Version), attribute.String("service.instance.id", c.Node),
		)),
		sdktrace.WithBatcher(&candid{SpanExporter: exporter, log: c.Log, spans: spans},
			sdktrace.WithMaxQueueSize(traceQueue), sdktrace.WithBatchTimeout(traceBatch), sdktrace.WithExportTimeout(traceTimeout)),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("planetbell"), calls: calls}, nil
}

// Close sends what waits, as far as the collector takes it at once, and ends the goroutines.
func (t *Traces) Close(ctx context.Context) error {
	last := traceLast
	if ctx.Err() != nil {
		last = traceNoTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), last) // the library does nothing at all when it has ended
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("stop the sender of traces: %w", withoutAddress(err))
	}
	return nil // spans that were lost have been said, or are not worth more of the stop
}

// candid says once that the collector does not take spans, and once that it does again.
type candid struct {
	sdktrace.SpanExporter
	log     *slog.Logger
	spans   *prometheus.CounterVec
	failing atomic.Bool
}

// ExportSpans implements sdktrace.SpanExporter. It never fails: what is lost is counted.
func (c *candid) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil:
		c.spans.WithLabelValues("lost").Add(float64(len(spans)))
		if !c.failing.Swap(true) {
			c.log.Warn("the collector of traces does not take spans; they are lost until it does", "error", withoutAddress(err))
		}
	default:
		c.spans.WithLabelValues("sent").Add(float64(len(spans)))
		if c.failing.Swap(false) {
			c.log.Info("the collector of traces takes spans again")
		}
	}
	return nil
}

// withoutAddress is why a request failed, in as many words as a log line may have of others.
func withoutAddress(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := err.Error()
	return errors.New(strings.ToValidUTF8(text[:min(len(text), traceWords)], ""))
}
