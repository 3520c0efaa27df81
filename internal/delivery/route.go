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

	mu          sync.Mutex
	held        int // deliveries of calls whose retry a guard holds back
	heldNotices int // those of notices

	metrics *routeMetrics
}

// apnsServer is which of Apple's servers a route leads to; empty for every other provider.
func (k RouteKey) apnsServer() bell.APNsServer {
	if k.Channel != bell.APNsVoIP && k.Channel != bell.APNsAlert {
		return ""
	}
	return bell.APNsServer(k.Server)
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
// to hold one more, on a route that has room for most. What is held costs memory only, but it
// must leave room for new calls; notices that are held take nothing of what calls have.
func (rt *route) hold(notice bool, most int) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	held := rt.heldOf(notice)
	if notice && *held >= max(1, most/noticeHeld) || !notice && *held >= most/2 {
		return false
	}
	*held++
	rt.metrics.holding.Inc()
	return true
}

func (rt *route) letGo(notice bool) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	*rt.heldOf(notice)--
	rt.metrics.holding.Dec()
}

func (rt *route) heldOf(notice bool) *int {
	if notice {
		return &rt.heldNotices
	}
	return &rt.held
}
