// Package bus tells other nodes where to look. A hint says that a row changed: a device
// has something in its mailbox, a call is over, a receipt came, a user's devices changed.
//
// Hints may be lost, repeated, late, or made up by whoever can write to the bus. So the
// row is the truth: who gets a hint reads the database and acts on what it finds there,
// and each node looks through the database once or twice a second for what no hint told.
// When the bus knows that hints may have been lost it says so, and the node looks at once.
//
// There are three forms, which pass one suite (package bustest): in this process ([Hub]),
// over PostgreSQL's NOTIFY (package pgbus) and over NATS (package natsbus). The last two
// are a [Node] with a connection of their own. DESIGN.md says why it is as it is.
package bus

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Kind is what a hint is about.
type Kind uint8

// The kinds, and the fields of [Hint] that each of them has.
const (
	Mail           Kind = iota + 1 // something waits for a device that polls: Device
	CallOver                       // a call has ended: Environment, Session
	Receipt                        // a device said that it has a call: Environment, Session, Device
	DevicesChanged                 // a user's devices changed: Environment, User
)

// String returns a word for metrics.
func (k Kind) String() string {
	switch k {
	case Mail:
		return "mail"
	case CallOver:
		return "call_over"
	case Receipt:
		return "receipt"
	case DevicesChanged:
		return "devices_changed"
	}
	return "unknown"
}

// kinds are all of them.
var kinds = []Kind{Mail, CallOver, Receipt, DevicesChanged}

// Hint says where to look. It holds names only, never a secret, and can be compared: equal
// hints that wait to be sent are one. Make one with [MailFor], [OverFor], [ReceiptFor] or
// [DevicesFor].
type Hint struct {
	Kind        Kind
	Environment planet.Environment
	User        planet.UserRef
	Session     planet.SessionID
	Device      string
	// From is the node that sent the hint. The bus sets it on what it hands out; on what is
	// published it is ignored.
	From string
}

// MailFor says that something waits in the mailbox of the device.
func MailFor(device string) Hint { return Hint{Kind: Mail, Device: device} }

// OverFor says that the call has ended.
func OverFor(environment planet.Environment, session planet.SessionID) Hint {
	return Hint{Kind: CallOver, Environment: environment, Session: session}
}

// ReceiptFor says that the device has the call.
func ReceiptFor(environment planet.Environment, session planet.SessionID, device string) Hint {
	return Hint{Kind: Receipt, Environment: environment, Session: session, Device: device}
}

// DevicesFor says that the user's devices changed: registered, replaced, moved, forgotten.
func DevicesFor(owner bell.Owner) Hint {
	return Hint{Kind: DevicesChanged, Environment: owner.Environment, User: owner.User}
}

// Bus carries hints to the other nodes. All methods may be used concurrently.
type Bus interface {
	// Publish sends hints to all other nodes, soon: what was published within a few
	// milliseconds travels together. It never blocks and never fails. Hints wait in a bounded
	// queue; when that is full, or no connection comes back, the oldest are dropped, and the
	// others learn that something is missing. Publish after the commit: a hint that is
	// faster than its row finds nothing.
	Publish(hints ...Hint)

	// Run connects, sends what is published and hands what other nodes publish to the
	// handler, until the context is done; it then sends what is left, for a second at most,
	// and returns when nothing runs any more. It connects again for ever. Call it once.
	Run(ctx context.Context, h Handler)

	// State says how the bus is. A node whose bus is down still works, a little later.
	State() State
}

// Handler is what a node does with what it hears. Both functions are called by one
// goroutine, one after the other, and should only hand over: while they work hints pile up
// to a bound, past which the oldest are dropped and Gap is called.
type Handler struct {
	// Hints is given what other nodes published, never what this one did, each hint once in
	// a slice, in no promised order. The slice is the handler's.
	Hints func([]Hint)
	// Gap says that hints may have been lost: look through the database now. It is called
	// when a connection is made, the first one too, and may be called in a quick row.
	Gap func()
}

// State is how a bus is, for readiness, metrics and operators.
type State struct {
	Connected bool          // hints go out and come in
	Since     time.Time     // when Connected last changed; zero before Run
	Lag       time.Duration // from sending a heartbeat to its return, the last one; 0 if none returned
	Peers     int           // other nodes that were heard within the last seconds
	Trouble   string        // why it is not connected: a sentence without secrets; empty while connected
}
