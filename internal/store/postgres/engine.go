package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// attempts is how often a transaction is run before its conflict is somebody's error.
const attempts = 8

// errTooMany is told when too many writes wait.
var errTooMany = bell.E(bell.Overload, "Too many writes wait for the database; try again later.", nil)

// errUndecided says that nobody knows whether a write was committed.
var errUndecided = errors.New("whether it was committed is not known")

// engine lends transactions to the queries of package sqldb.
type engine struct{ s *Store }

// Write implements sqldb.Engine. The function runs in the caller's goroutine.
func (e engine) Write(ctx context.Context, what string, run func(sqldb.Tx) error) error {
	return e.s.write(ctx, what, "BEGIN", func(l *link) error { return run(l) })
}

// write is Write with more of the transaction in sight. What opens it is empty for a function
// of one round trip, which needs no transaction around it.
func (s *Store) write(ctx context.Context, what, begin string, run func(*link) error) error {
	return s.writeAt(ctx, what, begin, s.writes, run)
}

// writeAt is write in one of these places.
func (s *Store) writeAt(ctx context.Context, what, begin string, at places, run func(*link) error) error {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "Nothing was written: the request ended before it began.", err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.work.Done()
	if s.waiting.Add(1) > int64(s.queue) {
		s.waiting.Add(-1)
		s.metrics.Refused.Inc()
		return errTooMany
	}
	defer s.waiting.Add(-1)
	defer s.metrics.Group(1)()
	var err error
	for n := 1; ; n++ {
		err = s.transact(ctx, begin, at, run)
		s.distrust(err)
		if n >= attempts || !rerun(err, n) {
			break
		}
		s.metrics.rerun.Inc()
		if !pause(ctx, n) {
			break
		}
	}
	s.health.note(1, err)
	if again[codeOf(err)] && !errors.Is(err, errUndecided) { // the caller left, or it was tried often enough
		err = unsettled(err)
	}
	if refused, ok := errors.AsType[sqldb.Unchanged](err); ok {
		return refused.Err
	}
	return written(what, err)
}

// transact runs a function in one transaction.
func (s *Store) transact(ctx context.Context, begin string, at places, run func(*link) error) error {
	switch err := at.take(ctx); {
	case err != nil && at == s.writes:
		return errTooMany // this process has too much to do, which says nothing of the database
	case err != nil:
		return fmt.Errorf("%w: %w", errLeft, err)
	}
	l := &link{s: s, ctx: ctx, pool: s.writePool, limit: statementTimeout, place: at, begin: begin}
	defer l.end()
	err := run(l)
	if begin == "" && err != nil && (errors.Is(err, errLeft) || unknown(err)) {
		return fmt.Errorf("%w: %w", errUndecided, err)
	}
	if err != nil || !l.open {
		return err
	}
	_, err = l.sendLast()
	return err
}

// sendLast sends the last statements of a transaction, if there are any, and commits it.
func (l *link) sendLast(queries ...query) ([]result, error) {
	results, err := l.send(append(queries, query{sql: "COMMIT"})...)
	switch {
	case err == nil:
		l.open = false
		return results, nil
	case errors.Is(err, errLeft), unknown(err):
		return nil, fmt.Errorf("%w: %w", errUndecided, err)
	}
	return nil, err
}

// unknown reports whether a statement that failed may have been committed all the same: the
// connection broke after it was sent, or the server, or a pooler, said that it ends. Other
// refusals are certain.
func unknown(err error) bool {
	if _, ok := errors.AsType[*unsent](err); ok {
		return false
	}
	_, broke := errors.AsType[*lost](err)
	return broke || ending(codeOf(err))
}

// ending reports whether a SQLSTATE says that the connection, or the server, ends: class 08,
// admin_shutdown or crash_shutdown. It may be said after a commit, in place of its answer.
func ending(code string) bool {
	return strings.HasPrefix(code, "08") || code == "57P01" || code == "57P02"
}

// rerun reports whether a transaction that failed for the nth time is to be run again.
func rerun(err error, n int) bool {
	switch {
	case err == nil, errors.Is(err, errUndecided), errors.Is(err, errLeft), bell.KindOf(err) != "":
		return false
	case again[codeOf(err)]:
		return true
	}
	return n == 1 && stale(err)
}

// stale reports whether an error may be that of a connection which has grown old in the pool,
// since the server was started anew or is no primary any more, or which the server has ended
// because it idled: with another one it may go well.
func stale(err error) bool {
	if _, ok := errors.AsType[*unsent](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, broke := errors.AsType[*lost](err)
	switch code := codeOf(err); code {
	case "57P01", "57P02", "57P05", "25P03", "25006":
		return true
	}
	return broke
}

// distrust closes the connections that wait for work when one of them turned out to be broken:
// after a restart of the database all of them are.
func (s *Store) distrust(err error) {
	if !stale(err) {
		return
	}
	last, now := s.reset.Load(), time.Now().UnixNano()
	if now-last < int64(time.Second) || !s.reset.CompareAndSwap(last, now) {
		return // others have just found out the same
	}
	s.writePool.Reset()
	s.readPool.Reset()
}

// pause waits before a transaction is run for the n+1st time, each time longer and never as
// long as whoever else it met. It reports whether to go on.
func pause(ctx context.Context, n int) bool {
	most := time.Millisecond << min(n, 6)
	timer := time.NewTimer(rand.N(most)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// written is the error of a write for its caller.
func written(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUndecided):
		why := trouble(err)
		if why == "" {
			why = "The database took too long."
		}
		return bell.E(bell.Unavailable, strings.TrimSuffix(why, ".")+"; the write may still happen.", err)
	case errors.Is(err, errLeft):
		return bell.E(bell.Unavailable, "The database took too long; nothing was written.", err)
	case bell.KindOf(err) != "":
		return err
	}
	return outward(fmt.Errorf("%s: %w", what, err))
}

// Read implements sqldb.Engine.
func (e engine) Read(ctx context.Context, run func(sqldb.Tx) error) error {
	return e.s.read(ctx, statementTimeout, run)
}

// List implements sqldb.Engine.
func (e engine) List(ctx context.Context, run func(sqldb.Tx) error) error {
	if err := e.s.lists.take(ctx); err != nil {
		return bell.E(bell.Unavailable, "The database took too long to answer.", err)
	}
	defer e.s.lists.leave()
	return e.s.read(ctx, listTimeout, run)
}

func (s *Store) read(ctx context.Context, limit time.Duration, run func(sqldb.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "The request ended before the database was read.", err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.work.Done()
	scanned, err := s.readOnce(ctx, limit, run)
	if err != nil && !scanned && (stale(err) || again[codeOf(err)]) {
		s.distrust(err)
		_, err = s.readOnce(ctx, limit, run)
	}
	if errors.Is(err, errLeft) {
		return bell.E(bell.Unavailable, "The database took too long to answer.", err)
	}
	return outward(err)
}

// readOnce reports whether the function has seen a row: then it may have kept it, and cannot
// be run again.
func (s *Store) readOnce(ctx context.Context, limit time.Duration, run func(sqldb.Tx) error) (scanned bool, err error) {
	if err := s.reads.take(ctx); err != nil {
		return false, fmt.Errorf("%w: %w", errLeft, err)
	}
	l := &link{s: s, ctx: ctx, pool: s.readPool, limit: limit, place: s.reads}
	defer l.end()
	err = run(l)
	return l.scanned, err
}

// places bounds how many do the same at once.
type places chan struct{}

// take waits for a place.
func (p places) take(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	default:
	}
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p places) leave() { <-p }
