package console

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// Rooms is what the console needs of group calls.
type Rooms interface {
	// List returns runs of rooms older than the cursor, those heard of last first.
	List(ctx context.Context, f room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error)
	// Show returns a run, or bell.NotFound. Without an environment the one heard of last is
	// meant.
	Show(ctx context.Context, environment planet.Environment, id planet.SessionID) (bell.RoomRun, error)
	// People returns participants of a run, ordered by user ID, after the given one.
	People(ctx context.Context, run *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error)
}

func (a *api) listRooms(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "environment", "service_id", "room_id", "user_id", "user_service_id", "state", "before", "limit")
	if err != nil {
		return err
	}
	f := room.Filter{
		ServiceID: q.text("service_id"), RoomID: q.text("room_id"),
		User: planet.UserRef{ServiceID: q.text("user_service_id"), UserID: q.text("user_id")},
	}
	switch q.text("state") {
	case "":
	case string(bell.RoomOpen):
		f.Open = true
	default:
		return invalid("state: want open, or leave it out.")
	}
	if f.User.ServiceID != "" && f.User.UserID == "" {
		return invalid("user_service_id: want user_id beside it.")
	}
	return a.writeRuns(w, r, q, f)
}

// listRuns lists the runs of one room.
func (a *api) listRuns(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "environment", "before", "limit")
	if err != nil {
		return err
	}
	return a.writeRuns(w, r, q, room.Filter{ServiceID: r.PathValue("service"), RoomID: r.PathValue("room")})
}

func (a *api) writeRuns(w http.ResponseWriter, r *http.Request, q query, f room.Filter) error {
	var err error
	if f.Environment, err = q.environment(); err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	before, err := parseCursor(q.text("before"))
	if err != nil {
		return err
	}
	// One more than asked for tells whether there is another page.
	runs, err := a.services.Rooms.List(r.Context(), f, room.Cursor{HeardAt: before.At, SessionID: before.SessionID}, limit+1)
	if err != nil {
		return err
	}
	list := RoomRunList{Runs: make([]RoomRun, 0, limit)}
	if len(runs) > limit {
		runs = runs[:limit]
		last := &runs[limit-1]
		list.Next = strconv.FormatInt(last.HeardAt.UnixNano(), 10) + "-" + string(last.SessionID)
	}
	for i := range runs {
		list.Runs = append(list.Runs, runView(&runs[i]))
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *api) showRun(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "environment", "after", "limit")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	run, people, next, err := a.runOf(r, q, limit)
	if err != nil {
		return err
	}
	story := RoomRunStory{Run: runView(&run), Participants: make([]Participant, 0, limit), Next: next}
	for i := range people {
		story.Participants = append(story.Participants, participantView(&people[i]))
	}
	return writeJSON(w, http.StatusOK, story)
}

// A cursor among participants is their IDs, in a form that needs no escaping. Clients take
// it as it is.
func formatUserCursor(u planet.UserRef) string {
	return base64.RawURLEncoding.EncodeToString([]byte(u.UserID + "\x00" + u.ServiceID))
}

func parseUserCursor(text string) (planet.UserRef, error) {
	if text == "" {
		return planet.UserRef{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	user, service, found := strings.Cut(string(raw), "\x00")
	if err != nil || !found || strings.ToValidUTF8(user+service, "") != user+service || strings.Contains(service, "\x00") {
		return planet.UserRef{}, invalid(`after: want the "next" of an earlier answer.`)
	}
	return planet.UserRef{ServiceID: service, UserID: user}, nil
}

func runView(r *bell.RoomRun) RoomRun {
	view := RoomRun{
		Environment: r.Environment, ServiceID: r.Room.ServiceID, RoomID: r.Room.RoomID, SID: r.SessionID, Project: r.Project,
		State: r.State, Reason: r.Reason, HeardAt: utc(r.HeardAt), SetupAt: utc(r.SetupAt), StartedAt: utc(r.StartedAt), EndedAt: utc(r.EndedAt),
		FirstEventAt: utc(r.FirstEventAt), LastEventAt: utc(r.LastEventAt),
		Present: r.Present, ParticipantCount: r.Participants, Crowded: r.Crowded,
	}
	if r.Online >= 0 {
		view.Online = &r.Online
	}
	if r.Host.UserID != "" {
		view.Host = &User{r.Host.ServiceID, r.Host.UserID}
	}
	return view
}

func participantView(p *bell.Participant) Participant {
	view := Participant{
		ServiceID: p.User.ServiceID, UserID: p.User.UserID, DisplayName: p.DisplayName, State: p.State,
		FirstJoinedAt: utc(p.FirstJoinedAt), JoinedAt: utc(p.JoinedAt), LeftAt: utc(p.LeftAt), TimedOut: p.TimedOut,
		Media: typeName(p.Media), UEType: p.UEType, BillingSeconds: p.BillingSeconds,
	}
	if release := releaseView(&p.Release); len(release.Reasons) > 0 || release.EndedBy != "" || release.UserCode != "" {
		view.Release = &release
	}
	return view
}
