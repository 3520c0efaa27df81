package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell how writes keep up. The first three mean the same as SQLite's.
type metrics struct {
	groups  prometheus.Histogram
	seconds prometheus.Histogram
	refused prometheus.Counter
	rerun   prometheus.Counter
}

func newMetrics(r prometheus.Registerer, pools map[string]*pgxpool.Pool) *metrics {
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
		rerun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_store_rerun_transactions_total", Help: "Transactions run again because of a conflict or a broken connection.",
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.groups, m.seconds, m.refused, m.rerun)
	for name, pool := range pools {
		labels := prometheus.Labels{"pool": name}
		r.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "planetbell_store_connections", Help: "Connections to the database.", ConstLabels: labels,
			}, func() float64 { return float64(pool.Stat().TotalConns()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "planetbell_store_connections_in_use", Help: "Connections to the database at work.", ConstLabels: labels,
			}, func() float64 { return float64(pool.Stat().AcquiredConns()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "planetbell_store_connections_limit", Help: "Connections to the database that there may be.", ConstLabels: labels,
			}, func() float64 { return float64(pool.Stat().MaxConns()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "planetbell_store_connections_made_total", Help: "Connections to the database that were opened.", ConstLabels: labels,
			}, func() float64 { return float64(pool.Stat().NewConnsCount()) }),
		)
	}
	return m
}

// group notes the start of a commit and returns what notes its end.
func (m *metrics) group(size int) func() {
	start := time.Now()
	m.groups.Observe(float64(size))
	return func() { m.seconds.Observe(time.Since(start).Seconds()) }
}
