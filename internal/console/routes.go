package console

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/planetbell/planetbell/internal/bell"
)

// routes lists every route of the admin listener, with the least role that may use it. Health
// and metrics are open to whoever reaches the listener.
//
// A route that changes something, or hands something out, says so with does("word"): the audit
// log has it then.
func (c *console) routes(gatherer prometheus.Gatherer) []route {
	var all []route
	add := func(kind routeKind, least bell.Role) func(string, handler, ...routeOption) {
		return func(pattern string, h handler, options ...routeOption) {
			all = append(all, newRoute(kind, least, pattern, h, options))
		}
	}
	open, session, profile := add(openRoute, ""), add(signInRoute, ""), add(profileRoute, bell.Admin)
	viewer, operator, admin := add(apiRoute, bell.Viewer), add(apiRoute, bell.Operator), add(apiRoute, bell.Admin)
	// page adds an HTML page. Who has no session is sent to sign in and comes back.
	page := func(least bell.Role, pattern string, h handler, options ...routeOption) {
		add(pageRoute, least)(pattern, h, options...)
	}
	c.pageRoutes(page)
	open("GET /assets/{file...}", c.asset)
	add(streamRoute, bell.Viewer)("GET /calls/{sid}/live", c.liveCall)

	open("GET /livez", c.livez)
	open("GET /readyz", c.readyz)
	metrics := open
	if c.ProtectMetrics {
		metrics = add(profileRoute, bell.Viewer)
	}
	metrics("GET /metrics", plain(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: c.Exemplars}).ServeHTTP))

	session("GET /signin", c.askSignIn)
	session("POST /signin", c.signIn, does("session.begin"))
	session("POST /signout", c.signOut, does("session.end"))
	session("GET /signin/oidc", c.visitOIDC)
	session("GET /signin/oidc/callback", c.signInOIDC, does("session.begin"))

	viewer("GET /admin/v1/me", c.whoAmI)
	viewer("GET /admin/v1/projects", c.listProjects)
	viewer("GET /admin/v1/devices", c.listDevices)
	viewer("GET /admin/v1/overview", c.showOverview)
	viewer("GET /admin/v1/deliveries/failing", c.listFailing)
	viewer("GET /admin/v1/users/{service}/{user}/readiness", c.showReadiness)
	operator("POST /admin/v1/devices/{id}/test", c.testDevice, does("device.test"))
	operator("POST /admin/v1/devices", c.addDevice, does("device.add"))
	operator("DELETE /admin/v1/devices/{id}", c.removeDevice, does("device.remove"))
	viewer("GET /admin/v1/calls", c.listCalls)
	viewer("GET /admin/v1/calls/{sid}", c.showCall)
	viewer("GET /admin/v1/calls/{sid}/verdict", c.showVerdict)
	viewer("GET /admin/v1/verdicts", c.listVerdicts)
	viewer("GET /admin/v1/rooms", c.listRooms)
	viewer("GET /admin/v1/rooms/{service}/{room}", c.listRuns)
	viewer("GET /admin/v1/rooms/{service}/{room}/runs/{sid}", c.showRun)
	viewer("GET /admin/v1/users/{service}/{user}/rules", c.showRules)
	operator("PUT /admin/v1/users/{service}/{user}/rules", c.replaceRules, does("rules.replace"))
	admin("POST /admin/v1/access_tokens", c.mintAccessToken, does("access_token.mint"))
	viewer("GET /admin/v1/debug_users", c.listDebugUsers)
	operator("POST /admin/v1/debug_users", c.debugUser, does("debug_user.add"))
	operator("DELETE /admin/v1/debug_users/{service}/{user}", c.undebugUser, does("debug_user.remove"))
	viewer("GET /admin/v1/events", c.listEvents)
	viewer("GET /admin/v1/events/endpoints", c.listEndpoints)
	operator("POST /admin/v1/events/{id}/replay", c.replayEvent, does("event.replay"))
	operator("POST /admin/v1/events/replay", c.replayEvents, does("event.replay_dead"))
	operator("POST /admin/v1/events/enable", c.enableEndpoint, does("event.enable"))
	operator("POST /admin/v1/events/test", c.testEvent, does("event.test"))
	admin("GET /admin/v1/audit", c.listAudit)
	viewer("GET /admin/v1/openapi.yaml", c.contract)

	admin("GET /debug/info", c.info)
	profile("GET /debug/pprof/", plain(pprof.Index))
	profile("GET /debug/pprof/cmdline", plain(pprof.Cmdline))
	profile("GET /debug/pprof/profile", plain(pprof.Profile))
	profile("GET /debug/pprof/symbol", plain(pprof.Symbol))
	profile("POST /debug/pprof/symbol", plain(pprof.Symbol), changesNothing())
	profile("GET /debug/pprof/trace", plain(pprof.Trace))
	return all
}

// pageRoutes lists the pages.
func (c *console) pageRoutes(page func(bell.Role, string, handler, ...routeOption)) {
	page(bell.Viewer, "GET /{$}", c.pageOverview)
	page(bell.Viewer, "GET /calls", c.pageCalls)
	page(bell.Viewer, "GET /calls/{sid}", c.pageCall)
	page(bell.Viewer, "GET /rooms", c.pageRooms)
	page(bell.Viewer, "GET /rooms/{service}/{room}/runs/{sid}", c.pageRun)
	page(bell.Viewer, "GET /users", c.pageUsers)
	page(bell.Viewer, "GET /users/{service}/{user}", c.pageUser)
	page(bell.Viewer, "GET /devices/{id}", c.pageDevice)
	page(bell.Operator, "POST /devices/{id}/test", c.pageTestDevice, does("device.test"))
	page(bell.Viewer, "GET /deliveries", c.pageFailing)
	page(bell.Viewer, "GET /events", c.pageEvents)
	page(bell.Operator, "POST /events/replay", c.pageReplay, does("event.replay"))
	page(bell.Admin, "GET /settings", c.pageSettings)
	page(bell.Admin, "GET /audit", c.pageAudit)
}

// plain makes a handler of one that answers errors itself.
func plain(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}
