package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// How long things may take. They are generous: they are there for a database that does not
// answer at all, and end a connection.
const (
	connectTimeout   = 5 * time.Second
	statementTimeout = 10 * time.Second
	listTimeout      = 30 * time.Second
	// lockTimeout is how long a lane waits for a lock, and once more for whom it waited. Callers
	// wait a second for both, and nobody's transaction is as long whose machine lives.
	lockTimeout = 250 * time.Millisecond
	// idleTimeout is how long a transaction may wait for its next statement. It ends those of
	// machines that are gone, with their locks; without it PostgreSQL keeps them for hours.
	idleTimeout = 5 * time.Second
)

// The timeouts are set for one transaction: a pooler gives the next one another connection, so
// they cannot be set once, and poolers refuse them as settings of a connection.
const (
	waitNot       = `SELECT set_config('lock_timeout', $1, true)`
	idleNot       = `SELECT set_config('idle_in_transaction_session_timeout', $1, true)`
	idleOrWaitNot = `SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('lock_timeout', $2, true)`
)

// bounds sets the timeouts of a transaction of several round trips.
func (l *link) bounds() query {
	if l.hasty {
		return query{idleOrWaitNot, []any{milliseconds(idleTimeout), milliseconds(l.s.lockTimeout)}}
	}
	return query{idleNot, []any{milliseconds(idleTimeout)}}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// query is a statement in PostgreSQL's dialect.
type query struct {
	sql  string
	args []any
}

// result is what a statement returned. It is read whole before anybody looks at it, so that
// whoever looks holds up no connection.
type result struct {
	columns  []pgconn.FieldDescription
	rows     [][][]byte
	affected int64
}

// errLeft says that the caller left while a statement was under way.
var errLeft = errors.New("its caller left first")

// link is one connection as package sqldb uses it: for one function, in one goroutine. It takes
// the connection from the pool with the first statement.
type link struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // the caller's: looked at, and never handed to pgx
	pool  *pgxpool.Pool
	limit time.Duration // of one statement
	place places        // of which it holds one; nil in a lane, which has a connection to itself

	conn    *pgxpool.Conn
	begin   string  // opens a transaction with the first statement, unless empty
	hasty   bool    // waits for no lock for longer than lockTimeout
	open    bool    // a transaction was opened, and is to be committed
	locks   []query // to be sent with the next statement
	scanned bool    // a row was handed out: the function cannot be run again
	left    bool    // the caller left: the connection is no longer ours
}

// ownLink is a link of a lane's, which has a connection to itself and nobody who leaves.
func (s *Store) ownLink() *link {
	return &link{s: s, ctx: context.Background(), pool: s.writePool, limit: statementTimeout, begin: "BEGIN", hasty: true}
}

// Exec implements sqldb.Tx.
func (l *link) Exec(text string, args ...any) (int64, error) {
	r, err := l.ask(text, args)
	return r.affected, err
}

// One implements sqldb.Tx.
func (l *link) One(text string, scan func(sqldb.Scanner) error, args ...any) (bool, error) {
	r, err := l.ask(text, args)
	if err != nil || len(r.rows) == 0 {
		return false, err
	}
	l.scanned = true
	return true, scan(record{r.columns, r.rows[0]})
}

