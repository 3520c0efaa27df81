package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

// bools are the columns that Go binds and scans as bools. SQLite keeps them as integers.
var bools = []string{
	"agent_calls.success", "devices.apns_server_confirmed", "devices.apns_server_guessed", "devices.notices",
	"do_not_disturb.is_on", "room_participants.timed_out", "room_runs.crowded",
}

// onlyHere are tables and indexes that PostgreSQL alone has: what several nodes need.
var onlyHere = []string{
	"schema_release", "nodes", "device_changes",
	"deliveries index deliveries_letters", "deliveries index deliveries_mailbox", "deliveries index deliveries_owner",
}

// Both databases have the same tables, columns, keys and indexes, so that no migration is
// forgotten in one of them, and data can be moved.
func TestSameSchemaAsSQLite(t *testing.T) {
	here, there := postgresSchema(t), sqliteSchema(t)
	for _, name := range slices.Sorted(maps.Keys(here)) {
		table, _, _ := strings.Cut(strings.Fields(name)[0], ".")
		if slices.Contains(onlyHere, table) || slices.Contains(onlyHere, name) {
			delete(here, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if here[name] != there[name] {
			t.Errorf("%s is %q in PostgreSQL, want %q as in SQLite", name, here[name], there[name])
		}
		delete(here, name)
	}
	for name := range here {
		t.Errorf("%s is in PostgreSQL only", name)
	}
	if len(there) < 200 {
		t.Errorf("%d columns and indexes are compared; the test looks at too little", len(there))
	}
}

// postgresSchema describes columns and indexes, with SQLite's names for types.
func postgresSchema(t *testing.T) map[string]string {
	t.Helper()
	location := emptyDatabase(t)
	openStore(t, location)
	conn, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	found := map[string]string{}
	var name, kind, fallback, collation string
	var required bool
	rows, err := conn.Query(t.Context(), `SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			coalesce(pg_get_expr(d.adbin, d.adrelid), ''), coalesce(l.collname, '')
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND c.relname <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &required, &fallback, &collation}, func() error {
		if kind == "text" && collation != "C" {
			t.Errorf("%s is ordered by %q, want \"C\"", name, collation)
		}
		switch {
		case kind == "text":
			kind = "TEXT"
		case kind == "bigint", kind == "boolean" && slices.Contains(bools, name):
			kind = "INTEGER"
		}
		fallback = map[string]string{"''::text": "''", "false": "0"}[fallback] + map[bool]string{true: fallback}[fallback == "0"]
		found[name] = describe(kind, required, fallback)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := conn.Query(t.Context(), `SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'public'
		AND tablename <> 'goose_db_version' AND indexname NOT LIKE '%\_pkey' AND indexname <> 'events_id_key'`)
	if err != nil {
		t.Fatal(err)
	}
	var table string
	_, err = pgx.ForEachRow(indexes, []any{&table, &name}, func() error {
		if name != "devices_push" { // the other half of SQLite's devices_token
			found[table+" index "+name] = "index"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sqliteSchema(t *testing.T) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "planetbell.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found := map[string]string{}
	scan := func(query string, dest []any, each func()) {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			each()
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	var table, column, kind, fallback, index string
	var required, key int
	scan(`SELECT m.name, c.name, c.type, c."notnull", coalesce(c.dflt_value, ''), c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`,
		[]any{&table, &column, &kind, &required, &fallback, &key}, func() {
			found[table+"."+column] = describe(kind, required+key > 0, fallback)
		})
	scan(`SELECT tbl_name, name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name <> 'goose_db_version'`,
		[]any{&table, &index}, func() { found[table+" index "+index] = "index" })
	return found
}

func describe(kind string, required bool, fallback string) string {
	return fmt.Sprintf("%s required=%t default=%s", kind, required, fallback)
}

// Nodes that start at once on an empty database all come up; one of them migrates.
func TestNodesStartAtOnce(t *testing.T) {
	location := testpg.Database(t)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			s, err := Open(context.Background(), Config{URL: planet.Secret(location), Log: testlog.New(t)})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

// A program works on the schema of the next release and not on the one after, as the
// migrations say which is which.
func TestNewerSchema(t *testing.T) {
	location := testpg.Database(t)
	open := func() error {
		s, err := Open(t.Context(), Config{URL: planet.Secret(location), Log: testlog.New(t)})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	sources := migrationVersions(t)
	last := sources[len(sources)-1]
	exec(t, location, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true)`, last+1))
	if err := open(); err != nil {
		t.Errorf("a schema that is one release newer: %v", err)
	}
	if done, err := NewMigrations(planet.Secret(location)).Up(t.Context()); err != nil || len(done) != 0 {
		t.Errorf("migrate on a schema that is one release newer: %v, %v", done, err)
	}
	exec(t, location, fmt.Sprintf(`UPDATE schema_release SET oldest = %d`, last+1))
	err := open()
	if err == nil || !strings.Contains(err.Error(), "newer version of planetbell") {
		t.Errorf("a schema that is too new: %v", err)
	}
}

func migrationVersions(t *testing.T) []int64 {
	t.Helper()
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	var versions []int64
	for _, f := range files {
		var n int64
		if _, err := fmt.Sscanf(f.Name(), "%d_", &n); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, n)
	}
	return versions
}

func TestWrongEncoding(t *testing.T) {
	location := testpg.Database(t)
	exec(t, location, `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	t.Cleanup(func() { exec(t, location, `DROP DATABASE latin`) })
	i := strings.LastIndex(location, "/")
	j := strings.Index(location, "?")
	_, err := Open(t.Context(), Config{URL: planet.Secret(location[:i+1] + "latin" + location[j:]), Log: testlog.New(t)})
	if err == nil || !strings.Contains(err.Error(), "encoding is LATIN1") {
		t.Errorf("Open: %v", err)
	}
}
