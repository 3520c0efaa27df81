package cluster

import (
	"context"
	"time"
)

const (
	// lostAfter is for how long a letter may be this node's and nowhere: the answer to its
	// claim is on its way.
	lostAfter = 2 * time.Second
	// ever is farther ahead than anything that is in memory.
	ever = 24 * time.Hour
)

// repair gives back what is recorded as this node's, waits for a poll, and is nowhere in its memory.
// There should be none. But nobody else would look for one, and nothing here: its call would
// be lost without a word.
func (w *Worker) repair(ctx context.Context) {
	before, after := w.clock.database().Add(-lostAfter), Mark{}
	for range pages {
		var letters []Letter
		err := w.trouble.ask(ctx, "letters", askTimeout, func(ctx context.Context) (err error) {
			letters, err = w.Store.LettersOf(ctx, w.Node.Owner, before, after, page)
			return err
		})
		if err != nil {
			return
		}
		if w.giveBackLost(ctx, w.nowhere(letters)) != nil || len(letters) < page {
			return
		}
		after = letters[len(letters)-1].Mark
	}
}

// nowhere returns which letters are not in this node's memory, and notes them: they are not
// taken until giveBackLost has ended. A letter goes from the rings to the mailbox, and
// is held before it leaves that; so it is looked for in this order. What is held comes back with
// w.moves only.
func (w *Worker) nowhere(letters []Letter) (lost []Letter) {
	if len(letters) == 0 {
		return nil
	}
	w.moves.Lock()
	defer w.moves.Unlock()
	here := map[string]struct{}{}
	for _, ids := range [][]string{w.Rings.Open(w.Now().Add(ever)), w.Mailbox.Letters(w.Now().Add(ever))} {
		for _, id := range ids {
			here[id] = struct{}{}
		}
	}
	for _, l := range letters {
		if _, is := here[l.Delivery]; !is && !w.isHeld(l.Delivery) && !w.Mailbox.Had(l.Delivery) {
			lost = append(lost, l)
		}
	}
	w.lost = map[string]struct{}{}
	for _, l := range lost {
		w.lost[l.Delivery] = struct{}{}
	}
	return lost
}

func (w *Worker) isHeld(delivery string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held.byID[delivery] != nil
}

// giveBackLost lets others, and this node, claim what was nowhere. What a claim brought
// meanwhile was not taken: if it is this node's, the next sweep finds it.
func (w *Worker) giveBackLost(ctx context.Context, lost []Letter) error {
	defer func() {
		w.moves.Lock()
		defer w.moves.Unlock()
		w.lost = nil
	}()
	for len(lost) > 0 {
		some := lost[:min(giveBackMost, len(lost))]
		lost = lost[len(some):]
		ids := make([]string, len(some))
		for i, l := range some {
			ids[i] = l.Delivery
		}
		err := w.trouble.ask(ctx, "give_back", giveBackTimeout, func(ctx context.Context) error {
			_, err := w.Store.GiveBack(ctx, w.Node.Owner, ids)
			return err
		})
		if err != nil {
			return err
		}
		w.Metrics.repaired.Add(float64(len(some)))
		w.Log.Warn("calls were this node's and not in its memory; they are brought to their polls now", "deliveries", len(some))
		for _, l := range some {
			w.Posted(l.DeviceID)
		}
	}
	return nil
}
