package pages

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// OverviewOf is what the overview is made of.
type OverviewOf struct {
	NotReady  string // why calls cannot be taken; empty when they can
	Ringing   []bell.Call
	Minutes   []call.Minute
	Partial   bool // the first minute is not whole
	Look      window.Look
	Failing   []call.FailingGroup // of the last minutes
	Endpoints []webhook.Status
	Node      string // of several; empty: the only one
	Now       time.Time
}

// Overview is the first page: what is wrong, and then how much of what is going on.
type Overview struct {
	Tone     Tone
	Headline string
	Troubles []Trouble
	Tiles    []Tile
	Live     []CallRow
	MoreLive int // that ring and are not shown
	Chart    string
	Bars     []Bar // the same without JavaScript
	BarsFrom string
	Partial  bool
	Outcomes []Share
	Channels []ChannelRow
	Answer   string
	Routes   []RouteRow
	Expiring []ExpiryRow
	Measured string // where and since when latencies and routes are measured
}

// Trouble is something that somebody should look at.
type Trouble struct {
	Tone Tone
	Text string
	Href string
}

// Tile is one number.
type Tile struct {
	Value, Label string
	Tone         Tone
	Href         string
}

// Share is how many of the calls came to an outcome.
type Share struct {
	Label    string
	Tone     Tone
	Count    int
	X, Width string
	Href     string
}

// ChannelRow is how long calls took to reach devices.
type ChannelRow struct {
	Label                  string
	Count                  uint64
	AcceptP50, AcceptP95   string
	ReceiptP50, ReceiptP95 string
}

// RouteRow is how a way to a provider does.
type RouteRow struct {
	Label, Sub       string
	State            string
	Tone             Tone
	Attempts, Failed int
	Last             string
	Held             int
}

// ExpiryRow is a credential that ends.
type ExpiryRow struct {
	Label, In string
	Tone      Tone
}

const (
	lately     = 10 * time.Minute    // in which what goes wrong is trouble
	expiresBad = 14 * 24 * time.Hour // a new certificate takes somebody with the right account
	shownLive  = 10
)

// NewOverview makes the first page.
func NewOverview(w Words, o *OverviewOf) Overview {
	view := Overview{
		Troubles: troubles(w, o), Partial: o.Partial,
		Measured: measured(w, o), Answer: quantilesText(w, o.Look.Answer),
	}
	view.Tone, view.Headline = Good, w.T("overview.well")
	for _, t := range view.Troubles {
		if t.Tone == Bad || view.Tone == Good {
			view.Tone = t.Tone
		}
	}
	switch view.Tone {
	case Bad:
		view.Headline = w.T("overview.bad")
	case Warn:
		view.Headline = w.T("overview.warn")
	}
	for i := range o.Ringing {
		if i == shownLive {
			view.MoreLive = len(o.Ringing) - shownLive
			break
		}
		view.Live = append(view.Live, NewCallRow(w, &o.Ringing[i], o.Now))
	}
	view.Tiles = tiles(w, o)
	view.chart(w, o)
	view.outcomes(w, o)
	for _, c := range o.Look.Channels {
		row := ChannelRow{Label: w.Word("channel", c.Name), Count: c.Accept.Count}
		row.AcceptP50, row.AcceptP95 = quantileTexts(w, c.Accept)
		row.ReceiptP50, row.ReceiptP95 = quantileTexts(w, c.Receipt)
		view.Channels = append(view.Channels, row)
	}
	for _, r := range o.Look.Routes {
		view.Routes = append(view.Routes, routeRow(w, &r, o.Now))
	}
	for _, e := range o.Look.Expiring {
		view.Expiring = append(view.Expiring, ExpiryRow{Label: e.Credential, In: expiryText(w, e.Left), Tone: expiryTone(e.Left)})
	}
	return view
}

func measured(w Words, o *OverviewOf) string {
	if o.Node != "" {
		return w.T("overview.measured_node", o.Node, clock(o.Look.Since)[:5])
	}
	return w.T("overview.measured", clock(o.Look.Since)[:5])
}

