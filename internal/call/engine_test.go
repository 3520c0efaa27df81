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

func (s *fakeStore) RecordAttempt(_ context.Context, d bell.Delivery, _ bell.Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.deliveries[d.ID]; ok && !old.State.Final() {
		s.deliveries[d.ID] = d
	}
	return nil
}

func (s *fakeStore) ClaimDeliveries(context.Context, delivery.Claim) ([]bell.Ring, error) {
	return nil, nil
}

func (s *fakeStore) RecordReceipt(context.Context, bell.Receipt) (delivery.Received, error) {
	return delivery.Received{}, nil
}

func (s *fakeStore) ExpireDeliveries(context.Context, time.Time) (int, error) { return 0, nil }

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
				calls:   x.store.calls, deliveries: x.store.deliveries, fail: x.store.fail,
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
