package room

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
)

// Metrics count what becomes of rooms.
type Metrics struct {
	events      *prometheus.CounterVec
	closed      *prometheus.CounterVec
	invitations *prometheus.CounterVec
}

// What became of an event; the "result" of its metric.
const (
	resultChanged = "changed"
	resultNothing = "nothing_new" // a repeat, or older than what is known
	resultNoRun   = "no_run"      // without a session ID, and of no room that is open
)

// NewMetrics makes the metrics and registers them; a nil registerer is allowed.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_room_events_total", Help: "Group Call Events that were recorded, by what they changed.",
		}, []string{"result"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_rooms_silent_total", Help: "Runs of rooms that were closed because nothing was heard of them.",
		}, nil),
		invitations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_room_invitations_total", Help: "Invitations to rooms, by what became of them.",
		}, []string{"result"}),
	}
	for _, result := range []string{resultChanged, resultNothing, resultNoRun} {
		m.events.WithLabelValues(result)
	}
	for _, result := range []string{invitedTold, invitedNobody, invitedAlready, invitedFailed} {
		m.invitations.WithLabelValues(result)
	}
	if registerer != nil {
		registerer.MustRegister(m.events, m.closed, m.invitations)
	}
	return m
}

func (m *Metrics) event(f *fact, c *Change) {
	switch {
	case c.WriteRun:
		m.events.WithLabelValues(resultChanged).Inc()
	case c.Run.State == "" && f.event.SessionID == "":
		m.events.WithLabelValues(resultNoRun).Inc()
	default:
		m.events.WithLabelValues(resultNothing).Inc()
	}
}

func (m *Metrics) silent(r *bell.RoomRun) {
	if r.Reason == bell.RoomSilent {
		m.closed.WithLabelValues().Inc()
	}
}
