package webpush

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/push/transport"
)

// Metrics are the state of all clients of this package, read when Prometheus asks.
// Labels are the credential's name and words of fixed sets.
type Metrics struct {
	connections *prometheus.Desc
	age         *prometheus.Desc
	goAway      *prometheus.CounterVec
	clock       *transport.Clock

	mu      sync.Mutex // guards clients
	clients map[*Client]struct{}
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	// The same names exist for other providers; this label tells them apart.
	provider := prometheus.Labels{"provider": "webpush"}
	labels := func(more ...string) []string { return append([]string{"credential", "server"}, more...) }
	m := &Metrics{
		connections: prometheus.NewDesc("planetbell_provider_connections",
			"Connections to a push provider: open, or missing (being dialled).", labels("state"), provider),
		age: prometheus.NewDesc("planetbell_provider_credential_age_seconds",
			"Age of the provider or access token in use.", labels(), provider),
		goAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_provider_goaway_total", Help: "Requests that ended because the provider ended the connection, by the reason it gave.",
			ConstLabels: provider,
		}, labels("reason")),
		clock:   transport.NewClock("webpush"),
		clients: make(map[*Client]struct{}),
	}
	if r != nil {
		r.MustRegister(m)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.connections
	ch <- m.age
	m.goAway.Describe(ch)
	m.clock.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	clients := slices.Collect(maps.Keys(m.clients))
	m.mu.Unlock()
	open, age := map[string]int{}, map[string]time.Duration{} // a credential that is being replaced has two clients
	for _, c := range clients {
		open[c.name] += c.conns.Count()
		age[c.name] = max(age[c.name], c.tokens.age(c.now()))
	}
	for name, n := range open {
		ch <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(n), name, "", "open")
		ch <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, age[name].Seconds(), name, "")
	}
	m.goAway.Collect(ch)
	m.clock.Collect(ch)
}

func (m *Metrics) add(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[c] = struct{}{}
}

func (m *Metrics) remove(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clients, c)
}

func (m *Metrics) ended(c *Client) { m.goAway.WithLabelValues(c.name, "", "none").Inc() }
