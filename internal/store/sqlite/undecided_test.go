package sqlite

import (
	"context"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
)

// A call whose Notify was answered 503 in the middle of its commit is on disk all the same,
// and a repeat of the Notify is answered 200. So its deliveries must not stay with a process
// that does not work on them: those in a mailbox are held as long as the call rings.
func TestUndecidedCallIsHeldByNobody(t *testing.T) {
	s := newStore(t)
	c, deliveries, raw := benchCall(1)
	for i := range deliveries {
		deliveries[i].Channel, deliveries[i].LeaseUntil = bell.LongPoll, c.Deadline
		device := bell.Device{ID: deliveries[i].DeviceID, Owner: c.CalleeOwner(), Channel: bell.LongPoll}
		if err := s.AddDevice(t.Context(), device); err != nil {
			t.Fatal(err)
		}
	}
	claim := func() []bell.Ring {
		rings, err := s.ClaimDeliveries(t.Context(), delivery.Claim{
			Owner: deliveries[0].LeaseOwner, Now: c.NotifiedAt.Add(time.Second), LeaseUntil: c.Deadline, Limit: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
		return rings
	}

	ctx, leave := context.WithCancel(t.Context())
	release := hold(t, s)
	begun, stall := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.writer.submit(t.Context(), "stall the disk", func(*link) error {
			close(begun)
			<-stall
			return nil
		})
	}()
	waitQueued(s, 1)
	refused := make(chan error, 1)
	go func() {
		_, err := s.BeginCall(ctx, c, deliveries, raw)
		refused <- err
	}()
	waitQueued(s, 2)
	release()
	<-begun
	leave()
	wantUnavailable(t, "BeginCall", <-refused, "the write may still happen")
	close(stall)
	if err := <-first; err != nil {
		t.Fatal(err)
	}

	again, err := s.BeginCall(t.Context(), c, deliveries, raw)
	if err != nil || again != call.Repeated {
		t.Fatalf("the repeat: %v, %v; want Repeated", again, err)
	}
	if rings := claim(); len(rings) != len(deliveries) {
		t.Errorf("%d deliveries can be claimed, want %d", len(rings), len(deliveries))
	}
	if rings := claim(); len(rings) != 0 {
		t.Errorf("%d deliveries can be claimed twice", len(rings))
	}
}

// A repeat that is undecided gives up nothing: the deliveries are those of the first.
func TestUndecidedRepeatGivesUpNothing(t *testing.T) {
	s := newStore(t)
	c, deliveries, raw := benchCall(1)
	if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
		t.Fatal(err)
	}
	repeat := make([]bell.Delivery, len(deliveries))
	for i, d := range deliveries {
		d.ID = bell.NewID()
		repeat[i] = d
	}
	s.writer.follow("give up", deliveryBatches(repeat).giveUp)
	if err := s.writer.submit(t.Context(), "wait for it", func(*link) error { return nil }); err != nil {
		t.Fatal(err)
	}
	record, err := s.Call(t.Context(), c.Environment, c.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range record.Deliveries {
		if d.Delivery.LeaseOwner == "" || !d.Delivery.LeaseUntil.After(c.NotifiedAt) {
			t.Errorf("delivery %s was given up", d.Delivery.ID)
		}
	}
}
