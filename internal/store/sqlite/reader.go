package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
)

// readers is how many reads run at once. Point reads take some 10 µs, so four
// connections serve more than 100,000 a second.
const readers = 4

// readerPool lends connections that only read. A lent link belongs to its borrower.
type readerPool struct {
	db    *sql.DB
	slots chan *link // nil in it: a connection still to be opened
}

func newReaderPool(db *sql.DB) *readerPool {
	p := &readerPool{db: db, slots: make(chan *link, readers)}
	for range readers {
		p.slots <- nil
	}
	return p
}

// read runs a reading function on a connection of its own. Several queries of one
// function see the same snapshot if it asks for one with snapshot.
func (p *readerPool) read(ctx context.Context, run func(*link) error) (err error) {
	if err := ctx.Err(); err != nil {
		return bell.E(bell.Unavailable, "The request ended before the database was read.", err)
	}
	var l *link
	var open bool
	select {
	case l, open = <-p.slots:
		if !open {
			return bell.E(bell.Unavailable, "The database is closed.", nil)
		}
	case <-ctx.Done():
		return bell.E(bell.Unavailable, "The database took too long to answer.", ctx.Err())
	}
	defer func() {
		if l != nil && systemic(err) {
			l.discard()
			l = nil
		}
		p.slots <- l
	}()
	if l == nil {
		if l, err = newLink(ctx, p.db); err != nil {
			return outward(err)
		}
	}
	return outward(run(l))
}

// close waits for the borrowers and closes all connections.
func (p *readerPool) close() error {
	var errs []error
	for range readers {
		if l := <-p.slots; l != nil {
			errs = append(errs, l.close())
		}
	}
	close(p.slots)
	return errors.Join(errs...)
}

// snapshot makes all queries of run see the same state of the database.
func snapshot(l *link, run func() error) (err error) {
	if _, err := l.exec("BEGIN"); err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer func() {
		if _, end := l.exec("COMMIT"); end != nil {
			err = errors.Join(err, fmt.Errorf("end reading: %w", end))
		}
	}()
	return run()
}
