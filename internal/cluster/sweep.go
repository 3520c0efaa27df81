package cluster

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// page bounds what one question of a sweep reads, pages how many there are of a kind: 100,000
	// letters are what one node's mailbox holds.
	page  = 1000
	pages = 100
	// wideEvery is how often a sweep looks at all that lies in mailboxes and is nobody's: for
	// what another node wrote with a wrong time, or had locked when this one claimed.
	wideEvery = 10
	// hintTime is how long a hint may take. What the sweep finds sooner counts as no loss.
	hintTime = SweepEvery / 4
	// trustFor is how long remembered devices are believed after changes were last heard of.
	trustFor = 5 * time.Second
	// changesKept is how long changes of devices are kept for nodes that cannot read them,
	// and changesLost how long a node may have been away before it forgets all devices.
	changesKept = 5 * time.Minute
	changesLost = 4 * time.Minute
	// changesForgotten is how often old changes are deleted: by every node, because each may
	// be the only one.
	changesForgotten = time.Minute
	// freeFor is for how long nothing must have been found of dead nodes until they are asked
	// about every second: each time is a write.
	freeFor = 30 * time.Second
	// strayEvery is how often leases are looked for of owners that are no node at all: one may
	// have written its last after it had left.
	strayEvery = 10 * time.Second
	// maxChanges bounds the changes that are remembered as told; past it all is forgotten.
	maxChanges = 200_000
	// gapPause is the least time between sweeps, however often hints are lost.
	gapPause = 100 * time.Millisecond
	// steadyAge is how long something must have been here before it is asked about: what is
	// younger a hint may still be on its way for.
	steadyAge = hintTime
)

// freeing is what is known of dead nodes. Times of asking are by the local clock.
type freeing struct {
	dead  map[string]time.Time // when each was heard of last
	busy  time.Time            // when one of them died, or something of theirs was found
	asked time.Time
}

// sweeps is what one sweep leaves to the next. Times are the database's.
type sweeps struct {
	count    int
	letters  time.Time // all that was put into mailboxes before was seen; zero: nothing was
	devices  time.Time // all changes of devices before were seen; zero: nothing was
	forgot   time.Time // when old changes were deleted last
	changes  map[int64]time.Time
	free     freeing
	wideNext bool // the next look at mailboxes is a wide one
}

// sweeping sweeps every second, and at once when hints may have been lost. Nodes that were
// started together must not ask together.
func (w *Worker) sweeping(ctx context.Context) {
	next := time.NewTimer(time.Duration(w.Random() * float64(SweepEvery)))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-w.wakeSweep:
		}
		w.sweep(ctx)
		if !pause(ctx, gapPause) {
			return
		}
		next.Reset(time.Duration((0.8+0.2*w.Random())*float64(SweepEvery)) - gapPause)
	}
}

// sweep looks for what hints did not tell.
func (w *Worker) sweep(ctx context.Context) {
	began := w.Clock()
	w.sweepDevices(ctx)
	w.freeDead(ctx)
	w.sweepMailboxes(ctx)
	w.sweepEnds(ctx)
	w.dropGone(ctx)
	w.repair(ctx)
	w.forgetChanges(ctx)
	w.cleanHeld()
	wake(w.wakeReturns) // what could not be given back
	wake(w.wakeClaims)  // what must be claimed again
	w.Metrics.swept(w.Clock().Sub(began))
}

// freeDead lets others continue what dead nodes held. A dead node is remembered for an hour;
// when there was nothing to free of it for a while, it is hardly asked about any more.
func (w *Worker) freeDead(ctx context.Context) {
	since, dead := w.dead()
	if since.IsZero() {
		return
	}
	f, now := &w.sweeps.free, w.Clock()
	for owner, seen := range dead {
		if before, known := f.dead[owner]; !known || !before.Equal(seen) { // or it was back, and died again
			f.busy = now
		}
	}
	f.dead = dead
	if now.Sub(f.busy) > freeFor && now.Sub(f.asked) < strayEvery {
		return
	}
	f.asked = now
	n := 0
	err := w.trouble.ask(ctx, "free", askTimeout, func(ctx context.Context) (err error) {
		n, err = w.Store.FreeDead(ctx, since)
		return err
	})
	if err != nil || n > 0 {
		f.busy = now
	}
	if n > 0 {
		w.Metrics.freed.Add(float64(n))
		w.Log.Warn("deliveries of dead nodes can be continued by others", "deliveries", n)
	}
}

