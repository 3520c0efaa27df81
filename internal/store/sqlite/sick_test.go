package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// sickbed opens a store whose log can be read. One of its writes has been committed.
func sickbed(t *testing.T, dir string) (*Store, *bytes.Buffer) {
	t.Helper()
	var told bytes.Buffer
	log := slog.New(slog.NewTextHandler(io.MultiWriter(&told, testlog.Writer(t)), nil))
	s, err := Open(t.Context(), Config{Path: filepath.Join(dir, "sick.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := s.AddDevice(t.Context(), bell.Device{ID: "before", Owner: sickOwner()}); err != nil {
		t.Fatal(err)
	}
	// The log is emptied after the first group, and then not for a while.
	if err := s.writer.submit(t.Context(), "wait for it", func(*link) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return s, &told
}

func sickOwner() bell.Owner {
	c, _, _ := benchCall(1)
	return c.CalleeOwner()
}

// begin begins the n-th call, within a time.
func (s *Store) begin(t *testing.T, n int64, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, deliveries, raw := sickCall(n)
	_, err := s.BeginCall(ctx, c, deliveries, raw)
	return err
}

// sickCall is the n-th call.
func sickCall(n int64) (bell.Call, []bell.Delivery, []planet.RawParam) {
	c, deliveries, raw := benchCall(n)
	c.SessionID = planet.SessionID(fmt.Sprintf("call-%d", n))
	return c, deliveries, raw
}

// wantRecovered says that everything works again, and that the trouble was told with one
// line when it began and one when it was over.
func wantRecovered(t *testing.T, s *Store, told *bytes.Buffer) {
	t.Helper()
	if err := s.begin(t, 99, time.Minute); err != nil {
		t.Fatalf("the store did not recover: %v", err)
	}
	c, _, _ := sickCall(99)
	if _, err := s.Call(t.Context(), c.Environment, c.SessionID); err != nil {
		t.Errorf("what was written after the trouble: %v", err)
	}
	for _, line := range []string{"nothing can be written", "writes are committed again"} {
		if n := strings.Count(told.String(), line); n != 1 {
			t.Errorf("%q was told %d times, want once", line, n)
		}
	}
}

// Another program that locks the database keeps nobody from reading, and a caller waits no
// longer than it wants to.
func TestReadsGoOnWhileLocked(t *testing.T) {
	s, told := sickbed(t, t.TempDir())
	if err := s.writer.submit(t.Context(), "patience", func(l *link) error {
		_, err := l.Exec(`PRAGMA busy_timeout = 100`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), `BEGIN EXCLUSIVE`); err != nil {
		t.Fatal(err)
	}
	for n := range int64(3) {
		wantUnavailable(t, "BeginCall", s.begin(t, n, 10*time.Millisecond), "took too long")
		if devices, err := s.DevicesOf(t.Context(), sickOwner()); err != nil || len(devices) != 1 {
			t.Errorf("DevicesOf = %d, %v", len(devices), err)
		}
	}
	// The new connection that the writer makes after each failure is as patient as usual.
	wantUnavailable(t, "BeginCall", s.begin(t, 4, time.Minute), "locked by another program")
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	wantRecovered(t, s, told)
}

// A folder that is gone for a while: a store that has its files open does not notice.
func TestFolderMovesAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, _ := sickbed(t, dir)
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Skipf("the folder cannot be moved here: %v", err)
	}
	if err := s.begin(t, 1, time.Minute); err != nil {
		t.Errorf("with open files: %v", err)
	}
	// A connection that has to be opened anew has nothing to open.
	if err := s.writer.submit(t.Context(), "lose it", func(l *link) error { l.discard(); return nil }); err == nil {
		t.Fatal("a lost connection was not noticed")
	}
	wantUnavailable(t, "BeginCall", s.begin(t, 2, time.Minute), "cannot be written")
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.begin(t, 3, time.Minute); err != nil {
		t.Errorf("the store did not recover: %v", err)
	}
	c, _, _ := sickCall(1)
	if _, err := s.Call(t.Context(), c.Environment, c.SessionID); err != nil {
		t.Errorf("what was written while the folder was away: %v", err)
	}
}
