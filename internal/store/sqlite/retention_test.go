package sqlite

import (
	"errors"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// Nothing of a forgotten call is left in any table, and one batch is bounded by what it
// removes, not only by the number of calls.
func TestForgottenCallsLeaveNothing(t *testing.T) {
	s := newStore(t)
	const devices = 150
	var before time.Time
	for n := range int64(5) {
		c, _, raw := benchCall(n)
		before = c.NotifiedAt.Add(time.Hour)
		var deliveries []bell.Delivery
		for range devices {
			deliveries = append(deliveries, bell.Delivery{ID: bell.NewID(), DeviceID: bell.NewID(), State: bell.DeliveryPending, Deadline: c.Deadline})
		}
		_, begun := s.BeginCall(t.Context(), c, deliveries, raw)
		if err := errors.Join(begun,
			s.RecordAttempt(t.Context(), deliveries[0], bell.Attempt{DeliveryID: deliveries[0].ID, Number: 1}),
			failed[delivery.Received](s.RecordReceipt(t.Context(), bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: deliveries[1].DeviceID})),
		); err != nil {
			t.Fatal(err)
		}
	}
	var batches []int
	for {
		n, err := s.ForgetCalls(t.Context(), before, 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if n*devices > sqldb.DeliveriesPerForget {
			t.Errorf("a batch of %d calls with %d devices each", n, devices)
		}
		batches = append(batches, n)
	}
	if len(batches) != 3 { // 2, 2, 1
		t.Errorf("batches %v", batches)
	}
	if rows := contents(t, s); len(rows) != 0 {
		t.Errorf("%d rows are left, such as %q", len(rows), rows[0])
	}
}

// What is forgotten was personal data: it goes out of the write-ahead log, too.
func TestForgettingEmptiesTheLog(t *testing.T) {
	s := newStore(t)
	c, _, raw := benchCall(1)
	entry := bell.JournalEntry{ReceivedAt: c.NotifiedAt, Kind: "call-event", Params: []planet.RawParam{{Name: "srcip", Value: "192.0.2.1"}}}
	_, begun := s.BeginCall(t.Context(), c, nil, raw)
	if err := errors.Join(begun, s.AppendJournal(t.Context(), entry)); err != nil {
		t.Fatal(err)
	}
	erased := func(forget func() (int, error)) bool {
		clean := func(l *link) error { s.writer.truncateEvery, l.erased = time.Hour, false; return nil } // on the writer's goroutine
		if err := s.writer.submit(t.Context(), "look", clean); err != nil {
			t.Fatal(err)
		}
		if n, err := forget(); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		var marked bool
		if err := s.writer.submit(t.Context(), "look", func(l *link) error { marked = l.erased; return nil }); err != nil {
			t.Fatal(err)
		}
		return marked
	}
	before := c.NotifiedAt.Add(time.Hour)
	if !erased(func() (int, error) { return s.ForgetCalls(t.Context(), before, 10) }) {
		t.Error("a call stays in the log")
	}
	if !erased(func() (int, error) { return s.ForgetJournal(t.Context(), before, 10) }) {
		t.Error("a callback stays in the log")
	}
}

// Lists leave readers for rings, however many are asked for.
func TestListsLeaveReaders(t *testing.T) {
	s := newStore(t)
	for range listSlots {
		s.lists <- struct{}{}
	}
	c, _, _ := benchCall(1)
	if _, err := s.DevicesOf(t.Context(), c.CalleeOwner()); err != nil {
		t.Errorf("a ring waits for lists: %v", err)
	}
	if listSlots >= readers {
		t.Errorf("%d lists may take all of %d readers", listSlots, readers)
	}
}
