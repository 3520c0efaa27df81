package console

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
)

// Events is what the console needs of who tells the customer's systems.
type Events interface {
	// List returns events with what became of them, newest first, past the cursor.
	List(ctx context.Context, f webhook.Filter, before webhook.Cursor, limit int) ([]webhook.Telling, error)
	// Statuses returns how the endpoints do, in the order of the configuration.
	Statuses(ctx context.Context) ([]webhook.Status, error)
	// Replay tells an event anew, to one endpoint, or to all when endpoint is empty, and
	// returns to how many, also with an error; bell.NotFound when there is no such event or
	// endpoint.
	Replay(ctx context.Context, id, endpoint string) (int, error)
	// ReplayDead tells an endpoint anew what it did not take. It returns how many events, also
	// with an error.
	ReplayDead(ctx context.Context, endpoint string) (replayed int, more bool, err error)
	// Enable tells an endpoint again that is gone; bell.NotFound when it is not.
	Enable(ctx context.Context, endpoint string) error
	// Test sends a test event to all endpoints of a project, and returns its ID, also with an
	// error if the event may come all the same.
	Test(ctx context.Context, project *bell.Project) (string, error)
}

// Event is one event for one endpoint.
type Event struct {
	ID        string         `json:"id"` // the webhook-id
	Type      bell.EventType `json:"type"`
	Project   string         `json:"project"`
	Endpoint  string         `json:"endpoint"` // "<project>/<name>"
	Subject   string         `json:"subject"`
	At        time.Time      `json:"at"`    // when it happened
	State     webhook.State  `json:"state"` // waiting, behind, told or dead
	Attempts  int            `json:"attempts"`
	NextAt    time.Time      `json:"next_at,omitzero"` // of one that waits
	UpdatedAt time.Time      `json:"updated_at"`
	Reason    string         `json:"reason,omitempty"` // of the last failure
	Status    int            `json:"status,omitempty"` // HTTP status of the last answer
}

// EventList is a page of events, newest first. Next is the "before" of the next page; it is
// empty on the last one.
type EventList struct {
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty"`
}

// EventEndpoint is how one endpoint does.
type EventEndpoint struct {
	Endpoint     string           `json:"endpoint"`
	Host         string           `json:"host"` // of its URL; the rest may hold a secret
	FallbackHost string           `json:"fallback_host,omitempty"`
	Types        []bell.EventType `json:"types"`
	Health       webhook.Health   `json:"health"` // up, down, paused or gone
	Waiting      int              `json:"waiting"`
	OldestAt     time.Time        `json:"oldest_at,omitzero"` // since when the oldest waits
}

// EventEndpointList is every endpoint, in the order of the configuration.
type EventEndpointList struct {
	Endpoints []EventEndpoint `json:"endpoints"`
}

// EndpointRequest names an endpoint.
type EndpointRequest struct {
	Endpoint string `json:"endpoint"`
}

// Replayed says how many events are told anew. More: as many again may be left.
type Replayed struct {
	Replayed int  `json:"replayed"`
	More     bool `json:"more,omitempty"`
}

// TestEventRequest asks for an event to all endpoints of a project.
type TestEventRequest struct {
	Project string `json:"project"`
}

// TestEvent is the event that was sent.
type TestEvent struct {
	ID string `json:"id"`
}

// EventStates are the states that events can be asked for.
func EventStates() []webhook.State {
	return []webhook.State{webhook.Waiting, webhook.Told, webhook.Dead}
}