// troubles are what is wrong, the worst first.
func troubles(w Words, o *OverviewOf) []Trouble {
	var list []Trouble
	add := func(tone Tone, href string, key Key, values ...any) {
		list = append(list, Trouble{tone, w.T(key, values...), href})
	}
	if o.NotReady != "" {
		list = append(list, Trouble{Bad, o.NotReady, ""})
	}
	if n := o.Look.Backlog; n > 0 {
		add(Bad, "", "trouble.backlog", n)
	}
	if n := countSince(o, planet.OutcomePushFailed); n > 0 {
		add(Bad, "/calls?outcome=push_failed", "trouble.push_failed", n)
	}
	for _, r := range o.Look.Routes {
		name := routeName(w, &r)
		switch {
		case r.Open:
			add(Bad, "/deliveries", "trouble.open", name, r.Failed, r.Attempts, r.Last.Reason)
		case r.Failed >= 3 && r.Failed*5 >= r.Attempts:
			add(Warn, "/deliveries", "trouble.route", name, r.Failed, r.Attempts, r.Last.Reason)
		}
	}
	for _, e := range o.Look.Expiring {
		switch {
		case e.Left <= 0:
			add(Bad, "/settings", "trouble.expired", e.Credential)
		case e.Left < expiresBad:
			add(Warn, "/settings", "trouble.expires", e.Credential, w.rough(e.Left))
		}
	}
	if n := failed(o.Failing); n > 0 {
		add(Warn, "/deliveries", "trouble.failing", n)
	}
	for _, e := range o.Endpoints {
		if e.Health == webhook.Down || e.Health == webhook.Gone {
			add(Warn, "/events", "trouble.endpoint", e.Endpoint, w.Word("health", e.Health))
		}
	}
	if n := o.Look.DeadLetters; n > 0 {
		add(Warn, "/events?state=dead", "trouble.dead", n)
	}
	slices.SortStableFunc(list, func(a, b Trouble) int { return severity(a.Tone) - severity(b.Tone) })
	return list
}

func severity(t Tone) int {
	if t == Bad {
		return 0
	}
	return 1
}

// countSince is how many calls lately came to an outcome.
func countSince(o *OverviewOf, outcome planet.Outcome) (n int) {
	for _, m := range o.Minutes {
		if m.Outcome == outcome && o.Now.Sub(m.At) < lately {
			n += m.Calls
		}
	}
	return n
}

// failed counts what was refused; what ran out of time is mostly devices that are off.
func failed(groups []call.FailingGroup) (n int) {
	for _, g := range groups {
		if g.State == bell.DeliveryFailed {
			n += g.Count
		}
	}
	return n
}

func tiles(w Words, o *OverviewOf) []Tile {
	calls := 0
	for _, m := range o.Minutes {
		calls += m.Calls
	}
	answer := w.T("none")
	if o.Look.Answer.Count > 0 {
		answer = overText(w, o.Look.Answer.P95, o.Look.Answer.Over)
	}
	bad := func(n int, tone Tone) Tone {
		if n > 0 {
			return tone
		}
		return Quiet
	}
	nothing, failing := countSince(o, planet.OutcomePushFailed), failed(o.Failing)
	return []Tile{
		{w.Count(int64(len(o.Ringing))), w.T("calls.live"), Quiet, "/calls?state=ringing"},
		{w.Count(int64(calls)), w.T("overview.hour"), Quiet, "/calls"},
		{answer, w.T("overview.answer"), Quiet, ""},
		{w.Count(int64(nothing)), w.T("overview.nothing"), bad(nothing, Bad), "/calls?outcome=push_failed"},
		{w.Count(int64(failing)), w.T("overview.failing"), bad(failing, Warn), "/deliveries"},
		{w.Count(int64(o.Look.DeadLetters)), w.T("overview.dead"), bad(o.Look.DeadLetters, Warn), "/events?state=dead"},
	}
}

