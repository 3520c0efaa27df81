package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/planet"
)

// Examined is what a look at the database found, without changing anything in it.
type Examined struct {
	Version     string            // of PostgreSQL
	Settings    map[string]string // synchronous_commit and fsync, as they are for us
	Connections int               // max_connections of the server
	Pool        int               // connections that this node opens at most
	Moving      bool              // not all data of SQLite has come yet
	RoundTrip   time.Duration     // of one row, written to a table of this session only, read and committed
	Pooler      bool              // something stands between: a pooler, in whatever mode
}

// Examine looks at the database of a URL, as [Config] has it. It may be called while servers
// run. The error is a sentence, of kind bell.Unavailable if the database is in trouble, and holds neither
// URL nor password.
func Examine(ctx context.Context, url planet.Secret) (_ Examined, err error) {
	config, err := parse(Config{URL: url, Node: "doctor"})
	if err != nil {
		return Examined{}, bell.E(bell.Invalid, err.Error(), nil)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return Examined{}, sentence(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // it may be broken
		defer cancel()
		_ = conn.Close(ctx)
	}()
	e := Examined{Settings: map[string]string{}, Pool: int(config.MaxConns)}
	if err := e.read(ctx, conn); err != nil {
		return e, sentence(err)
	}
	if err := e.write(ctx, conn); err != nil {
		return e, sentence(err)
	}
	return e, nil
}

func sentence(err error) error {
	err = inward(err)
	if text := trouble(err); text != "" {
		return bell.E(bell.Unavailable, text, err)
	}
	return bell.E(bell.Unavailable, "The database cannot be used; look at its log.", err)
}

func (e *Examined) read(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT name, setting FROM pg_settings
		WHERE name IN ('server_version', 'synchronous_commit', 'fsync', 'max_connections')`)
	if err != nil {
		return err
	}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		e.Settings[name] = value
		return nil
	}); err != nil {
		return err
	}
	e.Version = e.Settings["server_version"]
	e.Connections, _ = strconv.Atoi(e.Settings["max_connections"]) // 0 if the server says nonsense
	return conn.QueryRow(ctx, `SELECT to_regclass('`+MoveTable+`') IS NOT NULL`).Scan(&e.Moving)
}

// write measures a commit.
func (e *Examined) write(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	started := time.Now()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	if _, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE planetbell_doctor (n int) ON COMMIT DROP`); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(ctx, `INSERT INTO planetbell_doctor VALUES (1) RETURNING n`).Scan(&n); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	e.RoundTrip = time.Since(started)
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		return err
	}
	// PostgreSQL tells a session its number at the start, a pooler one of its own.
	e.Pooler = pid != conn.PgConn().PID()
	return nil
}

// Works says whether this program can use a database with these steps: nil, also of one that it
// still has to migrate, or why not.
func (m *Migrations) Works(ctx context.Context, steps []schema.Step) error {
	unknown, ok := errors.AsType[*schema.NewerError](schema.Known(steps))
	if !ok {
		return nil
	}
	config, err := parse(Config{URL: m.url})
	if err != nil {
		return bell.E(bell.Invalid, err.Error(), nil)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return sentence(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it was only looked at
	var oldest int64
	if err := conn.QueryRow(ctx, `SELECT oldest FROM schema_release`).Scan(&oldest); err != nil {
		return fmt.Errorf("read what the newer schema %d works with: %w", unknown.Have, sentence(err))
	}
	if unknown.Know < oldest {
		return unknown
	}
	return nil
}
