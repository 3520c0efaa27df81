package delivery

import (
	"errors"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// This file is what the engine does for other processes on the same database; package
// cluster decides when.

// errTaken ends what another process continues, or has ended.
var errTaken = errors.New("another process has the delivery")

// stateTaken is no state of the record: whoever has the delivery records it.
const stateTaken bell.DeliveryState = "taken"

// Unheld reports whether a delivery lies in a mailbox and belongs to no process.
func Unheld(d *bell.Delivery) bool {
	return d.LeaseOwner == "" && d.Channel == bell.LongPoll && !d.State.Final()
}

// Keep makes deliveries that belong to nobody this process's own: their call cannot be
// recorded now, so that no other process could learn of them.
func (e *Engine) Keep(rings []bell.Ring) {
	for i := range rings {
		if d := &rings[i].Delivery; Unheld(d) {
			d.LeaseOwner = e.Owner
		}
	}
}

// Take starts deliveries that this process has just claimed, as if their calls had come
// here, also those that ended here a moment ago. It returns those for which there is no room,
// as they were claimed.
func (e *Engine) Take(rings []bell.Ring) (refused []bell.Ring) {
	claimed := slices.Clone(rings)
	if err := e.Admit(rings); err != nil && e.stopping() {
		return claimed
	}
	for i := range rings {
		if rings[i].Delivery.Reason == reasonRouteFull && rings[i].Delivery.State == bell.DeliveryFailed {
			refused = append(refused, claimed[i])
		}
	}
	e.start(rings, true)
	return refused
}

// Open lists the deliveries that are in memory and were started before a time.
func (e *Engine) Open(since time.Time) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for id, entry := range e.entries {
		if entry.cancel != nil && entry.since.Before(since) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Drop ends a delivery in memory because the record says that it is over, or somebody
// else's: then state is empty, and nothing more is recorded of it.
func (e *Engine) Drop(delivery string, state bell.DeliveryState) {
	cause := errTaken
	switch state {
	case bell.DeliveryWithdrawn:
		cause = errWithdrawn
	case bell.DeliveryReceived:
		cause = errReceived
	case bell.DeliveryExpired:
		cause = errDeadline
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if entry := e.entries[delivery]; entry != nil && entry.cancel != nil {
		entry.cancel(cause)
	}
}
