// Package sqldb holds the queries that both databases share, by subject, in SQL that both
// understand. A database gives it an [Engine], which runs functions in transactions, and
// overrides the methods for which it has a better way: those of the busiest paths.
//
// # SQL
//
// A parameter is ? or ?1, as SQLite has it; "INDEXED BY" and "CROSS JOIN" are advice to
// SQLite's planner. A database with another dialect rewrites these three, and nothing else.
// So there is no iif, no scalar max, no INSERT OR REPLACE, and ON CONFLICT names its columns
// where it updates, or where its table has another key that is made by the database. Times are microseconds since 1970, 0 for the zero time.
//
// # More than one writer
//
// Where a function reads what it then writes, it says so with [Tx.ForUpdate] or [Tx.Lock].
// A database that runs one writer at a time need do nothing for them.
package sqldb

import (
	"context"

	"github.com/planetbell/planetbell/internal/bell"
)

// Engine runs functions in transactions. It is safe for concurrent use. Its errors have kind
// bell.Unavailable when the database is in trouble or too slow for the context.
type Engine interface {
	// Write runs a function in a transaction that is on disk when Write returns nil. run must
	// not use anything that its caller changes afterwards, because the caller may leave first;
	// it may be called again after a transaction that was rolled back. An error of run undoes
	// it and is returned; Unchanged says that there is nothing to undo.
	Write(ctx context.Context, what string, run func(Tx) error) error
	// Read runs a function that only reads. Several queries see the same state of the database
	// only within Tx.Snapshot.
	Read(ctx context.Context, run func(Tx) error) error
	// List is Read for what may take long: never more of them run at once than leave room for
	// the short reads, of which every ring needs one.
	List(ctx context.Context, run func(Tx) error) error
}

// Tx is a transaction, or what reads. It belongs to one goroutine.
type Tx interface {
	// Exec runs a statement that returns no rows, and reports how many it changed.
	Exec(query string, args ...any) (int64, error)
	// One reads the first row, and reports whether there was one.
	One(query string, scan func(Scanner) error, args ...any) (bool, error)
	// Each calls scan for every row. scan must not use the Tx.
	Each(query string, scan func(Scanner) error, args ...any) error
	// Snapshot lets all queries of run see the same state of the database. It is for reading.
	Snapshot(run func() error) error

	// ForUpdate is what a SELECT ends with when it reads rows, of the table or alias named,
	// that are about to be written: " FOR UPDATE OF v" where there is more than one writer.
	ForUpdate(of string) string
	// SkipLocked is ForUpdate for work that anybody may take: rows that another transaction
	// has in hand are left out.
	SkipLocked(of string) string
	// Lock waits until no other transaction holds the same lock, and keeps it to the end of
	// this one. Locks are named by their kind and what they are for. Whoever takes several
	// takes them in order.
	Lock(kind string, of ...string) error

	// Erased notes that something was deleted which must not lie about in the files.
	Erased()
	// RoomsForgotten notes that rows of rooms are about to be looked at and deleted, for
	// whoever remembers some.
	RoomsForgotten()
}

// Scanner is a row that can be read.
type Scanner interface {
	Scan(dest ...any) error
}

// Unchanged marks the error of a function that has written nothing, so that whoever shares
// its transaction need not be rolled back. Anybody can cause such errors (a user ID that is
// taken); they must cost nobody else anything.
type Unchanged struct{ Err error }

// Error implements error.
func (u Unchanged) Error() string { return u.Err.Error() }

// Unwrap gives the error itself.
func (u Unchanged) Unwrap() error { return u.Err }

// Store answers for all subjects, by the way of an Engine.
type Store struct {
	Engine

	// Events says what the customer's systems want to be told of a project, of what is decided
	// here, in a transaction: bell.EventDeliveryFailed and bell.EventDeviceRemoved. It must be
	// quick and safe for concurrent use; nothing is wanted if nil.
	Events func(project string) bell.EventSet
}
