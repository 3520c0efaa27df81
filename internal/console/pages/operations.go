package pages

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// Failing is the page of what fails now.
type Failing struct {
	Minutes int
	Choices []Choice
	Groups  []FailingRow
	Total   int
}

// FailingRow is what fails for one reason on one way.
type FailingRow struct {
	Project, Channel string
	State            string
	Tone             Tone
	Reason           string
	Count, Calls     int
	Last             string
	CallHref         string
	DeviceHref       string
}

// NewFailing makes the page of what fails.
func NewFailing(w Words, groups []call.FailingGroup, minutes int, now time.Time) Failing {
	view := Failing{Minutes: minutes}
	for _, m := range []string{"5", "15", "60", "360"} {
		view.Choices = append(view.Choices, Choice{m, m + " min", m == w.Count(int64(minutes))})
	}
	for i := range groups {
		g := &groups[i]
		row := FailingRow{
			Project: g.Project, Channel: w.Word("channel", g.Channel), State: w.Word("delivery", g.State),
			Tone: deliveryTone(&bell.Delivery{State: g.State}), Reason: g.Reason, Count: g.Count, Calls: g.Calls, Last: w.Ago(now, g.Last),
			CallHref: "/calls/" + string(g.SessionID) + "?environment=" + string(g.Environment), DeviceHref: "/devices/" + g.DeviceID,
		}
		if g.Server != "" {
			row.Channel += " · " + string(g.Server)
		}
		view.Total += g.Count
		view.Groups = append(view.Groups, row)
	}
	return view
}

// Events is the page of what the customer's systems are told.
type Events struct {
	Endpoints []EndpointRow
	States    []Choice
	Rows      []EventRow
	Endpoint  string // that is filtered by
	Next      string
	Dead      bool // dead letters are shown
	Told      string
	Wrong     string
}

// EndpointRow is how one endpoint does.
type EndpointRow struct {
	Name, Host string
	Health     string
	Tone       Tone
	Waiting    int
	Oldest     string
	Types      string
}

// EventRow is one event for one endpoint.
type EventRow struct {
	ID, Type, Endpoint string
	Subject, Href      string
	At                 time.Time
	State              string
	Tone               Tone
	Attempts           int
	Failure            string
	Next               string
	Again              bool // it can be replayed
}

// NewEndpointRow makes the row of an endpoint.
func NewEndpointRow(w Words, s *webhook.Status, now time.Time) EndpointRow {
	row := EndpointRow{
		Name: s.Endpoint, Host: s.Host, Health: w.Word("health", s.Health), Waiting: s.Open, Oldest: w.Ago(now, s.Oldest), Tone: Good,
	}
	for i, t := range s.Types {
		if i > 0 {
			row.Types += ", "
		}
		row.Types += string(t)
	}
	switch s.Health {
	case webhook.Down, webhook.Gone:
		row.Tone = Bad
	case webhook.Paused:
		row.Tone = Warn
	}
	return row
}

// NewEventRow makes the row of an event.
func NewEventRow(w Words, t *webhook.Telling, now time.Time) EventRow {
	row := EventRow{
		ID: t.Event.ID, Type: string(t.Event.Type), Endpoint: t.Endpoint, Subject: t.Event.Subject, At: t.Event.At,
		State: w.Word("telling", t.State), Attempts: t.Attempts, Failure: t.Reason, Tone: Quiet, Again: t.State.Final(),
	}
	if t.Status != 0 {
		row.Failure = strings.TrimSpace(w.Count(int64(t.Status)) + " " + t.Reason)
	}
	switch t.State {
	case webhook.Told:
		row.Tone = Good
	case webhook.Dead:
		row.Tone = Bad
	case webhook.Waiting:
		row.Next = w.Ago(now, t.Due)
		if t.Attempts > 0 {
			row.Tone = Warn
		}
	}
	if kind, rest, found := strings.Cut(t.Event.Subject, "/"); found && kind == "call" {
		environment, sid, _ := strings.Cut(rest, "/")
		row.Href = "/calls/" + sid + "?environment=" + environment
	}
	return row
}

// Rooms is the page that lists runs of rooms.
type Rooms struct {
	Room, User string
	Open       bool
	Live       []RunRow
	Rows       []RunRow
	Next       string
	Filter     bool
	Wrong      string
}

// RunRow is a run of a room in a list.
type RunRow struct {
	Room         planet.RoomRef
	Href         string
	At           time.Time
	State        string
	Tone         Tone
	Online       string
	Participants int
	Host         string
	Length       string
	Project      string
}

// NewRunRow makes the row of a run.
func NewRunRow(w Words, r *bell.RoomRun, now time.Time) RunRow {
	row := RunRow{
		Room: r.Room, At: r.HeardAt, State: w.Word("room", r.State), Tone: Live, Participants: r.Participants,
		Host: r.Host.UserID, Project: r.Project, Online: "–", Href: runHref(r),
	}
	end := now
	if r.State == bell.RoomClosed {
		row.Tone, row.State, end = Quiet, w.Word("roomend", r.Reason), r.EndedAt
		if r.Reason != bell.RoomEnded {
			row.Tone = Warn
		}
	}
	if r.Online >= 0 {
		row.Online = w.Count(int64(r.Online))
	}
	if !r.StartedAt.IsZero() && end.After(r.StartedAt) {
		row.Length = w.Length(end.Sub(r.StartedAt))
	}
	return row
}

