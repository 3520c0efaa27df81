// Package cluster lets several processes on one database act as one server: it says that
// this node is alive and finds out which are not, brings calls to the node where their device
// polls, tells other nodes what is over, and forgets cached devices that others changed.
//
// # What holds
//
// The row is the truth. Hints between nodes make things quick and may be lost; whatever they
// say is also found by the sweep, once a second for each node, never for each waiter.
//
// A ring in a mailbox belongs to nobody until its device polls: it is recorded without an
// owner. The node of a poll claims what there is for its device: when the poll begins, on a
// hint, and in the sweep. What was claimed and has no poll any more is given back.
//
// A node that has not been heard of for [DeadAfter] is dead: its leases are void, and others
// continue. It may be alive and merely cut off from the database; then a device may ring
// twice, with the same delivery ID. That is better than not at all.
package cluster

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// BeatEvery is how often a node says that it is alive.
	BeatEvery = time.Second
	// DeadAfter is how long a node may be silent, by the database's clock.
	DeadAfter = 5 * time.Second
	// SweepEvery is how often a node looks for what hints did not tell it.
	SweepEvery = time.Second
	// Overlap is how far back a sweep looks again: rows become visible when they are
	// committed, not in the order of their times.
	Overlap = 10 * time.Second
)

// Node is a process on the database.
type Node struct {
	Owner     string // as in leases; unique for each process
	Host      string
	Version   string
	StartedAt time.Time
	SeenAt    time.Time // by the database's clock
}

// Store is what several nodes need of a database beside what one needs. Each method is one
// transaction and one round trip.
type Store interface {
	// Beat records that a node is alive, forgets nodes that were silent for an hour, and
	// returns all that are known, this one too, with the database's clock.
	Beat(ctx context.Context, n Node) (nodes []Node, now time.Time, err error)

	// Leave says that a node ends: what it still holds can be taken over at once.
	Leave(ctx context.Context, owner string) error

	// FreeDead voids leases of nodes that have left, or were not heard of since, by the
	// database's clock: deliveries, and events on their way to the customer's systems. In a
	// mailbox a delivery then belongs to nobody; others can be claimed at once. It returns how many there were.
	FreeDead(ctx context.Context, since time.Time) (int, error)

	// ClaimMailbox gives an owner all deliveries of devices that lie in a mailbox and belong to
	// nobody, and whose deadline is after now. The lease lasts to the deadline. Like
	// delivery.Store.ClaimDeliveries it returns what is needed to ring.
	ClaimMailbox(ctx context.Context, owner string, devices []string, now time.Time) ([]bell.Ring, error)

	// MailboxSince returns the devices for which something was put into the mailbox, or given back to
	// it, at or after a time, and still lies there and belongs to nobody. At most limit, the oldest first.
	MailboxSince(ctx context.Context, since time.Time, limit int) ([]string, error)

	// Gone returns which of an owner's deliveries are not its own to continue: final ones, with
	// their state, and those that somebody else holds, with the state "".
	Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error)

	// DevicesChanged returns whose devices were changed at or after a time, by whatever node,
	// with an ID for each change, and the database's clock.
	DevicesChanged(ctx context.Context, since time.Time, limit int) ([]Change, time.Time, error)

	// ForgetChanges deletes what DevicesChanged tells from before a time, at most limit rows.
	ForgetChanges(ctx context.Context, before time.Time, limit int) (int, error)
}

// Change is one change of a device of an owner.
type Change struct {
	ID    int64
	Owner bell.Owner
	At    time.Time
}

// HintKind says what a hint is about.
type HintKind string

// The kinds of hints.
const (
	HintMailbox  HintKind = "mailbox"  // DeviceID has something in its mailbox that belongs to nobody
	HintOver     HintKind = "over"     // the call, or notice, Environment and SessionID is over
	HintReceived HintKind = "received" // DeviceID has the call Environment and SessionID
	HintDevices  HintKind = "devices"  // Owner's devices were changed
)

// Hint is what one node tells the others. It holds no secret. Which fields are set, its kind says.
type Hint struct {
	Kind        HintKind
	Environment planet.Environment
	SessionID   planet.SessionID
	DeviceID    string
	Owner       bell.Owner
}

// Hints goes to the other nodes. Publish never blocks; what it drops, the sweep finds.
type Hints interface {
	Publish(h Hint)
}

// Rings is what continues deliveries on this node.
type Rings interface {
	// Take starts claimed deliveries as if their calls had come here.
	Take(rings []bell.Ring)
	// Withdraw stops what is still to be sent of a call here, without telling other nodes.
	Withdraw(environment planet.Environment, id planet.SessionID)
	// Open lists deliveries that have been in memory since before a time.
	Open(since time.Time) []string
	// Drop stops a delivery that is not ours to continue; see Store.Gone.
	Drop(delivery string, state bell.DeliveryState)
	// GiveBack records that a delivery in a mailbox belongs to nobody.
	GiveBack(ctx context.Context, r bell.Ring) error
}

// Mailbox is where polls wait on this node.
type Mailbox interface {
	// Waits reports whether a poll of a device waits here.
	Waits(device string) bool
	// Letters lists deliveries that lie here since before a time.
	Letters(since time.Time) []string
	// Remove takes a delivery out, because it is over or somebody else's. Reports nothing.
	Remove(delivery string)
	// Return makes a letter visible again that could not be given back.
	Return(delivery string)
	// Acknowledge removes a call from the box of a device that has it.
	Acknowledge(environment planet.Environment, id planet.SessionID, device string)
}

// Devices is what remembers devices here.
type Devices interface {
	// Forget drops what is remembered of an owner's devices.
	Forget(owner bell.Owner)
	// Trust says until when what is remembered can be believed: as long as changes are heard of.
	Trust(until time.Time)
}
