package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
)

// readers is how many reads run at once. Point reads take some 10 µs, so four
// connections serve more than 100,000 a second.
const readers = 4

// readerPool runs reads on connections that only read. Each connection has a goroutine
// of its own, because SQLite wants a deep stack: a request that reads would grow its own
// to 32 KB, and a waiting poll would keep that.
type readerPool struct {
	db     *sql.DB
	jobs   chan *readJob
	closed chan struct{}
	work   sync.WaitGroup
	errs   [readers]error // of closing; each goroutine's own until work is done
}

// readJob is one read. The goroutine that runs it has what run uses until done.
type readJob struct {
	ctx    context.Context //nolint:containedctx // the caller's, for opening a connection
	run    func(*link) error
	err    error
	raised any // what run panicked with
	done   chan struct{}
}

func newReaderPool(db *sql.DB) *readerPool {
	p := &readerPool{db: db, jobs: make(chan *readJob), closed: make(chan struct{})}
	for i := range readers {
		p.work.Go(func() { p.errs[i] = p.serve() })
	}
	return p
}

// serve runs reads, one after the other, until the pool is closed. A connection in trouble
// is replaced.
func (p *readerPool) serve() error {
	var l *link
	for {
		select {
		case job := <-p.jobs:
			l = p.do(l, job)
			close(job.done)
		case <-p.closed:
			if l == nil {
				return nil
			}
			return l.close()
		}
	}
}

// do runs a read and returns the connection for the next one, nil if one must be opened.
func (p *readerPool) do(l *link, job *readJob) *link {
	if l == nil {
		if l, job.err = newLink(job.ctx, p.db); job.err != nil {
			return nil
		}
	}
	func() {
		defer func() { job.raised = recover() }()
		job.err = job.run(l)
	}()
	if job.raised != nil || systemic(job.err) {
		l.discard() // it may be in any state
		return nil
	}
	return l
}

// read runs a reading function on a connection. Several queries of one function see the
// same snapshot if it asks for one with snapshot. What run panics with, read panics with.
func (p *readerPool) read(ctx context.Context, run func(*link) error) error {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "The request ended before the database was read.", err)
	}
	job := &readJob{ctx: ctx, run: run, done: make(chan struct{})}
	select {
	case p.jobs <- job:
	case <-p.closed:
		return bell.E(bell.Unavailable, "The database is closed.", nil)
	case <-ctx.Done():
		return bell.E(bell.Unavailable, "The database took too long to answer.", ctx.Err())
	}
	<-job.done // not ctx: run writes to what the caller will use
	if job.raised != nil {
		panic(job.raised)
	}
	return outward(job.err)
}

// close waits for what is being read and closes all connections.
func (p *readerPool) close() error {
	close(p.closed)
	p.work.Wait()
	return errors.Join(p.errs[:]...)
}

// snapshot makes all queries of run see the same state of the database.
func snapshot(l *link, run func() error) (err error) {
	if _, err := l.Exec("BEGIN"); err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer func() {
		if _, end := l.Exec("COMMIT"); end != nil {
			err = errors.Join(err, fmt.Errorf("end reading: %w", end))
		}
	}()
	return run()
}
