package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// callers is how many calls are under way at once when the rate is to be found: enough
// for 4,500 calls/s at a provider that takes 50 ms.
const callers = 512

// times collects latencies from many goroutines.
type times struct {
	mu              sync.Mutex
	answers, pushes []time.Duration
}

func (t *times) add(answer, push time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers = append(t.answers, answer)
	t.pushes = append(t.pushes, push)
}

// call places one call for a user and waits until the provider has accepted its push.
func (t *times) call(ctx context.Context, s *server, fake *provider, user int, start time.Time) error {
	push := fake.expect(s.tokens[user])
	if err := s.notify(ctx, user); err != nil {
		return err
	}
	answered := time.Since(start)
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case p := <-push:
		t.add(answered, p.arrived.Sub(start))
		return nil
	case <-timeout.C:
		return errors.New("a call was accepted and its push never came")
	}
}

// measureAnswer places 1,000 calls a second.
func measureAnswer(ctx context.Context, set settings, s *server, fake *provider) (figure, error) {
	fake.delay.Store(0)
	var t times
	err := openLoop(ctx, 1000, set.length, func(number int, planned time.Time) error {
		return t.call(context.WithoutCancel(ctx), s, fake, number%len(s.tokens), planned)
	})
	return figure{perSecond: 1000, answer: quantilesOf(t.answers), push: quantilesOf(t.pushes)}, err
}

// measureCalls places as many calls as go through, with a provider that takes delay.
// Each caller has users of its own, so that no two calls wait for the same push.
func measureCalls(delay time.Duration, callers int) func(context.Context, settings, *server, *provider) (figure, error) {
	return func(ctx context.Context, set settings, s *server, fake *provider) (figure, error) {
		fake.delay.Store(int64(delay))
		var t times
		n := min(callers, len(s.tokens))
		rate, _, err := closedLoop(ctx, n, set.length, func(worker, _ int) error {
			return t.call(context.WithoutCancel(ctx), s, fake, worker, time.Now())
		})
		return figure{perSecond: rate, answer: quantilesOf(t.answers), push: quantilesOf(t.pushes)}, err
	}
}
