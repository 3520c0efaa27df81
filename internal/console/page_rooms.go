package console

import (
	"maps"
	"net/http"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

const (
	runsPerPage   = 50
	runsLive      = 20
	peoplePerPage = 200
)

// pageRooms lists runs of rooms.
func (s *site) pageRooms(w http.ResponseWriter, r *http.Request) error {
	q, err := pageQuery(r, "room_id", "user_id", "state", "before")
	if err != nil {
		return err
	}
	before, err := parseCursor(q.text("before"))
	if err != nil {
		return err
	}
	f := s.frame(r, "rooms", words(r).T("nav.rooms"))
	filter := room.Filter{RoomID: q.text("room_id"), User: planet.UserRef{UserID: q.text("user_id")}, Open: q.text("state") == string(bell.RoomOpen)}
	body := pages.Rooms{Room: filter.RoomID, User: filter.User.UserID, Open: filter.Open, Filter: filter != (room.Filter{})}
	cursor := room.Cursor{HeardAt: before.At, SessionID: before.SessionID}
	runs, err := s.services.Rooms.List(r.Context(), filter, cursor, runsPerPage+1)
	if err != nil {
		return err
	}
	if len(runs) > runsPerPage {
		runs = runs[:runsPerPage]
		last := &runs[runsPerPage-1]
		next := maps.Clone(f.Query)
		next.Set("before", strconv.FormatInt(last.HeardAt.UnixNano(), 10)+"-"+string(last.SessionID))
		body.Next = "/rooms?" + next.Encode()
	}
	for i := range runs {
		body.Rows = append(body.Rows, pages.NewRunRow(f.Words, &runs[i], f.Now))
	}
	if !body.Filter && cursor == (room.Cursor{}) {
		live, err := s.services.Rooms.List(r.Context(), room.Filter{Open: true}, room.Cursor{}, runsLive)
		if err != nil {
			return err
		}
		for i := range live {
			body.Live = append(body.Live, pages.NewRunRow(f.Words, &live[i], f.Now))
		}
	}
	return s.show(w, r, drawing{page: "rooms", frame: f, body: body})
}

// pageRun tells the story of one run.
func (s *site) pageRun(w http.ResponseWriter, r *http.Request) error {
	q, err := pageQuery(r, "environment", "after")
	if err != nil {
		return err
	}
	run, people, next, err := s.runOf(r, q, peoplePerPage)
	if err != nil {
		return err
	}
	f := s.frame(r, "rooms", run.Room.RoomID)
	body := pages.NewRun(f.Words, &run, people, f.Now)
	if next != "" {
		more := maps.Clone(f.Query)
		more.Set("after", next)
		body.Next = r.URL.Path + "?" + more.Encode()
	}
	return s.show(w, r, drawing{page: "run", frame: f, body: body})
}
