package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// link is one connection with its prepared statements. It belongs to one goroutine at
// a time. Statements are kept for ever: their texts are constants and a few
// combinations of filters.
type link struct {
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	erased bool // the write-ahead log may still hold what was erased
	rooms  *roomCache
}

// detached is the context of every statement. It is deliberately nobody's: a context
// that ends makes the driver interrupt SQLite, which has left connections unusable
// (gotosocial#2731, temporal#7333), and a statement that is bounded by its LIMIT needs
// no interrupting.
func detached() context.Context { return context.Background() }

func newLink(ctx context.Context, db *sql.DB) (*link, error) {
	conn, err := db.Conn(context.WithoutCancel(ctx)) // opening it runs the pragmas: see detached
	if err != nil {
		return nil, fmt.Errorf("open a database connection: %w", err)
	}
	return &link{conn: conn, stmts: map[string]*sql.Stmt{}, rooms: newRoomCache()}, nil
}

func (l *link) close() error {
	var errs []error
	for _, stmt := range l.stmts {
		errs = append(errs, stmt.Close())
	}
	if err := l.conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// discard closes the connection itself, which close gives back to the pool.
func (l *link) discard() {
	for _, stmt := range l.stmts {
		_ = stmt.Close() // the connection is in trouble; what it says now is of no use
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
}

func (l *link) prepare(query string) (*sql.Stmt, error) {
	if stmt, ok := l.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := l.conn.PrepareContext(detached(), query)
	if err != nil {
		return nil, err
	}
	l.stmts[query] = stmt
	return stmt, nil
}

// exec runs a statement that returns no rows and reports how many it changed.
func (l *link) Exec(query string, args ...any) (int64, error) {
	result, err := l.result(query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (l *link) result(query string, args ...any) (sql.Result, error) {
	stmt, err := l.prepare(query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(detached(), args...)
}

// one reads the first row, and reports whether there was one.
func (l *link) One(query string, scan func(sqldb.Scanner) error, args ...any) (bool, error) {
	stmt, err := l.prepare(query)
	if err != nil {
		return false, err
	}
	switch err := scan(stmt.QueryRowContext(detached(), args...)); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// each calls scan for every row. scan must not use the link.
func (l *link) Each(query string, scan func(sqldb.Scanner) error, args ...any) (err error) {
	stmt, err := l.prepare(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(detached(), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
