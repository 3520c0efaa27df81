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
// transaction and one round trip, and whoever calls it may call it again: an answer can be
// lost after the commit. Times that a method takes or gives are the database's, except where
// a node wrote them; [Worker.Now] makes those alike. No transaction may last as long as
// [Overlap], or its rows come too late to be found.
type Store interface {
	// Beat records that a node is alive, forgets nodes that were silent for an hour, and
	// returns all that are known, this one too, with the database's clock.
	Beat(ctx context.Context, n Node) (nodes []Node, now time.Time, err error)

	// Leave forgets a node that ends, and voids its leases as FreeDead does.
	Leave(ctx context.Context, owner string) error

	// FreeDead voids leases of nodes that were not heard of since a time, and of owners that are no
	// node and have held a delivery since before it: of deliveries, and of
	// events on their way to the customer's systems. In a mailbox a delivery then belongs to
	// nobody, since now; others can be claimed at once. It returns how many deliveries there were.
	FreeDead(ctx context.Context, since time.Time) (int, error)

	// ClaimMailbox gives an owner what lies in devices' mailboxes and belongs to nobody; see
	// [Claim]. Like delivery.Store.ClaimDeliveries it returns what is needed to ring, the oldest first.
	ClaimMailbox(ctx context.Context, c Claim) ([]bell.Ring, error)

	// GiveBack makes deliveries in a mailbox nobody's, since now, if they are this owner's and
	// not final. What is final, or not this owner's, stays as it is. It returns those of
	// which there is no record: they still wait to be recorded, and nobody else can have them.
	GiveBack(ctx context.Context, owner string, deliveries []string) (unknown []string, err error)

	// MailboxSince lists what lies in mailboxes and belongs to nobody, from behind a mark on, at
	// most limit, in the order of marks.
	MailboxSince(ctx context.Context, after Mark, limit int) ([]Letter, error)

	// LettersOf lists what lies in mailboxes, is an owner's, and was not written since a time,
	// from behind a mark on, at most limit, in the order of marks.
	LettersOf(ctx context.Context, owner string, before time.Time, after Mark, limit int) ([]Letter, error)

	// Gone returns which deliveries are not an owner's to continue: final ones, with their
	// state, and those that somebody else, or nobody, holds, with the state "". One of which there is no
	// record waits to be recorded, and is the owner's.
	Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error)

	// Ended returns which of these calls are over by their record: their Call Event came.
	Ended(ctx context.Context, calls []bell.CallKey) ([]bell.CallKey, error)

	// DevicesChanged returns whose devices were changed at or after a time, by whatever node:
	// changes with an ID above after, in the order of IDs, at most limit; and the database's
	// clock. IDs are not in the order of commits.
	DevicesChanged(ctx context.Context, since time.Time, after int64, limit int) ([]Change, time.Time, error)

	// ForgetChanges deletes what DevicesChanged tells from before a time, at most limit rows.
	ForgetChanges(ctx context.Context, before time.Time, limit int) (int, error)
}

// Claim is what ClaimMailbox is asked.
type Claim struct {
	Owner   string
	Devices []string
	// Now is what is recorded as the time of the claim. What has its deadline by then is left.
	// The lease lasts to the deadline.
	Now time.Time
	// Until is when the claim takes nothing any more, by the database's clock: a question may be on
	// its way for long, and nobody waits for the answer then.
	Until time.Time
	// Again says that this claim was made before, with the same Now, and that the answer was
	// lost: what it gave then is given again, if it is still this owner's. If it is still at
	// work, it is waited for.
	Again bool
}

// Mark is a place in the list of what lies in mailboxes: when it was put there or given
// back, and then its ID.
type Mark struct {
	At       time.Time
	Delivery string
}

// Letter is a delivery that lies in a mailbox, of nobody or of a node.
type Letter struct {
	Mark
	DeviceID string
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
	// Take starts claimed deliveries as if their calls had come here: also those that were
	// here, and ended or were given back, a moment ago. What is here already it leaves alone.
	Take(rings []bell.Ring)
	// Withdraw stops what is still to be sent of a call here, also what is taken later, without
	// telling other nodes.
	Withdraw(environment planet.Environment, id planet.SessionID)
	// Received stops what is still to be sent of a call to a device that has it.
	Received(environment planet.Environment, id planet.SessionID, device string)
	// Open lists deliveries that have been in memory since before a time: also admitted ones, whose
	// calls are being recorded.
	Open(before time.Time) []string
	// Drop stops a delivery that is not ours to continue; see Store.Gone.
	Drop(delivery string, state bell.DeliveryState)
}

// Mailbox is where polls wait on this node. It calls [Worker.Entered] and [Worker.Idle].
type Mailbox interface {
	// Waits reports whether a poll of a device waits here.
	Waits(device string) bool
	// Letters lists deliveries that lie here since before a time.
	Letters(before time.Time) []string
	// Had reports whether a delivery came to its end here, of which the record may not know yet.
	Had(delivery string) bool
	// Remove takes a delivery out, because it is over or somebody else's, or is given back.
	// It reports nothing. There need be none.
	Remove(delivery string)
	// Untold lists calls that streams here have told their devices of, and not the end of, at
	// most so many: of more, any.
	Untold(most int) []bell.CallKey
	// EndPolls ends all polls with nothing, soon: their devices ask again, perhaps another node.
	EndPolls()
	// Acknowledge removes a call from the box of a device that has it.
	Acknowledge(environment planet.Environment, id planet.SessionID, device string)
}

// Devices is what remembers devices here.
type Devices interface {
	// Forget drops what is remembered of an owner's devices, and what is being read.
	Forget(owner bell.Owner)
	// Clear drops everything: changes may have been missed.
	Clear()
	// Trust says until when, by this machine's clock, what is remembered can be believed: as
	// long as changes are heard of.
	Trust(until time.Time)
}
