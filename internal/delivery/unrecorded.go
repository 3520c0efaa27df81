package delivery

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// maxUnrecorded bounds what is remembered while the database is away; about 1 KB each.
	maxUnrecorded = 100_000
	// unrecordedKept is how long after its ring an end is remembered. Its call may itself
	// still wait to be recorded.
	unrecordedKept = 10 * time.Minute
)

// final is the end of a delivery that the database did not take.
type final struct {
	delivery bell.Delivery
	attempt  bell.Attempt
}

// remember keeps an end that could not be recorded. To the database the delivery is still
// open: its lease runs out, it is claimed, and without this the device would ring again.
// A restart forgets; then the delivery is repeated, as after a crash. It reports whether
// there was room.
func (e *Engine) remember(d bell.Delivery, a bell.Attempt) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.unrecorded) >= maxUnrecorded {
		return false
	}
	e.unrecorded[d.ID] = final{d, a}
	return true
}

// recall takes back what was remembered of a delivery.
func (e *Engine) recall(id string) (final, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.unrecorded[id]
	delete(e.unrecorded, id)
	return f, ok
}

// recordLate records the ends that could not be recorded before. It stops at the first
// failure of the database; what the database does not know yet is kept.
func (e *Engine) recordLate(ctx context.Context) {
	e.mu.Lock()
	late := maps.Clone(e.unrecorded)
	e.mu.Unlock()
	if len(late) == 0 {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.patience(), errSlowStore)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(givingBack)
	for id, f := range late {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := e.Store.RecordAttempt(ctx, f.delivery, f.attempt)
			if bell.KindOf(err) == bell.NotFound {
				return nil // its call is not recorded yet
			}
			if err == nil {
				e.recall(id)
			}
			return err
		})
	}
	_ = group.Wait() // the next sweep tries again, and the trouble has been logged
}

// forget drops what nobody can ask for any more: calls that ended long ago, and ends of
// deliveries whose ring was over long ago.
func (e *Engine) forget(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, at := range e.withdrawn {
		if now.Sub(at) > withdrawnKept {
			delete(e.withdrawn, key)
		}
	}
	for id, f := range e.unrecorded {
		if now.Sub(f.delivery.Deadline) > unrecordedKept {
			delete(e.unrecorded, id)
		}
	}
}
