package httpapi

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// trace begins the span of a callback about a call, if calls are traced. It ends with the answer.
func (a *api) trace(r *http.Request, kind string, project *bell.Project, sid planet.SessionID) {
	if a.config.Traces == nil {
		return
	}
	e := eventOf(r)
	e.traceID, e.traced = a.config.Traces.Callback(kind, project.Environment, sid, r.Header.Get("Traceparent"), e.start)
}

// observe measures a request, with its trace as an example if there is one.
func (e *event) observe(o prometheus.Observer, took time.Duration) {
	if with, ok := o.(prometheus.ExemplarObserver); ok && e.traceID != "" {
		with.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": e.traceID})
		return
	}
	o.Observe(took.Seconds())
}
