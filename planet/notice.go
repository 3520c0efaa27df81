package planet

import "time"

// NoticeEvent is what a [Notice] tells.
type NoticeEvent string

// The values of [NoticeEvent], as they travel under "app_event".
const (
	MissedCallEvent NoticeEvent = "missed_call" // a call that nobody answered
	InvitationEvent NoticeEvent = "invitation"  // come into this room
	TestEvent       NoticeEvent = "test"        // an operator looks whether the device can be reached
)

// Notice is what a user's devices are told beside a call. It is planetbell's own: LINE's
// demo clients know none, and PlanetKit needs none. It never has a cc_param, and is told
// from a call by that and by "app_event".
type Notice struct {
	Event NoticeEvent // "app_event"
	ID    SessionID   // "app_session_id": the notice's own, by which it is acknowledged

	Caller           UserRef  // "app_caller_sid", "app_caller_uid": who called, or invites; may be empty
	Callee           UserRef  // "app_callee_sid", "app_callee_uid": who is told
	CallerName       string   // "app_caller_name"; may be empty
	Type             CallType // "app_call_type"; of a missed call
	EnvironmentLabel string   // "_env"

	// About is "app_call_session_id": the session ID of the missed call, or of the run of the
	// room, when there is one.
	About    SessionID
	CalledAt time.Time // "app_called_at": when the missed call was made; Unix milliseconds as text
	Room     RoomRef   // "app_room_service_id", "app_room_id"; of an invitation

	SentAt    time.Time         // "app_sent_at", Unix milliseconds as text
	ExpiresAt time.Time         // "app_expires_at": after it there is nothing to join; zero: never
	AppFields map[string]string // further keys, as of a [Notification]
}

// The keys that only a notice has. The "sid" of app_caller_sid means service ID, so the
// session of the call is spelled out.
const (
	keyEvent       = "app_event"
	keyCalledAt    = "app_called_at"
	keyCallSession = "app_call_session_id"
	keyRoomService = "app_room_service_id"
	keyRoomID      = "app_room_id"
)

// droppableOfNotice are the keys that a device can do without, the first to go first.
var droppableOfNotice = []string{keyCallerName, keySentAt, keyExpiresAt, keyCalledAt}

// Fields returns the notice as text by key, for a provider's payload or a long-poll
// answer. Keys without a value are left out, "_env" never.
func (n Notice) Fields() map[string]string {
	fields := map[string]string{keyEnvironment: n.EnvironmentLabel}
	if n.EnvironmentLabel == "" {
		fields[keyEnvironment] = unknownLabel
	}
	for key, value := range map[string]string{
		keyEvent: string(n.Event), keySessionID: string(n.ID),
		keyCallerService: n.Caller.ServiceID, keyCallerUser: n.Caller.UserID, keyCallerName: n.CallerName,
		keyCalleeService: n.Callee.ServiceID, keyCalleeUser: n.Callee.UserID, keyCallType: string(n.Type),
		keyCallSession: string(n.About), keyCalledAt: milliseconds(n.CalledAt),
		keyRoomService: n.Room.ServiceID, keyRoomID: n.Room.RoomID,
		keySentAt: milliseconds(n.SentAt), keyExpiresAt: milliseconds(n.ExpiresAt),
	} {
		if value != "" {
			fields[key] = value
		}
	}
	addAppFields(fields, n.AppFields)
	return fields
}

// Fit is as [Notification.Fit]: the app's own keys go first, then the caller's name and
// the times.
func (n Notice) Fit(limit int, size func(map[string]string) int) (map[string]string, error) {
	fields := n.Fields()
	if got := fit(fields, droppableOfNotice, limit, size); got > limit {
		return nil, tooLarge(got, limit)
	}
	return fields, nil
}
