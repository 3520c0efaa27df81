package delivery

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// crowd begins n calls for one device each, spread evenly over a time.
func (b *bench) crowd(t *testing.T, first, n int, channel bell.Channel, over time.Duration) {
	t.Helper()
	for i := range n {
		b.begin(t, b.rings(first+i, channel, fmt.Sprintf("d%d", first+i)))
		pass(over / time.Duration(n))
	}
}

// states counts the rows of calls by state.
func (b *bench) states(first, n int) map[bell.DeliveryState]int {
	by := map[bell.DeliveryState]int{}
	for i := first; i < first+n; i++ {
		by[b.store.row(fmt.Sprintf("d%d/%d", i, i)).State]++
	}
	return by
}

// weather makes every device of a bench answer as the provider is at the moment.
func (b *bench) weather(first, n int, now func() bell.Outcome) {
	for i := first; i < first+n; i++ {
		b.on(fmt.Sprintf("d%d", i), func(context.Context, *bell.Ring, Try) bell.Outcome { return now() })
	}
}

// While half of all attempts fail, each call still gets its one attempt, and one retry
// a second finds out whether the provider is well again. What is held then rings.
func TestBreakerStopsRetriesNotCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		var down atomic.Bool
		down.Store(true)
		outcome := func() bell.Outcome {
			if down.Load() {
				o := answer(bell.RetryBackoff)
				o.Status = 503
				return o
			}
			return answer(bell.Accepted)
		}
		const n = 300
		b.weather(0, n, outcome)
		b.crowd(t, 0, n, bell.FCM, 15*time.Second)
		if got := b.metric(t, "planetbell_circuit_open", "acme"); got != 1 {
			t.Errorf("the breaker is not open: %v", got)
		}
		for i := range n {
			if len(b.times(fmt.Sprintf("d%d", i))) == 0 {
				t.Fatalf("call %d got no attempt", i)
			}
		}
		retries := b.count() - n
		if retries < 10 || retries > 20+n/10+15 { // before it opened, then probes
			t.Errorf("%d retries while the provider was down", retries)
		}
		down.Store(false)
		pass(20 * time.Second)
		synctest.Wait()
		if got := b.states(0, n); got[bell.DeliveryAccepted] < n*9/10 || got[bell.DeliverySending] != 0 {
			t.Errorf("states %v", got)
		}
		if got := b.metric(t, "planetbell_circuit_open", "acme"); got != 0 {
			t.Errorf("the breaker stays open: %v", got)
		}
		if b.metric(t, "planetbell_retries_held_total", "breaker") == 0 {
			t.Error("no retry was held")
		}
		b.finish(t)
	})
}

// The budget allows a tenth of what was sent as retries, and ten in any case; retries of
// what never left are free.
func TestBudgetOfRetries(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		sends, want int
	}{{0, 10}, {50, 10}, {100, 10}, {500, 50}} {
		g := newGuard(func(bool) {})
		for range c.sends {
			g.first(now)(nil)
		}
		granted := 0
		for range 200 {
			if report, cause := g.retry(now, false); cause == "" {
				report(errNoProof)
				granted++
			} else if cause != heldByBudget {
				t.Fatalf("held by %q", cause)
			}
		}
		// Retries are sends too, so that they earn a little themselves.
		if granted < c.want || granted > c.want+c.want/8 {
			t.Errorf("%d retries after %d sends, want about %d", granted, c.sends, c.want)
		}
		if report, cause := g.retry(now, true); cause != "" {
			t.Errorf("a free retry was held by %q", cause)
		} else {
			report(nil)
		}
		if _, cause := g.retry(now.Add(guardWindow-time.Second), false); cause != heldByBudget {
			t.Errorf("the window is shorter than it should be (%q)", cause)
		}
		if _, cause := g.retry(now.Add(guardWindow), false); cause != "" {
			t.Errorf("the window is longer than it should be: %s", cause)
		}
	}
}

