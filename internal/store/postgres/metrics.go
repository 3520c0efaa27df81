package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// metrics are those of both databases, and what only PostgreSQL has.
type metrics struct {
	*sqldb.Metrics
	rerun prometheus.Counter
}

func newMetrics(r prometheus.Registerer, pools map[string]*pgxpool.Pool) *metrics {
	m := &metrics{
		Metrics: sqldb.NewMetrics(r),
		rerun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_store_rerun_transactions_total", Help: "Transactions run again because of a conflict or a broken connection.",
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.rerun)
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
