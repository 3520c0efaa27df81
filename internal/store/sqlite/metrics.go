package sqlite

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell how the writer keeps up.
type metrics struct {
	groups  prometheus.Histogram
	seconds prometheus.Histogram
	refused prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_store_group_writes", Help: "Writes that were committed together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9), // 1 to 256
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_store_group_seconds", Help: "Time to commit a group of writes, sync included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12), // 0.5 ms to 1 s
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_store_refused_writes_total", Help: "Writes refused because too many waited.",
		}),
	}
	if r != nil {
		r.MustRegister(m.groups, m.seconds, m.refused)
	}
	return m
}

// group notes the start of a commit and returns what notes its end.
func (m *metrics) group(size int) func() {
	start := time.Now()
	m.groups.Observe(float64(size))
	return func() { m.seconds.Observe(time.Since(start).Seconds()) }
}
