package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/planet"
)

// Migrations are those of a database, for who looks at it or brings it up to date beside
// Open. Its methods may be called while servers run, and by several processes at once: one
// migrates and the others wait.
type Migrations struct{ url planet.Secret }

// NewMigrations names the database; nothing is opened yet. The URL is that of Config.
func NewMigrations(url planet.Secret) *Migrations { return &Migrations{url: url} }

// Status lists all migrations in order. It changes nothing.
func (m *Migrations) Status(ctx context.Context) (steps []schema.Step, err error) {
	err = m.with(func(db *sql.DB) error {
		all, err := newMigrations(db)
		if err != nil {
			return err
		}
		steps, err = all.Status(ctx)
		return err
	})
	return steps, err
}

// Up applies what the database lacks. When a newer planetbell wrote it, nothing is done, and it
// fails unless that one says that this one can work beside it; as at the start of a server.
func (m *Migrations) Up(ctx context.Context) (done []schema.Step, err error) {
	err = m.with(func(db *sql.DB) error {
		done, _, err = upgrade(ctx, db)
		return err
	})
	return done, err
}

func (m *Migrations) with(run func(*sql.DB) error) (err error) {
	config, err := parse(Config{URL: m.url})
	if err != nil {
		return fmt.Errorf("open the PostgreSQL database: %w", err)
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := run(db); err != nil {
		return fmt.Errorf("migrate the PostgreSQL database: %w", inward(err))
	}
	return nil
}

func newMigrations(db *sql.DB) (*schema.Migrations, error) {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("find the migrations: %w", err)
	}
	// One migrates and the others look again every second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("set up the lock of migrations: %w", err)
	}
	return schema.New(goose.DialectPostgres, db, folder, goose.WithSessionLocker(locker))
}

// Escape is how a text is kept: whoever writes rows past the Store writes texts so.
// PostgreSQL's texts hold neither NUL nor invalid UTF-8; most stay as they are.
func Escape(s string) string { return escape(s) }

// Unescape is the inverse of Escape, for whoever reads rows past the Store.
func Unescape(s string) string { return unescape(s) }
