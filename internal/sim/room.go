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
		messages: newRing[ControlMessage](maxControlMessages),
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
	status = planet.RoomChanged
	if len(r.online) == 0 {
		status, r.end = planet.RoomEnded, r.cloud.clock.Now()
	}
	return p, status, true
}

// send sends the event with the parameters of docs/line-planet.md 3.3: times in milliseconds
// and the key "mediaType", as in the documented example.
func (r *Room) send(ctx context.Context, status planet.RoomStatus, what planet.ParticipantStatus, p Participant) Callback {
	r.mu.Lock()
	params := r.params(status, what, p)
	r.mu.Unlock()
	switch what {
	case planet.ParticipantDisconnected:
		params = append(params, leaveParams("1", "NORMAL", "1001", "3")...)
	case planet.ParticipantTimedOut:
		params = append(params, leaveParams("218", "SESS_KEEPALIVE_TIMEOUT", "1301", "4")...)
	}
	return r.cloud.send(ctx, r.project, "group-call-event", params, nil)
}

// params are the parameters that every event has. The caller holds mu.
func (r *Room) params(status planet.RoomStatus, what planet.ParticipantStatus, p Participant) []planet.RawParam {
	setup, end := r.setup.UnixMilli(), int64(0)
	if !r.end.IsZero() {
		end = r.end.UnixMilli()
	}
	if p.UEType == "" {
		p.UEType = "ANDROID"
	}
	ms := func(v int64) string { return strconv.FormatInt(v, 10) }
	params := []planet.RawParam{
		{Name: "sid", Value: r.sid},
		{Name: "svc_id", Value: r.ref.ServiceID},
		{Name: "id", Value: r.ref.RoomID},
		{Name: "user_svc_id", Value: p.User.ServiceID},
		{Name: "user_id", Value: p.User.UserID},
		{Name: "host_svc_id", Value: r.host.ServiceID},
		{Name: "host_id", Value: r.host.UserID},
		{Name: "sc", Value: string(status)},
		{Name: "setup_time", Value: ms(setup)},
		{Name: "start_time", Value: ms(setup)},
		{Name: "end_time", Value: ms(end)},
		{Name: "online", Value: strconv.Itoa(len(r.online))},
		{Name: "mediaType", Value: string(r.media)},
		{Name: "msc", Value: string(what)},
		{Name: "ts", Value: ms(r.cloud.clock.Now().UnixMilli())},
		{Name: "ue_type", Value: p.UEType},
		{Name: "display_name", Value: p.DisplayName},
		{Name: "client_address", Value: callerAddress},
	}
	if p.AppServerData != "" {
		params = append(params, planet.RawParam{Name: "stid", Value: p.AppServerData},
			planet.RawParam{Name: "app_svr_data", Value: p.AppServerData})
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
