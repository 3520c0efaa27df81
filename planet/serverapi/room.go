package serverapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// The limits of requests about rooms.
const (
	// MaxKickOut is how many users one kick-out may name.
	MaxKickOut = 100
	// MaxReason is the longest reason, in bytes: PlanetKit for Windows has a buffer of 300 for
	// the user release code that it becomes.
	MaxReason = 299
	// MaxMessage is the longest message of a broadcast, in bytes.
	MaxMessage = 3072
)

// KickOut removes users from the group call that runs in the room. A room without a service
// ID is one of the client's service.
//
// users are 1 to [MaxKickOut] user IDs of the room's service. reason is 1 to [MaxReason]
// letters and digits; the users' clients get it as the user release code, together with
// disconnect reason 1110 (USER_ERROR). Nothing keeps the users from joining again, unless
// they get no access token.
//
// It is repeated when an answer got lost: removing somebody who is gone does no harm. The
// error is an [*Error]; [ErrRoomNotFound] says that no call is running in the room.
//
// Source: https://docs.lineplanet.me/server-api/server-api-kickout
func (c *Client) KickOut(ctx context.Context, room planet.RoomRef, users []string, reason string) error {
	const operation = "kick out"
	path, err := c.roomPath(room)
	if err = errors.Join(err, validateUsers(users), validateReason(reason)); err != nil {
		return invalid(operation, err)
	}
	_, err = c.send(ctx, request{
		operation: operation, method: http.MethodDelete, room: true, repeatable: true,
		// IDs and reason have no character that needs encoding.
		path: path + "/member?user_id=" + strings.Join(users, ",") + "&reason=" + reason,
	})
	return err
}

// Broadcast sends an application control message to everybody in the group call that runs in
// the room. A room without a service ID is one of the client's service.
//
// message has 1 to [MaxMessage] bytes. PlanetKit hands it to the app as it is; it needs
// version 3.3, or 5.2 on the web.
//
// It is not repeated when an answer got lost, because everybody would get the message twice:
// then [Error.MaybeExecuted] is true. The error is an [*Error]; [ErrRoomNotFound] says that no
// call is running in the room.
//
// Source: https://docs.lineplanet.me/server-api/server-api-application-control-message
func (c *Client) Broadcast(ctx context.Context, room planet.RoomRef, message []byte) error {
	const operation = "broadcast"
	path, err := c.roomPath(room)
	if err = errors.Join(err, validateMessage(message)); err != nil {
		return invalid(operation, err)
	}
	_, err = c.send(ctx, request{
		operation: operation, method: http.MethodPost, room: true,
		path: path + "/data/broadcast", body: message, contentType: "text/plain",
	})
	return err
}

// roomPath returns the encoded path of a room.
func (c *Client) roomPath(room planet.RoomRef) (string, error) {
	service := cmp.Or(room.ServiceID, c.serviceID)
	err := errors.Join(validateServiceID(service), planet.ValidateRoomID(room.RoomID))
	return "/tas/v1/gcall/" + url.PathEscape(service) + "/" + url.PathEscape(room.RoomID), err
}

// validateServiceID refuses also "." and "..", which a path cannot carry.
func validateServiceID(id string) error {
	if id != "" && strings.Trim(id, ".") == "" {
		return errors.New("the service ID has only dots")
	}
	return planet.ValidateServiceID(id)
}

func validateUsers(users []string) error {
	if len(users) == 0 || len(users) > MaxKickOut {
		return fmt.Errorf("there are %d users; give 1 to %d", len(users), MaxKickOut)
	}
	for i, u := range users {
		if err := planet.ValidateUserID(u); err != nil {
			return fmt.Errorf("user %d: %w", i+1, err)
		}
	}
	return nil
}

func validateReason(reason string) error {
	if len(reason) == 0 || len(reason) > MaxReason {
		return fmt.Errorf("the reason has %d bytes; give 1 to %d letters and digits", len(reason), MaxReason)
	}
	for i := range len(reason) {
		if c := reason[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return fmt.Errorf("the reason has a forbidden character at byte %d; only ASCII letters and digits are allowed", i+1)
		}
	}
	return nil
}

func validateMessage(message []byte) error {
	if len(message) == 0 || len(message) > MaxMessage {
		return fmt.Errorf("the message has %d bytes; give 1 to %d", len(message), MaxMessage)
	}
	return nil
}
