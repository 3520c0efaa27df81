package sqlite

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
)

// settle returns when the writer has done all that was asked of it, and what it does after
// that. It then empties the log at every opportunity.
func settle(t *testing.T, s *Store) {
	t.Helper()
	for range 2 { // the second begins when the first group's log was emptied
		err := s.writer.submit(t.Context(), "settle", func(*link) error {
			s.writer.truncateEvery = 0
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func logHoldsSecret(t *testing.T, s *Store) bool {
	t.Helper()
	content, err := os.ReadFile(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(content, []byte(testlog.Text))
}

// cc_param must be gone from the files of a running server too when the call is over: the
// write-ahead log of a quiet one would keep it for days.
func TestSecretIsErasedFromTheLog(t *testing.T) {
	s := newStore(t)
	settle(t, s)
	for _, end := range []func(bell.Call) error{
		func(c bell.Call) error { return s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event"}) },
		func(c bell.Call) error { _, err := s.ExpireDeliveries(t.Context(), c.Deadline); return err },
	} {
		c, deliveries, raw := benchCall(1)
		if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
			t.Fatal(err)
		}
		if !logHoldsSecret(t, s) {
			t.Fatal("the log does not hold what was written: the test looks in the wrong place")
		}
		if err := end(c); err != nil {
			t.Fatal(err)
		}
		settle(t, s)
		if logHoldsSecret(t, s) {
			t.Error("cc_param is still in the write-ahead log")
		}
	}
}

// A reader keeps the log from being emptied, but no write from being done; the log is
// emptied when the reader is ready.
func TestReaderPutsOffEmptyingTheLog(t *testing.T) {
	s := newStore(t)
	settle(t, s)
	c, deliveries, raw := benchCall(1)
	if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
		t.Fatal(err)
	}
	reads, ready := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.readers.read(context.Background(), func(l *link) error {
			return snapshot(l, func() error {
				_, err := l.One(`SELECT count(*) FROM calls`, sqldb.Into([]any{new(int)}))
				close(reads)
				<-ready
				return err
			})
		})
	}()
	<-reads
	if err := s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event"}); err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	if !logHoldsSecret(t, s) {
		t.Error("the log was emptied under a reader")
	}
	close(ready)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	if logHoldsSecret(t, s) {
		t.Error("cc_param is still in the write-ahead log")
	}
}

// The log is emptied now and then, not after every call.
func TestLogIsNotEmptiedAllTheTime(t *testing.T) {
	s := newStore(t)
	settle(t, s)
	emptied := func() (at time.Time) {
		err := s.writer.submit(t.Context(), "look", func(*link) error {
			s.writer.truncateEvery = time.Hour
			at = s.writer.emptied
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := emptied()
	for n := range int64(3) {
		c, deliveries, raw := benchCall(n)
		if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
			t.Fatal(err)
		}
		if err := s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event"}); err != nil {
			t.Fatal(err)
		}
	}
	if after := emptied(); before.IsZero() || !after.Equal(before) {
		t.Errorf("emptied at %v and again at %v", before, after)
	}
}
