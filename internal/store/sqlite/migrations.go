package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"

	"github.com/planetbell/planetbell/internal/store/schema"
)

func newMigrations(db *sql.DB) (*schema.Migrations, error) {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("find the migrations: %w", err)
	}
	return schema.New(goose.DialectSQLite3, db, folder)
}

// usable decides whether this program works with what a database has. Migrations are
// additive, so one that is newer is usable too, unless a migration has said from which version
// on a program can work with it: PRAGMA user_version, which nothing else uses.
func usable(db *sql.DB, steps []schema.Step) error {
	err := schema.Known(steps)
	newer, ok := errors.AsType[*schema.NewerError](err)
	if !ok {
		return err
	}
	var oldest int64
	if err := db.QueryRowContext(detached(), `PRAGMA user_version`).Scan(&oldest); err != nil {
		return fmt.Errorf("read what the newer schema works with: %w", err)
	}
	if newer.Know < oldest {
		return newer
	}
	return nil
}

// Migrations are those of a database file, for who looks at it or brings it up to date
// beside Open. Its methods may not be called at once.
type Migrations struct{ path string }

// NewMigrations names the database file; nothing is opened yet.
func NewMigrations(path string) *Migrations { return &Migrations{path: path} }

// Status lists all migrations in order. It changes nothing and may be asked for while a
// server runs. A file that does not exist has none.
func (m *Migrations) Status(ctx context.Context) (steps []schema.Step, err error) {
	name := fileName(m.path, "rw", readerPragmas)
	if _, err := os.Stat(m.path); errors.Is(err, fs.ErrNotExist) {
		name = ":memory:" // has none either
	} else if err != nil {
		return nil, fmt.Errorf("look at the database: %w", err)
	}
	db, err := openNamed(name)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", m.path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	all, err := newMigrations(db)
	if err != nil {
		return nil, err
	}
	if steps, err = all.Status(ctx); err != nil {
		return nil, fmt.Errorf("the database %s: %w", m.path, outward(err))
	}
	return steps, nil
}

// Up makes the file if it is missing, and applies the migrations that it lacks. It fails
// when a server has the database open, and when a newer planetbell wrote it.
func (m *Migrations) Up(ctx context.Context) (_ []schema.Step, err error) {
	lock, err := lockDatabase(m.path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := prepareFiles(m.path); err != nil {
		return nil, err
	}
	db, err := openPool(m.path, writerPragmas, 1)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", m.path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	all, err := newMigrations(db)
	if err != nil {
		return nil, err
	}
	done, err := all.Up(context.WithoutCancel(ctx)) // see detached
	if err != nil {
		return done, fmt.Errorf("migrate the database %s: %w", m.path, outward(err))
	}
	return done, nil
}
