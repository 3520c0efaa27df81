package sim

import (
	"context"
	"sync"
)

// defaultRecent is how many records of each sort are kept when the options do not say.
const defaultRecent = 10_000

// ring keeps the newest records, and counts all of them.
type ring[T any] struct {
	mu    sync.Mutex
	cap   int
	items []T
	next  int    // where the next record goes once items is full
	total uint64 // records ever added
	added chan struct{}
}

// newRing returns a ring for n records; n <= 0 means defaultRecent.
func newRing[T any](n int) *ring[T] {
	if n <= 0 {
		n = defaultRecent
	}
	return &ring[T]{cap: n, added: make(chan struct{})}
}

// add stores v, in the place of the oldest record when the ring is full.
func (r *ring[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.items) < r.cap {
		r.items = append(r.items, v)
	} else {
		r.items[r.next] = v
		r.next = (r.next + 1) % r.cap
	}
	r.total++
	close(r.added)
	r.added = make(chan struct{})
}

// all returns the records, oldest first.
func (r *ring[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copyLocked()
}

func (r *ring[T]) copyLocked() []T {
	out := make([]T, 0, len(r.items))
	out = append(out, r.items[r.next:]...)
	return append(out, r.items[:r.next]...)
}

// count returns how many records were ever added.
func (r *ring[T]) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// wait returns the records as soon as at least n were ever added.
func (r *ring[T]) wait(ctx context.Context, n uint64) ([]T, error) {
	for {
		r.mu.Lock()
		if r.total >= n {
			out := r.copyLocked()
			r.mu.Unlock()
			return out, nil
		}
		added := r.added
		r.mu.Unlock()
		select {
		case <-added:
		case <-ctx.Done():
			return r.all(), ctx.Err()
		}
	}
}
