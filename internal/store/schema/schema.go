// Package schema brings a database's tables up to date, and tells which migrations it
// has: one form for every database. Migrations go forward only. They are additive (a test
// holds that), so that the release before works with the schema of the one after.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// table is where goose keeps what was applied.
const table = "goose_db_version"

// Step is one migration.
type Step struct {
	Version   int64
	Name      string        // such as "rooms"; empty if this program does not know it
	AppliedAt time.Time     // zero: not yet
	Took      time.Duration // what Up needed for it
}

// Applied reports whether the database has it.
func (s Step) Applied() bool { return !s.AppliedAt.IsZero() }

// NewerError says that the database was written by a newer program.
type NewerError struct {
	Have, Know int64 // schema versions
}

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("it was written by a newer version of planetbell (schema %d, this one knows %d); use that version or restore a backup", e.Have, e.Know)
}

// Migrations are those of one database. Its methods may not be called at once.
type Migrations struct {
	dialect  goose.Dialect
	db       *sql.DB
	provider *goose.Provider
}

// New reads the migrations in files, whose names are NNNNN_name.sql. options are goose's,
// such as a lock that several nodes share. It does not touch the database, and does not
// close it later.
func New(dialect goose.Dialect, db *sql.DB, files fs.FS, options ...goose.ProviderOption) (*Migrations, error) {
	provider, err := goose.NewProvider(dialect, db, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return &Migrations{dialect: dialect, db: db, provider: provider}, nil
}

// Status lists all migrations, those of this program and those of the database, in
// order. It changes nothing.
func (m *Migrations) Status(ctx context.Context) ([]Step, error) {
	applied, err := m.applied(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema's version: %w", err)
	}
	var steps []Step
	for _, source := range m.provider.ListSources() {
		step := Step{Version: source.Version, Name: name(source.Path), AppliedAt: applied[source.Version]}
		delete(applied, source.Version)
		steps = append(steps, step)
	}
	for version, at := range applied {
		steps = append(steps, Step{Version: version, AppliedAt: at})
	}
	slices.SortFunc(steps, func(a, b Step) int { return int(a.Version - b.Version) })
	return steps, nil
}

// Up applies what is missing, each migration in a transaction of its own, and returns
// what it applied. It fails with a [*NewerError] when the database has a migration that this
// program does not know. Repeating it does no harm.
func (m *Migrations) Up(ctx context.Context) ([]Step, error) {
	steps, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	if err := Known(steps); err != nil {
		return nil, err
	}
	results, err := m.provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
	}
	var done []Step
	for _, r := range results {
		done = append(done, Step{Version: r.Source.Version, Name: name(r.Source.Path), AppliedAt: time.Now(), Took: r.Duration})
	}
	if err != nil {
		return done, fmt.Errorf("bring the schema to version %d: %w", steps[len(steps)-1].Version, err)
	}
	return done, nil
}

// Known fails with a [*NewerError] when a database has a migration that this program does
// not know.
func Known(steps []Step) error {
	newer := NewerError{}
	for _, s := range steps {
		if s.Name == "" {
			newer.Have = max(newer.Have, s.Version)
		} else {
			newer.Know = max(newer.Know, s.Version)
		}
	}
	if newer.Have != 0 {
		return &newer
	}
	return nil
}

// Pending are the migrations that the database does not have.
func Pending(steps []Step) []Step {
	return slices.DeleteFunc(slices.Clone(steps), Step.Applied)
}

// Version is the newest migration of the database; 0 for an empty one.
func Version(steps []Step) (version int64) {
	for _, s := range steps {
		if s.Applied() {
			version = max(version, s.Version)
		}
	}
	return version
}

// applied reads goose's table without making it, as goose itself would.
func (m *Migrations) applied(ctx context.Context) (map[int64]time.Time, error) {
	exists := `SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = '` + table + `'`
	if m.dialect == goose.DialectPostgres {
		exists = `SELECT to_regclass('` + table + `') IS NOT NULL`
	}
	var made bool
	if err := m.db.QueryRowContext(ctx, exists).Scan(&made); err != nil || !made {
		return nil, err
	}
	rows, err := m.db.QueryContext(ctx, `SELECT version_id, tstamp FROM `+table+` WHERE version_id > 0`)
	if err != nil {
		return nil, err
	}
	applied := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		applied[version] = at
	}
	return applied, errors.Join(rows.Err(), rows.Close())
}

// name is that of a migration without its number: "rooms" of "00005_rooms.sql".
func name(file string) string {
	_, after, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".sql"), "_")
	return after
}