func (a *api) listEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "endpoint", "state", "before", "limit")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	filter := webhook.Filter{Endpoint: q.text("endpoint"), State: webhook.State(q.text("state"))}
	if filter.State != "" && !slices.Contains(EventStates(), filter.State) {
		return invalid("state: want waiting, told or dead.")
	}
	before, err := parseEventCursor(q.text("before"))
	if err != nil {
		return err
	}
	events, err := a.services.Events.List(r.Context(), filter, before, limit+1)
	if err != nil {
		return err
	}
	list := EventList{Events: make([]Event, 0, limit)}
	if len(events) > limit {
		events = events[:limit]
		last := events[limit-1]
		list.Next = strconv.FormatInt(last.Seq, 10) + "-" + last.Endpoint
	}
	for i := range events {
		list.Events = append(list.Events, eventView(&events[i]))
	}
	return writeJSON(w, http.StatusOK, list)
}

// An event's place in the list is written as its number, a hyphen and the endpoint. Clients
// take it as it is.
func parseEventCursor(text string) (webhook.Cursor, error) {
	if text == "" {
		return webhook.Cursor{}, nil
	}
	number, endpoint, found := strings.Cut(text, "-")
	seq, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || seq < 1 {
		return webhook.Cursor{}, invalid(`before: want the "next" of an earlier answer.`)
	}
	return webhook.Cursor{Seq: seq, Endpoint: endpoint}, nil
}

func eventView(t *webhook.Telling) Event {
	view := Event{
		ID: t.Event.ID, Type: t.Event.Type, Project: t.Event.Project, Endpoint: t.Endpoint, Subject: t.Event.Subject, At: utc(t.Event.At),
		State: t.State, Attempts: t.Attempts, UpdatedAt: utc(t.UpdatedAt), Reason: t.Reason, Status: t.Status,
	}
	if t.State == webhook.Waiting {
		view.NextAt = utc(t.Due)
	}
	return view
}

func (a *api) listEndpoints(w http.ResponseWriter, r *http.Request) error {
	statuses, err := a.services.Events.Statuses(r.Context())
	if err != nil {
		return err
	}
	list := EventEndpointList{Endpoints: make([]EventEndpoint, 0, len(statuses))}
	for _, s := range statuses {
		list.Endpoints = append(list.Endpoints, EventEndpoint{
			Endpoint: s.Endpoint, Host: s.Host, FallbackHost: s.Fallback, Types: s.Types, Health: s.Health, Waiting: s.Open, OldestAt: utc(s.Oldest),
		})
	}
	return writeJSON(w, http.StatusOK, list)
}

// maxEventID bounds an event's ID, in bytes.
const maxEventID = 128

var (
	// ofEvent is what bell.EventID makes, or a UUID.
	ofEvent = regexp.MustCompile(`^(evt_)?[0-9a-f-]{1,36}$`)
	// ofEndpoint is what the configuration lets an endpoint be called.
	ofEndpoint = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
)

func (a *api) replayEvent(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "endpoint")
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if len(id) > maxEventID {
		return bell.E(bell.NotFound, "There is no event with this ID.", nil)
	}
	a.noteTelling(r, id, q.text("endpoint"))
	n, err := a.services.Events.Replay(r.Context(), id, q.text("endpoint"))
	noteReplayed(r.Context(), n, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Replayed{Replayed: n})
}

func (a *api) replayEvents(w http.ResponseWriter, r *http.Request) error {
	var in EndpointRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	a.noteTelling(r, "", in.Endpoint)
	n, more, err := a.services.Events.ReplayDead(r.Context(), in.Endpoint)
	noteReplayed(r.Context(), n, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Replayed{Replayed: n, More: more})
}

func (a *api) enableEndpoint(w http.ResponseWriter, r *http.Request) error {
	var in EndpointRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	a.noteTelling(r, "", in.Endpoint)
	if err := a.services.Events.Enable(r.Context(), in.Endpoint); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) testEvent(w http.ResponseWriter, r *http.Request) error {
	var in TestEventRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	project, err := a.project(in.Project)
	if err != nil {
		return err
	}
	note(r.Context(), slog.String("project", project.Name))
	id, err := a.services.Events.Test(r.Context(), project)
	if id != "" {
		note(r.Context(), slog.String("event", id))
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, TestEvent{ID: id})
}
