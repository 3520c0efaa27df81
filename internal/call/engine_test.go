package call_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
)

// The rest of delivery.Store, for a call store under the real engine.

func (s *fakeStore) RecordAttempt(_ context.Context, d bell.Delivery, a bell.Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.deliveries[d.ID]
	if !ok {
		return bell.NotFound
	}
	if !old.State.Final() {
		s.deliveries[d.ID] = d
	}
	if a.Number > 0 {
		if s.attempts[d.ID] == nil {
			s.attempts[d.ID] = map[int]bool{}
		}
		s.attempts[d.ID][a.Number] = true
	}
	return nil
}

func (s *fakeStore) ClaimDeliveries(_ context.Context, c delivery.Claim) ([]bell.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rings []bell.Ring
	for id, d := range s.deliveries {
		if d.State.Final() || !c.Now.Before(d.Deadline) || d.LeaseUntil.After(c.Now) && (!c.TakeAll || d.LeaseOwner == c.Owner) {
			continue
		}
		d.LeaseOwner, d.LeaseUntil = c.Owner, c.LeaseUntil
		s.deliveries[id] = d
		owner := s.calls[callKey{d.Environment, d.SessionID}]
		for _, device := range s.devices[owner.CalleeOwner()] {
			if device.ID == d.DeviceID {
				rings = append(rings, bell.Ring{Call: &owner, Device: device, Delivery: d})
			}
		}
	}
	return rings, nil
}

func (s *fakeStore) RecordReceipt(context.Context, bell.Receipt) (delivery.Received, error) {
	return delivery.Received{}, nil
}

func (s *fakeStore) ExpireDeliveries(_ context.Context, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id, d := range s.deliveries {
		if !d.State.Final() && !now.Before(d.Deadline) {
			d.State = bell.DeliveryExpired
			s.deliveries[id] = d
			n++
		}
	}
	return n, nil
}

// wire is a provider that never accepts, so that the engine tries on and on.
type wire struct {
	mu   sync.Mutex
	last time.Time
	sent int
}

func (w *wire) Route(d *bell.Device) (delivery.Route, string) {
	return delivery.Route{Key: delivery.RouteKey{Channel: d.Channel}, Sender: w}, ""
}

func (w *wire) Send(ctx context.Context, _ *bell.Ring, _ delivery.Try) bell.Outcome {
	if ctx.Err() != nil { // nothing leaves with an ended context
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "interrupted"}
	}
	w.mu.Lock()
	w.last, w.sent = time.Now(), w.sent+1
	w.mu.Unlock()
	select {
	case <-time.After(200 * time.Millisecond):
		return bell.Outcome{Verdict: bell.RetryConnect, Reason: "dial"}
	case <-ctx.Done():
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "timeout"}
	}
}

// Notify and Call Event race through the real engine, each held up by the database
// for any time: once the event has been seen, nothing leaves.
func TestNothingIsSentAfterTheEndOfTheCall(t *testing.T) {
	delay := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond
	})
	rapid.Check(t, func(rt *rapid.T) {
		begin, end := delay.Draw(rt, "begin takes"), delay.Draw(rt, "end takes")
		notifyAt, eventAt := delay.Draw(rt, "notify at"), delay.Draw(rt, "event at")
		var late time.Duration
		var sent, room int
		synctest.Test(t, func(t *testing.T) {
			w := &wire{}
			store := newStore()
			engine := delivery.New(delivery.Config{Store: store, Router: w, Owner: "this", Log: testlog.New(t), MaxInFlight: 2})
			x := newExchange(t, engine)
			*x.store = fakeStore{
				devices: map[bell.Owner][]bell.Device{bob(): {device("a", bell.APNsVoIP), device("b", bell.FCM)}},
				calls:   x.store.calls, deliveries: x.store.deliveries, attempts: x.store.attempts, fail: x.store.fail,
				pause: func(method string) {
					<-time.After(map[string]time.Duration{"BeginCall": begin, "EndCall": end}[method])
				},
			}
			var ended time.Time
			var work sync.WaitGroup
			work.Go(func() {
				<-time.After(notifyAt)
				if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
					t.Error(err)
				}
			})
			work.Go(func() {
				<-time.After(eventAt + time.Microsecond) // so that the order of the two is known
				ended = time.Now()
				if err := x.End(t.Context(), x.acme, event("s1")); err != nil {
					t.Error(err)
				}
			})
			work.Wait()
			engine.Stop(context.Background())
			late, sent = w.last.Sub(ended), w.sent
			if err := engine.Admit(nil); err == nil {
				t.Error("a stopped engine admits")
			}
			for _, d := range x.store.deliveries {
				if !d.State.Final() {
					room++
				}
			}
		})
		if sent > 0 && late >= 0 {
			rt.Errorf("the last of %d attempts left %v after the event", sent, late)
		}
		if room != 0 {
			rt.Errorf("%d deliveries without an end", room)
		}
		if eventAt < notifyAt && sent > 0 {
			rt.Errorf("%d attempts for a call that had ended before", sent)
		}
	})
}
