package webhook_test

import (
	"context"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
)

// lateStore carries a claim out a while after it was asked for, also when its caller has left
// meanwhile, as a database does whose COMMIT is on its way.
type lateStore struct {
	webhook.Store
	late time.Duration
}

func (s *lateStore) ClaimTellings(ctx context.Context, c webhook.Claim) ([]webhook.Telling, error) {
	type answer struct {
		tellings []webhook.Telling
		err      error
	}
	answered := make(chan answer, 1)
	go func() {
		timer := time.NewTimer(s.late)
		<-timer.C
		tellings, err := s.Store.ClaimTellings(context.WithoutCancel(ctx), c)
		answered <- answer{tellings, err}
	}()
	select {
	case a := <-answered:
		return a.tellings, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A process that stops while it leases events knows of them afterwards, and tells them or gives
// them back: nobody waits until the lease has run out.
func TestAStopKnowsWhatItLeased(t *testing.T) {
	story(t, func(c *webhook.Config) { c.Alone = false }, func(t *testing.T, w *world) {
		w.stop() // the worker of the story; another one takes its place
		w.rings(1)
		_, err := w.store.SpreadEvents(t.Context(), time.Now(), 10, func(string, bell.EventType) []string { return []string{"acme/main"} })
		if err != nil {
			t.Fatal(err)
		}
		slow := &lateStore{Store: w.store, late: time.Second}
		worker := webhook.New(webhook.Config{Store: slow, Transport: w.internet, Owner: "slow", Endpoints: []*webhook.Endpoint{endpoint("main")}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			worker.Run(ctx)
		}()
		pass(300 * time.Millisecond) // it has asked, and is not answered
		cancel()
		<-ended
		pass(2 * time.Second)
		list, err := w.store.Tellings(t.Context(), webhook.Filter{}, webhook.Cursor{}, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d events, %v", len(list), err)
		}
		if e := list[0]; e.State == webhook.Waiting && e.Due.After(time.Now()) {
			t.Errorf("after the stop the event waits %v more, until a lease runs out that nobody knows of", time.Until(e.Due))
		}
	})
}
