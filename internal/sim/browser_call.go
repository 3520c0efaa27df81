package sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// call is makeCall: the page is the caller until its request ends.
func (b *browserGates) call(rw http.ResponseWriter, r *http.Request) {
	var in struct{ From, To, Type string }
	if !readBody(rw, r, &in) {
		return
	}
	token, ok := accessToken(rw, r)
	if !ok {
		return
	}
	caller, ok := b.user(rw, in.From)
	if !ok {
		return
	}
	callee, ok := b.user(rw, in.To)
	if !ok {
		return
	}
	if caller == callee {
		refuse(rw, http.StatusBadRequest, errors.New("ID_CONFLICT: nobody can call himself"))
		return
	}
	call, err := b.world.Cloud.Place(CallRequest{
		Caller: caller, Callee: callee, Type: callType(in.Type), AccessToken: token, Plan: Plan{Kind: PlanByHand},
	})
	if err != nil {
		refuseCall(rw, err)
		return
	}
	id := b.add(leg{end: func() error { call.Hangup(); return nil }})
	if id == "" {
		call.Hangup()
		busy(rw)
		return
	}
	defer b.remove(id)
	s := newPageStream(rw)
	s.send(browserState{State: "waiting", Leg: id, SessionID: call.SessionID(), Peer: callee.UserID})
	connected := call.connected
	for {
		select {
		case <-connected:
			connected = nil
			s.send(browserState{State: "connected"})
		case <-call.ended:
			report := call.Report()
			s.send(browserState{State: "ended", Code: report.DisconnectReason, Name: report.Reason})
			return
		case <-r.Context().Done():
			call.Hangup()
			return
		}
	}
}

// refuseCall answers why Planet Cloud takes no call of a page.
func refuseCall(rw http.ResponseWriter, err error) {
	if errors.Is(err, ErrAccessToken) {
		released(rw, http.StatusUnauthorized, 1501, "SERVICE_ACCESS_TOKEN_ERROR")
		return
	}
	refuse(rw, http.StatusBadRequest, err)
}

func busy(rw http.ResponseWriter) { released(rw, http.StatusServiceUnavailable, 1504, "SERVICE_BUSY") }

func callType(text string) planet.CallType {
	if strings.EqualFold(text, string(planet.VideoCall)) {
		return planet.VideoCall
	}
	return planet.AudioCall
}

// vias are the ways by which a page says that a call came.
var vias = []string{"stream", "poll", "push"}

// verify is verifyCall: the page rings until its request ends.
func (b *browserGates) verify(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		User, Device, Via string
		CCParam           string `json:"cc_param"`
	}
	if !readBody(rw, r, &in) {
		return
	}
	user, ok := b.user(rw, in.User)
	if !ok {
		return
	}
	if len(in.Device) > 64 || !slices.Contains(vias, in.Via) {
		refuse(rw, http.StatusBadRequest, fmt.Errorf(`"device" has at most 64 bytes, and "via" is one of %v`, vias))
		return
	}
	name := b.name(user.UserID, in.Device)
	l, err := b.world.Cloud.Verify(name, user, in.CCParam)
	if err != nil {
		refuseVerify(rw, err)
		return
	}
	id := b.add(leg{answer: l.Answer, decline: l.Decline, end: l.Hangup})
	if id == "" {
		l.Drop()
		busy(rw)
		return
	}
	defer b.remove(id)
	b.event(Event{
		Source: name, Kind: EventReceived, User: user.String(), SessionID: l.SessionID(), Latency: l.latency(), Text: "got a call by " + in.Via,
	})
	b.ring(newPageStream(rw), r, name, id, l)
}

// ring tells the page what becomes of its leg.
func (b *browserGates) ring(s *pageStream, r *http.Request, name, id string, l *Leg) {
	call := l.call.Report()
	s.send(browserState{State: "verified", Leg: id, SessionID: call.SessionID, Peer: call.Caller.UserID, Type: call.Type})
	connected := l.connected
	for {
		select {
		case <-connected:
			connected = nil
			s.send(browserState{State: "connected"})
		case <-l.Done():
			reason := l.Reason()
			word := planet.DisconnectReason(reason).Name
			b.event(Event{Source: name, Kind: EventEnded, User: call.Callee.String(), SessionID: call.SessionID, Text: fmt.Sprintf("ended with %d %s", reason, word)})
			s.send(browserState{State: "ended", Code: reason, Name: word})
			return
		case <-r.Context().Done():
			l.Drop()
			b.event(Event{Source: name, Kind: EventEnded, User: call.Callee.String(), SessionID: call.SessionID, Text: "is gone: the page was closed"})
			return
		}
	}
}

