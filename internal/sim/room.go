package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Participant is somebody in a group call.
type Participant struct {
	User          planet.UserRef
	DisplayName   string
	UEType        string // "" is ANDROID; see docs/line-planet.md 3.3
	AppServerData string
}

// Room is one run of a group call. Its methods send the Group Call Event and return how
// the app server took it; they are safe for concurrent use.
type Room struct {
	cloud   *Cloud
	project Project
	ref     planet.RoomRef
	sid     string
	host    planet.UserRef
	media   planet.CallType

	messages *ring[ControlMessage]

	mu     sync.Mutex
	setup  time.Time
	end    time.Time
	online map[planet.UserRef]Participant
	change chan struct{} // closed at the next change of online
}

// OpenRoom starts a group call: its host is the first participant. The room's service
// must be a project.
func (c *Cloud) OpenRoom(ctx context.Context, ref planet.RoomRef, host Participant, media planet.CallType) (*Room, Callback, error) {
	c.mu.Lock()
	p, ok := c.projects[ref.ServiceID]
	c.mu.Unlock()
	if !ok {
		return nil, Callback{}, fmt.Errorf("the service %q is no project of this cloud; add it with AddProject", ref.ServiceID)
	}
	r := &Room{
		cloud: c, project: p, ref: ref, sid: randomHex(16), host: host.User, media: media,
		setup: c.clock.Now(), online: map[planet.UserRef]Participant{host.User: host},
		messages: newRing[ControlMessage](maxControlMessages), change: make(chan struct{}),
	}
	c.mu.Lock()
	c.rooms[ref] = r
	c.mu.Unlock()
	return r, r.send(ctx, planet.RoomStarted, planet.ParticipantConnected, host), nil
}

// SessionID returns the "sid" of this run: 32 hexadecimal characters.
func (r *Room) SessionID() planet.SessionID { return planet.SessionID(r.sid) }

// Join lets a participant in.
func (r *Room) Join(ctx context.Context, p Participant) Callback {
	r.mu.Lock()
	r.online[p.User] = p
	r.changed()
	r.mu.Unlock()
	return r.send(ctx, planet.RoomChanged, planet.ParticipantConnected, p)
}

// Leave lets a participant go; the last one ends the room.
func (r *Room) Leave(ctx context.Context, u planet.UserRef) (Callback, error) {
	return r.leave(ctx, u, planet.ParticipantDisconnected)
}

// TimeOut drops a participant whose connection broke.
func (r *Room) TimeOut(ctx context.Context, u planet.UserRef) (Callback, error) {
	return r.leave(ctx, u, planet.ParticipantTimedOut)
}

// ChangeMedia reports that a participant changed between audio and video.
func (r *Room) ChangeMedia(ctx context.Context, u planet.UserRef) (Callback, error) {
	r.mu.Lock()
	p, ok := r.online[u]
	r.mu.Unlock()
	if !ok {
		return Callback{}, errNotInRoom
	}
	return r.send(ctx, planet.RoomChanged, planet.ParticipantMediaChanged, p), nil
}

// End closes the room for everybody with one event.
func (r *Room) End(ctx context.Context) Callback {
	r.mu.Lock()
	clear(r.online)
	r.changed()
	r.end = r.cloud.clock.Now()
	r.mu.Unlock()
	r.cloud.forgetRoom(r)
	return r.send(ctx, planet.RoomEnded, planet.ParticipantDisconnected, Participant{User: r.host})
}

var errNotInRoom = errors.New("the user is not in the room")

func (r *Room) leave(ctx context.Context, u planet.UserRef, how planet.ParticipantStatus) (Callback, error) {
	r.mu.Lock()
	p, status, ok := r.remove(u)
	r.mu.Unlock()
	if !ok {
		return Callback{}, errNotInRoom
	}
	if status == planet.RoomEnded {
		r.cloud.forgetRoom(r)
	}
	return r.send(ctx, status, how, p), nil
}

// remove takes a user out of the room, and says what the room comes to by it. The caller
// holds mu.
func (r *Room) remove(u planet.UserRef) (p Participant, status planet.RoomStatus, ok bool) {
	if p, ok = r.online[u]; !ok {
		return p, "", false
	}
	delete(r.online, u)
	r.changed()
	status = planet.RoomChanged
	if len(r.online) == 0 {
		status, r.end = planet.RoomEnded, r.cloud.clock.Now()
	}
	return p, status, true
}

