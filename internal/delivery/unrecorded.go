package delivery

import (
	"context"
	"maps"
	"sync"
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

// ends are those that could not be recorded. To the database such a delivery is still
// open: its lease runs out, it is claimed, and without this the device would ring again.
// A restart forgets; then the delivery is repeated, as after a crash. Safe for concurrent
// use.
type ends struct {
	mu   sync.Mutex
	byID map[string]final // by delivery ID
}

// remember keeps an end. It reports whether there was room.
func (e *ends) remember(d bell.Delivery, a bell.Attempt) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.byID) >= maxUnrecorded {
		return false
	}
	e.byID[d.ID] = final{d, a}
	return true
}

// recall takes back what was remembered of a delivery.
func (e *ends) recall(id string) (final, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.byID[id]
	delete(e.byID, id)
	return f, ok
}

// record brings the ends to the store. It stops at the first failure of the database; what
// the database does not know yet is kept.
func (e *ends) record(ctx context.Context, store Store) {
	e.mu.Lock()
	late := maps.Clone(e.byID)
	e.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(givingBack)
	for id, f := range late {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := store.RecordAttempt(ctx, f.delivery, f.attempt)
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

// forget drops ends of deliveries whose ring was over long ago.
func (e *ends) forget(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, f := range e.byID {
		if now.Sub(f.delivery.Deadline) > unrecordedKept {
			delete(e.byID, id)
		}
	}
}
