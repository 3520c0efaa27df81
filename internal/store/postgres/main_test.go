package postgres

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/storetest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }

// openStore opens a store on a database and closes it at the end of the test.
func openStore(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{URL: planet.Secret(url), Node: t.Name(), Log: testlog.New(t)})
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

// newStore opens a store on a fresh database.
func newStore(t testing.TB) *Store { return openStore(t, testpg.Database(t)) }

// wanting lets a store that is not in use yet make every event.
func wanting(s *Store) *Store {
	s.Events = func(string) bell.EventSet { return bell.Events(bell.EventTypes()...) }
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return wanting(newStore(t)) })
}