// chart makes the calls of each minute of the last hour; the running one is left out.
func (view *Overview) chart(w Words, o *OverviewOf) {
	end := o.Now.Truncate(time.Minute)
	begin := end.Add(-time.Hour)
	type series struct {
		Times []int64 `json:"t"`
		Calls []int   `json:"calls"`
		Bad   []int   `json:"bad"`
		Names [3]string
	}
	s := series{Names: [3]string{w.T("calls.when"), w.T("chart.calls"), w.T("chart.bad")}}
	for at := begin; at.Before(end); at = at.Add(time.Minute) {
		s.Times = append(s.Times, at.Unix())
	}
	s.Calls, s.Bad = make([]int, len(s.Times)), make([]int, len(s.Times))
	most := 1
	for _, m := range o.Minutes {
		i := int(m.At.Sub(begin) / time.Minute)
		if i < 0 || i >= len(s.Times) {
			continue
		}
		s.Calls[i] += m.Calls
		if m.Outcome == planet.OutcomePushFailed || m.Outcome == planet.OutcomeFailed {
			s.Bad[i] += m.Calls
		}
		most = max(most, s.Calls[i])
	}
	for i, n := range s.Calls {
		if n > 0 {
			x := 100 * float64(i) / float64(len(s.Calls))
			height := 100 * float64(n) / float64(most)
			view.Bars = append(view.Bars, Bar{X: percent(x), Width: percent(height), Class: percent(100 - height), Title: w.Count(int64(n))})
		}
	}
	view.BarsFrom = clock(begin)[:5]
	text, _ := json.Marshal(s) // numbers and texts of ours
	view.Chart = string(text)
}

// outcomes is what became of the calls of the last hour.
func (view *Overview) outcomes(w Words, o *OverviewOf) {
	counts, total := map[planet.Outcome]int{}, 0
	for _, m := range o.Minutes {
		if m.State == bell.CallEnded {
			counts[m.Outcome] += m.Calls
			total += m.Calls
		}
	}
	x := 0.0
	for _, outcome := range planet.Outcomes() {
		n := counts[outcome]
		if n == 0 {
			continue
		}
		width := 100 * float64(n) / float64(total)
		view.Outcomes = append(view.Outcomes, Share{
			Label: w.Word("outcome", outcome), Count: n, X: percent(x), Width: percent(width),
			Tone: callTone(&bell.Call{State: bell.CallEnded, Outcome: outcome}), Href: "/calls?outcome=" + string(outcome),
		})
		x += width
	}
}

func quantileTexts(w Words, q window.Quantiles) (p50, p95 string) {
	if q.Count == 0 {
		return "–", "–"
	}
	return w.Length(q.P50), overText(w, q.P95, q.Over)
}

func quantilesText(w Words, q window.Quantiles) string {
	p50, p95 := quantileTexts(w, q)
	return p50 + " / " + p95
}

func overText(w Words, d time.Duration, over bool) string {
	if over {
		return "> " + w.Length(d)
	}
	return w.Length(d)
}

func routeName(w Words, r *window.Route) string {
	name := r.Credential + " · " + w.Word("channel", r.Channel)
	if r.Server != "" {
		name += " · " + r.Server
	}
	return name
}

func routeRow(w Words, r *window.Route, now time.Time) RouteRow {
	row := RouteRow{
		Label: r.Credential, Sub: w.Word("channel", r.Channel), Attempts: r.Attempts, Failed: r.Failed, Held: r.Held,
		Tone: Good, State: w.T("route.well"), Last: "–",
	}
	if r.Server != "" {
		row.Sub += " · " + r.Server
	}
	switch {
	case r.Open:
		row.Tone, row.State = Bad, w.T("route.open")
	case r.Failed >= 3 && r.Failed*5 >= r.Attempts:
		row.Tone, row.State = Warn, w.T("route.failing")
	case r.Attempts == 0:
		row.Tone, row.State = Quiet, w.T("route.idle")
	}
	if !r.Last.At.IsZero() {
		row.Last = w.Ago(now, r.Last.At) + ": " + r.Last.Reason
	}
	return row
}

func expiryTone(left time.Duration) Tone {
	switch {
	case left <= 0:
		return Bad
	case left < expiresBad:
		return Warn
	}
	return Quiet
}

func expiryText(w Words, left time.Duration) string {
	if left <= 0 {
		return w.T("overview.expired")
	}
	return w.T("time.in", w.rough(left))
}
