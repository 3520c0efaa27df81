package sqlite

import (
	"context"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// engine lends the writer and the readers to the queries of package sqldb.
type engine struct{ s *Store }

// Write implements sqldb.Engine.
func (e engine) Write(ctx context.Context, what string, run func(sqldb.Tx) error) error {
	return e.s.writer.submit(ctx, what, func(l *link) error { return run(l) })
}

// Read implements sqldb.Engine.
func (e engine) Read(ctx context.Context, run func(sqldb.Tx) error) error {
	return e.s.readers.read(ctx, func(l *link) error { return run(l) })
}

// listSlots is how many lists are read at once: fewer than there are readers, so that a
// ring, which has to find its devices, never waits for somebody's long list.
const listSlots = readers / 2

// List implements sqldb.Engine.
func (e engine) List(ctx context.Context, run func(sqldb.Tx) error) error {
	select {
	case e.s.lists <- struct{}{}:
		defer func() { <-e.s.lists }()
	case <-ctx.Done():
		return bell.E(bell.Unavailable, "The database took too long to answer.", ctx.Err())
	}
	return e.Read(ctx, run)
}

// Snapshot implements sqldb.Tx.
func (l *link) Snapshot(run func() error) error { return snapshot(l, run) }

// ForUpdate implements sqldb.Tx: there is one writer.
func (l *link) ForUpdate(string) string { return "" }

// SkipLocked implements sqldb.Tx: there is one writer.
func (l *link) SkipLocked(string) string { return "" }

// Lock implements sqldb.Tx: there is one writer.
func (l *link) Lock(string, ...string) error { return nil }

// Erased implements sqldb.Tx: the write-ahead log is to be emptied.
func (l *link) Erased() { l.erased = true }

// RoomsForgotten implements sqldb.Tx. What is not written yet is written, because what is
// about to be deleted is chosen by it.
func (l *link) RoomsForgotten() {
	err := l.writeRuns()
	l.rooms = newRoomCache()
	l.rooms.failed = err
}
