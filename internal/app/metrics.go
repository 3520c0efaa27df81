package app

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/planetbell/planetbell/internal/delivery"
)

// registerOwn registers what is about the process: what it is, whether it takes calls, and what
// it uses of the machine.
func (a *App) registerOwn() {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "planetbell_build_info", Help: "Always 1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": string(a.version), "go_version": runtime.Version()},
	})
	build.Set(1)
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "planetbell_ready", Help: "1 while the process takes calls; 0 while it starts and stops.",
	}, func() float64 {
		if a.ready.Load() {
			return 1
		}
		return 0
	})
	polls := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "planetbell_longpoll_waiters_limit", Help: "How many polls and streams may wait at once, together: limits.long_polls.",
	})
	polls.Set(float64(a.cfg.Limits.LongPolls))
	flight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "planetbell_deliveries_in_flight_limit", Help: "How many deliveries may be in memory at once: limits.deliveries_in_flight.",
	})
	flight.Set(float64(a.cfg.Limits.DeliveriesInFlight))
	a.registry.MustRegister(
		build, ready, polls, flight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
}

// deliveryMetrics makes the metrics of deliveries, with what alerts count of each route that the
// configuration has: the first thing that happens on a route may be what an alert is for.
func (a *App) deliveryMetrics() *delivery.Metrics {
	m := delivery.NewMetrics(a.registry)
	for _, key := range a.senders.routes() {
		m.Expect(key)
	}
	return m
}
