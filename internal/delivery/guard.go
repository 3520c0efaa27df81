package delivery

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/planetbell/planetbell/internal/bell"
)

// The figures of the guards (docs/push-providers.md 7.3). They keep the intent of Apple's
// and Google's advice, which is made for newsletters, without losing calls: what a guard
// stops are retries, never a first attempt.
const (
	guardWindow = 10 * time.Second
	// Of the attempts in the window, a tenth may be retries that are under way or failed,
	// and ten in any case.
	budgetShare = 10
	budgetLeast = 10
	// The breaker opens when half of at least so many attempts in the window failed.
	breakerLeast = 20
	breakerProbe = time.Second // while it is open, one retry in so much time goes through
	// Of the budget's retries, notices may have half, and of a route's room a sixteenth for
	// those that are held.
	noticeShare = 2
	noticeHeld  = 16
)

// Why a retry is held back; labels of a metric.
const (
	heldByBreaker = "breaker"
	heldByBudget  = "budget"
)

// guard keeps retries from making an unwell provider worse. Safe for concurrent use.
type guard struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	well    atomic.Bool // the breaker has closed, and the budget is to be forgiven

	mu      sync.Mutex
	seconds [guardWindow / time.Second]tally // by second, round and round
}

// tally is one second of the window.
type tally struct {
	second         int64
	sends, retries int
	notices        int // retries of notices, which are not among retries
}

// spent is the count of retries of calls, or of notices.
func (t *tally) spent(notice bool) *int {
	if notice {
		return &t.notices
	}
	return &t.retries
}

// Results of an attempt, as the breaker is told.
var (
	errUnwell  = errors.New("the provider is unwell")
	errNoProof = errors.New("the attempt says nothing of the provider")
)

func newGuard(changed func(open bool)) *guard {
	g := &guard{}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Interval: guardWindow, BucketPeriod: time.Second, Timeout: breakerProbe,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			answered := c.TotalSuccesses + c.TotalFailures
			return answered >= breakerLeast && 2*c.TotalFailures >= answered
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNoProof) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateClosed {
				g.well.Store(true) // not more: the breaker's lock is held, and retry takes it while it holds g.mu
			}
			changed(to != gobreaker.StateClosed)
		},
	})
	return g
}

// forgive gives the budget back when the provider was found well again: the retries that
// failed were of its bad time, and what is held must not wait for them to be forgotten. The
// caller holds g.mu.
func (g *guard) forgive() {
	if !g.well.Swap(false) {
		return
	}
	for i := range g.seconds {
		g.seconds[i].retries, g.seconds[i].notices = 0, 0
	}
}

// permit lets one attempt go, and takes what came of it.
type permit func(error)

// first lets the first attempt of a delivery go, whatever the guards think of it.
func (g *guard) first(now time.Time) permit {
	if g == nil {
		return func(error) {}
	}
	g.mu.Lock()
	g.at(now).sends++
	g.mu.Unlock()
	report, err := g.breaker.Allow()
	if err != nil {
		return func(error) {} // it is open, and this attempt is not its probe
	}
	return report
}

// retry asks for one more attempt. One that the provider takes gives its share of the
// budget back: so what was held while a provider was down leaves quickly once it is well,
// some at a time, and a provider that is unwell sees a tenth more than without retries.
// free says that nothing of the earlier ones can have
// reached the provider: such a retry adds no load, and costs no budget. cause says what
// holds it back; empty when it may go.
func (g *guard) retry(now time.Time, free bool) (p permit, cause string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgive()
	budget, retries, _ := g.budget(now)
	if !free && retries >= budget {
		return nil, heldByBudget
	}
	report, err := g.breaker.Allow()
	if err != nil {
		return nil, heldByBreaker
	}
	return g.spend(now, report, free, false), ""
}

// firstOfNotice is first for a notice. Its failure says nothing to the breaker, and it is
// not the probe: neither must hold back a call.
func (g *guard) firstOfNotice(now time.Time) permit {
	if g == nil {
		return func(error) {}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at(now).sends++
	return g.prove
}

// retryOfNotice is retry for a notice. It takes what calls leave of the budget, half of it at
// most, and what it spends is not counted against them. It waits as long as the breaker is
// not closed: a call would have to wait for a notice that is the probe.
func (g *guard) retryOfNotice(now time.Time, free bool) (p permit, cause string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgive()
	budget, retries, notices := g.budget(now)
	if !free && (notices >= budget/noticeShare || retries+notices >= budget) {
		return nil, heldByBudget
	}
	if g.breaker.State() != gobreaker.StateClosed {
		return nil, heldByBreaker
	}
	return g.spend(now, g.prove, free, true), ""
}

// prove takes what came of a notice: if the breaker waits for its probe, a provider that
// answers a notice is as well as one that answers a call.
func (g *guard) prove(err error) {
	if err != nil {
		return
	}
	g.mu.Lock() // a call's retry must not find the place of the probe taken
	defer g.mu.Unlock()
	if g.breaker.State() != gobreaker.StateHalfOpen {
		return
	}
	if report, err := g.breaker.Allow(); err == nil {
		report(nil)
	}
}

// budget is how many retries the window allows, and how many calls and notices have spent.
// The caller holds g.mu.
func (g *guard) budget(now time.Time) (allowed, retries, notices int) {
	sends := 0
	for _, t := range g.seconds {
		if age := now.Unix() - t.second; age >= 0 && age < int64(len(g.seconds)) {
			sends, retries, notices = sends+t.sends, retries+t.retries, notices+t.notices
		}
	}
	return max(budgetLeast, sends/budgetShare), retries, notices
}

// spend counts a retry that goes. The caller holds g.mu.
func (g *guard) spend(now time.Time, report permit, free, notice bool) permit {
	t := g.at(now)
	t.sends++
	if free {
		return report
	}
	*t.spent(notice)++
	second := t.second
	return func(err error) {
		report(err)
		if err == nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if t.second == second && *t.spent(notice) > 0 {
				*t.spent(notice)--
			}
		}
	}
}

// at is the tally of now's second. The caller holds g.mu.
func (g *guard) at(now time.Time) *tally {
	t := &g.seconds[now.Unix()%int64(len(g.seconds))]
	if t.second != now.Unix() {
		*t = tally{second: now.Unix()}
	}
	return t
}

// health is what an outcome says of the provider. That a device is unknown, or a
// credential wrong, is the answer of a provider that is well.
func health(o bell.Outcome) error {
	switch {
	case o.Reason == reasonCancelled || o.Reason == reasonClosed:
		return errNoProof // our own doing
	case o.Verdict == bell.RetryNow && o.Status == 0, o.Verdict == bell.RetryConnect, o.Verdict == bell.RetryBackoff:
		return errUnwell
	case o.Verdict == bell.Rejected && o.Status == 0:
		return errNoProof // refused by ourselves
	}
	return nil
}

// Reasons of senders that say nothing of the provider.
const (
	reasonCancelled = "cancelled"
	reasonClosed    = "closed"
)
