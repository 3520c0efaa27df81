package delivery

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
)

// maxReasons bounds the values of the label "reason": providers name new reasons
// without warning, and a hostile answer must not fill the memory.
const maxReasons = 100

// The values of the label "cause" of dropped deliveries.
const (
	droppedFull     = "full"
	droppedNotice   = "notice_full"
	droppedDeadline = "deadline"
)

// ringBuckets go from a warm connection on the same machine to the end of a ring.
var ringBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics are the engine's. Labels are bounded; none names a user, device or call.
type Metrics struct {
	attempts *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	accept   *prometheus.HistogramVec
	flight   prometheus.Gauge
	drops    *prometheus.CounterVec
	lost     prometheus.Counter
	routes   *prometheus.GaugeVec
	breakers *prometheus.GaugeVec
	holds    *prometheus.CounterVec
	hedges   *prometheus.CounterVec
	alarms   *prometheus.CounterVec
	receipts receiptMetrics

	mu      sync.Mutex
	reasons map[string]struct{}
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_push_attempts_total", Help: "Attempts to reach a device, by what came of them.",
		}, []string{"credential", "channel", "server", "verdict", "reason", "attempt"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_push_latency_seconds", Help: "Time from a provider's request to its answer.", Buckets: ringBuckets,
		}, []string{"credential", "channel", "server"}),
		accept: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_call_to_accept_seconds", Help: "Time from a Notify to a provider's acceptance, or to the device's poll.", Buckets: ringBuckets,
		}, []string{"channel"}),
		flight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_deliveries_in_flight", Help: "Deliveries in memory.",
		}),
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_deliveries_dropped_total", Help: "Deliveries refused or given up before their end: full (a call's route had no room), notice_full (a notice's had none, which is left to calls), deadline (of calls and of notices).",
		}, []string{"cause"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_outcomes_unrecorded_total", Help: "Outcomes that the database did not take.",
		}),
		routes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "planetbell_route_deliveries", Help: "Deliveries on a route: attempting, or held (a retry that the budget or the breaker holds back).",
		}, []string{"credential", "channel", "server", "state"}),
		breakers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "planetbell_circuit_open", Help: "1 while retries on a route are stopped because half of its attempts fail; first attempts still go.",
		}, []string{"credential", "channel", "server"}),
		holds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_retries_held_total", Help: "Retries that were held back, by what held them: breaker or budget.",
		}, []string{"credential", "channel", "server", "cause"}),
		hedges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_push_hedges_total", Help: "Second requests beside a slow one: won, lost, or denied by their budget.",
		}, []string{"result"}),
		alarms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_push_alarms_total", Help: "Attempts whose answer an operator should know of: page (nothing on the route works until somebody acts), config (credentials, topics or projects do not fit together), bug (we sent something wrong).",
		}, []string{"credential", "channel", "server", "alarm"}),
		receipts: newReceiptMetrics(),
		reasons:  map[string]struct{}{},
	}
	for _, cause := range []string{droppedFull, droppedNotice, droppedDeadline} {
		m.drops.WithLabelValues(cause) // at 0, as Expect says
	}
	if r != nil {
		r.MustRegister(m.attempts, m.latency, m.accept, m.flight, m.drops, m.lost, m.routes, m.breakers, m.holds, m.hedges, m.alarms)
		r.MustRegister(m.receipts.accepted, m.receipts.call, m.receipts.lowered)
	}
	return m
}

// Expect makes, at 0, what alerts count of a route, before anything goes over it: an alert counts
// an increase, and a series that begins with 1, or is not there yet, has none. A route costs a
// fixed number of series.
func (m *Metrics) Expect(key RouteKey) {
	m.accept.WithLabelValues(string(key.Channel))
	m.receipts.expect(string(key.Channel))
	if key.Channel == bell.LongPoll { // nobody answers for it
		return
	}
	for _, alarm := range []bell.Alarm{bell.AlarmPage, bell.AlarmConfig} {
		m.alarms.WithLabelValues(key.Credential, string(key.Channel), key.Server, string(alarm))
	}
}

