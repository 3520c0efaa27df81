package console

import (
	"encoding/json"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// The JSON types of the admin API. They are stable: fields are added, never renamed or
// given another meaning. Times are RFC 3339 in UTC; a time that is not known is left
// out. Lengths of time are milliseconds and say so in their names.

// Device is one installation of the app that can ring.
type Device struct {
	ID          string             `json:"id"`
	Environment planet.Environment `json:"environment"`
	ServiceID   string             `json:"service_id"`
	UserID      string             `json:"user_id"`
	Project     string             `json:"project"`
	AppType     string             `json:"app_type,omitempty"`
	AppVersion  string             `json:"app_version,omitempty"`
	AppID       string             `json:"app_id,omitempty"`
	ClientID    string             `json:"client_id,omitempty"` // what the app calls this installation

	Channel              bell.Channel    `json:"channel,omitempty"` // empty until the client says how it can be reached
	PushTokenFingerprint string          `json:"push_token_fingerprint,omitempty"`
	APNsServer           bell.APNsServer `json:"apns_server,omitempty"`
	// AlertTokenFingerprint is of the token by which an iPhone that rings by VoIP pushes is
	// shown alerts; absent when its app gave none.
	AlertTokenFingerprint string `json:"alert_token_fingerprint,omitempty"`
	APNsServerGuessed     bool   `json:"apns_server_guessed,omitempty"`
	APNsServerConfirmed   bool   `json:"apns_server_confirmed,omitempty"` // it took a push for this very token

	// What the push provider said against the token; all absent while nothing.
	Strikes        int       `json:"strikes,omitempty"`        // refusals in a row that may be the token's fault
	SuspendedUntil time.Time `json:"suspended_until,omitzero"` // until then it rings only if the user has no other
	SuspendedFor   string    `json:"suspended_for,omitempty"`  // the provider's reason
	ForgottenAt    time.Time `json:"forgotten_at,omitzero"`    // when the token was removed on proof
	ForgottenFor   string    `json:"forgotten_for,omitempty"`  // the provider's reason

	AddedByOperator bool      `json:"added_by_operator"`
	Reachable       bool      `json:"reachable"` // whether a call now would be delivered to it
	RegisteredAt    time.Time `json:"registered_at,omitzero"`
	LastSeenAt      time.Time `json:"last_seen_at,omitzero"`
	ExpiresAt       time.Time `json:"expires_at,omitzero"`
}

// DeviceList is a page of devices, ordered by ID. Next is the "after" of the next page;
// it is empty on the last one.
type DeviceList struct {
	Devices []Device `json:"devices"`
	Next    string   `json:"next,omitempty"`
}

// NewDevice is a device to be added by an operator, for a user of a project.
type NewDevice struct {
	Project    string       `json:"project"`
	UserID     string       `json:"user_id"`
	Channel    bell.Channel `json:"channel"` // apns_voip, apns_alert, fcm or web_push
	PushToken  SentSecret   `json:"push_token"`
	APNsServer string       `json:"apns_server,omitempty"` // production or sandbox; empty means a guess
	AppType    string       `json:"app_type,omitempty"`
	AppID      string       `json:"app_id,omitempty"`
}

// SentSecret is a secret inside a message to its rightful receiver: JSON shows it, and
// nothing else does.
type SentSecret struct{ planet.Secret }

// MarshalJSON writes the secret itself.
func (s SentSecret) MarshalJSON() ([]byte, error) { return json.Marshal(s.Reveal()) }

// UnmarshalJSON reads the secret. Its error never repeats what was sent.
func (s *SentSecret) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errSecretShape
	}
	s.Secret = planet.Secret(text)
	return nil
}

// User names one side of a call.
type User struct {
	ServiceID string `json:"service_id"`
	UserID    string `json:"user_id"`
}

