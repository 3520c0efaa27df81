package main

import (
	"fmt"
	"slices"
)

// latencies of one kind, of calls that came while it was measured: before a node died, and after.
type latencies struct{ before, after []float64 }

func (l *latencies) add(c *model, at, took float64) {
	switch {
	case at < c.warm || at > c.warm+c.length:
	case c.dies > 0 && c.clock.now >= c.dies:
		l.after = append(l.after, took)
	default:
		l.before = append(l.before, took)
	}
}

// quantile of sorted or unsorted seconds, in milliseconds; 0 for none.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)] * 1e3
}

// result of a simulation.
type result struct {
	answered, pushed, polled latencies

	calls      int // that came
	ended      int // exactly once
	late       int // devices served after the ring's last moment
	taken      int // accepted calls that a dead node left to others
	herd       int // polls that came back at once
	nodeBusy   float64
	pgBusy     float64
	walBusy    float64
	commits    float64 // per second
	rows       float64 // per second
	overloaded string  // what is, or ""
}

// simulate runs a setting to its end: every call that came is over, or the setting is overloaded.
func simulate(s setting, in *inputs) result {
	c := newModel(s, in)
	c.arrivals(s.calls, c.newCall)
	c.arrivals(s.polls/s.hold, c.poll)
	if s.dies > 0 {
		c.clock.after(s.dies, c.die)
	}
	c.clock.run(s.warm)
	c.reset()
	end := s.warm + s.length
	c.clock.run(end)
	c.look(s.length)
	c.closed = true
	if c.seen.overloaded == "" {
		c.clock.run(end + 10*deadline)
	}
	c.count()
	return c.seen
}

// reset forgets the work done so far.
func (c *model) reset() {
	for _, m := range c.nodes {
		m.cpu.worked = 0
	}
	c.pg.worked, c.wal.worked, c.commits, c.rows = 0, 0, 0, 0
}

// look says how busy everything was, and what cannot keep up.
func (c *model) look(seconds float64) {
	busy, alive, queued := 0.0, 0, c.pg.queued()+len(c.wal.waiting)
	var waiting int
	for _, m := range c.nodes {
		if !m.dead {
			alive++
			busy += m.cpu.worked
			queued += m.cpu.queued()
			waiting += len(m.pending)
		}
	}
	r := &c.seen
	r.nodeBusy = busy / seconds / float64(alive*c.cores)
	r.pgBusy = c.pg.worked / seconds / float64(c.pgCores)
	r.walBusy = c.wal.worked / seconds
	r.commits, r.rows = float64(c.commits)/seconds, float64(c.rows)/seconds
	const full = 0.97
	// Half a second of calls in queues is no burst any more.
	behind := float64(queued+waiting) > max(200, c.calls/2)
	switch {
	case r.nodeBusy > full:
		r.overloaded = fmt.Sprintf("the nodes' processors are %.0f %% busy", 100*r.nodeBusy)
	case r.pgBusy > full:
		r.overloaded = fmt.Sprintf("PostgreSQL's processors are %.0f %% busy", 100*r.pgBusy)
	case behind:
		r.overloaded = fmt.Sprintf("%d things wait in queues at the end", queued+waiting)
	}
}

func (c *model) count() {
	c.seen.calls = len(c.opened)
	for _, k := range c.opened {
		if k.ended == 1 {
			c.seen.ended++
		}
	}
	for _, l := range []*latencies{&c.seen.pushed, &c.seen.polled} {
		for _, took := range slices.Concat(l.before, l.after) {
			if took > deadline {
				c.seen.late++
			}
		}
	}
}