// Each implements sqldb.Tx.
func (l *link) Each(text string, scan func(sqldb.Scanner) error, args ...any) error {
	r, err := l.ask(text, args)
	if err != nil {
		return err
	}
	for _, row := range r.rows {
		l.scanned = true
		if err := scan(record{r.columns, row}); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot implements sqldb.Tx.
func (l *link) Snapshot(run func() error) error {
	l.begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	return run() // whoever made the link ends it
}

// ForUpdate implements sqldb.Tx.
func (l *link) ForUpdate(of string) string { return " FOR UPDATE OF " + of }

// SkipLocked implements sqldb.Tx.
func (l *link) SkipLocked(of string) string { return " FOR UPDATE OF " + of + " SKIP LOCKED" }

// Lock implements sqldb.Tx. It is sent with the next statement, which costs no round trip.
func (l *link) Lock(kind string, of ...string) error {
	l.locks = append(l.locks, lockQuery(kind, of...))
	return nil
}

// lockQuery takes a lock until the end of the transaction. Its number is a hash: two locks of
// the same number hold each other up, and that is all.
func lockQuery(kind string, of ...string) query {
	h := fnv.New64a()
	for _, part := range append([]string{kind}, of...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(append(n[:], part...)) // a hash never fails to write
	}
	return query{`SELECT pg_advisory_xact_lock($1)`, []any{int64(h.Sum64())}}
}

// Erased implements sqldb.Tx: vacuum removes what is erased.
func (l *link) Erased() {}

// RoomsForgotten implements sqldb.Tx: no rows are remembered.
func (l *link) RoomsForgotten() {}

// ask runs a statement of package sqldb.
func (l *link) ask(text string, args []any) (result, error) {
	results, err := l.send(query{rewrite(text), bind(args)})
	if err != nil {
		return result{}, err
	}
	return results[0], nil
}

// send runs statements in one round trip, together with what opens the transaction and the
// locks that wait. The results are those of the statements.
func (l *link) send(queries ...query) ([]result, error) {
	var all []query
	if l.begin != "" && !l.open {
		all = append(all, query{sql: l.begin}, l.bounds())
	}
	before := len(all) + len(l.locks)
	all = append(append(all, l.locks...), queries...)
	var results []result
	err := l.await(func(ctx context.Context) (err error) {
		results, err = exchange(ctx, l.conn.Conn(), all)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.open, l.locks = l.open || l.begin != "", nil
	return results[before:], nil
}

// await takes a connection if there is none and runs what uses it, under a deadline of its own.
// A caller whose context ends leaves with errLeft; the connection is then given back here.
func (l *link) await(run func(context.Context) error) error {
	if l.left {
		return errLeft
	}
	work := func() error {
		if l.conn == nil {
			conn, err := l.s.connect(l.pool)
			if err != nil {
				return err
			}
			l.conn = conn
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.limit)
		defer cancel()
		return inward(run(ctx))
	}
	if l.ctx.Done() == nil {
		return work()
	}
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-l.ctx.Done():
		l.left = true
		l.s.work.Go(func() {
			<-done
			l.giveBack()
		})
		return fmt.Errorf("%w: %w", errLeft, l.ctx.Err())
	}
}

// end gives the connection back, unless the caller has left it.
func (l *link) end() {
	if !l.left {
		l.giveBack()
	}
}

// giveBack rolls back what is open, and returns the connection to its pool, and the place.
func (l *link) giveBack() {
	if l.conn != nil {
		giveBack(l.conn)
		l.conn = nil
	}
	if l.place != nil {
		l.place.leave()
	}
}

// giveBack rolls back what is open on a connection, and returns it to its pool, which closes
// one that is in any other state.
func giveBack(conn *pgxpool.Conn) {
	if !conn.Conn().IsClosed() && conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		_, _ = exchange(ctx, conn.Conn(), []query{{sql: "ROLLBACK"}}) // what it says is of no use
	}
	conn.Release()
}

// connect takes a connection from a pool. Whoever calls it has a place, so it waits only for a
// connection that must be made.
func (s *Store) connect(pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.connectTimeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, &unsent{inward(err)}
	}
	return conn, nil
}

// unsent marks an error that came before anything was sent.
type unsent struct{ err error }

// Error implements error.
func (u *unsent) Error() string { return u.err.Error() }

// Unwrap gives the cause.
func (u *unsent) Unwrap() error { return u.err }

// exchange sends statements in one round trip and reads all results. Without BEGIN they are
// one transaction of their own.
func exchange(ctx context.Context, conn *pgx.Conn, queries []query) (results []result, err error) {
	var batch pgx.Batch
	for _, q := range queries {
		batch.Queue(q.sql, q.args...)
	}
	sent := conn.SendBatch(ctx, &batch)
	defer func() {
		if end := sent.Close(); err == nil {
			err = end
		}
	}()
	for range queries {
		rows, err := sent.Query()
		if err != nil {
			return nil, err
		}
		r, err := readAll(rows)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// readAll reads the rows of a statement.
func readAll(rows pgx.Rows) (r result, err error) {
	defer rows.Close()
	for rows.Next() {
		if r.columns == nil {
			// A copy: pgx describes the columns of the connection's next statement in the same
			// place, and by then the connection may be somebody else's.
			r.columns = slices.Clone(rows.FieldDescriptions())
		}
		raw := rows.RawValues() // overwritten by the next row
		size := 0
		for _, v := range raw {
			size += len(v)
		}
		kept, row := make([]byte, 0, size), make([][]byte, len(raw))
		for i, v := range raw {
			if v != nil {
				kept = append(kept, v...)
				row[i] = kept[len(kept)-len(v) : len(kept) : len(kept)]
			}
		}
		r.rows = append(r.rows, row)
	}
	rows.Close()
	r.affected = rows.CommandTag().RowsAffected()
	return r, rows.Err()
}
