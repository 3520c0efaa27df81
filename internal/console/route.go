package console

import (
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
)

// routeKind is how a route treats who asks.
type routeKind string

const (
	openRoute    routeKind = "open"    // anybody
	signInRoute  routeKind = "signin"  // anybody, who becomes somebody
	apiRoute     routeKind = "api"     // JSON; refused with a problem
	pageRoute    routeKind = "page"    // HTML; sent to sign in
	streamRoute  routeKind = "stream"  // a page's news; refused with a problem, and as long as it goes on
	profileRoute routeKind = "profile" // as api, but may take as long as it is told to
)

// route is an entry of the table in routes.go.
type route struct {
	pattern string
	kind    routeKind
	least   bell.Role // who may use it; empty: anybody
	handler handler
	// action is what the audit log calls it; empty: it is not in there.
	action string
	// harmless says that an unsafe method changes nothing all the same.
	harmless bool
}

// routeOption says more about a route.
type routeOption func(*route)

// does names what a route does, for the audit log: a noun, a dot and a verb.
func does(action string) routeOption { return func(r *route) { r.action = action } }

// changesNothing is for a route with an unsafe method that only reads.
func changesNothing() routeOption { return func(r *route) { r.harmless = true } }

// table collects routes.
type table struct{ routes []route }

// add returns what adds routes that are of a kind and want a role.
func (t *table) add(kind routeKind, least bell.Role) func(string, handler, ...routeOption) {
	return func(pattern string, h handler, options ...routeOption) {
		r := route{pattern: pattern, kind: kind, least: least, handler: h}
		for _, o := range options {
			o(&r)
		}
		t.routes = append(t.routes, r)
	}
}

// mux makes the routes work.
func (c *console) mux(routes []route) *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range routes {
		h := r.handler
		if r.least != "" {
			h = c.authorized(r, h)
		}
		if r.kind == pageRoute {
			h = c.site.drawn(h)
		}
		if r.least != "" || r.action != "" {
			h = c.audited(r, h)
		}
		if r.kind != openRoute && r.kind != profileRoute && r.kind != streamRoute {
			h = c.bounded(h)
		}
		mux.Handle(r.pattern, c.serve(h))
	}
	return mux
}
