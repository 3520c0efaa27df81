package console

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/webhook"
)

const eventsPerPage = 50

// pageFailing shows what fails now.
func (s *site) pageFailing(w http.ResponseWriter, r *http.Request) error {
	q, err := pageQuery(r, "minutes")
	if err != nil {
		return err
	}
	minutes := int(failingSpan / time.Minute)
	if n, err := strconv.Atoi(q.text("minutes")); err == nil && n >= 1 && n <= 24*60 {
		minutes = n
	}
	f := s.frame(r, "deliveries", words(r).T("nav.deliveries"))
	groups, err := s.services.Figures.Failing(r.Context(), f.Now.Add(-time.Duration(minutes)*time.Minute), failingMost)
	if err != nil {
		return err
	}
	return s.show(w, r, drawing{page: "deliveries", frame: f, body: pages.NewFailing(f.Words, groups, minutes, f.Now)})
}

// pageEvents shows the endpoints, and what they were told or not.
func (s *site) pageEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := pageQuery(r, "endpoint", "state", "before", "replayed", "more")
	if err != nil {
		return err
	}
	f := s.frame(r, "events", words(r).T("nav.events"))
	filter := webhook.Filter{Endpoint: q.text("endpoint"), State: webhook.State(q.text("state"))}
	if filter.State != "" && !slices.Contains(EventStates(), filter.State) {
		return invalid("state: want waiting, told or dead.")
	}
	before, err := parseEventCursor(q.text("before"))
	if err != nil {
		return err
	}
	body := pages.Events{
		Endpoint: filter.Endpoint, Dead: filter.State == webhook.Dead,
		States: pages.Choices(f.Words, "telling", EventStates(), string(filter.State)),
	}
	if n, err := strconv.Atoi(q.text("replayed")); err == nil && n >= 0 {
		body.Told = f.T("events.replayed", n)
		if q.text("more") != "" {
			body.Told += f.T("space") + f.T("events.more")
		}
	}
	statuses, err := s.services.Events.Statuses(r.Context())
	if err != nil {
		return err
	}
	for i := range statuses {
		body.Endpoints = append(body.Endpoints, pages.NewEndpointRow(f.Words, &statuses[i], f.Now))
	}
	events, err := s.services.Events.List(r.Context(), filter, before, eventsPerPage+1)
	if err != nil {
		return err
	}
	if len(events) > eventsPerPage {
		events = events[:eventsPerPage]
		last := events[eventsPerPage-1]
		next := maps.Clone(f.Query)
		next.Del("replayed")
		next.Del("more")
		next.Set("before", strconv.FormatInt(last.Seq, 10)+"-"+last.Endpoint)
		body.Next = "/events?" + next.Encode()
	}
	for i := range events {
		body.Rows = append(body.Rows, pages.NewEventRow(f.Words, &events[i], f.Now))
	}
	return s.show(w, r, drawing{page: "events", frame: f, body: body})
}

// pageReplay tells one event anew, or all that an endpoint did not take, and goes back to the
// list.
func (s *site) pageReplay(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	id, endpoint := form("id"), form("endpoint")
	n, more := 0, false
	s.noteTelling(r, id, endpoint)
	switch {
	case len(id) > maxEventID || endpoint == "":
		return bell.E(bell.NotFound, "There is no event with this ID.", nil)
	case id != "":
		n, err = s.services.Events.Replay(r.Context(), id, endpoint)
	default:
		n, more, err = s.services.Events.ReplayDead(r.Context(), endpoint)
	}
	noteReplayed(r.Context(), n, err)
	if err != nil {
		return err
	}
	back := url.Values{"endpoint": {endpoint}, "replayed": {strconv.Itoa(n)}}
	if more {
		back.Set("more", "yes")
	}
	http.Redirect(w, r, "/events?"+back.Encode(), http.StatusSeeOther)
	return nil
}

// pageSettings shows the configuration in effect. It holds no secret.
func (s *site) pageSettings(w http.ResponseWriter, r *http.Request) error {
	if _, err := pageQuery(r); err != nil {
		return err
	}
	f := s.frame(r, "settings", words(r).T("nav.settings"))
	body := pages.Settings{YAML: s.Settings}
	for _, p := range s.services.Projects.All() {
		row := pages.ProjectRow{
			Name: p.Name, Environment: f.Word("environment", p.Environment), Service: p.ServiceID, Callback: s.callbackURL(p),
		}
		var channels []string
		for _, channel := range s.Channels(p) {
			channels = append(channels, f.Word("channel", channel))
		}
		row.Channels = strings.Join(channels, ", ")
		body.Projects = append(body.Projects, row)
	}
	return s.show(w, r, drawing{page: "settings", frame: f, body: body})
}

const auditPerPage = 100

// pageAudit shows who did what.
func (s *site) pageAudit(w http.ResponseWriter, r *http.Request) error {
	q, err := pageQuery(r, "who", "action", "outcome", "before")
	if err != nil {
		return err
	}
	filter, before, err := auditQuery(q)
	if err != nil {
		return err
	}
	f := s.frame(r, "audit", words(r).T("nav.audit"))
	body := pages.Audit{
		Who: filter.Who, Action: filter.Action, Filter: filter != (audit.Filter{}),
		Outcomes: pages.Choices(f.Words, "audited", audit.Outcomes(), string(filter.Outcome)),
	}
	entries, err := s.services.Audit.AuditLog(r.Context(), filter, before, auditPerPage+1)
	if err != nil {
		return err
	}
	if len(entries) > auditPerPage {
		entries = entries[:auditPerPage]
		last := &entries[auditPerPage-1]
		next := maps.Clone(f.Query)
		next.Set("before", strconv.FormatInt(last.At.UnixMicro(), 10)+"-"+last.ID)
		body.Next = "/audit?" + next.Encode()
	}
	for i := range entries {
		body.Rows = append(body.Rows, pages.NewAuditRow(f.Words, &entries[i]))
	}
	return s.show(w, r, drawing{page: "audit", frame: f, body: body})
}
