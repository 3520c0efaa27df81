package sim

import (
	"context"
	"sync"
)

// hub spreads events to whoever watches, and keeps the newest.
type hub struct {
	recent *ring[Event]

	mu       sync.Mutex
	watchers map[chan Event]struct{}
	dropped  uint64
}

func newHub(recent int) *hub {
	return &hub{recent: newRing[Event](recent), watchers: map[chan Event]struct{}{}}
}

// watcherBuffer is how many events a watcher may be behind before it loses some.
const watcherBuffer = 1024

// publish never waits: a watcher that does not keep up loses events.
func (h *hub) publish(e Event) {
	h.recent.add(e)
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.watchers {
		select {
		case ch <- e:
		default:
			h.dropped++
		}
	}
}

// watch returns a channel of the events from now on, closed when ctx is done.
func (h *hub) watch(ctx context.Context) <-chan Event {
	ch := make(chan Event, watcherBuffer)
	h.mu.Lock()
	h.watchers[ch] = struct{}{}
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, ch)
		close(ch)
	})
	return ch
}