func TestBreakerOpensAtHalfOfTwenty(t *testing.T) {
	for _, c := range []struct {
		well, unwell, silent int
		open                 bool
	}{
		{0, 19, 0, false},
		{0, 20, 0, true},
		{11, 10, 100, false},
		{10, 10, 0, true},
		{30, 29, 0, false},
		{30, 30, 0, true},
		{0, 0, 200, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			open := false
			g := newGuard(func(now bool) { open = now })
			for range c.silent {
				g.first(time.Now())(errNoProof)
			}
			for range c.well {
				g.first(time.Now())(nil)
			}
			for range c.unwell {
				g.first(time.Now())(errUnwell)
			}
			if open != c.open {
				t.Errorf("%d well, %d unwell, %d silent: open = %v", c.well, c.unwell, c.silent, open)
			}
			if !open {
				return
			}
			if _, cause := g.retry(time.Now(), true); cause != heldByBreaker {
				t.Errorf("an open breaker let a retry go (%q)", cause)
			}
			pass(breakerProbe + 1)
			probe, cause := g.retry(time.Now(), true)
			if cause != "" {
				t.Fatalf("no probe: %s", cause)
			}
			if _, cause := g.retry(time.Now(), true); cause != heldByBreaker {
				t.Errorf("a second probe went beside the first (%q)", cause)
			}
			probe(errUnwell)
			if _, cause := g.retry(time.Now(), true); cause != heldByBreaker {
				t.Error("a probe that failed closed the breaker")
			}
			pass(breakerProbe + 1)
			g.first(time.Now())(nil) // a first attempt is as good a probe
			if _, cause := g.retry(time.Now(), true); cause != "" {
				t.Errorf("the breaker did not close: %s", cause)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		o    bell.Outcome
		want error
	}{
		{bell.Outcome{Verdict: bell.Accepted, Status: 200}, nil},
		{bell.Outcome{Verdict: bell.Rejected, Status: 410, Reason: "Unregistered"}, nil},
		{bell.Outcome{Verdict: bell.RetryOtherHost, Status: 400}, nil},
		{bell.Outcome{Verdict: bell.RetryThrottled, Status: 429}, nil},
		{bell.Outcome{Verdict: bell.RetryCredential, Status: 403}, nil},
		{bell.Outcome{Verdict: bell.RetryNow, Status: 503, Reason: "Shutdown"}, nil},
		{bell.Outcome{Verdict: bell.RetryNow, Reason: "timeout"}, errUnwell},
		{bell.Outcome{Verdict: bell.RetryConnect, Reason: "dial"}, errUnwell},
		{bell.Outcome{Verdict: bell.RetryBackoff, Status: 503}, errUnwell},
		{bell.Outcome{Verdict: bell.RetryNow, Reason: "cancelled"}, errNoProof},
		{bell.Outcome{Verdict: bell.RetryConnect, Reason: "closed"}, errNoProof},
		{bell.Outcome{Verdict: bell.Rejected, Reason: "PayloadTooLarge"}, errNoProof},
	} {
		if got := health(c.o); got != c.want {
			t.Errorf("%+v: %v, want %v", c.o, got, c.want)
		}
	}
}

// A retry that the provider takes costs nothing in the end.
func TestBudgetIsGivenBack(t *testing.T) {
	g, now := newGuard(func(bool) {}), time.Unix(1_700_000_000, 0)
	for i := range 200 {
		report, cause := g.retry(now, false)
		if cause != "" {
			t.Fatalf("retry %d was held by %q although all before were taken", i, cause)
		}
		report(nil)
	}
	late, _ := g.retry(now, false)
	g.first(now.Add(guardWindow))(nil) // the same place in the window, ten seconds later
	late(nil)
	if got := g.at(now.Add(guardWindow)).retries; got != 0 {
		t.Errorf("another second was given a retry back: %d", got)
	}
}

// When the breaker closes, the retries that failed in the bad time cost nothing more.
func TestBudgetIsForgivenWhenTheProviderIsWellAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(func(bool) {})
		for range budgetLeast {
			report, cause := g.retry(time.Now(), false)
			if cause != "" {
				t.Fatal(cause)
			}
			report(errUnwell)
		}
		if _, cause := g.retry(time.Now(), false); cause != heldByBudget {
			t.Fatalf("held by %q, want the budget to be spent", cause)
		}
		for range breakerLeast {
			g.first(time.Now())(errUnwell)
		}
		pass(breakerProbe + 1)
		g.first(time.Now())(nil)
		if report, cause := g.retry(time.Now(), false); cause != "" {
			t.Errorf("held by %q although the provider is well again", cause)
		} else {
			report(nil)
		}
	})
}

