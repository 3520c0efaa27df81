package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the figures of this package. Labels are bounded: routes are those of
// routes.go, statuses those of errors.go, the rest are words of this package.
type metrics struct {
	requests    *prometheus.CounterVec   // route, status
	duration    *prometheus.HistogramVec // route
	panics      prometheus.Counter
	polls       prometheus.Gauge
	callbacks   *prometheus.CounterVec // kind, result
	sidMismatch prometheus.Counter
	limited     *prometheus.CounterVec // limit
}

func newMetrics(registerer prometheus.Registerer) metrics {
	auto := promauto.With(registerer)
	return metrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_http_requests_total",
			Help: "Requests on the public listener, by route and status. 499: the client left before it had its answer.",
		}, []string{"route", "status"}),
		duration: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_http_request_duration_seconds",
			Help: "How long requests took, by route. Polls wait on purpose.",
			// From the callback's goal of 2 ms up to the longest hold of a poll.
			Buckets: []float64{.001, .002, .005, .01, .025, .05, .1, .3, 1, 3, 10, 30, 60},
		}, []string{"route"}),
		panics: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_http_panics_total",
			Help: "Handlers that panicked. Each is a bug.",
		}),
		polls: auto.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_http_polls_waiting",
			Help: "Long polls that wait for a call.",
		}),
		callbacks: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_callbacks_total",
			Help: "Callbacks from Planet Cloud, by kind and what became of them.",
		}, []string{"kind", "result"}),
		sidMismatch: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_callback_sid_mismatches_total",
			Help: "Notify callbacks whose param names another session than their sid. They were processed.",
		}),
		limited: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_http_limited_total",
			Help: "Requests refused because their client address made too many of the kind.",
		}, []string{"limit"}),
	}
}

// expect makes, at 0, what alerts count of a kind of callback: of a series that begins with 1 they
// see no increase.
func (m *metrics) expect(kind string) {
	m.callbacks.WithLabelValues(kind, resultFailed)
	if kind == kindNotify {
		m.callbacks.WithLabelValues(kind, resultNoDevice)
	}
}
