package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// Bounds of the writer.
const (
	// maxGroup bounds one transaction. Past about 256 operations a group gains no
	// throughput, and everybody in it waits for the slowest.
	maxGroup = 256
	// defaultQueue bounds who waits: at 10,000 writes a second it is 0.4 s of work.
	// Whoever does not get in is better told so at once than after Planet Cloud has
	// given up.
	defaultQueue = 4096
)

// operation is one caller's write.
type operation struct {
	what string // for errors and the log: "begin call"
	run  func(*link) error
	err  error
	done chan struct{}
}

// writer owns the one connection that writes. Its goroutine is run; everything else
// only queues operations.
type writer struct {
	log     *slog.Logger
	metrics *sqldb.Metrics
	connect func() (*link, error)
	limit   int

	mu      sync.Mutex // guards queue and closed
	queued  *sync.Cond // of mu: the queue has grown, or closed was set
	queue   []*operation
	closed  bool
	stopped chan struct{} // closed when run has returned

	// What follows belongs to run's goroutine.
	link          *link // nil after trouble
	emptied       time.Time
	truncateEvery time.Duration
	troubled      time.Time // since when no group was committed; zero when the last one was
	lost          int       // operations that failed since then
}

func newWriter(log *slog.Logger, m *sqldb.Metrics, limit int, first *link, connect func() (*link, error)) *writer {
	w := &writer{
		log: log, metrics: m, connect: connect, limit: limit, link: first, stopped: make(chan struct{}),
		truncateEvery: truncateEvery,
	}
	w.queued = sync.NewCond(&w.mu)
	return w
}

// submit queues a write and waits until it is on disk or has failed. run must not use
// anything that its caller changes afterwards, because the caller may leave first; it
// may be called twice, the first time in a transaction that is rolled back.
func (w *writer) submit(ctx context.Context, what string, run func(*link) error) error {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "Nothing was written: the request ended before it began.", err)
	}
	op := &operation{what: what, run: run, done: make(chan struct{})}
	if err := w.enqueue(op); err != nil {
		return err
	}
	select {
	case <-op.done:
		if refused, ok := errors.AsType[sqldb.Unchanged](op.err); ok {
			return refused.Err
		}
		return outward(op.err)
	case <-ctx.Done():
		if w.withdraw(op) {
			return bell.E(bell.Unavailable, "The database took too long; nothing was written.", ctx.Err())
		}
		return bell.E(bell.Unavailable, "The database took too long; the write may still happen.", errors.Join(errUndecided, ctx.Err()))
	}
}

// errUndecided says that a caller left while its operation was being committed.
var errUndecided = errors.New("its caller left first")

// follow queues a write that sets right what an undecided one may have done: it runs after
// that one, and nobody waits for it. It is let in when the queue is full, because whoever
// was undecided has had a place. What a closed writer does not take is the next process's.
func (w *writer) follow(what string, run func(*link) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.queue = append(w.queue, &operation{what: what, run: run, done: make(chan struct{})})
	w.queued.Signal()
}

// withdraw takes an operation out of the queue whose turn has not come. It reports
// whether it was there: then it will not be run.
func (w *writer) withdraw(op *operation) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, op)
	if i < 0 {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

func (w *writer) enqueue(op *operation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return bell.E(bell.Unavailable, "The database is closed.", nil)
	case len(w.queue) >= w.limit:
		w.metrics.Refused.Inc()
		return bell.E(bell.Overload, "Too many writes wait for the database; try again later.", nil)
	}
	w.queue = append(w.queue, op)
	w.queued.Signal()
	return nil
}

// close lets run finish what is queued and waits for it.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.queued.Signal()
	w.mu.Unlock()
	<-w.stopped
}

// run commits groups until close. It is the writer's goroutine.
func (w *writer) run() {
	defer close(w.stopped)
	group := make([]*operation, 0, maxGroup)
	for {
		group = w.next(group[:0])
		if len(group) == 0 {
			return
		}
		w.commit(group)
		for i, op := range group {
			close(op.done)
			group[i] = nil
		}
		w.emptyLog()
	}
}

