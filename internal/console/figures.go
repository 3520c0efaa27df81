package console

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/delivery"
)

const (
	overviewSpan  = time.Hour
	overviewCalls = 20_000 // looked at for the overview; about 30 ms
	failingSpan   = 15 * time.Minute
	failingMost   = 5_000

	// A test is a push to somebody's phone.
	trialRate  = rate.Limit(0.5) // per second
	trialBurst = 5
)

// Trials sends tests to devices.
type Trials interface {
	Try(ctx context.Context, t delivery.Trial) (delivery.TrialResult, error)
}

// Looker says what was going on in this process over the last minutes.
type Looker interface{ Look() window.Look }

// now is all that the overview is made of.
type overview struct {
	ready   string // why calls cannot be taken; empty when they can
	ringing []bell.Call
	look    window.Look
	tallied
}

// tallied is what became of the calls of overviewSpan.
type tallied struct {
	minutes []call.Minute
	more    bool // there were more than overviewCalls
}

func (a *api) showOverview(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r.URL.RawQuery); err != nil {
		return err
	}
	o, err := a.overview(r.Context())
	if err != nil {
		return err
	}
	view := Overview{
		Ready: o.ready == "", NotReady: o.ready, Ringing: len(o.ringing), Minutes: make([]Minute, 0, len(o.minutes)),
		Partial: o.more, Node: a.nodeView(&o.look), At: a.Now().UTC(),
	}
	for _, m := range o.minutes {
		view.Minutes = append(view.Minutes, Minute{m.At.UTC(), m.State, m.Outcome, m.Calls})
	}
	return writeJSON(w, http.StatusOK, view)
}

func (a *api) nodeView(l *window.Look) NodeView {
	view := NodeView{
		Name: a.Node, Since: l.Since.UTC(), Answer: latencyView(l.Answer), DeadLetters: l.DeadLetters, Backlog: l.Backlog,
		Channels: []ChannelLatency{}, Routes: []RouteHealth{}, Expiring: []ExpiringView{},
	}
	for _, ch := range l.Channels {
		view.Channels = append(view.Channels, ChannelLatency{bell.Channel(ch.Name), latencyView(ch.Accept), latencyView(ch.Receipt)})
	}
	for _, rt := range l.Routes {
		health := RouteHealth{
			Credential: rt.Credential, Channel: bell.Channel(rt.Channel), Server: rt.Server, CircuitOpen: rt.Open,
			Attempts: rt.Attempts, Failed: rt.Failed,
		}
		if !rt.Last.At.IsZero() {
			health.LastFailure = &LastFailure{rt.Last.At.UTC(), bell.Verdict(rt.Last.Verdict), rt.Last.Reason}
		}
		view.Routes = append(view.Routes, health)
	}
	for _, e := range l.Expiring {
		view.Expiring = append(view.Expiring, ExpiringView{e.Credential, e.Server, a.Now().Add(e.Left).UTC().Truncate(time.Second)})
	}
	return view
}

func latencyView(q window.Quantiles) Latency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Latency{Count: q.Count, P50MS: ms(q.P50), P95MS: ms(q.P95), Over: q.Over}
}

// readiness is what a call now would make of a user.
type readiness struct {
	owner   bell.Owner
	devices []call.DeviceReadiness
	quiet   bool // do-not-disturb is on
}

// rings reports whether anything would ring.
func (u *readiness) rings() bool {
	for _, d := range u.devices {
		if d.Readiness.Rings() {
			return !u.quiet
		}
	}
	return false
}

func (a *api) showReadiness(w http.ResponseWriter, r *http.Request) error {
	project, userID, err := a.member(r)
	if err != nil {
		return err
	}
	u, err := a.readiness(r.Context(), project, userID)
	if err != nil {
		return err
	}
	view := UserReadiness{
		Environment: project.Environment, ServiceID: project.ServiceID, UserID: userID, Rings: u.rings(), DoNotDisturb: u.quiet,
		Devices: make([]ReadinessView, 0, len(u.devices)),
	}
	for i := range u.devices {
		d := &u.devices[i]
		view.Devices = append(view.Devices, ReadinessView{deviceView(&d.Device, a.Now()), d.Readiness.Rings(), d.Readiness, d.Reason})
	}
	return writeJSON(w, http.StatusOK, view)
}

func (a *api) listFailing(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "minutes")
	if err != nil {
		return err
	}
	since := a.Now().Add(-failingSpan)
	if text := q.text("minutes"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 24*60 {
			return invalid("minutes: want a number from 1 to 1440.")
		}
		since = a.Now().Add(-time.Duration(n) * time.Minute)
	}
	groups, err := a.services.Figures.Failing(r.Context(), since, failingMost)
	if err != nil {
		return err
	}
	list := FailingList{Since: since.UTC(), Groups: make([]FailingGroup, 0, len(groups))}
	for _, g := range groups {
		list.Groups = append(list.Groups, FailingGroup{
			Project: g.Project, Channel: g.Channel, APNsServer: g.Server, State: g.State, Reason: g.Reason, Count: g.Count,
			Calls: g.Calls, LastAt: utc(g.Last), Environment: g.Environment, SID: g.SessionID, DeviceID: g.DeviceID,
		})
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *api) testDevice(w http.ResponseWriter, r *http.Request) error {
	var in DeviceTest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	_, result, err := a.try(r, in.Call)
	if err != nil {
		return err
	}
	out := DeviceTestResult{
		DeviceID: r.PathValue("id"), Channel: result.Channel, Credential: result.Route.Credential, Server: result.Route.Server,
		Attempt: attemptView(&result.Attempt),
	}
	if result.Own != nil {
		out.OwnAttempt = new(attemptView(result.Own))
	}
	return writeJSON(w, http.StatusOK, out)
}
