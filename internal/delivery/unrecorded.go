package delivery

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// final is the end of a delivery that the database did not take.
type final struct {
	delivery bell.Delivery
	attempt  bell.Attempt
}

// remember keeps an end that could not be recorded. To the database the delivery is still
// open: its lease runs out, it is claimed, and without this the device would ring again.
// A restart forgets; then the delivery is repeated, as after a crash.
func (e *Engine) remember(d bell.Delivery, a bell.Attempt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unrecorded[d.ID] = final{d, a}
}

// recall takes back what was remembered of a delivery.
func (e *Engine) recall(id string) (final, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.unrecorded[id]
	delete(e.unrecorded, id)
	return f, ok
}

// forget drops what nobody can ask for any more: calls that ended long ago, and ends of
// deliveries that are too late to be claimed.
func (e *Engine) forget(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, at := range e.withdrawn {
		if now.Sub(at) > withdrawnKept {
			delete(e.withdrawn, key)
		}
	}
	for id, f := range e.unrecorded {
		if !now.Before(f.delivery.Deadline) {
			delete(e.unrecorded, id)
		}
	}
}
