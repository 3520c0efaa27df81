package bell

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// EventType is what an outgoing event tells.
type EventType string

// The types of outgoing events. Their names are part of the contract with the customer's own
// systems: they are added to, and never change their meaning.
const (
	EventCallRinging    EventType = "call.ringing"    // a Notify was taken; devices ring
	EventCallEnded      EventType = "call.ended"      // the Call Event came, or the call is lost
	EventCallMissed     EventType = "call.missed"     // the callee did not get to answer
	EventRoomStarted    EventType = "room.started"    // a group call began
	EventRoomChanged    EventType = "room.changed"    // somebody joined, left, or changed media
	EventRoomEnded      EventType = "room.ended"      // a group call is over
	EventDeviceRemoved  EventType = "device.removed"  // a device, or its push token, was forgotten
	EventDeliveryFailed EventType = "delivery.failed" // a device could not be rung

	// EventTest is sent when an operator asks for it, to every endpoint of a project,
	// whatever types it wants. It is not among EventTypes.
	EventTest EventType = "planetbell.test"
)

// EventTypes are all types, in the order in which they are explained.
func EventTypes() []EventType {
	return []EventType{
		EventCallRinging, EventCallEnded, EventCallMissed,
		EventRoomStarted, EventRoomChanged, EventRoomEnded,
		EventDeviceRemoved, EventDeliveryFailed,
	}
}

// Event is something that the customer's own systems are told. It is recorded in the same
// transaction as what it tells, so that neither is there without the other.
type Event struct {
	// ID is the same for every try to tell it, and made of what happened where that is
	// possible: a second event with the same ID is dropped.
	ID      string
	Type    EventType
	Project string
	// Subject is what the event is about, such as "call/real/<session ID>": events of one
	// subject are told in the order in which they were recorded.
	Subject string
	At      time.Time // when it happened
	Data    []byte    // a JSON object; no cc_param, push token or secret in it
}

// EventSet is a set of event types. The zero value is the empty set.
type EventSet uint32

// Events makes a set. Types that are not among EventTypes are left out.
func Events(types ...EventType) EventSet {
	var set EventSet
	for i, t := range EventTypes() {
		if slices.Contains(types, t) {
			set |= 1 << i
		}
	}
	return set
}

// Has reports whether t is in the set.
func (s EventSet) Has(t EventType) bool { return s != 0 && s&Events(t) != 0 }

// Union is the set of what is in either.
func (s EventSet) Union(other EventSet) EventSet { return s | other }

// EventID makes an event's ID of what happened, so that it is the same whenever the same is
// recorded again. Standard Webhooks signs the ID between dots, so it holds none.
func EventID(t EventType, parts ...string) string {
	sum := sha256.Sum256([]byte(string(t) + "\x00" + strings.Join(parts, "\x00")))
	return "evt_" + hex.EncodeToString(sum[:16])
}
