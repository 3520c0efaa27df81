package cluster

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// heldRoom bounds what waits to be given back: a mailbox holds no more letters.
	heldRoom = 100_000
	// giveBackMost bounds one transaction.
	giveBackMost = 500
	// giveBackTimeout bounds the time for which a poll that begins here cannot have a call
	// that is being given back.
	giveBackTimeout = time.Second
	// heldRetry is how long after a failure something is given back again, at the least.
	heldRetry = time.Second
	// unwantedFor is how long a letter is not looked for again that a device's polls here did
	// not take: a notice, by a client that does not know notices.
	unwantedFor = 30 * time.Second
)

// heldRing is a delivery on its way out of this node: it is in no mailbox, and still this
// node's.
type heldRing struct {
	ring bell.Ring
	busy bool      // being given back, or taken
	due  time.Time // when to try again, by the local clock
	gone bool      // it is over; whoever is busy with it need not care
	left bool      // polls of its device wait here, and did not take it
}

// held is all of them. Worker.mu guards it.
type held struct {
	byID     map[string]*heldRing
	byDevice map[string]map[string]*heldRing
	byCall   map[bell.CallKey]map[string]*heldRing
	wanted   map[string]struct{}  // devices that poll here and of which something is held
	unwanted map[string]time.Time // by delivery: until when polls here are not thought to take it
}

func newHeld() held {
	return held{
		byID: map[string]*heldRing{}, byDevice: map[string]map[string]*heldRing{}, byCall: map[bell.CallKey]map[string]*heldRing{},
		wanted: map[string]struct{}{}, unwanted: map[string]time.Time{},
	}
}

func (h *held) add(r bell.Ring) bool {
	id, device := r.Delivery.ID, r.Device.ID
	if h.byID[id] != nil {
		return true
	}
	if len(h.byID) >= heldRoom {
		return false
	}
	it := &heldRing{ring: r}
	h.byID[id] = it
	put(h.byDevice, device, it)
	put(h.byCall, it.call(), it)
	return true
}

func (r *heldRing) call() bell.CallKey {
	return bell.CallKey{Environment: r.ring.Call.Environment, SessionID: r.ring.Call.SessionID}
}

func put[K comparable](index map[K]map[string]*heldRing, key K, it *heldRing) {
	if index[key] == nil {
		index[key] = map[string]*heldRing{}
	}
	index[key][it.ring.Delivery.ID] = it
}

func (h *held) drop(it *heldRing) {
	it.gone = true
	id, device := it.ring.Delivery.ID, it.ring.Device.ID
	delete(h.byID, id)
	key := it.call()
	delete(h.byCall[key], id)
	if len(h.byCall[key]) == 0 {
		delete(h.byCall, key)
	}
	delete(h.byDevice[device], id)
	if len(h.byDevice[device]) == 0 {
		delete(h.byDevice, device)
		delete(h.wanted, device)
	}
}

// want reports whether something of a device is held, and notes that it should be had here.
func (h *held) want(device string) bool {
	if h.byDevice[device] == nil {
		return false
	}
	h.wanted[device] = struct{}{}
	return true
}

// Idle says that a letter is visible, and that no poll waits here that would take it. The letter must be out of sight, and is the worker's
// from now on: it is given back, so that the node has it where the device polls next; until
// that is done a poll here can have it. The mailbox may hold its lock.
func (w *Worker) Idle(r bell.Ring) {
	w.mu.Lock()
	taken := w.held.add(r)
	w.mu.Unlock()
	if !taken {
		w.Metrics.dropped.WithLabelValues("idle").Inc()
		return
	}
	wake(w.wakeReturns)
}

// letGoOf drops what is held of a call that is said to be over. It looks at nothing else: the
// mailbox waits, with its lock, for whoever has mu.
func (w *Worker) letGoOf(key bell.CallKey) {
	w.letGo(key, func(*bell.Ring) bool { return true })
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unheard, key)
}

func (w *Worker) letGo(key bell.CallKey, over func(*bell.Ring) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.held.byCall[key] {
		if over(&it.ring) {
			w.held.drop(it)
		}
	}
}

// returns gives back what has no poll.
func (w *Worker) returns(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wakeReturns:
		}
		for pause(ctx, gather) && w.giveBack(ctx, w.chooseHeld()) {
		}
	}
}

