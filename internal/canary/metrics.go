package canary

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all canaries. Their labels are the configured names, and hops.
type Metrics struct {
	calls    *prometheus.CounterVec
	ring     *prometheus.HistogramVec
	success  *prometheus.GaugeVec
	interval *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_canary_calls_total", Help: "Synthetic calls, by result: ok, or the hop that failed (register_user, update_notification_token, notify, poll, cc_param, receipt, call_event).",
		}, []string{"canary", "result"}),
		ring: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_canary_ring_seconds", Help: "Time from a synthetic call's Notify to the answer to its callee's poll.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"canary"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "planetbell_canary_last_success_timestamp_seconds", Help: "When a synthetic call went well last; before the first, when the process started.",
		}, []string{"canary"}),
		interval: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "planetbell_canary_interval_seconds", Help: "How often the synthetic call is made: canaries[].every.",
		}, []string{"canary"}),
	}
	if r != nil {
		r.MustRegister(m.calls, m.ring, m.success, m.interval)
	}
	return m
}

// canaryMetrics are those of one canary.
type canaryMetrics struct {
	*Metrics
	name string
}

func (m *Metrics) of(name string, every time.Duration) *canaryMetrics {
	m.interval.WithLabelValues(name).Set(every.Seconds())
	m.success.WithLabelValues(name).Set(seconds(time.Now()))
	m.calls.WithLabelValues(name, resultOK)
	return &canaryMetrics{m, name}
}

func (m *canaryMetrics) failed(hop string) { m.calls.WithLabelValues(m.name, hop).Inc() }

func (m *canaryMetrics) rang(took time.Duration, now time.Time) {
	m.calls.WithLabelValues(m.name, resultOK).Inc()
	m.ring.WithLabelValues(m.name).Observe(took.Seconds())
	m.success.WithLabelValues(m.name).Set(seconds(now))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
