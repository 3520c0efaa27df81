package sqlite

import (
	"context"
	"os"
	"path/filepath"
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
	s := openStore(t, filepath.Join(t.TempDir(), "planetbell.db"))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}
