package console

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// routes lists every route of the admin listener. Health and metrics are open to whoever
// reaches the listener; everything else wants the admin token.
func (c *console) routes(gatherer prometheus.Gatherer) *http.ServeMux {
	mux := http.NewServeMux()
	open := func(pattern string, h handler) { mux.Handle(pattern, c.serve(h)) }
	admin := func(pattern string, h handler) { mux.Handle(pattern, c.serve(c.bounded(c.authorized(h)))) }
	debug := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, c.serve(c.authorized(plain(h)))) }

	open("GET /livez", c.livez)
	open("GET /readyz", c.readyz)
	open("GET /metrics", plain(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}).ServeHTTP))

	admin("GET /admin/v1/projects", c.listProjects)
	admin("GET /admin/v1/devices", c.listDevices)
	admin("POST /admin/v1/devices", c.addDevice)
	admin("DELETE /admin/v1/devices/{id}", c.removeDevice)
	admin("GET /admin/v1/calls", c.listCalls)
	admin("GET /admin/v1/calls/{sid}", c.showCall)
	admin("GET /admin/v1/calls/{sid}/verdict", c.showVerdict)
	admin("GET /admin/v1/verdicts", c.listVerdicts)
	admin("GET /admin/v1/rooms", c.listRooms)
	admin("GET /admin/v1/rooms/{service}/{room}", c.listRuns)
	admin("GET /admin/v1/rooms/{service}/{room}/runs/{sid}", c.showRun)
	admin("GET /admin/v1/users/{service}/{user}/rules", c.showRules)
	admin("PUT /admin/v1/users/{service}/{user}/rules", c.replaceRules)
	admin("POST /admin/v1/access_tokens", c.mintAccessToken)
	admin("GET /admin/v1/events", c.listEvents)
	admin("GET /admin/v1/events/endpoints", c.listEndpoints)
	admin("POST /admin/v1/events/{id}/replay", c.replayEvent)
	admin("POST /admin/v1/events/replay", c.replayEvents)
	admin("POST /admin/v1/events/enable", c.enableEndpoint)
	admin("POST /admin/v1/events/test", c.testEvent)

	admin("GET /debug/info", c.info)
	debug("GET /debug/pprof/", pprof.Index)
	debug("GET /debug/pprof/cmdline", pprof.Cmdline)
	debug("GET /debug/pprof/profile", pprof.Profile)
	debug("GET /debug/pprof/symbol", pprof.Symbol)
	debug("POST /debug/pprof/symbol", pprof.Symbol)
	debug("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// plain makes a handler of one that answers errors itself.
func plain(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}