// next waits for operations and takes all that wait, up to maxGroup. It returns none
// when the writer is closed and the queue is empty.
func (w *writer) next(group []*operation) []*operation {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 {
		if w.closed {
			return nil
		}
		w.queued.Wait()
	}
	n := min(len(w.queue), maxGroup)
	group = append(group, w.queue[:n]...)
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	return group
}

// commit runs a group in one transaction and sets each operation's error. When one
// fails, the group is run again, each operation within its own savepoint; that is
// rare, and so the usual case pays nothing for it.
func (w *writer) commit(group []*operation) {
	finish := w.metrics.Group(len(group))
	defer finish()
	err := w.transact(group, w.runPlain)
	if errors.Is(err, errOneFailed) {
		if len(group) == 1 {
			return // rolled back, and its error is its own
		}
		err = w.transact(group, w.runIsolated)
	}
	if err == nil {
		w.recovered()
		return
	}
	w.failed(len(group), err)
	for _, op := range group {
		op.err = bell.E(bell.Unavailable, sentence(err), err)
	}
	w.disconnect()
}

// failed notes a group that was lost. Trouble with a disk lasts: it is told once, when it
// begins, and the callers learn of each operation.
func (w *writer) failed(operations int, err error) {
	w.lost += operations
	if w.troubled.IsZero() {
		w.troubled = time.Now()
		w.log.Error("nothing can be written; a group of writes was lost", "operations", operations, "error", err)
	}
}

// recovered tells once that trouble is over.
func (w *writer) recovered() {
	if w.troubled.IsZero() {
		return
	}
	w.log.Info("writes are committed again", "after", time.Since(w.troubled), "lost", w.lost)
	w.troubled, w.lost = time.Time{}, 0
}

// errOneFailed says that an operation failed for a reason of its own.
var errOneFailed = errors.New("an operation of the group failed")

// transact runs the group between BEGIN and COMMIT.
func (w *writer) transact(group []*operation, run func([]*operation) error) error {
	if w.link == nil {
		link, err := w.connect()
		if err != nil {
			return err
		}
		w.link = link
	}
	if _, err := w.link.Exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := run(group)
	if err == nil {
		if _, err = w.link.Exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	w.link.rolledBack()
	if _, rollback := w.link.Exec("ROLLBACK"); rollback != nil && errors.Is(err, errOneFailed) {
		return fmt.Errorf("roll back: %w", rollback)
	}
	return err
}

// runPlain runs the operations one after the other and stops at the first failure. What
// they have left to be written at the end is all of theirs: if that fails, the second run
// finds out whose it is.
func (w *writer) runPlain(group []*operation) error {
	for _, op := range group {
		w.attempt(op)
		switch {
		case op.err == nil || errors.As(op.err, &sqldb.Unchanged{}):
		case systemic(op.err):
			return op.err
		default:
			return errOneFailed
		}
	}
	err := w.link.writeRuns()
	if err == nil || systemic(err) {
		return err
	}
	group[0].err = err
	return errOneFailed
}

// runIsolated runs each operation within a savepoint, so that a failure undoes only
// its own writes.
func (w *writer) runIsolated(group []*operation) error {
	for _, op := range group {
		if _, err := w.link.Exec("SAVEPOINT operation"); err != nil {
			return fmt.Errorf("set a savepoint: %w", err)
		}
		w.attempt(op)
		if op.err == nil {
			op.err = w.link.writeRuns()
		}
		if systemic(op.err) {
			return op.err
		}
		if op.err != nil {
			w.link.rolledBack()
			if _, err := w.link.Exec("ROLLBACK TO operation"); err != nil {
				return fmt.Errorf("roll back an operation: %w", err)
			}
		}
		if _, err := w.link.Exec("RELEASE operation"); err != nil {
			return fmt.Errorf("release a savepoint: %w", err)
		}
	}
	return nil
}

// attempt runs one operation and keeps its error. A panic becomes an error, because
// this goroutine is everybody's. Its text is not kept: it may hold a secret.
func (w *writer) attempt(op *operation) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("a write panicked", "operation", op.what, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			op.err = fmt.Errorf("%s: internal error", op.what)
		}
	}()
	op.err = op.run(w.link)
}

// disconnect drops a connection that may be in any state; the next group opens another.
func (w *writer) disconnect() {
	if w.link == nil {
		return
	}
	w.link.discard()
	w.link = nil
}
