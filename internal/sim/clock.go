package sim

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Clock tells the time and waits. All parts of the simulator take theirs from one, so
// that a test can move it. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the time.
	Now() time.Time
	// Wait returns nil after d, or the context's error as soon as it is done.
	Wait(ctx context.Context, d time.Duration) error
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now returns the machine's time.
func (SystemClock) Now() time.Time { return time.Now() }

// Wait waits with a timer.
func (SystemClock) Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ManualClock stands still until a test moves it with [ManualClock.Advance]. It is for
// tests that use real sockets, where testing/synctest cannot be.
type ManualClock struct {
	mu      sync.Mutex
	now     time.Time
	waits   []*wait
	arrived chan struct{} // closed and replaced whenever somebody begins to wait
}

type wait struct {
	until time.Time
	done  chan struct{}
}

// NewManualClock returns a clock that shows now.
func NewManualClock(now time.Time) *ManualClock {
	return &ManualClock{now: now, arrived: make(chan struct{})}
}

// Now returns the time that the clock was moved to.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Wait returns when the clock was moved by d, or with the context's error.
func (c *ManualClock) Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	c.mu.Lock()
	w := &wait{until: c.now.Add(d), done: make(chan struct{})}
	c.waits = append(c.waits, w)
	close(c.arrived)
	c.arrived = make(chan struct{})
	c.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		c.waits = slices.DeleteFunc(c.waits, func(x *wait) bool { return x == w })
		c.mu.Unlock()
		return ctx.Err()
	}
}

// Advance moves the clock by d and ends the waits that are over.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.waits = slices.DeleteFunc(c.waits, func(w *wait) bool {
		over := !w.until.After(c.now)
		if over {
			close(w.done)
		}
		return over
	})
}

// AwaitWaiters returns when at least n callers wait for exactly d from now, or with the
// context's error. A test calls it before Advance.
func (c *ManualClock) AwaitWaiters(ctx context.Context, n int, d time.Duration) error {
	for {
		c.mu.Lock()
		var have int
		for _, w := range c.waits {
			if w.until.Equal(c.now.Add(d)) {
				have++
			}
		}
		arrived := c.arrived
		c.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// orSystem returns c, or the machine's clock when there is none.
func orSystem(c Clock) Clock {
	if c == nil {
		return SystemClock{}
	}
	return c
}
