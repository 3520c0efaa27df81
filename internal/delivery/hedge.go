package delivery

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// The figures of hedging.
const (
	// hedgeEvery is how many sends earn one hedge: 5 %.
	hedgeEvery = 20
	// hedgeBurst is how many hedges can be saved up, so that the first calls after a quiet
	// night are hedged too.
	hedgeBurst = 10
	// latencyTurn is how long answers are remembered, at least; at most twice that.
	latencyTurn = 30 * time.Second
	// latencyLeast is how many answers make a 99th percentile worth looking at.
	latencyLeast = 200
)

var errAnswered = errors.New("the first connection has answered")

// hedges decides which sends of a route are hedged, and when. Safe for concurrent use.
type hedges struct {
	least time.Duration // wait for an answer before a second request is made

	mu     sync.Mutex
	spent  int // hedges, less what was earned back; never under 0
	earned int // sends since the last hedge was earned

	turned   time.Time
	now, old latencies
	looked   time.Time // when the 99th percentile was last worked out
	slow     time.Duration
}

// latencies counts answers by time; bucket i holds those of up to 2^(i/4) ms.
type latencies struct {
	count int
	by    [64]int
}

// sent notes a send and returns how long to wait for its answer before it is hedged: the
// time in which 99 of 100 are answered, and at least h.least.
func (h *hedges) sent(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.earned++; h.earned >= hedgeEvery {
		h.earned, h.spent = 0, max(0, h.spent-1)
	}
	if now.Sub(h.turned) >= latencyTurn {
		h.old, h.now, h.turned = h.now, latencies{}, now
	}
	if now.Sub(h.looked) >= time.Second {
		h.slow, h.looked = h.slowest(), now
	}
	return max(h.least, h.slow)
}

// slowest is the 99th percentile, or 0 while too little is known. h.mu is held.
func (h *hedges) slowest() time.Duration {
	total := h.now.count + h.old.count
	if total < latencyLeast {
		return 0
	}
	beyond := total / 100
	for i := len(h.now.by) - 1; i >= 0; i-- {
		if beyond -= h.now.by[i] + h.old.by[i]; beyond < 0 {
			return time.Duration(math.Exp2(float64(i)/4) * float64(time.Millisecond))
		}
	}
	return 0
}

// answered notes how long an accepted push took.
func (h *hedges) answered(took time.Duration) {
	i := 0
	if ms := float64(took) / float64(time.Millisecond); ms > 1 {
		i = min(int(math.Ceil(4*math.Log2(ms))), len(h.now.by)-1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.by[i]++
	h.now.count++
}

// take asks for one hedge.
func (h *hedges) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spent >= hedgeBurst {
		return false
	}
	h.spent++
	return true
}

// tries is what came of one turn of a delivery: an attempt, and sometimes another beside
// it that did not decide.
type tries struct {
	last   bell.Attempt
	beside bell.Attempt // Number is 0 when there was none
}

// try makes one attempt. When it is the first, its answer is slow to come and the channel
// is hedged, a second one goes out beside it over the other connection, and the better
// answer decides. A retry goes over the other connection anyway.
func (j *journey) try(ctx context.Context, w way) tries {
	j.r.Delivery.Attempts++
	number, spare := j.r.Delivery.Attempts, j.spare
	if w.route.hedges == nil || j.retry {
		return tries{last: j.attempt(ctx, w, Try{Number: number, Spare: spare})}
	}
	first, giveUpFirst := context.WithCancelCause(ctx)
	second, giveUpSecond := context.WithCancelCause(ctx)
	defer giveUpFirst(nil)
	defer giveUpSecond(nil)
	var beside bell.Attempt
	done := make(chan struct{})
	ring := *j.r // the first attempt has j.r
	other := &journey{Engine: j.Engine, r: &ring, call: j.call}
	timer := time.AfterFunc(w.route.hedges.sent(j.Now()), func() {
		defer close(done)
		if beside = other.hedge(second, w, Try{Number: number + 1, Spare: !spare}); beside.Outcome.Verdict == bell.Accepted {
			giveUpFirst(ErrOutrun)
		}
	})
	last := j.attempt(first, w, Try{Number: number, Spare: spare})
	if timer.Stop() {
		return tries{last: last}
	}
	if settled(last.Outcome) {
		giveUpSecond(errAnswered)
	}
	<-done
	if beside.Number == 0 {
		return tries{last: last}
	}
	j.r.Delivery.Attempts++
	return better(last, beside)
}

// hedge makes the second attempt if the budget and the route's places allow it.
func (j *journey) hedge(ctx context.Context, w way, t Try) bell.Attempt {
	if ctx.Err() != nil || j.r.Delivery.Attempts >= policies[j.r.Device.Channel].attempts {
		return bell.Attempt{}
	}
	select {
	case w.route.places <- struct{}{}:
		defer func() { <-w.route.places }()
	default:
		return bell.Attempt{}
	}
	if !w.route.hedges.take() {
		j.Metrics.hedged("denied")
		return bell.Attempt{}
	}
	a := j.attempt(ctx, w, t)
	if a.Outcome.Verdict == bell.Accepted {
		j.Metrics.hedged("won")
	} else {
		j.Metrics.hedged("lost")
	}
	return a
}

// better says which of two attempts decides: the one that was accepted, else the one that
// was refused for good, else the one that was answered at all, and the later of equals.
func better(first, second bell.Attempt) tries {
	rank := func(o bell.Outcome) int {
		switch {
		case o.Verdict == bell.Accepted:
			return 3
		case settled(o):
			return 2
		case o.Status != 0:
			return 1
		}
		return 0
	}
	if rank(first.Outcome) > rank(second.Outcome) {
		return tries{last: first, beside: second}
	}
	return tries{last: second, beside: first}
}
