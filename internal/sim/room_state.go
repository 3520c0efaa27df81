package sim

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// maxControlMessages is how many messages a room remembers.
const maxControlMessages = 1000

// ControlMessage is an application control message that reached everybody in a room.
type ControlMessage struct {
	At   time.Time        `json:"at"`
	Text string           `json:"text"`
	To   []planet.UserRef `json:"to"` // who was in the room, sorted
}

// Room returns the room in which a call runs, or nil.
func (c *Cloud) Room(ref planet.RoomRef) *Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rooms[ref]
}

// forgetRoom is called by a room at the end of its run.
func (c *Cloud) forgetRoom(r *Room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms[r.ref] == r { // not the next run
		delete(c.rooms, r.ref)
	}
}

// spawn does f in the background until Close, and reports whether there is still time.
func (c *Cloud) spawn(f func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.busy.Add(1)
	go func() {
		defer c.busy.Done()
		f(c.ctx)
	}()
	return true
}

// Participants returns who is in the room, sorted.
func (r *Room) Participants() []planet.UserRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.participants()
}

// participants is Participants with mu held.
func (r *Room) participants() []planet.UserRef {
	users := make([]planet.UserRef, 0, len(r.online))
	for u := range r.online {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b planet.UserRef) int { return strings.Compare(a.String(), b.String()) })
	return users
}

// changed wakes who watches the participants. The caller holds mu.
func (r *Room) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

// watch returns who is in the room, and a channel that is closed when that changes.
func (r *Room) watch() ([]planet.UserRef, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.participants(), r.change
}

// Messages returns the newest application control messages, oldest first.
func (r *Room) Messages() []ControlMessage { return r.messages.all() }

// broadcast hands everybody a message.
func (r *Room) broadcast(text string) {
	r.messages.add(ControlMessage{At: r.cloud.clock.Now(), Text: text, To: r.Participants()})
}

// kick removes users of the room's service, as Kick-out does, and returns the parameters of
// the Group Call Events that tell of it: disconnect reason 1110, released by the app server,
// with the reason as user release code. Users who are not there are passed over.
func (r *Room) kick(users []string, reason string) (events [][]planet.RawParam) {
	ended := false
	r.mu.Lock()
	for _, id := range users {
		p, status, ok := r.remove(planet.UserRef{ServiceID: r.ref.ServiceID, UserID: id})
		if !ok {
			continue
		}
		ended = ended || status == planet.RoomEnded
		e := r.event(status, planet.ParticipantDisconnected, p)
		e.why = append(leaveParams("514", "APP_DEFINED_ERR", "1110", "5"), planet.RawParam{Name: "user_rel_code", Value: reason})
		events = append(events, e.params())
	}
	r.mu.Unlock()
	if ended {
		r.cloud.forgetRoom(r)
	}
	return events
}
