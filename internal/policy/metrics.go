package policy

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the figures of what calls are asked about before they ring. Labels are
// bounded: projects are those configured, results the words of hook.go.
type Metrics struct {
	asked           *prometheus.CounterVec // project, result
	took            prometheus.Histogram
	dropped, unread prometheus.Counter
}

// NewMetrics makes Metrics and registers them with registerer, which may be nil.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	auto := promauto.With(registerer)
	return &Metrics{
		asked: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_policy_hook_total",
			Help: "Calls for which the policy hook was to be asked, by what came of it. All but answered and cached rang without its word.",
		}, []string{"project", "result"}),
		took: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "planetbell_policy_hook_duration_seconds",
			Help:    "How long policy hooks took, or until they were given up.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .15, .3, .6, 1},
		}),
		dropped: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_policy_fields_dropped_total",
			Help: "Fields for devices in answers of policy hooks that were left out: too many, too long, or under a name that is taken.",
		}),
		unread: auto.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_policy_unread_total",
			Help: "Calls that rang though the database could not say in time whether the callee wants them.",
		}),
	}
}
