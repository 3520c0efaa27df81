package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// groupCallEvent takes a Group Call Event: a room started, changed or ended.
func (a *api) groupCallEvent(ctx context.Context, r *http.Request, project *bell.Project) (string, error) {
	event, err := parsed(r, planet.ParseGroupCallEvent)
	if err != nil {
		return unreadable(r, err)
	}
	e := eventOf(r)
	e.add(slog.String("sid", string(event.SessionID)))
	if _, ok := a.services.Projects.Reaching(project.Environment, event.Room.ServiceID); !ok {
		// Kept all the same: refusing an event can end a call (1313).
		e.warn("the room's service is not one of this server's")
	}
	return kept(a.services.Rooms.Take(ctx, project, event))
}

// The message of an invitation reaches the devices as one of the app's own keys.
const (
	maxMessage = 200 // bytes
	messageKey = "app_message"
)

// invited is the data of an answer to an invitation. Users is how many were asked for. Who
// of them is registered it says only if the project says as much to callers: devices and
// users are then those that are being told.
type invited struct {
	Users   int  `json:"users"`
	Devices *int `json:"devices,omitempty"`
}

// invite tells users' devices that they are wanted in a room: POST /v2/rooms/{id}/invite.
// Who invites, and the room's service, are the app token's.
func (a *api) invite(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	body, err := readObject(r)
	if err != nil {
		return err
	}
	request, err := readInvitation(r.PathValue("id"), body, id.Owner.User)
	if err != nil {
		return err
	}
	if !a.invites.allowN(id.Owner, len(request.Users), a.config.Now()) {
		a.metrics.limited.WithLabelValues("invitation").Inc()
		return bell.E(bell.TooMany, "Too many invitations; wait a minute.", nil)
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.config.NotifyCap, errTooSlow)
	defer cancel()
	got, err := a.services.Rooms.Invite(ctx, id.Project, request)
	if err != nil {
		return err
	}
	eventOf(r).add(slog.Int("users", got.Users), slog.Int("devices", got.Devices))
	answer := invited{Users: len(request.Users)}
	if id.Project.UnknownCallee404 {
		answer = invited{Users: got.Users + got.Already, Devices: &got.Devices}
	}
	a.succeed(w, r, answer)
	return nil
}

func readInvitation(roomID string, body object, inviter planet.UserRef) (room.Request, error) {
	if err := planet.ValidateRoomID(roomID); err != nil {
		return room.Request{}, bell.E(bell.Invalid, "The path: "+err.Error()+".", nil)
	}
	request := room.Request{Room: planet.RoomRef{ServiceID: inviter.ServiceID, RoomID: roomID}, Inviter: inviter}
	var ids []string
	if err := json.Unmarshal(body["userIds"], &ids); err != nil || len(ids) == 0 || len(ids) > room.MaxInvited {
		return room.Request{}, bell.E(bell.Invalid, "userIds: must be a list of 1 to "+strconv.Itoa(room.MaxInvited)+" user IDs.", nil)
	}
	seen := map[string]bool{inviter.UserID: true}
	for i, id := range ids {
		if err := planet.ValidateUserID(id); err != nil {
			return room.Request{}, bell.E(bell.Invalid, fmt.Sprintf("userIds: entry %d: %s.", i+1, err), nil)
		}
		if !seen[id] {
			seen[id] = true
			request.Users = append(request.Users, planet.UserRef{ServiceID: inviter.ServiceID, UserID: id})
		}
	}
	var err error
	request.AppFields, err = readAppFields(body)
	return request, err
}

// readAppFields reads what the inviter's app wants to tell the others: message, and keys of
// its own that begin with "app_".
func readAppFields(body object) (map[string]string, error) {
	message, err := body.text("message")
	if err != nil {
		return nil, err
	}
	if len(message) > maxMessage {
		return nil, bell.E(bell.Invalid, "message: must have at most "+strconv.Itoa(maxMessage)+" bytes.", nil)
	}
	fields := map[string]string{}
	if raw, ok := body["appFields"]; ok {
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, bell.E(bell.Invalid, "appFields: must be an object of texts.", nil)
		}
	}
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })
	if message != "" {
		if fields == nil { // of null
			fields = map[string]string{}
		}
		fields[messageKey] = message
	}
	sent := planet.AppFields(fields)
	if len(sent) != len(fields) {
		return nil, bell.E(bell.Invalid, fmt.Sprintf("appFields: each name must be app_ and some of a-z, 0-9 and _, at most %d bytes, and none that calls have; "+
			"with message there may be %d of them and %d bytes in all.", planet.MaxAppFieldKey, planet.MaxAppFields, planet.MaxAppFieldSum), nil)
	}
	return sent, nil
}
