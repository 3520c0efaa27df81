package sim

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Event is something that happened in the simulator, for people who watch. It carries
// no cc_param, token or callback URL.
type Event struct {
	At        time.Time        `json:"at"`
	Source    string           `json:"source"` // cloud, apns-sandbox, apns-production, fcm, webpush, or a phone's name
	Kind      EventKind        `json:"kind"`
	SessionID planet.SessionID `json:"sid,omitempty"`
	User      string           `json:"user,omitempty"` // service/user
	// Latency is the time since the call was set up, or for callbacks until the answer.
	Latency time.Duration `json:"latency_ns,omitempty"`
	Text    string        `json:"text"` // one line in plain English
}

// EventKind is the sort of an [Event].
type EventKind string

// The kinds of events.
const (
	EventPlaced     EventKind = "placed"     // a call was made
	EventCallback   EventKind = "callback"   // a callback was answered, or failed
	EventVerified   EventKind = "verified"   // a phone rings
	EventConnected  EventKind = "connected"  // a phone answered
	EventEnded      EventKind = "ended"      // the call is over
	EventPush       EventKind = "push"       // a push service accepted a push
	EventRefused    EventKind = "refused"    // a push service refused one
	EventRegistered EventKind = "registered" // a phone registered
	EventReceived   EventKind = "received"   // a phone got a call
	EventNotice     EventKind = "notice"     // a phone was told something that is no call
	EventReceipt    EventKind = "receipt"    // the server took a phone's receipt
	EventTrouble    EventKind = "trouble"    // a phone could not do what it wanted
	EventServerAPI  EventKind = "server-api" // the app server asked for something, and got it
)
