package call

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// DefaultLostAfter is how long a Call Event is waited for. It comes when the conversation is
// over, so a day, and not the length of a ring.
const DefaultLostAfter = 24 * time.Hour

const (
	// lostBatch bounds one transaction: calls that come in must not wait for many lost ones.
	lostBatch = 200
	// lostMost and lostLeast bound how often lost calls are looked for.
	lostMost, lostLeast = time.Minute, time.Second
)

// LostEvents makes what the customer's systems are told of a call that is lost.
type LostEvents func(bell.Call) []bell.Event

// loseCalls gives up calls whose Call Event does not come, until ctx ends. One that comes
// after all still ends its call.
func (s *Service) loseCalls(ctx context.Context) {
	ticker := time.NewTicker(min(max(s.lostAfter/10, lostLeast), lostMost))
	defer ticker.Stop()
	for {
		if err := s.sweepLost(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("calls that never ended cannot be given up; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) sweepLost(ctx context.Context) error {
	total := 0
	defer func() {
		if total > 0 {
			s.metrics.lost.Add(float64(total))
			s.log.Info("calls are given up: their Call Event never came; check on_call_evt_cb in the LINE Planet Console", "calls", total)
		}
	}()
	for ctx.Err() == nil && !s.backlog.troubled() {
		lost, err := s.store.LoseCalls(ctx, s.now().Add(-s.lostAfter), lostBatch, s.lostEvents)
		total += len(lost)
		for i := range lost {
			s.sayLost(&lost[i])
		}
		if err != nil || len(lost) < lostBatch {
			return err
		}
	}
	return nil
}
