package bell

import (
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/planet"
)

// Purpose is what devices are told, and so what their push holds.
type Purpose string

// The purposes. All but a call are notices: they go the same way, with deadline, retries,
// record and receipts, and nothing but the device's screen depends on them.
const (
	// PurposeCall is a 1-to-1 call: the device must get its cc_param and ring.
	PurposeCall Purpose = ""
	// PurposeMissedCall tells the callee of a call that nobody answered.
	PurposeMissedCall Purpose = "missed_call"
	// PurposeInvitation asks a user into a room: service ID and room ID.
	PurposeInvitation Purpose = "invitation"
	// PurposeTest shows that a device can be reached. An operator asks for it; it is not recorded.
	PurposeTest Purpose = "test"
)

// Goes reports whether devices may be told by a channel. A missed call, or a test, is never a VoIP
// push: iOS kills an app that takes one without showing a ringing call
// (docs/push-providers.md 7.6). An invitation may be, if the project's apps are made for it.
func (p Purpose) Goes(channel Channel) bool {
	return p != PurposeMissedCall && p != PurposeTest || channel != APNsVoIP
}

// Tells reports whether what has a purpose may go to the project's devices by a channel. A
// call may go by any.
func (p *Project) Tells(purpose Purpose, channel Channel) bool {
	return purpose == PurposeCall || channel != APNsVoIP || purpose.Goes(channel) && p.VoIPInvitations
}

// Urgent reports whether a device should be woken for it. A missed call, or a test, can wait until the
// device wakes by itself: Google lowers the priority of apps that are woken and show nothing
// (docs/push-providers.md 7.6), as LINE's demo would, and then calls would come late too.
func (p Purpose) Urgent() bool { return p != PurposeMissedCall && p != PurposeTest }

// missedCallKept is how long a provider keeps the notice of a missed call for a phone that
// is off. Our own attempts end with the delivery's deadline.
const missedCallKept = 24 * time.Hour

// KeptUntil is until when a push provider may hold what it cannot deliver at once: a call
// and an invitation as long as there is something to join, a missed call for a day.
func (r *Ring) KeptUntil() time.Time {
	if r.Call.Purpose == PurposeMissedCall {
		return r.Call.NotifiedAt.Add(missedCallKept)
	}
	return r.Delivery.Deadline
}

// Payload is what a device is told, for a provider's payload or a poll's answer.
type Payload interface {
	// Fields returns it as text by key. That of a call holds cc_param in the clear.
	Fields() map[string]string
	// Fit is Fields without what it takes to stay within limit (planet.Notification.Fit).
	Fit(limit int, size func(map[string]string) int) (map[string]string, error)
}

// Payload is what the devices must get, by the call's purpose. now becomes its send time.
func (c *Call) Payload(now time.Time) Payload {
	if c.Purpose == PurposeCall {
		return c.Notification(now)
	}
	return c.Notice(now)
}

// Notification is what the devices of a call must get. now becomes its send time.
func (c *Call) Notification(now time.Time) planet.Notification {
	return planet.Notification{
		CCParam: c.CCParam, Caller: c.Caller, Callee: c.Callee, Type: c.Type,
		EnvironmentLabel: c.Label, AppServerData: c.AppServerData, STID: c.STID, CallerName: c.CallerName,
		SessionID: c.SessionID, SentAt: now, ExpiresAt: c.Deadline, AppFields: c.AppFields,
	}
}

// Notice is what the devices of a notice must get. now becomes its send time.
func (c *Call) Notice(now time.Time) planet.Notice {
	n := planet.Notice{
		Event: planet.NoticeEvent(c.Purpose), ID: c.SessionID, Caller: c.Caller, Callee: c.Callee, CallerName: c.CallerName,
		Type: c.Type, EnvironmentLabel: c.Label, About: c.About, CalledAt: c.AboutAt, Room: c.Room,
		SentAt: now, AppFields: c.AppFields,
	}
	if c.Purpose == PurposeInvitation {
		n.ExpiresAt = c.Deadline
	}
	return n
}

// noticeSpace is the name space of notices' session IDs: a random UUID, never to be changed.
var noticeSpace = uuid.MustParse("c1f3b6de-6c6b-4f0e-9a35-2a3f7a1b9d54")

// NoticeID makes a notice's session ID of its purpose, environment, what it is about and who
// is told, so that the same user is told the same once (a version 5 UUID).
func NoticeID(n *Call) planet.SessionID {
	text := ""
	for _, part := range []string{
		string(n.Purpose), string(n.Environment), string(n.About), n.Room.ServiceID, n.Room.RoomID, n.Callee.ServiceID, n.Callee.UserID,
	} {
		text += part + "\x00"
	}
	return planet.SessionID(uuid.NewSHA1(noticeSpace, []byte(text)).String())
}
