package datamove

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
)

// rowsEach is more than two batches of config, so that each table is copied in pieces.
const rowsEach = 23

func TestMove(t *testing.T) {
	path := newSource(t)
	url, flags := newTarget(t)
	fill(t, path, rowsEach, flags)
	shown := map[string]int64{}
	c := config(path, url+"&pool_max_conns=30") // as a server has it
	c.Progress = func(phase, table string, done, total int64) {
		if done <= shown[phase] || done > total || table == "" {
			t.Errorf("%s of %s: %d of %d after %d", phase, table, done, total, shown[phase])
		}
		shown[phase] = done
	}
	moved, err := Move(t.Context(), c)
	if err != nil {
		t.Fatalf("Move: %v", err)
	}
	for _, table := range moved.Tables {
		if table.Rows != rowsEach || len(table.Sum) != 64 {
			t.Errorf("%+v, want %d rows", table, rowsEach)
		}
	}
	if len(moved.Tables) < 17 || moved.Rows() != shown[Copying] || moved.Before != 0 || shown[Comparing] == 0 {
		t.Errorf("%d tables, %d rows, %d before; shown %v", len(moved.Tables), moved.Rows(), moved.Before, shown)
	}
	wantSame(t, path, url)
	var left *string
	if err := openPostgres(t, url).QueryRow(t.Context(), `SELECT to_regclass('data_move')::text`).Scan(&left); err != nil || left != nil {
		t.Errorf("the progress is left behind: %v", err)
	}
	var changes int
	if err := openPostgres(t, url).QueryRow(t.Context(), `SELECT count(*) FROM device_changes`).Scan(&changes); err != nil || changes != 0 {
		t.Errorf("nodes would be told of %d changes of devices, %v", changes, err)
	}
	// Once more would write everything twice.
	wantRefused(t, config(path, url), "of which this command copied 0")
}

// A database with nothing in it, and an empty target without a schema.
func TestMoveNothing(t *testing.T) {
	path, url := newSource(t), testpg.Database(t)
	moved, err := Move(t.Context(), config(path, url))
	if err != nil || moved.Rows() != 0 || len(moved.Tables) < 17 {
		t.Errorf("Move = %+v, %v", moved, err)
	}
	wantSame(t, path, url)
}

// Whatever breaks a move off, the next run goes on, and in the end every row is there once.
func TestInterruptedMove(t *testing.T) {
	path := newSource(t)
	url, flags := newTarget(t)
	fill(t, path, rowsEach, flags)
	admin := openPostgres(t, url)
	before, broken := int64(0), 0
	for { // the comparison begins anew each time, so in the end it must be let through
		ctx, cancel := context.WithCancelCause(t.Context())
		after, cut := 1+rand.IntN(8), rand.IntN(2) == 0
		c := config(path, url)
		c.Progress = func(string, string, int64, int64) {
			if after--; after > 0 || broken >= 15 {
				return
			}
			if cut {
				_, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, applicationName)
				if err != nil {
					t.Error(err)
				}
				return
			}
			cancel(errStopped)
		}
		moved, err := Move(ctx, c)
		cancel(nil)
		if err == nil {
			if moved.Before == 0 {
				t.Error("the last run copied everything itself")
			}
			break
		}
		testlog.Keep(t, "Move", err.Error())
		if !cut && !errors.Is(err, errStopped) && !errors.Is(err, context.Canceled) {
			t.Errorf("a move that was stopped says %v", err)
		}
		if broken++; broken > 15 {
			t.Fatalf("it never ends: %v", err)
		}
		have := int64(0)
		// What is not committed yet when the connection is cut is not copied.
		if err := admin.QueryRow(t.Context(), `SELECT coalesce(sum(copied), 0) FROM data_move`).Scan(&have); err != nil || have < before {
			t.Errorf("%d rows are copied after %d: %v", have, before, err)
		}
		before = have
	}
	wantSame(t, path, url)
}

var errStopped = errors.New("stopped by the test")

// stopped is a target into which a part was moved.
func stopped(t *testing.T, path, url string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	c := config(path, url)
	after := 10
	c.Progress = func(string, string, int64, int64) {
		if after--; after == 0 {
			cancel(errStopped)
		}
	}
	if _, err := Move(ctx, c); !errors.Is(err, errStopped) && !errors.Is(err, context.Canceled) {
		t.Fatalf("Move = %v", err)
	}
}