// routeMetrics are a route's, looked up once: by label a look-up costs as much as all the
// rest of an attempt's bookkeeping.
type routeMetrics struct {
	*Metrics
	key                 RouteKey
	latency, accept     prometheus.Observer // latency is nil for mailboxes: they answer at once
	attempting, holding prometheus.Gauge
	taken               prometheus.Counter // first attempts that were accepted
}

// route returns the metrics of a route.
func (m *Metrics) route(key RouteKey) *routeMetrics {
	m.Expect(key)
	labels := []string{key.Credential, string(key.Channel), key.Server}
	rm := &routeMetrics{
		Metrics: m, key: key, accept: m.accept.WithLabelValues(string(key.Channel)),
		attempting: m.routes.WithLabelValues(append(labels, "attempting")...),
		holding:    m.routes.WithLabelValues(append(labels, "held")...),
		taken:      m.attempts.WithLabelValues(append(labels, string(bell.Accepted), "", "1")...),
	}
	if key.Channel != bell.LongPoll {
		rm.latency = m.latency.WithLabelValues(labels...)
	}
	return rm
}

// attempted counts an attempt, with its trace as an example if there is one.
func (m *routeMetrics) attempted(a bell.Attempt, notified time.Time, traceID string) {
	accepted := a.Outcome.Verdict == bell.Accepted
	if accepted && a.Number == 1 && a.Outcome.Reason == "" {
		m.taken.Inc()
	} else {
		number := "4+"
		if a.Number < 4 {
			number = strconv.Itoa(a.Number)
		}
		m.attempts.WithLabelValues(m.key.Credential, string(m.key.Channel), m.key.Server,
			string(a.Outcome.Verdict), m.reason(a.Outcome.Reason), number).Inc()
	}
	if alarm := a.Outcome.Alarm; alarm != bell.AlarmNone && alarm != bell.AlarmCount {
		m.alarms.WithLabelValues(m.key.Credential, string(m.key.Channel), m.key.Server, string(alarm)).Inc()
	}
	if m.latency != nil {
		observe(m.latency, a.Took, traceID)
	}
	if accepted && !notified.IsZero() {
		observe(m.accept, a.StartedAt.Add(a.Took).Sub(notified), traceID)
	}
}

func observe(o prometheus.Observer, d time.Duration, traceID string) {
	if with, ok := o.(prometheus.ExemplarObserver); ok && traceID != "" {
		with.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	o.Observe(d.Seconds())
}

// reason is the label for a reason: itself while there are few, "other" after that. The
// metrics library panics on text that is not UTF-8.
func (m *Metrics) reason(r string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.reasons[r]; known {
		return r
	}
	if len(m.reasons) >= maxReasons || len(r) > 64 || !utf8.ValidString(r) {
		return "other"
	}
	m.reasons[r] = struct{}{}
	return r
}

func (m *Metrics) inFlight(n int)              { m.flight.Set(float64(n)) }
func (m *Metrics) dropped(cause string, n int) { m.drops.WithLabelValues(cause).Add(float64(n)) }
func (m *Metrics) unrecorded()                 { m.lost.Inc() }
func (m *Metrics) hedged(result string)        { m.hedges.WithLabelValues(result).Inc() }

// breaker returns what a route's breaker tells of its changes.
func (m *Metrics) breaker(key RouteKey) func(open bool) {
	gauge := m.breakers.WithLabelValues(key.Credential, string(key.Channel), key.Server)
	return func(open bool) {
		gauge.Set(map[bool]float64{false: 0, true: 1}[open])
	}
}

func (m *Metrics) held(key RouteKey, cause string) {
	m.holds.WithLabelValues(key.Credential, string(key.Channel), key.Server, cause).Inc()
}