// Call is one 1-to-1 call.
type Call struct {
	Environment planet.Environment `json:"environment"`
	SID         planet.SessionID   `json:"sid"`
	Project     string             `json:"project"`
	Caller      User               `json:"caller"`
	Callee      User               `json:"callee"`
	Type        string             `json:"type"` // audio, video, or the wire value when unknown
	State       bell.CallState     `json:"state"`
	Outcome     planet.Outcome     `json:"outcome,omitempty"`
	Suppressed  bell.Suppression   `json:"suppressed,omitempty"` // why nothing rang
	NotifiedAt  time.Time          `json:"notified_at,omitzero"` // absent when only its end is known
	Deadline    time.Time          `json:"deadline,omitzero"`    // no attempt starts after it
	StartedAt   time.Time          `json:"started_at,omitzero"`  // of the conversation
	EndedAt     time.Time          `json:"ended_at,omitzero"`
	DurationMS  int64              `json:"duration_ms"` // of the conversation
	CallerName  string             `json:"caller_name,omitempty"`
	Purpose     bell.Purpose       `json:"purpose,omitempty"` // of a notice
	About       planet.SessionID   `json:"about,omitempty"`   // of a notice: the call, or the run of a room

	Why *Sentences `json:"why,omitempty"` // why it ended; absent until it has
}

// CallList is a page of calls, newest first. Next is the "before" of the next page; it
// is empty on the last one.
type CallList struct {
	Calls []Call `json:"calls"`
	Next  string `json:"next,omitempty"`
}

// CallStory is everything that is known about one call.
type CallStory struct {
	Call       Call           `json:"call"`
	Release    Release        `json:"release"`
	Deliveries []Delivery     `json:"deliveries"`
	Agent      *Agent         `json:"agent,omitempty"` // absent unless asked for through the Server API
	Journal    []JournalEntry `json:"journal"`         // the callbacks that came, oldest first
	// Notices are what users' devices were told about it, newest first.
	Notices []Notice `json:"notices,omitempty"`
	// Verdict is why it rang, or did not.
	Verdict *verdict.Verdict `json:"verdict,omitempty"`
}

// Agent is what LINE Planet said about the set-up of a call that was asked for through its
// Server API.
type Agent struct {
	ReceivedAt      time.Time `json:"received_at"`
	AgentType       string    `json:"agent_type,omitempty"`
	MediaSourceType string    `json:"media_source_type,omitempty"`
	Result          string    `json:"result"`                // success or failed
	FailReason      string    `json:"fail_reason,omitempty"` // LINE Planet's words
}

// Notice is what a user's devices were told beside a call.
type Notice struct {
	SID        planet.SessionID `json:"sid"`     // its own, by which devices acknowledge it
	Purpose    bell.Purpose     `json:"purpose"` // missed_call or invitation
	To         User             `json:"to"`
	CallerName string           `json:"caller_name,omitempty"` // as the devices were told
	CreatedAt  time.Time        `json:"created_at"`
	Deadline   time.Time        `json:"deadline"` // no attempt starts after it; the provider may keep it longer
	Deliveries []Delivery       `json:"deliveries"`
}

// Release is why a call ended, as LINE Planet told, each of its numbers with what it
// means.
type Release struct {
	EndedBy  string          `json:"ended_by,omitempty"` // caller, callee, cloud_server, ...
	UserCode string          `json:"user_code,omitempty"`
	Reasons  []ReleaseReason `json:"reasons"` // the most telling first

	Explanation *Explanation `json:"explanation,omitempty"` // absent until the call has ended
}

// ReleaseReason is one of LINE Planet's numbers. LINE Planet adds numbers; the meaning of
// one that is not known says so.
type ReleaseReason struct {
	Family  string `json:"family"` // disconnect_reason, call_end_reason, rel_code or terminate
	Code    int    `json:"code"`
	Name    string `json:"name,omitempty"`
	Meaning string `json:"meaning,omitempty"`
}

