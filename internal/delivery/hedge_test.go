package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// A first attempt that is not answered is hedged over the other connection, and whichever
// is accepted ends both.
func TestHedge(t *testing.T) {
	const slow = 2 * time.Second
	accepted, refused := answer(bell.Accepted), answer(bell.Rejected)
	refused.Status = 410
	unwell := answer(bell.RetryBackoff)
	unwell.Status = 503
	say := func(o bell.Outcome) reply { return func(context.Context, *bell.Ring, Try) bell.Outcome { return o } }
	tests := []struct {
		name     string
		first    reply
		second   reply
		want     []time.Duration // when attempts left
		state    bell.DeliveryState
		reason   string
		end      time.Duration
		recorded int
	}{
		{"quick", slowly(300*ms, say(accepted)), nil, []time.Duration{0}, bell.DeliveryAccepted, "accepted", 300 * ms, 1},
		{"the second is faster", hang(), slowly(50*ms, say(accepted)), []time.Duration{0, 400 * ms}, bell.DeliveryAccepted, "accepted", 450 * ms, 2},
		{"the first is faster", slowly(450*ms, say(accepted)), hang(), []time.Duration{0, 400 * ms}, bell.DeliveryAccepted, "accepted", 450 * ms, 2},
		{"the first is refused", slowly(450*ms, say(refused)), hang(), []time.Duration{0, 400 * ms}, bell.DeliveryFailed, "rejected", 450 * ms, 2},
		{"the second is refused", slowly(slow, say(refused)), slowly(50*ms, say(refused)), []time.Duration{0, 400 * ms}, bell.DeliveryFailed, "rejected", slow, 2},
		{"the first breaks, the second is waited for", slowly(500*ms, say(answer(bell.RetryConnect))), slowly(slow, say(accepted)), []time.Duration{0, 400 * ms}, bell.DeliveryAccepted, "accepted", 400*ms + slow, 2},
		{"the second breaks, the first is waited for", slowly(slow, say(accepted)), slowly(50*ms, say(answer(bell.RetryConnect))), []time.Duration{0, 400 * ms}, bell.DeliveryAccepted, "accepted", slow, 2},
		{"both are unwell", slowly(500*ms, say(unwell)), slowly(200*ms, say(unwell)), []time.Duration{0, 400 * ms, 1600 * ms}, bell.DeliveryAccepted, "accepted", 1600 * ms, 3},
		{"neither is answered", hang(), hang(), []time.Duration{0, 400 * ms, 3400 * ms}, bell.DeliveryAccepted, "accepted", 3400 * ms, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.HedgeAfter = 0 })
				b.on("d", func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
					switch {
					case try.Number == 1:
						return test.first(ctx, r, try)
					case try.Number == 2:
						if !try.Spare {
							t.Error("the hedge went over the connection of the first")
						}
						return test.second(ctx, r, try)
					}
					return accepted
				})
				b.begin(t, b.rings(1, bell.APNsVoIP, "d"))
				b.Stop(context.Background())
				if took := time.Since(b.start); took != test.end {
					t.Errorf("it took %v, want %v", took, test.end)
				}
				if got := b.times("d"); !slices.Equal(got, test.want) {
					t.Errorf("attempts at %v, want %v", got, test.want)
				}
				got := b.store.row("d/1")
				if got.State != test.state || got.Reason != test.reason || got.Attempts != test.recorded || len(b.store.attempts["d/1"]) != test.recorded {
					t.Errorf("recorded %+v with %d attempts", got, len(b.store.attempts["d/1"]))
				}
				b.checkEmpty(t)
			})
		})
	}
}