// refuseVerify answers why a call does not ring, in PlanetKit's words.
func refuseVerify(rw http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrReleasedCall):
		released(rw, http.StatusConflict, 1304, "RELEASED_CALL")
	case errors.Is(err, ErrDecodeCallParam):
		released(rw, http.StatusBadRequest, 3, "DECODE_CALL_PARAM")
	case errors.Is(err, ErrVerifiedTwice):
		released(rw, http.StatusConflict, 1204, "ALREADY_GOT_A_CALL")
	default:
		refuse(rw, http.StatusForbidden, err)
	}
}

// join is joinConference: the page is in the room until its request ends.
func (b *browserGates) join(rw http.ResponseWriter, r *http.Request) {
	var in struct{ User, Room, Name string }
	if !readBody(rw, r, &in) {
		return
	}
	token, ok := accessToken(rw, r)
	if !ok {
		return
	}
	user, ok := b.user(rw, in.User)
	if !ok {
		return
	}
	if err := planet.ValidateRoomID(in.Room); err != nil || len(in.Name) > 128 {
		refuse(rw, http.StatusBadRequest, errors.New("the room ID has 1 to 64 letters, digits, hyphens and underscores, and the name at most 128 bytes"))
		return
	}
	if err := b.world.Cloud.checkAccess(token, user); err != nil {
		refuseCall(rw, err)
		return
	}
	left := make(chan struct{}, 1)
	id := b.add(leg{end: func() error {
		select {
		case left <- struct{}{}:
		default: // it leaves already
		}
		return nil
	}})
	if id == "" {
		busy(rw)
		return
	}
	defer b.remove(id)
	room, err := b.enter(r, planet.RoomRef{ServiceID: user.ServiceID, RoomID: in.Room}, Participant{User: user, DisplayName: in.Name, UEType: "BROWSER"})
	if err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return
	}
	b.stay(newPageStream(rw), r, room, user, id, left)
}

// checkAccess verifies the access token of somebody who joins a room.
func (c *Cloud) checkAccess(token planet.Secret, user planet.UserRef) error {
	c.mu.Lock()
	p, ok := c.projects[user.ServiceID]
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("the service %q is no project of this cloud", user.ServiceID)
	}
	return p.checkAccess(token, user, c.clock.Now())
}

// enter joins the room, or opens it.
func (b *browserGates) enter(r *http.Request, ref planet.RoomRef, p Participant) (*Room, error) {
	b.entering.Lock()
	defer b.entering.Unlock()
	if room := b.world.Cloud.Room(ref); room != nil {
		room.Join(r.Context(), p)
		return room, nil
	}
	room, _, err := b.world.Cloud.OpenRoom(r.Context(), ref, p, planet.AudioCall)
	return room, err
}

// stay tells the page who is in the room, until it leaves, is removed, or is gone.
func (b *browserGates) stay(s *pageStream, r *http.Request, room *Room, user planet.UserRef, id string, left <-chan struct{}) {
	s.send(browserState{State: "connected", Leg: id, SessionID: room.SessionID()})
	for {
		users, changed := room.watch()
		if !slices.Contains(users, user) {
			s.send(browserState{State: "ended", Code: 1110, Name: planet.DisconnectReason(1110).Name})
			return
		}
		peers := browserState{State: "peers"}
		for _, u := range users {
			peers.Users = append(peers.Users, u.UserID)
		}
		s.send(peers)
		select {
		case <-changed:
		case <-left:
			_, _ = room.Leave(r.Context(), user) // who was removed just now is out, too
			s.send(browserState{State: "ended", Code: 1001, Name: "NORMAL"})
			return
		case <-r.Context().Done():
			b.world.Cloud.lose(room, user)
			return
		}
	}
}

// lose reports a participant whose page is gone; its request cannot carry the callback any more.
func (c *Cloud) lose(room *Room, user planet.UserRef) {
	c.spawn(func(ctx context.Context) { _, _ = room.TimeOut(ctx, user) })
}
