package window

import (
	"cmp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Look is what was going on in the window, in this process.
type Look struct {
	Since       time.Time // the beginning of the window: Span ago and up to Every more, or the start of the process
	Answer      Quantiles // Notify, from request to answer
	Channels    []Channel // ordered by name
	Routes      []Route   // those that fail first, then by name
	Expiring    []Expiring
	DeadLetters int
	Backlog     int // what waits in memory for a database in trouble
}

// Channel is how long calls took to reach devices.
type Channel struct {
	Name    string
	Accept  Quantiles // from Notify to the provider's acceptance, or the device's poll
	Receipt Quantiles // from Notify to the device's own word
}

// Route is how one way to a provider does.
type Route struct {
	RouteKey
	Open             bool // the breaker: retries are stopped
	Attempts, Failed int  // in the window
	Attempting, Held int  // now
	Last             Failure
}

// Expiring is a credential that ends.
type Expiring struct {
	Credential, Server string
	Left               time.Duration // negative when it has ended
}

// Look returns what was going on in the window. It reads the metrics once.
func (w *Window) Look() Look {
	now, families := w.read()
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.samples[0]
	look := Look{Since: first.at}
	channels := map[string]*Channel{}
	for s, h := range now.histograms {
		q := h.since(first.histograms[s])
		switch {
		case s.metric == requestSeconds && callbackRoute(s.label):
			if q.Count > look.Answer.Count { // GET and POST are two routes
				look.Answer = q
			}
		case s.metric == requestSeconds:
		default:
			c := channels[s.label]
			if c == nil {
				c = &Channel{Name: s.label}
				channels[s.label] = c
			}
			if s.metric == acceptSeconds {
				c.Accept = q
			} else {
				c.Receipt = q
			}
		}
	}
	for _, c := range channels {
		look.Channels = append(look.Channels, *c)
	}
	slices.SortFunc(look.Channels, func(a, b Channel) int { return cmp.Compare(a.Name, b.Name) })
	look.Routes = w.routes(first, now, families)
	look.gauges(families)
	return look
}

// routes are those of which anything is known. The caller holds w.mu.
func (w *Window) routes(first, now sample, families []*dto.MetricFamily) []Route {
	routes := map[RouteKey]*Route{}
	at := func(key RouteKey) *Route {
		if routes[key] == nil {
			routes[key] = &Route{RouteKey: key, Last: w.failures[key]}
		}
		return routes[key]
	}
	for a, n := range now.attempts {
		tried := int(n - first.attempts[a])
		r := at(a.route)
		r.Attempts += tried
		if failing(a.verdict) {
			r.Failed += tried
		}
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			l, value := labels(m), m.GetGauge().GetValue()
			switch {
			case f.GetName() == circuitOpen:
				at(routeOf(l)).Open = value > 0
			case f.GetName() == routeDeliveries && l["state"] == "held":
				at(routeOf(l)).Held = int(value)
			case f.GetName() == routeDeliveries:
				at(routeOf(l)).Attempting = int(value)
			}
		}
	}
	list := make([]Route, 0, len(routes))
	for _, r := range routes {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Route) int {
		return cmp.Or(order(b)-order(a), cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Server, b.Server))
	})
	return list
}

func order(r Route) int {
	switch {
	case r.Open:
		return 2
	case r.Failed > 0:
		return 1
	}
	return 0
}

// gauges takes what only the present has.
func (l *Look) gauges(families []*dto.MetricFamily) {
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case certExpiry:
				labels := labels(m)
				l.Expiring = append(l.Expiring, Expiring{
					labels["credential"], labels["server"], time.Duration(m.GetGauge().GetValue() * float64(time.Second)),
				})
			case deadLetters:
				l.DeadLetters = int(m.GetGauge().GetValue())
			case backlogItems:
				l.Backlog += int(m.GetGauge().GetValue())
			}
		}
	}
	slices.SortFunc(l.Expiring, func(a, b Expiring) int { return cmp.Compare(a.Left, b.Left) })
}
