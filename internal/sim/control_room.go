package sim

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// roomState is a room in GET /rooms.
type roomState struct {
	Room      string           `json:"room"` // service/room
	SessionID planet.SessionID `json:"sid"`
	Users     []string         `json:"users"`
	Messages  []ControlMessage `json:"messages"`
}

// getRooms lists the rooms in which a call runs.
func (w *World) getRooms(rw http.ResponseWriter, _ *http.Request) {
	states := []roomState{}
	for _, r := range w.Cloud.openRooms() {
		s := roomState{Room: r.ref.ServiceID + "/" + r.ref.RoomID, SessionID: r.SessionID(), Users: []string{}, Messages: r.Messages()}
		for _, u := range r.Participants() {
			s.Users = append(s.Users, u.UserID)
		}
		states = append(states, s)
	}
	writeJSON(rw, http.StatusOK, states)
}

// openRooms returns the rooms in which a call runs, sorted.
func (c *Cloud) openRooms() []*Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	rooms := make([]*Room, 0, len(c.rooms))
	for _, r := range c.rooms {
		rooms = append(rooms, r)
	}
	slices.SortFunc(rooms, func(a, b *Room) int {
		return strings.Compare(a.ref.ServiceID+"/"+a.ref.RoomID, b.ref.ServiceID+"/"+b.ref.RoomID)
	})
	return rooms
}

// postRoom lets users of the connected service join a room; the first opens it.
func (w *World) postRoom(rw http.ResponseWriter, r *http.Request) {
	var b struct {
		Room  string   `json:"room"`
		Users []string `json:"users"`
	}
	if !readBody(rw, r, &b) {
		return
	}
	if b.Room == "" || len(b.Users) == 0 {
		refuse(rw, http.StatusBadRequest, errors.New(`"room" must name a room, and "users" at least one user`))
		return
	}
	w.mu.Lock()
	ref := planet.RoomRef{ServiceID: w.server.ServiceID, RoomID: b.Room}
	w.mu.Unlock()
	for _, id := range b.Users {
		p := Participant{User: planet.UserRef{ServiceID: ref.ServiceID, UserID: id}, DisplayName: id}
		if room := w.Cloud.Room(ref); room != nil {
			room.Join(r.Context(), p)
			continue
		}
		if _, _, err := w.Cloud.OpenRoom(r.Context(), ref, p, planet.VideoCall); err != nil {
			refuse(rw, http.StatusBadRequest, err)
			return
		}
	}
	w.getRooms(rw, r)
}
