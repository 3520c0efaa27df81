package call

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/planetbell/planetbell/internal/bell"
)

// Metrics are the figures of what is done without the store, of calls that rang nothing, and
// of what is done after the ring. Labels are bounded.
type Metrics struct {
	suppressed *prometheus.CounterVec // why: one of bell.Suppressions

	items, bytes                    prometheus.Gauge
	fromMemory, refused, unrecorded prometheus.Counter
	lost                            prometheus.Counter
	notices                         *prometheus.CounterVec
}

// NewMetrics makes Metrics and registers them with registerer, which may be nil.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	auto := promauto.With(registerer)
	return &Metrics{
		suppressed: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_calls_suppressed_total",
			Help: "Calls that were taken and rang nothing, because the callee blocks the caller or wants no calls, or the policy hook said no.",
		}, []string{"why"}),
		items: auto.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_backlog_items",
			Help: "Callbacks and outcomes in memory that the database has still to take. Above 0, it is in trouble.",
		}),
		bytes: auto.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_backlog_bytes",
			Help: "About how much memory they take.",
		}),
		fromMemory: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_rung_from_memory_total",
			Help: "Calls that rang though the database could not record them; they are recorded later.",
		}),
		refused: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_backlog_refused_total",
			Help: "What the backlog did not take, because it was full. Callbacks among them were answered 503.",
		}),
		unrecorded: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_backlog_lost_total",
			Help: "Items of the backlog that could not be recorded at all. The log says why.",
		}),
		lost: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_calls_lost_total",
			Help: "Calls whose Call Event never came.",
		}),
		notices: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_notices_total",
			Help: "Missed calls and invitations that users were to be told of: told, suppressed, repeated, no_device, or failed.",
		}, []string{"purpose", "result"}),
	}
}

// noticed counts a notice. The purposes and results are constants of this program.
func (m *Metrics) noticed(purpose bell.Purpose, result string) {
	m.notices.WithLabelValues(string(purpose), result).Inc()
}