// The cause of an attempt's end tells its connection whether to be suspected.
func TestHedgeTellsWhoWasOutrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.HedgeAfter = 0 })
		var mu sync.Mutex
		causes := map[string]error{}
		note := func(name string) reply {
			return func(ctx context.Context, _ *bell.Ring, _ Try) bell.Outcome {
				<-ctx.Done()
				mu.Lock()
				causes[name] = context.Cause(ctx)
				mu.Unlock()
				return bell.Outcome{Verdict: bell.RetryNow, Reason: "cancelled", Token: bell.TokenKeep}
			}
		}
		first := map[string]reply{"outrun": note("first"), "late": slowly(500*ms, script())}
		second := map[string]reply{"outrun": slowly(50*ms, func(context.Context, *bell.Ring, Try) bell.Outcome { return answer(bell.Accepted) }), "late": note("second")}
		for _, d := range []string{"outrun", "late"} {
			b.on(d, func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
				return map[bool]reply{false: first[d], true: second[d]}[try.Spare](ctx, r, try)
			})
		}
		b.begin(t, b.rings(1, bell.APNsVoIP, "outrun", "late"))
		b.finish(t)
		if causes["first"] != ErrOutrun || causes["second"] != errAnswered {
			t.Errorf("causes: %v", causes)
		}
		if won, lost := b.metric(t, "planetbell_push_hedges_total", "won"), b.metric(t, "planetbell_push_hedges_total", "lost"); won != 1 || lost != 1 {
			t.Errorf("%v won, %v lost", won, lost)
		}
	})
}

// However slow a provider gets, hedges stay one in twenty, and a handful.
func TestHedgesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.HedgeAfter = 0 })
		const n = 1000
		for i := range n {
			b.on(fmt.Sprintf("d%d", i), slowly(1500*ms, script()))
		}
		b.crowd(t, 0, n, bell.APNsVoIP, time.Second) // no answer has come yet: nobody knows that this is usual
		b.finish(t)
		hedges := b.count() - n
		if hedges < n/hedgeEvery/2 || hedges > n/hedgeEvery+hedgeBurst {
			t.Errorf("%d hedges for %d sends", hedges, n)
		}
		if b.metric(t, "planetbell_push_hedges_total", "denied") == 0 {
			t.Error("no hedge was denied")
		}
	})
}

// A provider that is always slow is not hedged all the time: the wait grows to what 99 of
// 100 answers take.
func TestHedgeWaitsAsLongAsIsUsual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hedges{least: 400 * ms}
		for range latencyLeast - 1 {
			h.answered(time.Second)
		}
		if got := h.sent(time.Now()); got != 400*ms {
			t.Errorf("it waits %v although little is known", got)
		}
		for range 301 {
			h.answered(time.Second)
		}
		for range 4 {
			h.answered(5 * time.Second)
		}
		pass(2 * time.Second)
		if got := h.sent(time.Now()); got < time.Second || got > 1200*ms {
			t.Errorf("it waits %v, want about a second", got)
		}
		for range 10 {
			h.answered(5 * time.Second)
		}
		pass(2 * time.Second)
		if got := h.sent(time.Now()); got < 4*time.Second {
			t.Errorf("it waits %v, want what 1 in 100 take", got)
		}
		for range 3 {
			pass(latencyTurn)
			h.sent(time.Now())
		}
		pass(time.Second)
		if got := h.sent(time.Now()); got != 400*ms {
			t.Errorf("it waits %v long after the slow answers", got)
		}
	})
}

// That both attempts of a turn were answered alike does not use up what is done once.
func TestHedgesAnsweredAlikeAreOneAnswer(t *testing.T) {
	for _, test := range []struct {
		verdict bell.Verdict
		then    string // over which server
		after   time.Duration
	}{
		{bell.RetryOtherHost, "sandbox", 0},
		{bell.RetryCredential, "production", 0},
		{bell.RetryThrottled, "production", 1500 * ms},
	} {
		t.Run(string(test.verdict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.HedgeAfter = 0 })
				o := answer(test.verdict)
				o.Status = 400
				last := ""
				b.on("d", func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
					if try.Number <= 2 {
						return slowly(500*ms, func(context.Context, *bell.Ring, Try) bell.Outcome { return o })(ctx, r, try)
					}
					last = string(r.Device.APNsServer)
					return answer(bell.Accepted)
				})
				rings := b.rings(1, bell.APNsVoIP, "d")
				rings[0].Device.APNsServer = bell.APNsProduction
				b.begin(t, rings)
				b.Stop(context.Background())
				want := []time.Duration{0, 400 * ms, 900*ms + test.after}
				if got := b.times("d"); !slices.Equal(got, want) || last != test.then {
					t.Errorf("attempts at %v, the last over %q; want %v over %q", got, last, want, test.then)
				}
				if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted || got.Attempts != 3 {
					t.Errorf("recorded %+v", got)
				}
				b.checkEmpty(t)
			})
		})
	}
}
