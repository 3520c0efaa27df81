package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/planetbell/planetbell/internal/store/schema"
)

// upTo makes a database of an older release.
func upTo(t *testing.T, path string, version int64) {
	t.Helper()
	db, err := openPool(path, writerPragmas, 1)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, folder, goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = provider.UpTo(context.Background(), version)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("make a database of schema %d: %v", version, err)
	}
}

func opened(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := openPool(path, writerPragmas, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// columns are those of all tables of a database, each with a value of its type.
func columns(t *testing.T, db *sql.DB) map[string]map[string]any {
	t.Helper()
	rows, err := db.Query(`SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[string]any{}
	for rows.Next() {
		var table, column, kind string
		if err := rows.Scan(&table, &column, &kind); err != nil {
			t.Fatal(err)
		}
		if tables[table] == nil {
			tables[table] = map[string]any{}
		}
		tables[table][column] = int64(len(column))
		if kind == "TEXT" {
			tables[table][column] = "of " + column
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(tables) < 5 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	return tables
}

// write inserts a row as a release does that knows these columns, and no others.
func write(db *sql.DB, table string, row map[string]any) error {
	var names, marks []string
	var values []any
	for name, value := range row {
		names, marks, values = append(names, name), append(marks, "?"), append(values, value)
	}
	_, err := db.Exec(`INSERT INTO `+table+` (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, values...)
	return err
}

// holdsRow looks for a row by all columns that a release knows.
func holdsRow(db *sql.DB, table string, row map[string]any) error {
	var where []string
	var values []any
	for name, value := range row {
		where, values = append(where, name+` = ?`), append(values, value)
	}
	n := 0
	if err := db.QueryRow(`SELECT count(*) FROM `+table+` WHERE `+strings.Join(where, ` AND `), values...).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%d such rows", n)
	}
	return nil
}

// What any release wrote stays as it was when the schema is brought up to date.
func TestMigrationsKeepEveryRow(t *testing.T) {
	for version := int64(1); version < newest(t); version++ {
		path := filepath.Join(t.TempDir(), "planetbell.db")
		upTo(t, path, version)
		db := opened(t, path)
		tables := columns(t, db)
		for table, row := range tables {
			if err := write(db, table, row); err != nil {
				t.Fatalf("schema %d: fill %s: %v", version, table, err)
			}
		}
		all, err := newMigrations(db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all.Up(t.Context()); err != nil {
			t.Fatalf("from schema %d: %v", version, err)
		}
		for table, row := range tables {
			if err := holdsRow(db, table, row); err != nil {
				t.Errorf("from schema %d: the row of %s: %v", version, table, err)
			}
		}
	}
}

// A release before can write to and read from the newest schema: it names the columns that
// it knows, and no others.
func TestOlderReleasesWorkWithTheNewestSchema(t *testing.T) {
	for version := int64(1); version < newest(t); version++ {
		old := filepath.Join(t.TempDir(), "old.db")
		upTo(t, old, version)
		path := filepath.Join(t.TempDir(), "planetbell.db")
		if err := os.WriteFile(path, migrated(t), 0o600); err != nil {
			t.Fatal(err)
		}
		db := opened(t, path)
		for table, row := range columns(t, opened(t, old)) {
			if err := errors.Join(write(db, table, row), holdsRow(db, table, row)); err != nil {
				t.Errorf("the release of schema %d cannot use %s: %v", version, table, err)
			}
		}
	}
}

// newest is the schema of this program.
func newest(t *testing.T) int64 {
	t.Helper()
	steps, err := NewMigrations(filepath.Join(t.TempDir(), "absent.db")).Status(t.Context())
	if err != nil || len(steps) < 9 || len(schema.Pending(steps)) != len(steps) {
		t.Fatalf("a file that is not there: %v, %v", steps, err)
	}
	return steps[len(steps)-1].Version
}

func TestMigrationsOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "planetbell.db")
	m := NewMigrations(path)
	if _, err := m.Status(t.Context()); err != nil {
		t.Errorf("Status: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("to look at it made something: %v", err)
	}
	done, err := m.Up(t.Context())
	if err != nil || schema.Version(done) != newest(t) {
		t.Errorf("Up = %v, %v", done, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %s, %v", info.Mode(), err)
	}
	if done, err = m.Up(t.Context()); err != nil || len(done) != 0 {
		t.Errorf("Up again = %v, %v", done, err)
	}
	s := openStore(t, path)
	steps, err := m.Status(t.Context()) // beside a server
	if err != nil || len(schema.Pending(steps)) != 0 {
		t.Errorf("Status = %v, %v", steps, err)
	}
	_, err = m.Up(t.Context())
	wantRefused(t, "Up beside a server", err, "in use by another planetbell process")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = m.Status(t.Context())
	wantRefused(t, "Status", err, path)
	_, err = m.Up(t.Context())
	wantRefused(t, "Up", err, "damaged")
}
