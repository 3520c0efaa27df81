package delivery

import (
	"errors"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
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
// here, also those that ended here a moment ago. One that is still under way here is started
// once more when that has ended: it may be past all that it does. It returns those for which there is no room,
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

// beginAgain starts what was taken anew while it was here, in the room that it had. It may
// have been given back by its own first journey, which had not left yet. The caller holds e.mu.
func (e *Engine) beginAgain(before *entry) {
	next := &entry{route: before.route}
	e.entries[before.again.Delivery.ID] = next
	e.begin(before.again, next, true, e.Now())
}

// Received ends what is still to be sent of a call to a device, because another process was
// told that the device has it.
func (e *Engine) Received(environment planet.Environment, id planet.SessionID, device string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.calls[callKey{environment, id}]
	if c == nil {
		return
	}
	for _, entry := range c.devices[device] {
		entry.again = nil
		entry.cancel(errReceived)
	}
}

func (c *ringing) add(device string, it *entry) {
	if c.devices == nil {
		c.devices = map[string][]*entry{}
	}
	c.devices[device] = append(c.devices[device], it)
}

func (c *ringing) remove(device string, it *entry) {
	if rest := slices.DeleteFunc(c.devices[device], func(other *entry) bool { return other == it }); len(rest) > 0 {
		c.devices[device] = rest
	} else {
		delete(c.devices, device)
	}
}

// Open lists the deliveries that are in memory and were started before a time, or not yet.
func (e *Engine) Open(since time.Time) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for id, entry := range e.entries {
		if entry.since.Before(since) {
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
		entry.again = nil // it is over, or somebody else's, for whoever took it here too
		entry.cancel(cause)
	}
}
