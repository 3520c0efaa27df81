package webhook

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
)

// maxPasses bounds how long one sweep goes on; the next comes in a minute.
const maxPasses = 40

// sweep keeps the bounds and the gauges.
func (w *Worker) sweep(ctx context.Context) {
	limit := rate.NewLimiter(2, 1)
	ticker := time.NewTicker(pollsPerLook * w.Poll)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		w.refreshGone(ctx)
		w.look(ctx)
		if looks%looksPerSweep == 0 {
			for range maxPasses {
				if w.pass(ctx) < sweepBatch || limit.Wait(ctx) != nil {
					break
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// pass sweeps once and returns the most of what it did of one kind.
func (w *Worker) pass(ctx context.Context) int {
	var did Swept
	err := w.store(ctx, func(ctx context.Context) (err error) {
		did, err = w.Store.SweepTellings(ctx, Bounds{
			Now: w.Now(), Open: w.MaxOpen, OpenFor: openFor, Dead: w.MaxDead, DeadFor: deadFor, Keep: w.Keep, Limit: sweepBatch,
		})
		return err
	})
	w.note(err)
	if did.GivenUp > 0 {
		w.Metrics.dead.WithLabelValues("too_old").Add(float64(did.GivenUp))
		w.Log.Error("events were given up because they waited too long; see planetbell event list --state dead, and replay them when their endpoint takes events again", "events", did.GivenUp)
	}
	if did.Crowded > 0 {
		w.Metrics.dead.WithLabelValues("too_many").Add(float64(did.Crowded))
		w.Log.Error("events were given up because too many wait (webhooks.max_waiting); look at the receivers, then replay them", "events", did.Crowded)
	}
	if did.Dropped > 0 {
		w.Metrics.dropped.Add(float64(did.Dropped))
		w.Log.Error("the oldest dead letters were deleted because they are too many (webhooks.max_dead) or older than 30 days; these events are lost", "events", did.Dropped)
	}
	return max(did.GivenUp, did.Crowded, did.Dropped, did.Deleted)
}

// look brings the gauges up to date.
func (w *Worker) look(ctx context.Context) {
	var open map[string]Backlog
	dead := 0
	err := w.store(ctx, func(ctx context.Context) (err error) {
		open, dead, err = w.Store.Backlogs(ctx)
		return err
	})
	w.note(err)
	if err != nil {
		return
	}
	now := w.Now()
	w.Metrics.letters.Set(float64(dead))
	for _, l := range w.lines {
		b, age := open[l.id], 0.0
		if b.Open > 0 {
			age = max(now.Sub(b.Oldest), 0).Seconds()
		}
		w.Metrics.waiting.WithLabelValues(l.id).Set(float64(b.Open))
		w.Metrics.oldest.WithLabelValues(l.id).Set(age)
		up := 0.0
		if l.gate.health(now) == Up {
			up = 1
		}
		w.Metrics.up.WithLabelValues(l.id).Set(up)
	}
}

// refreshGone takes over which endpoints are gone: another process may have learned it, and
// an endpoint whose address was changed is another one.
func (w *Worker) refreshGone(ctx context.Context) {
	seen := make([]int, len(w.lines))
	for i, l := range w.lines {
		seen[i] = l.gate.seen()
	}
	var gone map[string]string
	err := w.store(ctx, func(ctx context.Context) (err error) {
		gone, err = w.Store.GoneEndpoints(ctx)
		return err
	})
	w.note(err)
	if err != nil {
		return
	}
	for i, l := range w.lines {
		print, marked := gone[l.id]
		if marked && print != l.print() {
			w.Log.Info("an endpoint that was gone has a new address and is told events again", "endpoint", l.id, "host", l.Host())
			err := w.store(ctx, func(ctx context.Context) error { return w.Store.ClearGone(ctx, l.id) })
			if bell.KindOf(err) != bell.NotFound {
				w.note(err)
			}
			marked = false
		}
		if l.gate.takeOver(marked, seen[i]) {
			if marked {
				w.Log.Error("an endpoint answered 410 Gone earlier and is told nothing; change its url, or say that it is back: planetbell event enable "+l.id, "endpoint", l.id, "host", l.Host())
			}
			l.nudge()
		}
	}
}
