package mailbox

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the mailbox's.
type Metrics struct {
	waiters prometheus.Gauge
	letters *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		waiters: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_longpoll_waiters", Help: "Long polls that wait for a call.",
		}),
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_longpoll_delivery_total", Help: "What became of calls for polling devices: delivered, put_back (the answer could not be written), refused (too many polls); of devices that acknowledge: handed_out, redelivered, acknowledged.",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.waiters, m.letters)
	}
	return m
}

func (m *Metrics) waiting(n int)           { m.waiters.Set(float64(n)) }
func (m *Metrics) delivered(result string) { m.letters.WithLabelValues(result).Inc() }
func (m *Metrics) refused()                { m.letters.WithLabelValues("refused").Inc() }
