package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the worker's. Labels are bounded: endpoints by the configuration, results by
// the reasons in post.go.
type Metrics struct {
	tries   *prometheus.CounterVec
	told    *prometheus.CounterVec
	dead    *prometheus.CounterVec
	latency *prometheus.HistogramVec
	waiting *prometheus.GaugeVec
	oldest  *prometheus.GaugeVec
	up      *prometheus.GaugeVec
	letters prometheus.Gauge
	dropped prometheus.Counter
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"endpoint"})
	}
	m := &Metrics{
		tries: counter("planetbell_event_tries_total", "POSTs of events to the customer's endpoints, by what came of them (ok, or why not).", "endpoint", "to", "result"),
		told:  counter("planetbell_events_told_total", "Events that an endpoint, or its fallback, took.", "endpoint"),
		dead:  counter("planetbell_events_given_up_total", "Events that were given up: after the last of their tries, too_old, or too_many that wait.", "cause"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_event_told_seconds", Help: "Time from what happened to the endpoint's 2xx.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 36000},
		}, []string{"endpoint"}),
		waiting: gauge("planetbell_events_waiting", "Events that are still to be told."),
		oldest:  gauge("planetbell_events_oldest_seconds", "For how long the oldest event that is still to be told has waited."),
		up:      gauge("planetbell_event_endpoint_up", "1 while an endpoint takes events; 0 while it is down, paused, or gone."),
		letters: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_event_dead_letters", Help: "Events that were given up and can be replayed.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_event_dead_letters_dropped_total", Help: "Dead letters that were deleted because they were too many or too old.",
		}),
	}
	if r != nil {
		r.MustRegister(m.tries, m.told, m.dead, m.latency, m.waiting, m.oldest, m.up, m.letters, m.dropped)
	}
	return m
}

// tried counts a POST. to is "url" or "fallback_url".
func (m *Metrics) tried(endpoint, to string, a answer) {
	result := a.reason
	if a.ok() {
		result = "ok"
	}
	m.tries.WithLabelValues(endpoint, to, result).Inc()
}

func (m *Metrics) tookEvent(endpoint string, after time.Duration) {
	m.told.WithLabelValues(endpoint).Inc()
	m.latency.WithLabelValues(endpoint).Observe(max(after, 0).Seconds())
}
