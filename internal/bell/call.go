package bell

import (
	"slices"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// CallState is where a 1-to-1 call stands.
type CallState string

// The states of a call: ringing -> ended, or ringing -> lost, and lost -> ended when its
// Call Event comes after all. A notice is in a state of its own, and stays there.
const (
	CallRinging CallState = "ringing" // Notify came, Call Event did not yet
	CallEnded   CallState = "ended"   // its Call Event came; the outcome is known
	CallLost    CallState = "lost"    // its Call Event never came
	// CallNotice is no call: what became of a notice, its deliveries say.
	CallNotice CallState = "notice"
)

// Call is one 1-to-1 call as the app server sees it.
type Call struct {
	Environment   planet.Environment
	SessionID     planet.SessionID
	Project       string // whose callback URL was called
	Label         string // the "_env" that devices are told
	Caller        planet.UserRef
	Callee        planet.UserRef
	Type          planet.CallType
	CCParam       planet.CCParam // erased when the call is over
	AppServerData string
	STID          string
	State         CallState
	Outcome       planet.Outcome // empty until the call has ended
	Release       planet.Release // why it ended, in LINE Planet's numbers
	NotifiedAt    time.Time      // when Notify came; zero for a call known by its event only
	Deadline      time.Time      // no attempt starts after it
	StartedAt     time.Time      // the conversation; zero if there was none
	EndedAt       time.Time      // zero while ringing
	Duration      time.Duration  // of the conversation

	// Purpose says whether this is a call, or a notice that travels like one. A notice has a
	// session ID of its own, no cc_param, and no Call Event.
	Purpose    Purpose
	About      planet.SessionID  // of a notice: the call, or the run of the room, that it is about
	AboutAt    time.Time         // when the call that it is about was made
	Room       planet.RoomRef    // of an invitation
	CallerName string            // shown by devices; empty: they show the caller's user ID
	AppFields  map[string]string // further keys for the devices, "app_..."; from the customer's policy hook
	Suppressed Suppression       // why nothing rang, and nothing is to be told of it later; empty: it rang
	// Circumstances are what was true when it came in; of a call whose Notify rang something,
	// or would have.
	Circumstances Circumstances

	// MissedAt marks, with EndCall, a call of which the callee is to be told that it was missed.
	// It is the time of the Call Event, and is gone when that is done; zero: nothing is to be told.
	MissedAt time.Time

	// Events are recorded with a call that begins, in the same transaction, if it is new.
	Events []Event
	// Wanted says of a call that ends which events are recorded with that. They are made of the
	// record, because Notify and Call Event do not know the same, and not when it had ended.
	Wanted EventSet
}

// MissedOutcomes are those of calls that the callee could not answer in time. A callee who
// was in a call (busy) knows of it from the device, and who declined has seen it.
func MissedOutcomes() []planet.Outcome {
	return []planet.Outcome{planet.OutcomeMissed, planet.OutcomeCanceled, planet.OutcomePushFailed}
}

// Missed reports whether o is one of [MissedOutcomes].
func Missed(o planet.Outcome) bool { return slices.Contains(MissedOutcomes(), o) }

// CallKey says which call, or notice, is meant: session IDs are unique within an environment only.
type CallKey struct {
	Environment planet.Environment
	SessionID   planet.SessionID
}

// CalleeOwner is whose devices ring: the callee in the environment of the project
// that was called.
func (c *Call) CalleeOwner() Owner { return Owner{Environment: c.Environment, User: c.Callee} }

// DeliveryState is where the intent to ring one device stands.
type DeliveryState string

// The states of a delivery:
//
//	pending <-> sending -> accepted -> received
//	pending | sending -> failed | expired | withdrawn
//	failed | expired | withdrawn -> accepted    the provider's answer is recorded late
//	any -> received                             the device's own word
//
// What is known to have reached the device stays known: a provider's acceptance may be
// committed after the Call Event or the sweep, and a receipt may come after anything. No
// other state that is final is ever left, and nothing is sent after one.
const (
	// DeliveryPending: recorded, and nobody is sending. It lies in a mailbox, perhaps handed
	// to a device that has not acknowledged it yet, or a process that was stopping gave it
	// back. Whoever continues it knows that no push is under way.
	DeliveryPending DeliveryState = "pending"
	// DeliverySending: the owner of the lease works on it, and an attempt may be under way.
	// If that process dies, the outcome is unknown, and the same ID is sent again.
	DeliverySending   DeliveryState = "sending"
	DeliveryAccepted  DeliveryState = "accepted"  // the provider, or the device's poll, took it
	DeliveryReceived  DeliveryState = "received"  // the device said that it has it; never changes
	DeliveryFailed    DeliveryState = "failed"    // refused for good; Reason says why
	DeliveryExpired   DeliveryState = "expired"   // the deadline came first
	DeliveryWithdrawn DeliveryState = "withdrawn" // the call ended first
)

// Final reports whether nothing more will be sent.
func (s DeliveryState) Final() bool {
	return s != DeliveryPending && s != DeliverySending
}

// Delivery is the intent to ring one device for one call. Its ID is a UUID in
// canonical lower case: it is also the apns-id, and stays the same over retries.
type Delivery struct {
	ID          string
	Environment planet.Environment
	SessionID   planet.SessionID
	DeviceID    string
	Channel     Channel
	State       DeliveryState
	Reason      string // of the last attempt: a bounded word such as "Unregistered"; empty at first
	Attempts    int
	Deadline    time.Time // absolute; the call's
	LeaseOwner  string    // the process that works on it
	LeaseUntil  time.Time // when another process may take it over
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// ContinuedAt is when a process last took it over from one that had it and stopped, or
	// died; zero: the first one brought it to its end. The store sets it.
	ContinuedAt time.Time
}

// Ring is one device to ring for one call: everything a sender needs.
type Ring struct {
	Call     *Call
	Device   Device
	Delivery Delivery
}

// Attempt is one try at a delivery, as recorded.
type Attempt struct {
	DeliveryID string
	Number     int // from 1
	StartedAt  time.Time
	Took       time.Duration
	Server     APNsServer // of APNs, which of its servers was asked; empty elsewhere
	Outcome    Outcome
}

// JournalEntry is one callback as it came, kept for the operator and for what later
// versions may read from it. Params hold no cc_param and are size-capped.
type JournalEntry struct {
	ReceivedAt  time.Time
	Project     string
	Environment planet.Environment
	Kind        string // notify, call-event, group-call-event, agent-call-status, recording
	SessionID   planet.SessionID
	DedupKey    string // a repeat with the same key is not stored again
	Params      []planet.RawParam
	// Agent is what an Agent Call Status says: it is recorded with the entry, for the call that
	// the session is or will be. nil for every other kind.
	Agent *AgentStatus
}
