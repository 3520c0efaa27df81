package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/testlog"
)

// childEnv names the database when the test binary is run again as the process to be
// killed; see TestKilledProcessLosesNothing.
const childEnv = "PLANETBELL_TEST_SQLITE_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(writeUntilKilled(path))
	}
	goleak.VerifyTestMain(m)
}

func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Path: path, Log: testlog.New(t)})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// newStore opens a fresh database that is closed at the end of the test.
func newStore(t testing.TB) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "planetbell.db")
	if err := os.WriteFile(path, migrated(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// empty is a database file with the schema and nothing in it. To run the migrations takes
// most of a second under the race detector, and nearly every test wants a store.
var empty struct {
	once sync.Once
	file []byte
}

func migrated(t testing.TB) []byte {
	t.Helper()
	empty.once.Do(func() {
		path := filepath.Join(t.TempDir(), "empty.db")
		s := openStore(t, path)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if empty.file, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	return empty.file
}
