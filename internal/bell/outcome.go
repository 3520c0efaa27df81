package bell

import "time"

// Verdict is what an attempt came to, decided by one table per provider.
type Verdict string

// The verdicts.
const (
	Accepted        Verdict = "accepted"         // the provider took it
	Deposited       Verdict = "deposited"        // it lies in the mailbox until the device asks
	RetryNow        Verdict = "retry_now"        // outcome unknown or server draining: again at once, other connection
	RetryBackoff    Verdict = "retry_backoff"    // the provider is unwell: wait, then again
	RetryConnect    Verdict = "retry_connect"    // never left or connection lost: other connection after a short jitter
	RetryThrottled  Verdict = "retry_throttled"  // this device or project sends too much
	RetryCredential Verdict = "retry_credential" // once more with a fresh credential
	RetryOtherHost  Verdict = "retry_other_host" // the token may be the other APNs server's
	Rejected        Verdict = "rejected"         // final
)

// TokenAction is what an attempt says about the push token.
type TokenAction string

// The token actions. Drop and check are claims; the registry decides.
const (
	TokenKeep  TokenAction = "keep"
	TokenCheck TokenAction = "check" // may be dead, may be our configuration
	TokenDrop  TokenAction = "drop"  // proof about this token
)

// Alarm is what an attempt tells the operator.
type Alarm string

// The alarms, by urgency.
const (
	AlarmNone   Alarm = ""
	AlarmCount  Alarm = "count"  // normal in small numbers
	AlarmBug    Alarm = "bug"    // we sent something wrong
	AlarmConfig Alarm = "config" // credentials, topics or projects do not fit together
	AlarmPage   Alarm = "page"   // nothing on this route works until somebody acts
)

// Outcome is what one attempt came to. It carries no token, payload or secret, so
// it can be recorded, logged and shown.
type Outcome struct {
	Verdict    Verdict
	Reason     string // bounded: the provider's own word, or ours in lower case ("timeout", "dial")
	Status     int    // HTTP status; 0 when there was no answer
	Token      TokenAction
	Alarm      Alarm
	Unsent     bool          // nothing of the request can have reached the provider
	RetryAfter time.Duration // as the provider asked; 0 when it did not
	DeadSince  time.Time     // APNs 410: when the token was last known dead
	ProviderID string        // apns-id, FCM message name
	Detail     string        // one sentence for people; at most 200 bytes, no secrets
}

// Lesson is what one attempt taught about a device. The registry of devices decides what
// follows.
type Lesson struct {
	Device     Device // as it was attempted: APNsServer is the server that answered
	Credential string // the route's, so that a wrong configuration is told from a dead token
	Outcome    Outcome
	OtherTried bool // the other APNs server has refused the token in the same delivery
	At         time.Time
}