// runHref leads to a run; a run of which no event named the room is found by any name.
func runHref(r *bell.RoomRun) string {
	return "/rooms/" + url.PathEscape(r.Room.ServiceID) + "/" + url.PathEscape(r.Room.RoomID) + "/runs/" + string(r.SessionID) +
		"?environment=" + string(r.Environment)
}

// Run is the page of a run.
type Run struct {
	Row     RunRow
	Title   string
	Warning string // what is known is not all
	Facts   []Fact
	Ticks   []Tick
	People  []PersonRow
	Next    string
	Live    bool
}

// PersonRow is a participant, with the time in which they were there.
type PersonRow struct {
	Name, Sub  string
	Href       string
	State      string
	Tone       Tone
	Joined     time.Time
	Left       time.Time
	Media, Kit string
	Why        string
	X, Width   string
}

// NewRun makes the page of a run.
func NewRun(w Words, r *bell.RoomRun, people []bell.Participant, now time.Time) Run {
	view := Run{Row: NewRunRow(w, r, now), Title: r.Room.RoomID, Live: r.State == bell.RoomOpen}
	switch {
	case r.Crowded:
		view.Warning = w.T("run.crowded")
	case r.State == bell.RoomOpen && r.Online >= 0 && r.Online != r.Present:
		view.Warning = w.T("run.differs", r.Online, r.Present)
	}
	view.Facts = []Fact{
		{Name: w.T("call.sid"), Value: string(r.SessionID), Mono: true},
		{Name: w.T("run.room"), Value: r.Room.ServiceID + "/" + r.Room.RoomID},
		{Name: w.T("run.host"), Value: userText(r.Host), Href: userHref(r.Environment, r.Host)},
		{Name: w.T("call.project"), Value: r.Project + " · " + w.Word("environment", r.Environment)},
		{Name: w.T("run.started"), Value: stamp(r.StartedAt)},
		{Name: w.T("call.ended"), Value: stamp(r.EndedAt)},
		{Name: w.T("run.heard"), Value: stamp(r.HeardAt)},
		{Name: w.T("run.online"), Value: view.Row.Online},
	}
	begin, end := r.FirstEventAt, now
	if !r.EndedAt.IsZero() {
		end = r.EndedAt
	}
	for i := range people {
		view.People = append(view.People, personRow(w, r, &people[i], begin, end))
	}
	return view
}

func personRow(w Words, r *bell.RoomRun, p *bell.Participant, begin, end time.Time) PersonRow {
	row := PersonRow{
		Name: p.User.UserID, Sub: p.DisplayName, Href: userHref(r.Environment, p.User), State: w.Word("participant", p.State), Tone: Live,
		Joined: p.JoinedAt, Left: p.LeftAt, Media: w.Word("type", typeName(p.Media)), Kit: p.UEType,
	}
	if p.State == bell.ParticipantLeft || r.State == bell.RoomClosed {
		row.Tone = Quiet
	}
	if !p.LeftAt.IsZero() {
		row.Why = p.Release.Explain(planet.GroupCalls).What(w.Language)
		if p.TimedOut {
			row.Tone, row.Why = Warn, w.T("run.timed_out")
		}
	}
	from, to := p.FirstJoinedAt, end
	if p.State == bell.ParticipantLeft && !p.LeftAt.IsZero() {
		to = p.LeftAt
	}
	if span := end.Sub(begin); span > 0 && !from.IsZero() {
		x := 100 * min(max(float64(from.Sub(begin))/float64(span), 0), 1)
		width := max(100*float64(to.Sub(from))/float64(span), least)
		row.X, row.Width = percent(min(x, 100-least)), percent(min(width, 100-min(x, 100-least)))
	}
	return row
}

// Settings is the page of the configuration in effect.
type Settings struct {
	YAML     string
	Projects []ProjectRow
}

// ProjectRow is one configured project.
type ProjectRow struct {
	Name, Environment, Service, Callback string
	Channels                             string
}

// Audit is the page of who did what.
type Audit struct {
	Who, Action string
	Outcomes    []Choice
	Rows        []AuditRow
	Next        string
	Filter      bool
}

// AuditRow is one entry of the audit log.
type AuditRow struct {
	At             time.Time
	Who, Role, Via string
	Remote         string
	Action, Object string
	Outcome        string
	Tone           Tone
}

// NewAuditRow makes the row of an entry.
func NewAuditRow(w Words, e *audit.Entry) AuditRow {
	row := AuditRow{
		At: e.At, Who: cmp.Or(e.Who, w.T("audit.nobody")), Role: w.Word("role", e.Role), Via: w.Word("via", e.Via), Remote: e.Remote,
		Action: e.Action, Object: e.Object, Outcome: w.Word("audited", e.Outcome), Tone: Quiet,
	}
	switch e.Outcome {
	case audit.Refused:
		row.Tone = Bad
	case audit.Failed:
		row.Tone = Warn
	}
	return row
}