// send sends the event as it happened now.
func (r *Room) send(ctx context.Context, status planet.RoomStatus, what planet.ParticipantStatus, p Participant) Callback {
	r.mu.Lock()
	e := r.event(status, what, p)
	r.mu.Unlock()
	return r.cloud.send(ctx, r.project, "group-call-event", e.params(), nil)
}

// event is an event of now. The caller holds mu.
func (r *Room) event(status planet.RoomStatus, what planet.ParticipantStatus, p Participant) roomEvent {
	return roomEvent{
		sid: r.sid, ref: r.ref, host: r.host, media: r.media, status: status, what: what, who: p,
		online: len(r.online), setup: r.setup, end: r.end, at: r.cloud.clock.Now(),
	}
}

// roomEvent is one Group Call Event.
type roomEvent struct {
	sid            string
	ref            planet.RoomRef
	host           planet.UserRef
	media          planet.CallType
	status         planet.RoomStatus
	what           planet.ParticipantStatus
	who            Participant
	online         int
	setup, end, at time.Time
	why            []planet.RawParam // why somebody left; nil: as LINE Planet says it usually
}

// params are the parameters of docs/line-planet.md 3.3: times in milliseconds and the key
// "mediaType", as in the documented example.
func (e *roomEvent) params() []planet.RawParam {
	end := int64(0)
	if !e.end.IsZero() {
		end = e.end.UnixMilli()
	}
	ue := e.who.UEType
	if ue == "" {
		ue = "ANDROID"
	}
	ms := func(v int64) string { return strconv.FormatInt(v, 10) }
	params := []planet.RawParam{
		{Name: "sid", Value: e.sid},
		{Name: "svc_id", Value: e.ref.ServiceID},
		{Name: "id", Value: e.ref.RoomID},
		{Name: "user_svc_id", Value: e.who.User.ServiceID},
		{Name: "user_id", Value: e.who.User.UserID},
		{Name: "host_svc_id", Value: e.host.ServiceID},
		{Name: "host_id", Value: e.host.UserID},
		{Name: "sc", Value: string(e.status)},
		{Name: "setup_time", Value: ms(e.setup.UnixMilli())},
		{Name: "start_time", Value: ms(e.setup.UnixMilli())},
		{Name: "end_time", Value: ms(end)},
		{Name: "online", Value: strconv.Itoa(e.online)},
		{Name: "mediaType", Value: string(e.media)},
		{Name: "msc", Value: string(e.what)},
		{Name: "ts", Value: ms(e.at.UnixMilli())},
		{Name: "ue_type", Value: ue},
		{Name: "display_name", Value: e.who.DisplayName},
		{Name: "client_address", Value: callerAddress},
	}
	if e.who.AppServerData != "" {
		params = append(params, planet.RawParam{Name: "stid", Value: e.who.AppServerData},
			planet.RawParam{Name: "app_svr_data", Value: e.who.AppServerData})
	}
	switch {
	case e.why != nil:
		params = append(params, e.why...)
	case e.what == planet.ParticipantDisconnected:
		params = append(params, leaveParams("1", "NORMAL", "1001", "3")...)
	case e.what == planet.ParticipantTimedOut:
		params = append(params, leaveParams("218", "SESS_KEEPALIVE_TIMEOUT", "1301", "4")...)
	}
	return params
}

// leaveParams are the parameters that only come when somebody leaves.
func leaveParams(code, name, reason, releaser string) []planet.RawParam {
	return []planet.RawParam{
		{Name: "rel_code", Value: code},
		{Name: "rel_code_str", Value: name},
		{Name: "disconnect_reason", Value: reason},
		{Name: "releaser_type", Value: releaser},
	}
}

// SendAgentStatus sends an Agent Call Status to the service's project, with the letter
// case of the documented example ("Success").
func (c *Cloud) SendAgentStatus(ctx context.Context, serviceID string, s planet.AgentCallStatus) (Callback, error) {
	c.mu.Lock()
	p, ok := c.projects[serviceID]
	c.mu.Unlock()
	if !ok {
		return Callback{}, fmt.Errorf("the service %q is no project of this cloud; add it with AddProject", serviceID)
	}
	result, reason := "Success", "None"
	if !s.Success {
		result, reason = "Fail", s.FailReason
	}
	return c.send(ctx, p, "agent-call-status", []planet.RawParam{
		{Name: "sid", Value: string(s.SessionID)},
		{Name: "agent_type", Value: s.AgentType},
		{Name: "media_source_type", Value: s.MediaSourceType},
		{Name: "result", Value: result},
		{Name: "fail_reason", Value: reason},
	}, nil), nil
}
