package bus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/cluster"
)

// Why hints may have been lost; the "cause" of a metric.
const (
	gapConnected = "connected" // a connection was made: nothing is known of before
	gapHole      = "hole"      // a node's message is missing
	gapSlow      = "slow"      // this node did not keep up
)

// Why hints were dropped; the "cause" of a metric.
const (
	dropFull    = "out_full" // the queue to the other nodes had no room
	dropSlow    = "in_full"  // the queue to this node's work had no room
	dropInvalid = "invalid"  // cannot travel: it has no key, or one with strange characters
)

// Metrics count hints. Labels are bounded; none names a user, device or call.
type Metrics struct {
	published *prometheus.CounterVec
	received  *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	gaps      *prometheus.CounterVec
	damaged   prometheus.Counter
	connects  prometheus.Counter
	connected prometheus.Gauge
	peers     prometheus.Gauge
	lag       prometheus.Histogram
}

// NewMetrics makes the metrics of one bus and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		published: counter("planetbell_bus_published_total", "Hints sent to other nodes.", "kind"),
		received:  counter("planetbell_bus_received_total", "Hints got from other nodes.", "kind"),
		dropped:   counter("planetbell_bus_dropped_total", "Hints dropped: out_full (not sent), in_full (not handled in time), invalid.", "cause"),
		gaps:      counter("planetbell_bus_gaps_total", "Times that hints may have been lost and the database was searched: connected, hole (another node's message is missing), slow.", "cause"),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_bus_damaged_total", Help: "Messages on the bus that no node of this release wrote.",
		}),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_bus_reconnects_total", Help: "Connections that were made after the first.",
		}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_bus_connected", Help: "1 while hints go out and come in. While it is 0 other nodes' news come about a second later.",
		}),
		peers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_bus_peers", Help: "Other nodes that were heard within the last seconds.",
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "planetbell_bus_lag_seconds", Help: "Time from sending a heartbeat to its return.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	for _, k := range kinds {
		m.published.WithLabelValues(string(k))
		m.received.WithLabelValues(string(k))
	}
	for _, cause := range []string{dropFull, dropSlow, dropInvalid} {
		m.dropped.WithLabelValues(cause)
	}
	for _, cause := range []string{gapConnected, gapHole, gapSlow} {
		m.gaps.WithLabelValues(cause)
	}
	if r != nil {
		r.MustRegister(m.published, m.received, m.dropped, m.gaps, m.damaged, m.connects, m.connected, m.peers, m.lag)
	}
	return m
}

func count(c *prometheus.CounterVec, hints []cluster.Hint) {
	for _, h := range hints {
		c.WithLabelValues(string(h.Kind)).Inc()
	}
}

func (m *Metrics) drop(cause string, n int) {
	if n > 0 {
		m.dropped.WithLabelValues(cause).Add(float64(n))
	}
}

func (m *Metrics) gap(cause string) { m.gaps.WithLabelValues(cause).Inc() }

// sendable reports whether the hint can travel.
func (m *Metrics) sendable(h cluster.Hint) bool {
	if valid(h) {
		return true
	}
	m.drop(dropInvalid, 1)
	return false
}
