//go:build !race

// One goroutine computes all of it: the race detector would look for nothing, and take minutes.

package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a setting that is simulated in a moment.
func small() setting {
	return setting{
		calls: 800, devices: 2, polling: .3, polls: 2000, hold: 25, nodes: 3, cores: 2, pgCores: 4,
		warm: 2, length: 3, seed: 1,
	}
}

// erlangC is the share of customers that wait before c servers at a load of a servers.
func erlangC(c int, a float64) float64 {
	sum, term := 0.0, 1.0
	for k := range c {
		sum += term
		term *= a / float64(k+1)
	}
	last := term * float64(c) / (float64(c) - a)
	return last / (sum + last)
}

func TestErlang(t *testing.T) {
	// One server: whoever comes waits as often as it is busy.
	if got := erlangC(1, .7); math.Abs(got-.7) > 1e-9 {
		t.Errorf("one server at 0.7: %f wait", got)
	}
}

// A station with random arrivals and work keeps people waiting as long as the formula says.
func TestAStationIsTheErlangQueue(t *testing.T) {
	for _, q := range []struct {
		servers int
		load    float64 // of each
	}{{1, .5}, {4, .7}, {16, .8}} {
		const work = 1e-3
		r := rand.New(rand.NewPCG(uint64(q.servers), 7))
		c := &clock{}
		s := &station{clock: c, servers: q.servers}
		rate := q.load * float64(q.servers) / work
		waited, n := 0.0, 0
		var arrive func()
		arrive = func() {
			came, length := c.now, r.ExpFloat64()*work
			s.submit(length, func() { waited += c.now - came - length; n++ })
			if n < 300_000 {
				c.after(r.ExpFloat64()/rate, arrive)
			}
		}
		c.after(0, arrive)
		c.run(math.Inf(1))
		got := waited / float64(n)
		want := erlangC(q.servers, q.load*float64(q.servers)) * work / (float64(q.servers) * (1 - q.load))
		if math.Abs(got-want) > .06*want {
			t.Errorf("%d servers at %.1f: waited %.1f µs, want %.1f", q.servers, q.load, got*1e6, want*1e6)
		}
		if busy := s.worked / c.now / float64(q.servers); math.Abs(busy-q.load) > .01 {
			t.Errorf("%d servers are %.3f busy, want %.1f", q.servers, busy, q.load)
		}
	}
}

// Whoever waits for the log is written in one go.
func TestAGroupTakesAllWhoWait(t *testing.T) {
	c := &clock{}
	g := &group{clock: c, length: func() float64 { return 1 }}
	var at []float64
	for range 3 {
		g.submit(func() { at = append(at, c.now) })
	}
	c.run(10)
	if len(at) != 3 || at[0] != 1 || at[1] != 2 || at[2] != 2 || g.worked != 2 {
		t.Errorf("done at %v after %v of work; want the first alone and the others together", at, g.worked)
	}
}

// Every call that came has ended once, and every device was served once, whatever died.
func TestCallsAreConserved(t *testing.T) {
	for _, dies := range []float64{0, 2.5, 3.37} {
		for seed := range uint64(2) {
			s := small()
			s.dies, s.seed = dies, seed
			c := newModel(s, &known)
			c.arrivals(s.calls, c.newCall)
			c.arrivals(s.polls/s.hold, c.poll)
			if dies > 0 {
				c.clock.after(dies, c.die)
			}
			c.clock.run(s.warm + s.length)
			c.closed = true
			c.clock.run(math.Inf(1))
			c.count()
			if c.seen.calls < 3000 || c.seen.ended != c.seen.calls {
				t.Errorf("seed %d, dies at %v: %d calls came, %d ended once", seed, dies, c.seen.calls, c.seen.ended)
			}
			for _, k := range c.opened {
				if k.pushed != len(k.devices) {
					t.Fatalf("seed %d, dies at %v: %d of %d devices were served", seed, dies, k.pushed, len(k.devices))
				}
			}
			for i, m := range c.nodes {
				if len(m.open) > 0 && !m.dead {
					t.Errorf("node %d still has %d calls", i, len(m.open))
				}
			}
		}
	}
}

func TestSimulateCountsWhatItDid(t *testing.T) {
	s := small()
	s.dies = 3
	r := simulate(s, &known)
	if r.overloaded != "" || r.calls != r.ended || r.late != 0 {
		t.Errorf("%d calls, %d ended, %d late, overloaded: %q", r.calls, r.ended, r.late, r.overloaded)
	}
	if r.herd != 666 {
		t.Errorf("%d polls came back, want a third of 2,000", r.herd)
	}
	served := len(r.pushed.before) + len(r.pushed.after) + len(r.polled.before) + len(r.polled.after)
	if want := 800 * 3 * 2; math.Abs(float64(served-want)) > .06*float64(want) {
		t.Errorf("%d devices were measured, want about %d", served, want)
	}
	if longest := quantile(r.pushed.after, 1); r.taken > 0 && longest < takeover*1e3 {
		t.Errorf("%d calls were taken over, and none took longer than %.0f ms", r.taken, longest)
	}
}

func TestTheSeedDecides(t *testing.T) {
	text := func(seed uint64) string {
		s := sizes[0]
		s.calls, s.polls = 300, 1000
		p := planOf(s, &known)
		var b strings.Builder
		well, ill := run(&p, seed, 3, &known)
		table(&b, &p, well, ill, &known)
		return b.String()
	}
	first, again, other := text(1), text(1), text(2)
	if first != again {
		t.Error("the same seed gave two outputs")
	}
	if first == other {
		t.Error("another seed changed nothing")
	}
}

func TestOverloadIsReported(t *testing.T) {
	for what, change := range map[string]func(*setting){
		"nodes":      func(s *setting) { s.nodes, s.cores, s.calls, s.pgCores = 2, 1, 6000, 64 },
		"PostgreSQL": func(s *setting) { s.pgCores, s.calls, s.cores = 1, 5000, 16 },
		"wait":       func(s *setting) { s.calls, s.cores, s.pgCores, s.nodes = 20000, 64, 64, 1 },
	} {
		s := small()
		change(&s)
		r := simulate(s, &known)
		if !strings.Contains(r.overloaded, what) {
			t.Errorf("%s: reported %q", what, r.overloaded)
		}
		if said := verdict(r, result{}); !strings.HasPrefix(said, "OVERLOADED: ") {
			t.Errorf("%s: the verdict is %q", what, said)
		}
	}
	if r := simulate(small(), &known); r.overloaded != "" {
		t.Errorf("a calm setting is reported as overloaded: %s", r.overloaded)
	}
}

// What was planned is within the rules that the plan has.
func TestPlans(t *testing.T) {
	for _, s := range sizes {
		p := planOf(s, &known)
		if p.nodes < 3 || p.pgCores > pgLargest || p.wal > known.walLimit.value {
			t.Errorf("%s: %d nodes, %d cores, %.0f MB/s of WAL", s.name, p.nodes, p.pgCores, p.wal/1e6)
		}
		if alive := float64((p.nodes - 1) * p.cores); p.nodeLoad/alive > share {
			t.Errorf("%s: without one node the others are %.0f %% busy", s.name, 100*p.nodeLoad/alive)
		}
		if polls := p.polls / float64(p.shards) / float64(p.nodes-1); polls > pollsOfNode {
			t.Errorf("%s: %.0f polls on a node", s.name, polls)
		}
	}
}

func TestCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 6670.4: "6,670", 1234567: "1,230,000", 3.5e6: "3,500,000"} {
		if got := count(v); got != want {
			t.Errorf("%v is shown as %s, want %s", v, got, want)
		}
	}
}
