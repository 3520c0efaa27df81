package delivery

import (
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
)

// route is what is kept of one route: its room, its places, its guards. Nothing of it is
// shared with another route, so one that fails cannot delay another.
type route struct {
	key    RouteKey
	places chan struct{} // one per attempt under way
	aside  chan struct{} // one per attempt of a notice: a quarter of the places, so that calls find some
	guard  *guard        // nil for mailboxes: they cannot be unwell
	hedges *hedges       // nil for channels that are not hedged

	room int // deliveries admitted and not yet finished; guarded by Engine.mu

	mu   sync.Mutex
	held int // deliveries whose retry a guard holds back

	metrics *routeMetrics
}

// routeTo returns the route to a device, with its sender, or a bounded reason why there is
// none. A device without a sender has a route all the same, so that it takes up room.
func (e *Engine) routeTo(d *bell.Device) (*route, Sender, string) {
	way, reason := e.Router.Route(d)
	if reason != "" {
		way.Key = RouteKey{Credential: d.Project, Channel: d.Channel}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.route(way.Key), way.Sender, reason
}

// route returns the route with a key. The caller holds e.mu.
func (e *Engine) route(key RouteKey) *route {
	rt := e.routes[key]
	if rt == nil {
		rt = &route{key: key, places: make(chan struct{}, e.MaxPerRoute), aside: make(chan struct{}, max(1, e.MaxPerRoute/4))}
		rt.metrics = e.Metrics.route(key)
		if key.Channel != bell.LongPoll {
			rt.guard = newGuard(e.Metrics.breaker(key))
		}
		if policies[key.Channel].hedged && e.HedgeAfter > 0 {
			rt.hedges = &hedges{least: e.HedgeAfter}
		}
		e.routes[key] = rt
	}
	return rt
}

// hold counts a delivery whose retry a guard holds back, and reports whether there is room
// to hold one more. What is held costs memory only, but it must leave room for new calls.
func (rt *route) hold(most int) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.held >= most {
		return false
	}
	rt.held++
	rt.metrics.holding.Inc()
	return true
}

func (rt *route) letGo() {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.held--
	rt.metrics.holding.Dec()
}
