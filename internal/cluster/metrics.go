package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the worker's and the cache's. All labels are bounded.
type Metrics struct {
	nodes     prometheus.Gauge
	skew      prometheus.Gauge
	claimed   *prometheus.CounterVec
	givenBack prometheus.Counter
	lostHints *prometheus.CounterVec
	freed     prometheus.Counter
	repaired  prometheus.Counter
	sweeps    prometheus.Histogram
	failures  *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	lookups   *prometheus.CounterVec
	forgotten prometheus.Counter
	cached    prometheus.Gauge
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		nodes:     gauge("planetbell_cluster_nodes", "Nodes on this database that are alive, as this one sees it."),
		skew:      gauge("planetbell_cluster_clock_skew_seconds", "By how much this machine's clock is behind the database's; negative when it is ahead."),
		claimed:   counters("planetbell_cluster_mailbox_claims_total", "Calls that were brought to a poll here, by what told of them: poll (they lay there when it began), hint, or sweep.", "by"),
		givenBack: counter("planetbell_cluster_letters_given_back_total", "Calls in a mailbox here whose device does not poll here any more."),
		lostHints: counters("planetbell_cluster_hints_lost_total", "What the sweep found and no hint had told: mailbox (a call for a poll here), gone (a delivery that is over, or another node's), ended (the end of a call that a stream here rings for).", "kind"),
		freed:     counter("planetbell_cluster_deliveries_freed_total", "Deliveries that nodes held which are dead, as this node found them."),
		repaired:  counter("planetbell_cluster_letters_repaired_total", "Calls in a mailbox that were this node's and nowhere in its memory, and were given back. After lost answers of the database there are some; else there is an error in the program."),
		sweeps: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_cluster_sweep_seconds", Help: "Time of one look through the database for what hints did not tell.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		failures:  counters("planetbell_cluster_store_failures_total", "Questions to the database that failed: beat, claim, give_back, free, mailbox, letters, gone, ended, devices, forget, leave.", "what"),
		dropped:   counters("planetbell_cluster_dropped_total", "What a bounded queue had no room for: entered (the next sweep looks at everything), idle (a call that nobody can have).", "queue"),
		lookups:   counters("planetbell_device_cache_lookups_total", "Look-ups of a user's devices, by what came of them: hit, miss, or untrusted (changes are not heard of at the moment).", "result"),
		forgotten: counter("planetbell_device_cache_forgotten_total", "Users whose devices were cached, or being read, and were changed."),
		cached:    gauge("planetbell_device_cache_devices", "Devices in the cache."),
	}
	if r != nil {
		r.MustRegister(m.nodes, m.skew, m.claimed, m.givenBack, m.lostHints, m.freed, m.repaired, m.sweeps, m.failures, m.dropped)
		r.MustRegister(m.lookups, m.forgotten, m.cached)
	}
	return m
}

func (m *Metrics) swept(took time.Duration) { m.sweeps.Observe(took.Seconds()) }
