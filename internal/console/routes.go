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
	var t table
	t.ofPages(c.site)
	t.ofSigningIn(c)
	t.ofAPI(c.api)
	t.ofProcess(c, gatherer)
	return t.routes
}

// ofPages are the pages. Who has no session is sent to sign in and comes back.
func (t *table) ofPages(s *site) {
	viewer, operator, admin := t.add(pageRoute, bell.Viewer), t.add(pageRoute, bell.Operator), t.add(pageRoute, bell.Admin)
	viewer("GET /{$}", s.pageOverview)
	viewer("GET /calls", s.pageCalls)
	viewer("GET /calls/{sid}", s.pageCall)
	viewer("GET /rooms", s.pageRooms)
	viewer("GET /rooms/{service}/{room}/runs/{sid}", s.pageRun)
	viewer("GET /users", s.pageUsers)
	viewer("GET /users/{service}/{user}", s.pageUser)
	viewer("GET /devices/{id}", s.pageDevice)
	operator("POST /devices/{id}/test", s.pageTestDevice, does("device.test"))
	viewer("GET /deliveries", s.pageFailing)
	viewer("GET /events", s.pageEvents)
	operator("POST /events/replay", s.pageReplay, does("event.replay"))
	admin("GET /settings", s.pageSettings)
	admin("GET /audit", s.pageAudit)

	t.add(openRoute, "")("GET /assets/{file...}", s.asset)
	t.add(streamRoute, bell.Viewer)("GET /calls/{sid}/live", s.liveCall)
}

// ofSigningIn are those by which somebody becomes somebody.
func (t *table) ofSigningIn(c *console) {
	session := t.add(signInRoute, "")
	session("GET /signin", c.askSignIn)
	session("POST /signin", c.signIn, does("session.begin"))
	session("POST /signout", c.signOut, does("session.end"))
	session("GET /signin/oidc", c.visitOIDC)
	session("GET /signin/oidc/callback", c.signInOIDC, does("session.begin"))
}

// ofAPI are those of the admin API, which admin-openapi.yaml describes.
func (t *table) ofAPI(a *api) {
	viewer, operator, admin := t.add(apiRoute, bell.Viewer), t.add(apiRoute, bell.Operator), t.add(apiRoute, bell.Admin)
	viewer("GET /admin/v1/me", a.whoAmI)
	viewer("GET /admin/v1/projects", a.listProjects)
	viewer("GET /admin/v1/devices", a.listDevices)
	viewer("GET /admin/v1/overview", a.showOverview)
	viewer("GET /admin/v1/deliveries/failing", a.listFailing)
	viewer("GET /admin/v1/users/{service}/{user}/readiness", a.showReadiness)
	operator("POST /admin/v1/devices/{id}/test", a.testDevice, does("device.test"))
	operator("POST /admin/v1/devices", a.addDevice, does("device.add"))
	operator("DELETE /admin/v1/devices/{id}", a.removeDevice, does("device.remove"))
	viewer("GET /admin/v1/calls", a.listCalls)
	viewer("GET /admin/v1/calls/{sid}", a.showCall)
	viewer("GET /admin/v1/calls/{sid}/verdict", a.showVerdict)
	viewer("GET /admin/v1/verdicts", a.listVerdicts)
	viewer("GET /admin/v1/rooms", a.listRooms)
	viewer("GET /admin/v1/rooms/{service}/{room}", a.listRuns)
	viewer("GET /admin/v1/rooms/{service}/{room}/runs/{sid}", a.showRun)
	viewer("GET /admin/v1/users/{service}/{user}/rules", a.showRules)
	operator("PUT /admin/v1/users/{service}/{user}/rules", a.replaceRules, does("rules.replace"))
	admin("POST /admin/v1/access_tokens", a.mintAccessToken, does("access_token.mint"))
	viewer("GET /admin/v1/debug_users", a.listDebugUsers)
	operator("POST /admin/v1/debug_users", a.debugUser, does("debug_user.add"))
	operator("DELETE /admin/v1/debug_users/{service}/{user}", a.undebugUser, does("debug_user.remove"))
	viewer("GET /admin/v1/events", a.listEvents)
	viewer("GET /admin/v1/events/endpoints", a.listEndpoints)
	operator("POST /admin/v1/events/{id}/replay", a.replayEvent, does("event.replay"))
	operator("POST /admin/v1/events/replay", a.replayEvents, does("event.replay_dead"))
	operator("POST /admin/v1/events/enable", a.enableEndpoint, does("event.enable"))
	operator("POST /admin/v1/events/test", a.testEvent, does("event.test"))
	admin("GET /admin/v1/audit", a.listAudit)
	viewer("GET /admin/v1/openapi.yaml", a.contract)
}

// ofProcess are those about the process itself, for machines.
func (t *table) ofProcess(c *console, gatherer prometheus.Gatherer) {
	open, profile := t.add(openRoute, ""), t.add(profileRoute, bell.Admin)
	open("GET /livez", c.livez)
	open("GET /readyz", c.readyz)
	metrics := open
	if c.ProtectMetrics {
		metrics = t.add(profileRoute, bell.Viewer)
	}
	metrics("GET /metrics", plain(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: c.Exemplars}).ServeHTTP))

	t.add(apiRoute, bell.Admin)("GET /debug/info", c.info)
	profile("GET /debug/pprof/", plain(pprof.Index))
	profile("GET /debug/pprof/cmdline", plain(pprof.Cmdline))
	profile("GET /debug/pprof/profile", plain(pprof.Profile))
	profile("GET /debug/pprof/symbol", plain(pprof.Symbol))
	profile("POST /debug/pprof/symbol", plain(pprof.Symbol), changesNothing())
	profile("GET /debug/pprof/trace", plain(pprof.Trace))
}

// plain makes a handler of one that answers errors itself.
func plain(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}
