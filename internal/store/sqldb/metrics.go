package sqldb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell how writes keep up, alike for both databases: those that are committed together
// are a group.
type Metrics struct {
	groups  prometheus.Histogram
	seconds prometheus.Histogram
	// Refused counts writes for which there was no place.
	Refused prometheus.Counter
}

// NewMetrics makes Metrics, and registers them if there is a registry.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_store_group_writes", Help: "Writes that were committed together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9), // 1 to 256
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_store_group_seconds", Help: "Time to commit a group of writes, sync included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12), // 0.5 ms to 1 s
		}),
		Refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_store_refused_writes_total", Help: "Writes refused because too many waited.",
		}),
	}
	if r != nil {
		r.MustRegister(m.groups, m.seconds, m.Refused)
	}
	return m
}

// Group notes the start of a commit and returns what notes its end.
func (m *Metrics) Group(size int) func() {
	start := time.Now()
	m.groups.Observe(float64(size))
	return func() { m.seconds.Observe(time.Since(start).Seconds()) }
}