// chooseHeld takes what is due, and takes it out of the mailbox. That comes first: once the
// record says that it is nobody's, it may be claimed, by this node too, and is put in anew.
func (w *Worker) chooseHeld() []*heldRing {
	now := w.Clock()
	w.mu.Lock()
	var chosen []*heldRing
	for _, it := range w.held.byID {
		if len(chosen) == giveBackMost {
			break
		}
		if !it.busy && !now.Before(it.due) {
			it.busy = true
			chosen = append(chosen, it)
		}
	}
	w.mu.Unlock()
	for _, it := range chosen {
		w.Mailbox.Remove(it.ring.Delivery.ID)
		it.left = w.Mailbox.Waits(it.ring.Device.ID)
	}
	return chosen
}

// giveBack gives deliveries back, and reports whether there may be more.
func (w *Worker) giveBack(ctx context.Context, chosen []*heldRing) (more bool) {
	if len(chosen) == 0 {
		return false
	}
	ids := make([]string, len(chosen))
	for i, it := range chosen {
		ids[i] = it.ring.Delivery.ID
	}
	var unknown []string
	err := w.trouble.ask(ctx, "give_back", giveBackTimeout, func(ctx context.Context) (err error) {
		unknown, err = w.Store.GiveBack(ctx, w.Node.Owner, ids)
		return err
	})
	kept := map[string]struct{}{} // still this node's
	for _, id := range unknown {
		kept[id] = struct{}{}
	}
	for _, it := range chosen {
		_, ours := kept[it.ring.Delivery.ID]
		w.gaveBack(it, err == nil && !ours)
	}
	return err == nil
}

// gaveBack takes the answer for one delivery. One that could not be given back is had here
// again by a poll that waits.
func (w *Worker) gaveBack(it *heldRing, done bool) {
	device := it.ring.Device.ID
	waits := w.Mailbox.Waits(device)
	w.mu.Lock()
	over := it.gone
	_, entered := w.held.wanted[device]
	it.busy = false
	switch {
	case over:
	case done:
		w.held.drop(it)
		if it.left && len(w.held.unwanted) < heldRoom {
			w.held.unwanted[it.ring.Delivery.ID] = w.Clock().Add(unwantedFor)
		}
	default:
		it.due = w.Clock().Add(heldRetry)
		waits = waits && w.held.want(device)
	}
	w.mu.Unlock()
	switch {
	case over:
	case done:
		w.Metrics.givenBack.Inc()
		if !it.left { // else it would go to and fro between nodes
			w.Hints.Publish(Hint{Kind: HintMailbox, DeviceID: device})
		}
		if entered { // too soon for its claim; a poll that was there all the time did not want it
			w.want(device, byPoll)
		}
	case waits:
		wake(w.wakeReclaim)
	}
}

// giveBackAll gives back all that is held, until ctx ends or it fails.
func (w *Worker) giveBackAll(ctx context.Context) {
	for w.giveBack(ctx, w.chooseHeld()) {
	}
}

// reclaims puts back into the mailbox what is held of devices that poll here meanwhile. It
// does not ask the database, which may be the reason why it is still here.
func (w *Worker) reclaims(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wakeReclaim:
		}
		w.reclaim()
	}
}

func (w *Worker) reclaim() {
	w.moves.Lock() // in between it would be nowhere
	defer w.moves.Unlock()
	rings := w.wanted()
	for i := range rings {
		w.Mailbox.Remove(rings[i].Delivery.ID)
	}
	w.takeNow(rings)
}

func (w *Worker) wanted() (rings []bell.Ring) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for device := range w.held.wanted { // it stays so while something is busy: see gaveBack
		for _, it := range w.held.byDevice[device] {
			if !it.busy {
				w.held.drop(it)
				rings = append(rings, it.ring)
			}
		}
	}
	return rings
}

// cleanHeld drops what is held and whose ring is over, and looks again for what was unwanted.
func (w *Worker) cleanHeld() {
	now, local := w.Now(), w.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.held.byID {
		if !now.Before(it.ring.Delivery.Deadline) {
			w.held.drop(it)
		}
	}
	for id, until := range w.held.unwanted {
		if !local.Before(until) {
			delete(w.held.unwanted, id)
		}
	}
}

// isUnwanted reports whether the polls of its device here did not take a letter lately.
func (w *Worker) isUnwanted(delivery string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, unwanted := w.held.unwanted[delivery]
	return unwanted
}
