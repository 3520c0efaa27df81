// Package window remembers what this process' metrics were over the last minutes, so that the
// console's overview can say what is going on now: histograms and counters only know what was
// since the start. It costs the paths that are measured nothing. Of several nodes each knows its
// own, and the overview says so.
package window

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// Every is how often metrics are read.
	Every = 10 * time.Second
	// Span is how far back the window reaches; up to Every more.
	Span = 10 * time.Minute
)

// The metrics that are remembered.
const (
	acceptSeconds   = "planetbell_call_to_accept_seconds"
	receiptSeconds  = "planetbell_call_to_received_seconds"
	requestSeconds  = "planetbell_http_request_duration_seconds"
	attemptsTotal   = "planetbell_push_attempts_total"
	circuitOpen     = "planetbell_circuit_open"
	routeDeliveries = "planetbell_route_deliveries"
	certExpiry      = "planetbell_provider_cert_expiry_seconds"
	deadLetters     = "planetbell_event_dead_letters"
	backlogItems    = "planetbell_backlog_items"
)

// Window reads metrics from time to time. It is safe for concurrent use.
type Window struct {
	gatherer prometheus.Gatherer
	now      func() time.Time

	mu       sync.Mutex // guards all below
	samples  []sample   // oldest first, at least Every/2 apart and at most Span+Every old
	failures map[RouteKey]Failure
}

// sample is what the metrics were at one time.
type sample struct {
	at         time.Time
	histograms map[series]histogram
	attempts   map[attempts]float64
}

// series names a histogram: its metric, and its channel or route.
type series struct{ metric, label string }

// histogram counts by upper bound, cumulatively; bounds are in seconds.
type histogram struct {
	bounds []float64
	counts []uint64
	count  uint64
}

type attempts struct {
	route           RouteKey
	verdict, reason string
}

// RouteKey names a route, as delivery.RouteKey does.
type RouteKey struct{ Credential, Channel, Server string }

// Failure is the last one of a route.
type Failure struct {
	Verdict, Reason string
	At              time.Time // when it was seen: up to Every later than it was
}

// New makes a Window of a registry's metrics. It starts nothing. now may be nil.
func New(g prometheus.Gatherer, now func() time.Time) *Window {
	if now == nil {
		now = time.Now
	}
	return &Window{gatherer: g, now: now, failures: map[RouteKey]Failure{}}
}

// Run reads the metrics until ctx ends.
func (w *Window) Run(ctx context.Context) error {
	w.read()
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.read()
		}
	}
}

// read takes a sample, and returns it with what only the present is asked for.
func (w *Window) read() (sample, []*dto.MetricFamily) {
	families, _ := w.gatherer.Gather() // what could be gathered is there in spite of an error
	s := sampleOf(families, w.now())
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.samples); n > 0 {
		w.note(w.samples[n-1], s)
	}
	w.samples = slices.DeleteFunc(w.samples, func(old sample) bool { return s.at.Sub(old.at) > Span+Every })
	if n := len(w.samples); n == 0 || s.at.Sub(w.samples[n-1].at) >= Every/2 { // else somebody looked in between
		w.samples = append(w.samples, s)
	}
	return s, families
}

// note remembers which routes failed between two samples. The caller holds w.mu.
func (w *Window) note(before, now sample) {
	for a, n := range now.attempts {
		if failing(a.verdict) && n > before.attempts[a] && !now.at.Equal(before.at) {
			w.failures[a.route] = Failure{a.verdict, a.reason, now.at}
		}
	}
}

// failing reports whether a verdict is a failure of the provider's side or ours.
func failing(verdict string) bool { return verdict != "accepted" && verdict != "deposited" }

func sampleOf(families []*dto.MetricFamily, at time.Time) sample {
	s := sample{at: at, histograms: map[series]histogram{}, attempts: map[attempts]float64{}}
	for _, f := range families {
		switch f.GetName() {
		case acceptSeconds, receiptSeconds, requestSeconds:
			for _, m := range f.GetMetric() {
				l := labels(m)
				s.histograms[series{f.GetName(), l["channel"] + l["route"]}] = histogramOf(m.GetHistogram())
			}
		case attemptsTotal:
			for _, m := range f.GetMetric() {
				l := labels(m)
				s.attempts[attempts{routeOf(l), l["verdict"], l["reason"]}] += m.GetCounter().GetValue()
			}
		}
	}
	return s
}

func labels(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.GetLabel() {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

func routeOf(l map[string]string) RouteKey {
	return RouteKey{l["credential"], l["channel"], l["server"]}
}

func histogramOf(h *dto.Histogram) histogram {
	out := histogram{count: h.GetSampleCount()}
	for _, b := range h.GetBucket() {
		out.bounds = append(out.bounds, b.GetUpperBound())
		out.counts = append(out.counts, b.GetCumulativeCount())
	}
	return out
}

// Quantiles are two of what was measured. Between a histogram's bounds they are estimates; Over
// says that the second is beyond the last one.
type Quantiles struct {
	Count    uint64
	P50, P95 time.Duration
	Over     bool
}

// since is what a histogram counted after another one.
func (h histogram) since(before histogram) Quantiles {
	counts := slices.Clone(h.counts)
	count := h.count
	if len(before.counts) == len(counts) && before.count <= count {
		for i := range counts {
			counts[i] -= before.counts[i]
		}
		count -= before.count
	}
	q := Quantiles{Count: count}
	if count == 0 {
		return q
	}
	q.P50, _ = quantile(0.5, h.bounds, counts, count)
	q.P95, q.Over = quantile(0.95, h.bounds, counts, count)
	return q
}

func quantile(q float64, bounds []float64, counts []uint64, count uint64) (at time.Duration, over bool) {
	rank := q * float64(count)
	lower, below := 0.0, 0.0
	for i, bound := range bounds {
		if math.IsInf(bound, 1) {
			break
		}
		if n := float64(counts[i]); n >= rank {
			share := 1.0
			if n > below {
				share = (rank - below) / (n - below)
			}
			return time.Duration((lower + (bound-lower)*share) * float64(time.Second)), false
		}
		lower, below = bound, float64(counts[i])
	}
	return time.Duration(lower * float64(time.Second)), true
}

// callbackRoute reports whether a route of the public listener is Notify's.
func callbackRoute(route string) bool {
	return strings.Contains(route, "/cb/") && strings.HasSuffix(route, "/notify")
}
