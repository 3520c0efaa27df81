package delivery

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Notices may spend half of the budget, of what calls leave, and calls find all of it.
func TestNoticesSpendNothingOfCallsRetries(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	spend := func(ask func(time.Time, bool) (permit, string)) (n int) {
		for ; ; n++ {
			report, cause := ask(now, false)
			if cause == "" {
				report(errUnwell)
				continue
			}
			if cause != heldByBudget {
				t.Errorf("held by %q", cause)
			}
			return n
		}
	}
	g := newGuard(func(bool) {})
	if got := spend(g.retryOfNotice); got != budgetLeast/2 {
		t.Errorf("notices got %d retries, want half of %d", got, budgetLeast)
	}
	if got := spend(g.retry); got != budgetLeast {
		t.Errorf("calls got %d retries beside notices, want %d", got, budgetLeast)
	}
	g = newGuard(func(bool) {})
	for range budgetLeast - 2 {
		g.retry(now, false)
	}
	if got := spend(g.retryOfNotice); got != 2 {
		t.Errorf("notices got %d retries, calls left 2", got)
	}
	if _, cause := g.retryOfNotice(now, true); cause != "" {
		t.Errorf("what never left was held by %q", cause)
	}
	g = newGuard(func(bool) {})
	for range 3 * budgetLeast {
		report, cause := g.retryOfNotice(now, false)
		if cause != "" {
			t.Fatal("a retry that was taken cost something")
		}
		report(nil)
	}
}

// Notices neither open the breaker nor take the place of its probe; but one that is taken
// when a probe is due closes it.
func TestNoticesAreNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := false
		g := newGuard(func(now bool) { open = now })
		for range 2 * breakerLeast {
			g.firstOfNotice(time.Now())(errUnwell)
			if report, cause := g.retryOfNotice(time.Now(), true); cause == "" {
				report(errUnwell)
			}
		}
		if open {
			t.Fatal("notices opened the breaker")
		}
		for range breakerLeast {
			g.first(time.Now())(errUnwell)
		}
		if !open {
			t.Fatal("the breaker is closed")
		}
		g.firstOfNotice(time.Now())(nil)
		if !open {
			t.Error("a notice closed the breaker before a probe was due")
		}
		pass(breakerProbe + 1)
		for range 2 {
			if _, cause := g.retryOfNotice(time.Now(), true); cause != heldByBreaker {
				t.Errorf("the retry of a notice is the probe (%q)", cause)
			}
		}
		first := g.firstOfNotice(time.Now())
		probe, cause := g.retry(time.Now(), true)
		if cause != "" {
			t.Fatalf("a call's probe was held by %q beside a notice", cause)
		}
		first(errUnwell)
		probe(errUnwell)
		pass(breakerProbe + 1)
		g.firstOfNotice(time.Now())(errUnwell)
		first = g.firstOfNotice(time.Now())
		first(nil)
		if open {
			t.Error("a notice that was taken does not close the breaker")
		}
		if _, cause := g.retryOfNotice(time.Now(), true); cause != "" {
			t.Errorf("held by %q", cause)
		}
	})
}

// A provider that fails for notices holds back no call, and those notices that are held take
// a small part of the room.
func TestNoticesHoldBackNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, n = 160, 80
		b := newBench(t, func(c *Config) { c.MaxInFlight = room })
		unwell := answer(bell.RetryBackoff)
		unwell.Status = 503
		b.weather(0, n, func() bell.Outcome { return unwell })
		for i := range n {
			b.begin(t, told(b.rings(i, bell.FCM, fmt.Sprintf("d%d", i))))
		}
		pass(4 * time.Second)
		if got := b.states(0, n)[bell.DeliverySending]; got == 0 || got > room/noticeHeld+budgetLeast {
			t.Errorf("%d notices are held, want at most %d", got, room/noticeHeld)
		}
		b.on("call", func(_ context.Context, _ *bell.Ring, try Try) bell.Outcome {
			if try.Number == 1 {
				return unwell
			}
			return answer(bell.Accepted)
		})
		b.begin(t, b.rings(n, bell.FCM, "call"))
		pass(time.Second)
		if got := b.store.row(fmt.Sprintf("call/%d", n)); got.State != bell.DeliveryAccepted {
			t.Errorf("the call is %s: it waits for notices", got.State)
		}
		b.Stop(context.Background())
		b.checkEmpty(t)
	})
}