func TestMovesThatAreRefused(t *testing.T) {
	path := newSource(t)
	url, flags := newTarget(t)
	fill(t, path, rowsEach, flags)

	used := newSource(t)
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: used, Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	wantRefused(t, config(used, url), "in use by another planetbell process")
	wantRefused(t, config(path+".absent", url), "there is no database at")
	if exists(path + ".absent") {
		t.Error("a database was made")
	}
	wantRefused(t, config(path, "postgres://me:"+testlog.TextSecret("password")+"@[::1/db"), "not a URL of a PostgreSQL database")
	wantRefused(t, config(path, "postgres://me:"+testlog.TextSecret("password")+"@127.0.0.1:1/db"), "connect to the PostgreSQL database")

	running := openPostgres(t, url+appName(url, "planetbell-node-1"))
	wantRefused(t, config(path, url), "planetbell servers use the PostgreSQL database")
	if err := running.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := openPostgres(t, url)
	exec := func(statement string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO nodes (owner, host, version, started_at, seen_at) VALUES ('behind a pooler', '', '', 0, extract(epoch FROM clock_timestamp()) * 1000000)`)
	wantRefused(t, config(path, url), "planetbell servers use the PostgreSQL database")
	exec(`UPDATE nodes SET seen_at = seen_at - 11000000`)
	exec(`INSERT INTO gone_endpoints VALUES ('foreign', '', 0)`)
	wantRefused(t, config(path, url), "1 rows in gone_endpoints, of which this command copied 0")
	exec(`DELETE FROM gone_endpoints`)
	exec(`ALTER TABLE users ADD COLUMN shoe_size bigint`)
	exec(`CREATE TABLE shoes (id bigint PRIMARY KEY)`)
	exec(`ALTER TABLE receipts RENAME COLUMN channel TO canal`)
	wantRefused(t, config(path, url), "only PostgreSQL has the column users.shoe_size")
	wantRefused(t, config(path, url), "only PostgreSQL has the table shoes")
	wantRefused(t, config(path, url), "only SQLite has the column receipts.channel")
	exec(`ALTER TABLE users DROP COLUMN shoe_size`)
	exec(`DROP TABLE shoes`)
	exec(`ALTER TABLE receipts RENAME COLUMN canal TO channel`)
	exec(`ALTER TABLE journal ALTER COLUMN params TYPE bytea USING ''`)
	wantRefused(t, config(path, url), "journal.params is text in SQLite and bytea in PostgreSQL")
	exec(`ALTER TABLE journal ALTER COLUMN params TYPE text USING ''`)

	stopped(t, path, url)
	other := newSource(t)
	if _, err := openSQLite(t, other).Exec(`UPDATE goose_db_version SET tstamp = '2001-01-01 00:00:00'`); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, config(other, url), "came from another SQLite database")
	exec(`DELETE FROM agent_calls WHERE session_id = (SELECT min(session_id) FROM agent_calls)`)
	wantRefused(t, config(path, url), "rows in agent_calls, of which this command copied")
}

// appName adds a setting to a URL.
func appName(url, name string) string {
	if strings.Contains(url, "?") {
		return "&application_name=" + name
	}
	return "?application_name=" + name
}

// A row that is not what its column says is not copied: the error says where it is, and not
// what is in it.
func TestDamagedRow(t *testing.T) {
	path := newSource(t)
	url, flags := newTarget(t)
	fill(t, path, rowsEach, flags)
	db := openSQLite(t, path)
	if _, err := db.Exec(`UPDATE do_not_disturb SET is_on = 7 WHERE user_id = (SELECT max(user_id) FROM do_not_disturb)`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantRefused(t, config(path, url), `holds in is_on neither 0 nor 1`)
	}
	if _, err := db.Exec(`UPDATE do_not_disturb SET is_on = 1 WHERE is_on = 7`); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), config(path, url)); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	wantSame(t, path, url)
}

// Rows that were changed on either side after they were copied are found at the end.
func TestChangedRowsAreFound(t *testing.T) {
	for _, side := range []string{"SQLite", "PostgreSQL"} {
		t.Run(side, func(t *testing.T) {
			path := newSource(t)
			url, flags := newTarget(t)
			fill(t, path, rowsEach, flags)
			stopped(t, path, url)
			const change = `UPDATE agent_calls SET fail_reason = fail_reason || '!' WHERE session_id = (SELECT min(session_id) FROM agent_calls)`
			var err error
			if side == "SQLite" {
				_, err = openSQLite(t, path).Exec(change)
			} else {
				_, err = openPostgres(t, url).Exec(t.Context(), change)
			}
			if err != nil {
				t.Fatal(err)
			}
			wantRefused(t, config(path, url), "the two databases differ")
			wantRefused(t, config(path, url), "agent_calls: 23 rows with the sum")
		})
	}
}

func TestSum(t *testing.T) {
	sums := map[string]bool{}
	for _, rows := range [][][]any{
		{}, {{int64(1), "a"}}, {{int64(1), "b"}}, {{"1", "a"}}, {{nil, "a"}}, {{int64(1), "a"}, {int64(1), "a"}}, {{"a", int64(1)}}, {{"ab", ""}}, {{"a", "b"}},
	} {
		s := newSum()
		for _, row := range rows {
			if err := s.add(row); err != nil {
				t.Fatal(err)
			}
		}
		if sums[s.text()] {
			t.Errorf("%v has the sum of others", rows)
		}
		sums[s.text()] = true
	}
	here, there := newSum(), newSum()
	for _, row := range []any{"a", "b", "c"} {
		_ = here.add([]any{row})
	}
	for _, row := range []any{"c", "a", "b"} {
		_ = there.add([]any{row})
	}
	if here.text() != there.text() {
		t.Error("the sum depends on the order")
	}
	if err := newSum().add([]any{1.5}); err == nil {
		t.Error("a type that is not expected was summed up")
	}
}
