package apns

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/push/transport"
)

// Metrics are the state of all clients of this package, read when Prometheus asks.
// Labels are the credential's name, the APNs environment and words of fixed sets.
type Metrics struct {
	connections *prometheus.Desc
	age         *prometheus.Desc
	expiry      *prometheus.Desc
	goAway      *prometheus.CounterVec
	clock       *transport.Clock

	mu      sync.Mutex // guards clients
	clients map[*Client]struct{}
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	// The same names exist for other providers; this label tells them apart.
	provider := prometheus.Labels{"provider": "apns"}
	names := func(more ...string) []string { return append([]string{"credential", "server"}, more...) }
	m := &Metrics{
		connections: prometheus.NewDesc("planetbell_provider_connections",
			"Connections to a push provider: open, or missing (being dialled).", names("state"), provider),
		age: prometheus.NewDesc("planetbell_provider_credential_age_seconds",
			"Age of the provider or access token in use.", names(), provider),
		expiry: prometheus.NewDesc("planetbell_provider_cert_expiry_seconds",
			"Time until the push certificate expires; negative when it has.", names(), provider),
		goAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_provider_goaway_total", Help: "Requests that ended because the provider ended the connection, by the reason it gave.",
			ConstLabels: provider,
		}, names("reason")),
		clock:   transport.NewClock("apns"),
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
	ch <- m.expiry
	m.goAway.Describe(ch)
	m.clock.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	clients := slices.Collect(maps.Keys(m.clients))
	m.mu.Unlock()
	for labels, s := range states(clients) {
		gauge := func(d *prometheus.Desc, value float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{labels.name, labels.server}, more...)...)
		}
		gauge(m.connections, float64(s.open), "open")
		gauge(m.connections, float64(s.missing), "missing")
		if s.hasToken {
			gauge(m.age, s.age.Seconds())
		}
		if !s.notAfter.IsZero() {
			gauge(m.expiry, s.left.Round(time.Second).Seconds())
		}
	}
	m.goAway.Collect(ch)
	m.clock.Collect(ch)
}

// labels name a credential at a server.
type labels struct{ name, server string }

// state is that of one client, or of several with the same labels: a credential that is
// being replaced has two for a while.
type state struct {
	open, missing int
	hasToken      bool
	age           time.Duration
	notAfter      time.Time
	left          time.Duration
}

// states adds up connections, and takes the worse of ages and ends.
func states(clients []*Client) map[labels]state {
	all := map[labels]state{}
	for _, c := range clients {
		key := labels{c.name, string(c.server)}
		s := all[key]
		open, missing := c.pool.counts()
		s.open, s.missing = s.open+open, s.missing+missing
		if c.tokens != nil {
			s.hasToken, s.age = true, max(s.age, c.tokens.Age())
		}
		if end := c.credential.notAfter; !end.IsZero() && (s.notAfter.IsZero() || end.Before(s.notAfter)) {
			s.notAfter, s.left = end, end.Sub(c.now())
		}
		all[key] = s
	}
	return all
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

// ended counts a GOAWAY; said is a reason of the table, or empty.
func (m *Metrics) ended(c *Client, said string) {
	if said == "" {
		said = "none"
	}
	m.goAway.WithLabelValues(c.name, string(c.server), said).Inc()
}