// sweepMailboxes looks for what lies in mailboxes of devices that poll here. The cursor moves
// only when all pages were read.
func (w *Worker) sweepMailboxes(ctx context.Context) {
	s := &w.sweeps
	now := w.clock.database()
	w.mu.Lock()
	wide := w.queue.full || s.wideNext || s.letters.IsZero() || s.count%wideEvery == 0
	w.queue.full = false
	w.mu.Unlock()
	s.count++
	after := Mark{}
	if !wide {
		after.At = s.letters.Add(-Overlap)
	}
	for range pages {
		var letters []Letter
		err := w.trouble.ask(ctx, "mailbox", askTimeout, func(ctx context.Context) (err error) {
			letters, err = w.Store.MailboxSince(ctx, after, page)
			return err
		})
		if err != nil {
			s.wideNext = s.wideNext || wide
			return
		}
		for _, l := range letters {
			if !w.Mailbox.Waits(l.DeviceID) || w.isUnwanted(l.Delivery) {
				continue
			}
			by := bySweep
			if now.Sub(l.At) > hintTime {
				by = byLoss
			}
			w.want(l.DeviceID, by)
		}
		if len(letters) < page {
			break
		}
		after = letters[len(letters)-1].Mark
	}
	s.letters, s.wideNext = now, false
}

// dropGone takes out of memory what is over, or is continued by others. Streams are told by sweepEnds.
func (w *Worker) dropGone(ctx context.Context) {
	before := w.Now().Add(-steadyAge)
	w.watchTakes(true)
	defer w.watchTakes(false)
	w.askGone(ctx, w.Rings.Open(before), w.Rings.Drop)
	w.askGone(ctx, w.Mailbox.Letters(before), func(id string, _ bell.DeliveryState) { w.Mailbox.Remove(id) })
}

// watchTakes notes what is taken while Gone is asked: its answer is older.
func (w *Worker) watchTakes(begin bool) {
	w.moves.Lock()
	defer w.moves.Unlock()
	w.fresh = nil
	if begin {
		w.fresh = map[string]struct{}{}
	}
}

func (w *Worker) askGone(ctx context.Context, deliveries []string, drop func(string, bell.DeliveryState)) {
	for len(deliveries) > 0 {
		some := deliveries[:min(page, len(deliveries))]
		deliveries = deliveries[len(some):]
		var gone map[string]bell.DeliveryState
		err := w.trouble.ask(ctx, "gone", askTimeout, func(ctx context.Context) (err error) {
			gone, err = w.Store.Gone(ctx, w.Node.Owner, some)
			return err
		})
		if err != nil {
			return
		}
		w.moves.Lock()
		for id, state := range gone {
			if _, again := w.fresh[id]; !again {
				drop(id, state)
				w.Metrics.lostHints.WithLabelValues("gone").Inc()
			}
		}
		w.moves.Unlock()
	}
}

// sweepDevices forgets devices that were changed. They are believed from before the question
// on: what is committed later the next one hears of.
func (w *Worker) sweepDevices(ctx context.Context) {
	s := &w.sweeps
	began := w.Clock()
	first := s.devices.IsZero()
	if lost := !first && w.clock.database().Sub(s.devices) > changesLost; first || lost {
		w.Devices.Clear()
		s.devices, s.changes = w.clock.database(), map[int64]time.Time{}
	}
	since, after := s.devices.Add(-Overlap), int64(0)
	var seen time.Time
	for range pages {
		var changes []Change
		var now time.Time
		err := w.trouble.ask(ctx, "devices", askTimeout, func(ctx context.Context) (err error) {
			changes, now, err = w.Store.DevicesChanged(ctx, since, after, page)
			return err
		})
		if err != nil {
			return
		}
		if seen.IsZero() {
			seen = now // what comes between the pages may have lower IDs than what was read
		}
		for _, c := range changes {
			after = c.ID
			if _, told := s.changes[c.ID]; !told {
				s.changes[c.ID] = c.At
				w.Devices.Forget(c.Owner)
			}
		}
		if len(changes) < page {
			w.believe(seen, began)
			return
		}
	}
	w.Log.Warn("too many devices were changed at once; all that are remembered are forgotten")
	w.Devices.Clear()
	w.believe(seen, began)
}

// believe moves the cursor, and lets remembered devices be used.
func (w *Worker) believe(seen, began time.Time) {
	s := &w.sweeps
	s.devices = seen
	for id, at := range s.changes {
		if at.Before(seen.Add(-Overlap)) {
			delete(s.changes, id)
		}
	}
	if len(s.changes) > maxChanges {
		s.changes = map[int64]time.Time{} // they are told once more
	}
	w.Devices.Trust(began.Add(trustFor))
}

// forgetChanges deletes what every node has heard of.
func (w *Worker) forgetChanges(ctx context.Context) {
	s := &w.sweeps
	now := w.clock.database()
	if !s.forgot.IsZero() && now.Sub(s.forgot) < changesForgotten {
		return
	}
	for range pages {
		n := 0
		err := w.trouble.ask(ctx, "forget", askTimeout, func(ctx context.Context) (err error) {
			n, err = w.Store.ForgetChanges(ctx, now.Add(-changesKept), page)
			return err
		})
		if err != nil {
			return
		}
		if n < page {
			break
		}
	}
	s.forgot = now
}
