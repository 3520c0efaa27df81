package bus

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/planetbell/planetbell/internal/cluster"
)

// queue holds hints in the order in which they came, each one once. When it is full the
// oldest makes room: the newest is worth most, since whoever it is for still waits. It may
// be used concurrently.
type queue struct {
	size int // hints at most
	many int // so many are worth a flush of their own

	wake chan struct{} // has one when hints wait
	rush chan struct{} // has one when many wait, or did a moment ago

	mu    sync.Mutex
	order []cluster.Hint // from head on
	head  int
	there map[cluster.Hint]struct{}
	lost  int // dropped since the last take
}

func newQueue(size, many int) *queue {
	return &queue{
		size: size, many: many,
		wake: make(chan struct{}, 1), rush: make(chan struct{}, 1),
		there: make(map[cluster.Hint]struct{}),
	}
}

// signal leaves one token in the channel.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add puts hints in. It returns how many old ones were dropped for them.
func (q *queue) add(hints ...cluster.Hint) (dropped int) {
	q.mu.Lock()
	for _, h := range hints {
		if _, known := q.there[h]; known {
			continue
		}
		if len(q.order)-q.head >= q.size {
			delete(q.there, q.order[q.head])
			q.order[q.head] = cluster.Hint{}
			q.head++
			dropped++
		}
		if q.head > q.size { // what is before it is empty
			n := copy(q.order, q.order[q.head:])
			clear(q.order[n:])
			q.order, q.head = q.order[:n], 0
		}
		q.there[h] = struct{}{}
		q.order = append(q.order, h)
	}
	q.lost += dropped
	waiting := len(q.order) - q.head
	q.mu.Unlock()
	if waiting > 0 {
		signal(q.wake)
	}
	if waiting >= q.many {
		signal(q.rush)
	}
	return dropped
}

// take removes up to most hints, the oldest first, and returns how many were dropped since
// the last take. If more wait, wake has a token again.
func (q *queue) take(most int) (hints []cluster.Hint, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost, q.lost = q.lost, 0
	waiting := q.order[q.head:]
	hints = append(hints, waiting[:min(most, len(waiting))]...)
	if len(hints) == len(waiting) {
		clear(q.order)
		q.order, q.head = q.order[:0], 0
		clear(q.there)
		return hints, lost
	}
	for i, h := range hints {
		delete(q.there, h)
		waiting[i] = cluster.Hint{}
	}
	q.head += len(hints)
	signal(q.wake)
	return hints, lost
}

// inbox is between the connection, which must always be read, and the handler.
type inbox struct {
	*queue
	gap atomic.Bool
}

func newInbox(size int) *inbox { return &inbox{queue: newQueue(size, size)} }

// missed makes the handler look through the database.
func (b *inbox) missed() {
	b.gap.Store(true)
	signal(b.wake)
}

// handBatch bounds what a handler is given at once.
const handBatch = 1000

// run hands over until the context is done.
func (b *inbox) run(ctx context.Context, h Handler, m *Metrics) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		hints, lost := b.take(handBatch)
		if lost > 0 {
			m.gap(gapSlow)
		}
		if b.gap.Swap(false) || lost > 0 {
			h.Gap()
		}
		if len(hints) > 0 {
			h.Hints(hints)
		}
	}
}
