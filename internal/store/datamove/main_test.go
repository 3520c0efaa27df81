package datamove

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // to fill what is moved

	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }

// odd are texts that a careless copy changes or breaks on.
var odd = []string{
	"", "plain", `'; DROP TABLE calls; --`, "tab\tnewline\nreturn\r backslash \\ \\N \\.", "with\x00NUL", "not UTF-8: \xff\xfe",
	"\x1asubstitute first", "inside \x1a00", "사용자 👩‍👩‍👧 \u202e", `{"json":"\u0000"}`, "e\u0301 \u00e9 \ufeff",
}

// fill writes n rows into every table of a database, so that a new table is in all tests.
// flags are the columns that hold 0 and 1 only. Keys are texts and numbers in no order.
func fill(t *testing.T, path string, n int, flags map[string]bool) {
	t.Helper()
	db := openSQLite(t, path)
	tables, err := source{db: db}.tables(t.Context())
	if err != nil || len(tables) < 17 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range tables {
		if slices.Contains(passing, name) {
			continue
		}
		marks := strings.Repeat(", ?", len(table.columns))[2:]
		for i := range n {
			var row []any
			for place, c := range table.columns {
				row = append(row, value(table, place, (i*7919)%104729, flags[name+"."+c.name]))
			}
			if _, err := tx.Exec(`INSERT INTO `+name+` (`+table.names()+`) VALUES (`+marks+`)`, row...); err != nil {
				t.Fatalf("fill %s: %v", name, err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// value is what a column holds in row i.
func value(t *table, place, i int, flag bool) any {
	c := t.columns[place]
	switch {
	case flag:
		return int64(i % 2)
	case c.kind == integer && slices.Contains([]string{"rel_code", "rel_terminate", "billing_seconds"}, c.name) && i%3 == 0:
		return nil
	case c.kind == integer && i%11 == 5 && !slices.Contains(t.key, place):
		return int64(-1) << (i % 64)
	case c.kind == integer:
		return int64(i + 1)
	case c.name == "push_token":
		return testlog.HexSecret(i, 64)
	}
	return fmt.Sprintf("%s-%d-%s", c.name, i, odd[i%len(odd)])
}

func openSQLite(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
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

func openPostgres(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// newSource is a SQLite database of this schema with nothing in it.
func newSource(t *testing.T) string {
	t.Helper()
	content, err := empty()
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := errors.Join(err, os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// empty is the file of such a database. To make one takes a while, and each test wants some.
var empty = sync.OnceValues(func() (content []byte, err error) {
	folder, err := os.MkdirTemp("", "planetbell-datamove-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	path := filepath.Join(folder, "planetbell.db")
	if _, err := sqlite.NewMigrations(path).Up(context.Background()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// newTarget is a PostgreSQL database of this schema with nothing in it, and what of it
// are flags.
func newTarget(t *testing.T) (url string, flags map[string]bool) {
	t.Helper()
	url = testpg.Database(t)
	if _, err := postgres.NewMigrations(planet.Secret(url)).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := (&target{conn: openPostgres(t, url)}).tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	flags = map[string]bool{}
	for name, columns := range all {
		for column, kind := range columns {
			flags[name+"."+column] = kind == "boolean"
		}
	}
	return url, flags
}

func config(path, url string) Config {
	return Config{From: path, To: planet.Secret(url), Batch: 7, Progress: func(string, string, int64, int64) {}}
}

// wantSame compares both databases row by row, with queries of its own.
func wantSame(t *testing.T, path, url string) {
	t.Helper()
	from, to := openSQLite(t, path), openPostgres(t, url)
	tables, err := source{db: from}.tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range tables {
		if slices.Contains(passing, name) {
			continue
		}
		here, there := []string{}, []string{}
		rows, err := from.Query(`SELECT ` + table.names() + ` FROM ` + name)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			row, into := make([]any, len(table.columns)), make([]any, len(table.columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			here = append(here, fmt.Sprintf("%q", row))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		moved, err := to.Query(t.Context(), `SELECT `+table.names()+` FROM `+name)
		if err != nil {
			t.Fatal(err)
		}
		for moved.Next() {
			row, err := moved.Values()
			if err != nil {
				t.Fatal(err)
			}
			for i, value := range row {
				switch v := value.(type) {
				case bool:
					row[i] = map[bool]int64{true: 1}[v]
				case string:
					row[i] = postgres.Unescape(v)
				}
			}
			there = append(there, fmt.Sprintf("%q", row))
		}
		if err := moved.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(here)
		slices.Sort(there)
		if !slices.Equal(here, there) {
			t.Errorf("%s: %d rows became %d, or others", name, len(here), len(there))
		}
	}
}

// wantRefused holds an error to be a sentence without secrets.
func wantRefused(t *testing.T, c Config, says string) {
	t.Helper()
	_, err := Move(t.Context(), c)
	if err == nil {
		t.Fatalf("Move succeeded, want %q", says)
	}
	testlog.Keep(t, "Move", err.Error())
	if !strings.Contains(err.Error(), says) {
		t.Errorf("Move = %q, want it to say %q", err, says)
	}
	if u, parsed := url.Parse(c.To.Reveal()); parsed == nil && u.User != nil {
		if password, set := u.User.Password(); set && strings.Contains(err.Error(), password) {
			t.Error("the error holds the password")
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
