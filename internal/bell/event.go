package bell

import "time"

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
