package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// gather is how long a claim waits for company: 15,000 polls of 25 seconds are 600 a
	// second, and must not be 600 transactions.
	gather = 5 * time.Millisecond
	// claimDevices is how many devices one claim asks for.
	claimDevices = 500
	// queueRoom bounds what waits for a claim. It holds more devices than polls wait on a
	// node, and those whose poll has ended make room.
	queueRoom = 50_000
	// claimTimeout bounds a claim, for its caller and in the database.
	claimTimeout = 2 * time.Second
	// againAfter is how long a claim that failed waits before it is made again, more or less.
	againAfter = time.Second / 2
)

// cause is what told of a device that may have something in its mailbox, the surest first.
type cause int

const (
	byPoll  cause = iota // its poll begins
	byHint               // another node says so
	bySweep              // the database says so, and it may be that the hint is on its way
	byLoss               // the same, and the hint must have been lost
)

func (c cause) String() string {
	switch c {
	case byPoll:
		return "poll"
	case byHint:
		return "hint"
	}
	return "sweep"
}

// queue is the devices whose mailboxes are to be looked into. Worker.mu guards it.
type queue struct {
	devices map[string]cause
	full    bool // some were not let in: look at everything
}

// batch is one claim.
type batch struct {
	claim   Claim
	devices map[string]cause
	until   time.Time // when no question that was lost can take anything any more
	settled bool      // it was answered since, but before that
}

// Entered says that a poll of a device waits from now on, and has found nothing here. The
// mailbox may hold its lock.
func (w *Worker) Entered(device string) { w.want(device, byPoll) }

// want lets a device's mailbox be looked into soon.
func (w *Worker) want(device string, by cause) {
	w.mu.Lock()
	here := w.held.want(device)
	if before, waits := w.queue.devices[device]; waits {
		w.queue.devices[device] = min(before, by)
	} else if len(w.queue.devices) < queueRoom {
		w.queue.devices[device] = by
	} else {
		w.queue.full = true
		w.Metrics.dropped.WithLabelValues("entered").Inc()
	}
	w.mu.Unlock()
	if here {
		wake(w.wakeReclaim)
	}
	wake(w.wakeClaims)
}

// claims brings calls to polls that wait here.
func (w *Worker) claims(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wakeClaims:
		}
		more := true
		for more && pause(ctx, gather) {
			more = w.claimSome(ctx)
		}
	}
}

// claimSome makes one claim, and reports whether there may be another to make.
func (w *Worker) claimSome(ctx context.Context) (more bool) {
	b := w.doubtful()
	if b == nil {
		b = w.nextBatch()
	}
	if b == nil {
		return false
	}
	now := w.clock.database()
	b.claim.Until = now.Add(claimTimeout)
	w.watchReceipts(true)
	defer w.watchReceipts(false)
	var rings []bell.Ring
	err := w.trouble.ask(ctx, "claim", claimTimeout, func(ctx context.Context) (err error) {
		rings, err = w.Store.ClaimMailbox(ctx, b.claim)
		return err
	})
	if err != nil {
		w.doubt(b)
		return pause(ctx, againAfter/2+time.Duration(w.Random()*float64(againAfter)))
	}
	b.settled = true
	if !now.After(b.until) {
		w.doubts = append(w.doubts, b)
	}
	w.takeClaimed(b, rings)
	return true
}

// doubt keeps a claim whose answer was lost. It is made again, as it was: what it gave is this
// node's, and nobody else looks for it, whether its devices still wait or not. Its question
// may even arrive later than the next one; so it is made once more when it cannot take anything
// any more.
func (w *Worker) doubt(b *batch) {
	b.claim.Again, b.settled, b.until = true, false, b.claim.Until.Add(maxSkew)
	w.doubts = append(w.doubts, b)
}

// doubtful takes the claim that is to be made again now; nil if there is none.
func (w *Worker) doubtful() *batch {
	now := w.clock.database()
	for i, b := range w.doubts {
		if !b.settled || now.After(b.until) {
			w.doubts = slices.Delete(w.doubts, i, i+1)
			return b
		}
	}
	return nil
}

// nextBatch takes devices out of the queue whose polls still wait; nil if there are none.
func (w *Worker) nextBatch() *batch {
	b := &batch{devices: map[string]cause{}}
	for len(b.devices) < claimDevices {
		chosen := w.pop(claimDevices - len(b.devices))
		if len(chosen) == 0 {
			break
		}
		for device, by := range chosen {
			if w.Mailbox.Waits(device) {
				b.devices[device] = by
				b.claim.Devices = append(b.claim.Devices, device)
			}
		}
	}
	if len(b.devices) == 0 {
		return nil
	}
	b.claim.Owner, b.claim.Now = w.Node.Owner, w.Now()
	return b
}

func (w *Worker) pop(most int) map[string]cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	chosen := map[string]cause{}
	for device, by := range w.queue.devices {
		if len(chosen) == most {
			break
		}
		chosen[device] = by
		delete(w.queue.devices, device)
	}
	return chosen
}

// watchReceipts notes which devices say that they have a call while a claim is under way: the
// claim may have seen the delivery before its receipt.
func (w *Worker) watchReceipts(begin bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.received = nil
	if begin {
		w.received = map[receipt]struct{}{}
	}
}

// unreceived leaves out what devices have. The caller holds w.moves until the rest is taken:
// what is received from then on is found in memory.
func (w *Worker) unreceived(rings []bell.Ring) []bell.Ring {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := rings[:0]
	for _, r := range rings {
		if _, has := w.received[receipt{r.Call.Environment, r.Call.SessionID, r.Device.ID}]; !has {
			rest = append(rest, r)
		}
	}
	return rest
}
