package mailbox

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the mailbox's.
type Metrics struct {
	waiters prometheus.Gauge
	letters *prometheus.CounterVec
	streams prometheus.Gauge
	events  *prometheus.CounterVec
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
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_streams_open", Help: "Streams that wait for calls.",
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_stream_events_total", Help: "What was written to streams: delivered, replayed (to a device that may have it already), ended (the call is over), expired (it has rung for as long as it may); and refused: streams that found too many.",
		}, []string{"event"}),
	}
	if r != nil {
		r.MustRegister(m.waiters, m.letters, m.streams, m.events)
	}
	return m
}

func (m *Metrics) waiting(n int)           { m.waiters.Set(float64(n)) }
func (m *Metrics) delivered(result string) { m.letters.WithLabelValues(result).Inc() }
func (m *Metrics) refused()                { m.letters.WithLabelValues("refused").Inc() }
func (m *Metrics) streaming(n int)         { m.streams.Set(float64(n)) }
func (m *Metrics) event(kind string)       { m.events.WithLabelValues(kind).Inc() }
func (m *Metrics) refusedStream()          { m.events.WithLabelValues("refused").Inc() }
