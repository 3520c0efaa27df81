package schema

import (
	"database/sql"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database of these tests
)

func files(names ...string) fstest.MapFS {
	all := fstest.MapFS{
		"00001_first.sql":  {Data: []byte("-- +goose Up\nCREATE TABLE a (id INTEGER);\n")},
		"00002_second.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id INTEGER);\n")},
		"00003_wrong.sql":  {Data: []byte("-- +goose Up\nCREATE TABLE a (id INTEGER);\n")},
	}
	chosen := fstest.MapFS{}
	for _, n := range names {
		chosen[n] = all[n]
	}
	return chosen
}

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func of(t *testing.T, db *sql.DB, names ...string) *Migrations {
	t.Helper()
	m, err := New(goose.DialectSQLite3, db, files(names...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func want(t *testing.T, what string, got []Step, err error, version int64, pending, all int) {
	t.Helper()
	if err != nil || Version(got) != version || len(Pending(got)) != pending || len(got) != all {
		t.Errorf("%s: %+v, %v; want version %d, %d of %d pending", what, got, err, version, pending, all)
	}
}

func TestUpAndStatus(t *testing.T) {
	db := open(t)
	m := of(t, db, "00001_first.sql")
	for range 2 { // looking changes nothing
		steps, err := m.Status(t.Context())
		want(t, "empty", steps, err, 0, 1, 1)
		var tables int
		if err := db.QueryRow(`SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil || tables != 0 {
			t.Errorf("%d tables, %v", tables, err)
		}
	}
	steps, err := m.Up(t.Context())
	want(t, "up", steps, err, 1, 0, 1)

	next := of(t, db, "00001_first.sql", "00002_second.sql")
	steps, err = next.Status(t.Context())
	want(t, "one release on", steps, err, 1, 1, 2)
	steps, err = next.Up(t.Context())
	want(t, "up again", steps, err, 2, 0, 1)
	if diff := cmp.Diff([]Step{{Version: 2, Name: "second"}}, steps, cmpopts.IgnoreFields(Step{}, "AppliedAt", "Took")); diff != "" {
		t.Error(diff)
	}
	steps, err = next.Up(t.Context())
	want(t, "nothing to do", steps, err, 0, 0, 0)

	steps, err = m.Status(t.Context())
	want(t, "one release back", steps, err, 2, 0, 2)
	var newer *NewerError
	if _, err := m.Up(t.Context()); !errors.As(err, &newer) || newer.Have != 2 || newer.Know != 1 {
		t.Errorf("up, one release back: %v", err)
	}
	if err := Known(steps[:1]); err != nil {
		t.Errorf("what is known: %v", err)
	}
}

// What went well before one migration failed is told.
func TestUpStopsAtAFailure(t *testing.T) {
	db := open(t)
	m := of(t, db, "00001_first.sql", "00002_second.sql", "00003_wrong.sql")
	done, err := m.Up(t.Context())
	if err == nil || Version(done) != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	steps, err := m.Status(t.Context())
	want(t, "after the failure", steps, err, 2, 1, 3)
}
