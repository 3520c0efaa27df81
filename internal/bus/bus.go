// Package bus tells other nodes where to look. A hint says that a row changed: a device
// has something in its mailbox, a call is over, a receipt came, a user's devices changed.
//
// Hints may be lost, repeated or late. So the row is the truth: who gets a hint of a letter or
// a device reads the database and acts on what it finds there, and each node looks through
// the database once or twice a second for what no hint told.
//
// Only "over" and "received" are obeyed at once, without reading the row. Whoever can publish on the
// bus and knows a call's session ID can so stop it on all other nodes: the bus must be closed to others.
//
// When the bus knows that hints may have been lost it says so, and the node looks at once.
//
// There are three forms, which pass one suite (package bustest): in this process ([Hub]),
// over PostgreSQL's NOTIFY (package pgbus) and over NATS (package natsbus). The last two
// are a [Node] with a connection of their own. DESIGN.md says why it is as it is.
package bus

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/cluster"
)

// kinds are all that a bus carries.
var kinds = []cluster.HintKind{cluster.HintMailbox, cluster.HintOver, cluster.HintReceived, cluster.HintDevices}

// Bus carries hints to the other nodes. All methods may be used concurrently.
type Bus interface {
	// Publish sends a hint to all other nodes, soon: what is published within a few
	// milliseconds travels together, and equal hints that wait are one. It never blocks and
	// never fails. Hints wait in a bounded queue; when that is full, because no connection
	// comes back, the oldest are dropped, and the others learn that something is missing.
	// Publish after the commit: a hint that is faster than its row finds nothing. A hint
	// without what its kind needs, or with anything but printable ASCII, is dropped.
	Publish(h cluster.Hint)

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
	// a slice, in no promised order. Whatever it says was checked: keys are 1 to 128
	// printable ASCII characters. The slice is the handler's.
	Hints func([]cluster.Hint)
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