// Retries that are held take up room, but never so much that a new call finds none.
func TestHeldRetriesLeaveRoomForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxInFlight = 100 })
		const n = 400
		b.weather(0, n, func() bell.Outcome {
			o := answer(bell.RetryBackoff)
			o.Status = 503
			return o
		})
		b.crowd(t, 0, n, bell.FCM, 20*time.Second) // begin fails the test when one is refused
		got := b.states(0, n)
		if got[bell.DeliverySending] > 80 || got[bell.DeliveryFailed] < n-80 {
			t.Errorf("states %v", got)
		}
		pass(ringTime)
		synctest.Wait()
		for i := range n {
			d := b.store.row(fmt.Sprintf("d%d/%d", i, i))
			if !d.State.Final() || d.Reason != "retry_backoff" {
				t.Errorf("call %d: %s %q", i, d.State, d.Reason)
			}
		}
		b.finish(t)
	})
}

// What never left this machine goes on to the end of the ring.
func TestWhatNeverLeftIsTriedToTheEnd(t *testing.T) {
	for _, verdict := range []bell.Verdict{bell.RetryConnect, bell.RetryBackoff} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			var up atomic.Bool
			b.on("d", func(context.Context, *bell.Ring, Try) bell.Outcome {
				if up.Load() {
					return answer(bell.Accepted)
				}
				o := answer(verdict)
				o.Unsent = true
				return o
			})
			b.begin(t, b.rings(1, bell.FCM, "d"))
			pass(45 * time.Second)
			up.Store(true)
			pass(8 * time.Second)
			synctest.Wait()
			if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted || got.Attempts < 8 || got.Attempts > 30 {
				t.Errorf("%s: %+v", verdict, got)
			}
			b.finish(t)
		})
	}
}

// The breaker reports that it closes under its own lock, and a retry asks it under the
// budget's: if closing took that one too, the two would wait for each other, and no call on
// the route would ring any more.
func TestBreakerClosesWhileRetriesAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(func(bool) {})
		for range breakerLeast {
			g.first(time.Now())(errUnwell)
		}
		if _, cause := g.retry(time.Now(), true); cause != heldByBreaker {
			t.Fatalf("the breaker is not open: %q", cause)
		}
		g.at(time.Now()).retries = budgetLeast // all spent
		pass(breakerProbe + time.Millisecond)
		probe := g.first(time.Now())
		g.mu.Lock() // as a retry does that is about to ask the breaker
		probe(nil)
		g.mu.Unlock()
		if _, cause := g.retry(time.Now(), false); cause != "" {
			t.Errorf("a retry is held by %s though the provider is well again", cause)
		}
	})
}

// Nor does a restart end it: the next process cannot know which attempts never left, and
// must not take them for those that did.
func TestWhatNeverLeftIsTriedToTheEndByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unsent := answer(bell.RetryConnect)
		unsent.Unsent = true
		old := newBench(t, nil)
		old.weather(0, 1, func() bell.Outcome { return unsent })
		old.begin(t, old.rings(0, bell.FCM, "d0"))
		pass(20 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		old.Stop(ctx)
		if got := old.store.row("d0/0"); got.State != bell.DeliveryPending || got.Attempts < policies[bell.FCM].attempts {
			t.Fatalf("given back as %+v", got)
		}

		next := newBench(t, func(c *Config) { c.Owner = "next"; c.Store = old.store })
		var up atomic.Bool
		next.weather(0, 1, func() bell.Outcome {
			if up.Load() {
				return answer(bell.Accepted)
			}
			return unsent
		})
		end := next.run(t, false)
		pass(20 * time.Second)
		up.Store(true)
		pass(6 * time.Second)
		synctest.Wait()
		if got := old.store.row("d0/0"); got.State != bell.DeliveryAccepted {
			t.Errorf("recorded: %+v", got)
		}
		end()
		next.finish(t)
	})
}
