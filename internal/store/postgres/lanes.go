package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
)

// maxGroup bounds one transaction. Past this a group gains little, and everybody in it waits
// for the slowest.
const maxGroup = 128

// task is one caller's write, of what belongs to one session.
type task[T any] struct {
	what string // for errors: "begin a call"
	key  string // the session's; it names the lane, and the order within a group
	rank string // the order within a session
	body T
	err  error
	done chan struct{}
}

// lanes write in groups: what waits at the same time shares a round trip and a commit. What is
// of one session goes through one lane, one group after the other, so writes of one node never
// wait for one another's row locks; and groups are ordered, so those of two nodes never wait
// for one another in a circle.
type lanes[T any] struct {
	run     func([]*task[T]) error // runs a group in one transaction; an error has undone it
	stale   func(error)            // hears of connections that broke
	log     *slog.Logger
	metrics *metrics
	health  *health
	each    []*lane[T]
	work    sync.WaitGroup
}

// lane is one queue with the goroutine that empties it.
type lane[T any] struct {
	limit  int
	mu     sync.Mutex // guards queue and closed
	queued *sync.Cond // of mu: the queue has grown, or closed was set
	queue  []*task[T]
	closed bool
}

func newLanes[T any](s *Store, n int, run func([]*task[T]) error) *lanes[T] {
	l := &lanes[T]{run: run, stale: s.distrust, log: s.log, metrics: s.metrics, health: &s.health}
	for range n {
		one := &lane[T]{limit: max(s.queue/n, 1)}
		one.queued = sync.NewCond(&one.mu)
		l.each = append(l.each, one)
		l.work.Go(func() { l.serve(one) })
	}
	return l
}

func (l *lanes[T]) of(key string) *lane[T] {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails to write
	return l.each[h.Sum32()%uint32(len(l.each))]
}

// submit queues a write and waits until it is on disk or has failed.
func (l *lanes[T]) submit(ctx context.Context, t *task[T]) error {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "Nothing was written: the request ended before it began.", err)
	}
	t.done = make(chan struct{})
	lane := l.of(t.key)
	if err := lane.push(t); err != nil {
		if errors.Is(err, bell.Overload) {
			l.metrics.Refused.Inc()
		}
		return err
	}
	select {
	case <-t.done:
		return written(t.what, t.err)
	case <-ctx.Done():
		if lane.withdraw(t) {
			return bell.E(bell.Unavailable, "The database took too long; nothing was written.", ctx.Err())
		}
		return written(t.what, errors.Join(errUndecided, ctx.Err()))
	}
}

func (l *lane[T]) push(t *task[T]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errStoreClosed
	case len(l.queue) >= l.limit:
		return errTooMany
	}
	l.queue = append(l.queue, t)
	l.queued.Signal()
	return nil
}

// withdraw takes a task out of the queue whose turn has not come. It reports whether it was
// there: then it will not be run.
func (l *lane[T]) withdraw(t *task[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.queue, t)
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	return true
}

// close lets the lanes finish what is queued, unless the database is in trouble, and waits for
// them.
func (l *lanes[T]) close() {
	for _, lane := range l.each {
		lane.mu.Lock()
		lane.closed = true
		lane.queued.Signal()
		lane.mu.Unlock()
	}
	l.work.Wait()
}

// serve commits groups until close.
func (l *lanes[T]) serve(lane *lane[T]) {
	group := make([]*task[T], 0, maxGroup)
	for {
		group = lane.next(group[:0])
		if len(group) == 0 {
			return
		}
		l.commit(group)
		if trouble(group[0].err) != "" {
			lane.abandon()
		}
		for i, t := range group {
			close(t.done)
			group[i] = nil
		}
	}
}

// abandon gives up what is queued when the lane was closed: with a database in trouble each
// group would take its time to fail, and nobody has a deadline for all of them.
func (l *lane[T]) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		return
	}
	for _, t := range l.queue {
		t.err = errStoreClosed
		close(t.done)
	}
	l.queue = nil
}

// next waits for tasks and takes all that wait, up to maxGroup. It returns none when the lane
// is closed and its queue is empty.
func (l *lane[T]) next(group []*task[T]) []*task[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 {
		if l.closed {
			return nil
		}
		l.queued.Wait()
	}
	n := min(len(l.queue), maxGroup)
	group = append(group, l.queue[:n]...)
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	slices.SortStableFunc(group, func(a, b *task[T]) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.rank, b.rank)
	})
	return group
}

// commit runs a group and sets each task's error. When it fails for a reason of one of them,
// or because of another node's transaction, each is run again by itself. So one row that
// somebody has locked holds up its own task, and the others for lockTimeout.
func (l *lanes[T]) commit(group []*task[T]) {
	finish := l.metrics.Group(len(group))
	defer finish()
	err := l.attempt(group)
	if err != nil && len(group) > 1 && (trouble(err) == "" || again[codeOf(err)] || heldUp(err)) {
		l.metrics.rerun.Inc()
		l.alone(group, err)
		return
	}
	if len(group) == 1 && heldUp(err) && !errors.Is(err, errUndecided) {
		group[0].err = held(err)
		return
	}
	l.health.note(len(group), err)
	for _, t := range group {
		t.err = err
	}
}

// maxHeld is how many tasks of a group may wait for locks, one after the other. When so many
// did in vain, it is no row that is locked but a table, and nobody else is kept waiting for it.
const maxHeld = 3

// alone runs each of a group by itself, which has failed together for a reason.
func (l *lanes[T]) alone(group []*task[T], reason error) {
	var done, lost, waited int
	var trouble error
	for i, t := range group {
		err := reason
		if waited < maxHeld {
			err = l.attempt(group[i : i+1])
		}
		switch {
		case err == nil:
			done++
		case errors.Is(err, errUndecided):
		case errors.Is(reason, errUndecided):
			err = fmt.Errorf("%w: %w", errUndecided, err)
		case heldUp(err) && waited < maxHeld:
			waited++
			err = held(err)
		}
		if t.err = err; bell.KindOf(err) == "" && err != nil {
			lost++
			trouble = err
		}
	}
	if done > 0 {
		l.health.note(0, nil)
	} else {
		l.health.note(lost, trouble)
	}
}

// attempt runs a group, and runs it again after a conflict, or when the connection turned out
// to be an old one. Its error is errUndecided when any of the runs may have been committed.
func (l *lanes[T]) attempt(group []*task[T]) error {
	undecided := false
	for n := 1; ; n++ {
		err := l.once(group)
		undecided = undecided || unknown(err)
		conflict := again[codeOf(err)] && len(group) == 1
		if err == nil || n >= attempts || !conflict && (n > 1 || !stale(err)) {
			switch {
			case err != nil && undecided:
				return fmt.Errorf("%w: %w", errUndecided, err)
			case n >= attempts:
				return unsettled(err)
			}
			return err
		}
		l.metrics.rerun.Inc()
		l.stale(err)
		pause(context.Background(), n)
	}
}

// once runs a group. A panic becomes an error, because this goroutine is everybody's. Its text
// is not kept: it may hold a secret.
func (l *lanes[T]) once(group []*task[T]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("a write panicked", "operation", group[0].what, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: internal error", group[0].what)
		}
	}()
	return l.run(group)
}
