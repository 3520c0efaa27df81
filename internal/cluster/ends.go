package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// sweepEnds ends here what is over and what no hint told the end of, as the hint does. What a
// device has acknowledged is in no mailbox any more: only its stream knows that it rings, and
// dropGone does not find it. When no stream has told of a call, nothing is asked.
func (w *Worker) sweepEnds(ctx context.Context) {
	w.countLostEnds()
	for some := range slices.Chunk(w.Mailbox.Untold(page*pages), page) {
		w.watchEnds(some)
		var ended []bell.CallKey
		err := w.trouble.ask(ctx, "ended", askTimeout, func(ctx context.Context) (err error) {
			ended, err = w.Store.Ended(ctx, some)
			return err
		})
		if err != nil {
			ended = nil
		}
		w.noteEnds(some, ended)
		if err != nil {
			return
		}
		for _, key := range ended { // once more, if its hint came meanwhile
			w.Rings.Withdraw(key.Environment, key.SessionID)
			w.letGo(key, func(*bell.Ring) bool { return true })
		}
	}
}

// watchEnds lets it be known of which calls the end is told while the database is asked.
func (w *Worker) watchEnds(calls []bell.CallKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range calls {
		w.unheard[key] = time.Time{}
	}
}

// noteEnds notes which of the calls have ended, and were not told so: their hints may be on the way.
func (w *Worker) noteEnds(calls, ended []bell.CallKey) {
	now := w.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range ended {
		if _, untold := w.unheard[key]; untold {
			w.unheard[key] = now
		}
	}
	for _, key := range calls {
		if w.unheard[key].IsZero() {
			delete(w.unheard, key)
		}
	}
}

// countLostEnds counts what the sweep has found and what no hint has told since.
func (w *Worker) countLostEnds() {
	now, lost := w.Clock(), 0
	w.mu.Lock()
	for key, found := range w.unheard {
		if now.Sub(found) > hintTime {
			delete(w.unheard, key)
			lost++
		}
	}
	w.mu.Unlock()
	w.Metrics.lostHints.WithLabelValues("ended").Add(float64(lost))
}
