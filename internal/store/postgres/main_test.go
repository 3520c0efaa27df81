package postgres

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/storetest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) {
	// What the properties find is not in the database but in the statements, and a run of one
	// costs it a thousand of them. A search for more says -rapid.checks.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit))
}

// openStore opens a store on a database and closes it at the end of the test.
func openStore(t testing.TB, url string) *Store {
	t.Helper()
	log := testlog.New(t)
	if _, bench := t.(*testing.B); bench {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(context.Background(), Config{URL: planet.Secret(url), Node: t.Name(), Log: log})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// newStore opens a store on an empty database.
func newStore(t testing.TB) *Store { return openStore(t, emptyDatabase(t)) }

// emptied are databases that have the schema and are free for the next test: to make one and
// to drop it takes PostgreSQL longer than most tests.
var emptied struct {
	sync.Mutex
	urls []string
	made int
}

// emptyDatabase returns a database that is the test's alone, with the schema and no rows.
func emptyDatabase(t testing.TB) string {
	t.Helper()
	emptied.Lock()
	defer emptied.Unlock()
	var location string
	if n := len(emptied.urls); n > 0 {
		location, emptied.urls = emptied.urls[n-1], emptied.urls[:n-1]
		exec(t, location, wipe)
	} else {
		first := testpg.Database(t)
		u, err := url.Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		emptied.made++
		name := fmt.Sprintf("kept_%d", emptied.made)
		exec(t, first, "CREATE DATABASE "+name)
		u.Path = "/" + name
		location = u.String()
	}
	t.Cleanup(func() {
		emptied.Lock()
		defer emptied.Unlock()
		emptied.urls = append(emptied.urls, location)
	})
	return location
}

// wipe empties all tables. They hold little, and TRUNCATE would make files.
const wipe = `DO $$ DECLARE name text; BEGIN
	FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
		AND relname NOT IN ('goose_db_version', 'schema_release') LOOP
		EXECUTE format('DELETE FROM %I', name);
	END LOOP; END $$`

// exec runs statements on a connection of their own.
func exec(t testing.TB, url, statements string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// wanting lets a store that is not in use yet make every event.
func wanting(s *Store) *Store {
	s.Events = func(string) bell.EventSet { return bell.Events(bell.EventTypes()...) }
	return s
}

func TestConformance(t *testing.T) { conform(t, "", nil) }

// Through a pooler in transaction mode no statement stays prepared; see Config.URL. Each
// statement must work so once: what repeats them for the sake of what they say is left out.
func TestConformanceBehindPooler(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite once more")
	}
	conform(t, "&default_query_exec_mode=exec", regexp.MustCompile(
		`/Properties/|/Notify_and_event_in_any_order$|/shuffled_events_|/expire_many$|/large_rooms_|/many_devices_`))
}

// conform runs the suite on one store, whose tables are emptied for each test. Tests whose
// names match leaveOut are skipped.
func conform(t *testing.T, settings string, leaveOut *regexp.Regexp) {
	t.Helper()
	location := emptyDatabase(t)
	seen := &statements{texts: map[string]bool{}}
	s, err := Open(t.Context(), Config{URL: planet.Secret(location + settings), Log: testlog.New(t), tracer: seen})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wanting(s)
	empty := emptier(t, location)
	storetest.Run(t, func(t *testing.T) storetest.Store {
		if leaveOut != nil && leaveOut.MatchString(t.Name()) {
			t.Skip("it is run without a pooler")
		}
		empty()
		return s
	})
	seen.explain(t, location, 120)
}

// emptier empties a database over one connection: another for each test would take longer than
// most of them.
func emptier(t *testing.T, location string) func() {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return func() {
		if _, err := conn.PgConn().Exec(context.Background(), wipe).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}
