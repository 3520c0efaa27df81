package planet

import "time"

// NotifyCallback says that a call for a user is coming in: "notify_cb". Make one
// with [ParseNotify].
// Source: https://docs.lineplanet.me/server-api/callback/server-api-notify-callback
type NotifyCallback struct {
	SessionID     SessionID
	Caller        UserRef  // from_service_id, from_user_id; may be of another service
	Callee        UserRef  // to_service_id, to_user_id
	Type          CallType // AudioCall if it did not come
	CCParam       CCParam  // "param", decoded once, spaces repaired to '+'
	AppServerData string   // app_svr_data, else stid
	STID          string   // the deprecated key as it came
	Raw           []RawParam
}

// CallEvent says that a 1-to-1 call has ended: "on_call_evt_cb". Numbers that
// did not come are nil, because zero means something. Make one with
// [ParseCallEvent].
// Source: https://docs.lineplanet.me/server-api/callback/server-api-callevt-callback
type CallEvent struct {
	SessionID      SessionID
	Caller         UserRef
	Callee         UserRef
	Type           CallType
	SetupTime      time.Time // zero if unset
	StartTime      time.Time // zero if never connected
	EndTime        time.Time
	Duration       time.Duration
	BillingSeconds *int64
	CallerAddress  string // srcip; personal data
	CalleeAddress  string // dstip; personal data
	Release        Release
	AppServerData  string
	STID           string
	Raw            []RawParam
}

// Release is why and by whom a call or a participation ended, in all four
// families of LINE Planet's numbers. Numbers that did not come are nil.
type Release struct {
	Terminate        *int // Q.850; 1-to-1 only
	DisconnectReason *int
	CallEndReason    *int   // old edition; its numbers overlap DisconnectReason's
	ReleaserType     *int   // who ended it; the function [ReleaserType] explains it
	Releaser         string // old edition: initiator, responder or a host
	Code             *int   // rel_code
	CodeName         string // rel_code_str
	UserCode         string // user_rel_code: the application's own reason
}

// GroupCallEvent says that a room started, changed or ended: "on_gcall_evt_cb". Make
// one with [ParseGroupCallEvent].
// Source: https://docs.lineplanet.me/server-api/callback/server-api-gcallevt-callback
type GroupCallEvent struct {
	SessionID         SessionID
	Room              RoomRef
	Participant       UserRef // user ID may be empty on start events
	Host              UserRef
	Status            RoomStatus
	ParticipantStatus ParticipantStatus
	SetupTime         time.Time
	StartTime         time.Time
	EndTime           time.Time // zero while running
	Time              time.Time // "ts"; the field to order by
	Online            *int      // participants after the event; authoritative
	MediaType         CallType
	UEType            string
	DisplayName       string
	ClientAddress     string // personal data
	DataCenter        string // rc_idc; meaning unknown
	BillingSeconds    *int64
	Release           Release
	AppServerData     string
	STID              string
	Raw               []RawParam
}

// RoomRef names a room: IDs are unique only within a service.
type RoomRef struct {
	ServiceID string
	RoomID    string
}

// RoomStatus is what happened to the room ("sc").
type RoomStatus string

// The values of [RoomStatus].
const (
	RoomStarted RoomStatus = "S"
	RoomChanged RoomStatus = "C"
	RoomEnded   RoomStatus = "E"
)

// ParticipantStatus is what happened to the participant ("msc").
type ParticipantStatus string

// The values of [ParticipantStatus].
const (
	ParticipantConnected    ParticipantStatus = "C"
	ParticipantDisconnected ParticipantStatus = "D"
	ParticipantTimedOut     ParticipantStatus = "T"
	ParticipantMediaChanged ParticipantStatus = "M"
)

// AgentCallStatus says whether a call requested through the Server API could be
// set up: "agent_call_status_cb". Make one with [ParseAgentCallStatus].
// Source: https://docs.lineplanet.me/server-api/callback/server-api-agent-call-status-callback
type AgentCallStatus struct {
	SessionID       SessionID
	AgentType       string
	MediaSourceType string
	Success         bool
	FailReason      string // empty on success
	Raw             []RawParam
}

// RawParam is one parameter as it came, kept because the format grows. Callbacks
// keep at most 64 of them and 16 KiB, in order of name; a value is cut after 4096
// bytes, repaired to valid UTF-8, and "param" is never among them.
type RawParam struct {
	Name  string
	Value string
}

// Outcome is how a 1-to-1 call ended, normalised for call history over all
// families of release numbers.
type Outcome string

// The values of [Outcome].
const (
	OutcomeCompleted  Outcome = "completed"   // they talked
	OutcomeCanceled   Outcome = "canceled"    // the caller hung up before the answer
	OutcomeDeclined   Outcome = "declined"    // the callee refused
	OutcomeBusy       Outcome = "busy"        // the callee was in a call
	OutcomeMissed     Outcome = "missed"      // nobody answered
	OutcomePushFailed Outcome = "push_failed" // Planet Cloud could not reach the app server, or was refused
	OutcomeFailed     Outcome = "failed"      // anything else
)

// Outcomes are all outcomes, in the order in which they are explained.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeCompleted, OutcomeCanceled, OutcomeDeclined, OutcomeBusy,
		OutcomeMissed, OutcomePushFailed, OutcomeFailed,
	}
}