// Delivery is the intent to ring one device for one call.
type Delivery struct {
	ID        string             `json:"id"`
	DeviceID  string             `json:"device_id"`
	Device    *Device            `json:"device,omitempty"` // absent when the device is gone
	Channel   bell.Channel       `json:"channel"`
	State     bell.DeliveryState `json:"state"`
	Reason    string             `json:"reason,omitempty"` // of the last attempt
	CreatedAt time.Time          `json:"created_at,omitzero"`
	UpdatedAt time.Time          `json:"updated_at,omitzero"`
	Deadline  time.Time          `json:"deadline,omitzero"`
	Attempts  []Attempt          `json:"attempts"`
	Receipt   *Receipt           `json:"receipt,omitempty"` // absent when the device sent none
}

// Receipt is a device's word that it has the call.
type Receipt struct {
	ReceivedAt       time.Time    `json:"received_at"`                 // when the receipt came
	DeviceReceivedAt time.Time    `json:"device_received_at,omitzero"` // when the call came, by the device's clock
	Channel          bell.Channel `json:"channel,omitempty"`           // by which the call came, as the device says
	Priority         string       `json:"priority,omitempty"`          // of an FCM message on arrival, high or normal
	OriginalPriority string       `json:"original_priority,omitempty"` // with which it was sent
	Problem          string       `json:"problem,omitempty"`           // why the app could not use the call, in its word
}

// Attempt is one try at a delivery.
type Attempt struct {
	Number       int              `json:"number"` // from 1
	StartedAt    time.Time        `json:"started_at,omitzero"`
	TookMS       float64          `json:"took_ms"`
	Server       bell.APNsServer  `json:"server,omitempty"` // of APNs, which of its servers was asked
	Verdict      bell.Verdict     `json:"verdict"`
	Reason       string           `json:"reason,omitempty"`
	Status       int              `json:"status,omitempty"` // HTTP status; absent without an answer
	Detail       string           `json:"detail,omitempty"`
	TokenAction  bell.TokenAction `json:"token_action,omitempty"`
	Alarm        bell.Alarm       `json:"alarm,omitempty"`
	RetryAfterMS int64            `json:"retry_after_ms,omitempty"`
	DeadSince    time.Time        `json:"dead_since,omitzero"`
	ProviderID   string           `json:"provider_id,omitempty"`
}

// JournalEntry is one callback as it came, without cc_param.
type JournalEntry struct {
	ReceivedAt time.Time `json:"received_at"`
	Project    string    `json:"project"`
	Kind       string    `json:"kind"`
	Params     []Param   `json:"params"`
}

// Param is one parameter of a callback.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// AccessTokenRequest asks for a PlanetKit access token for any user of a project.
type AccessTokenRequest struct {
	Project string `json:"project"`
	UserID  string `json:"user_id"`
}

// AccessToken is a fresh PlanetKit access token. Whoever holds it can call as the user.
type AccessToken struct {
	AccessToken SentSecret `json:"access_token"`
	Project     string     `json:"project"`
	ServiceID   string     `json:"service_id"`
	UserID      string     `json:"user_id"`
	IssuedAt    time.Time  `json:"issued_at"` // by this server's clock; the token's own "iat" may lie earlier by the configured skew
}

// Project is one configured (environment, service ID) pair, without its keys.
type Project struct {
	Name             string             `json:"name"`
	Environment      planet.Environment `json:"environment"`
	ServiceID        string             `json:"service_id"`
	EnvironmentLabel string             `json:"environment_label"`
	CallbackURL      string             `json:"callback_url"` // of Notify, with the secret masked
	Channels         []bell.Channel     `json:"channels"`     // that have credentials
}

// ProjectList is every project, in the order of the configuration.
type ProjectList struct {
	Projects []Project `json:"projects"`
}

// Info says what is running.
type Info struct {
	Version       string    `json:"version"`
	Go            string    `json:"go"`
	StartedAt     time.Time `json:"started_at"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	Goroutines    int       `json:"goroutines"`
}

// Problem is the answer to a request that could not be served (RFC 9457). Detail is a
// full sentence that says what to change; Kind is stable, for programs.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"`
}
