package cluster

import (
	"sync"
	"time"
)

const (
	// samplesKept is over how many beats the one with the quickest answer is believed.
	samplesKept = 8
	// maxSkew is how far a node's clock may be off before its operator is told.
	maxSkew = time.Second
)

// clock knows the database's time as well as it can be known here. The database says what
// time it is, somewhere between the question and the answer: taken for the middle, the error
// is at most half of the round trip. So of the last answers the quickest is believed.
//
// It counts on from this machine's monotonic clock, so that somebody who sets the machine's
// clock changes nothing. It is safe for concurrent use.
type clock struct {
	local func() time.Time
	base  time.Time // with its monotonic reading, if local has one

	mu      sync.Mutex // guards all below
	samples []sample   // the last few, the newest last
	offset  time.Duration
	skew    time.Duration
	out     time.Duration // since base, as returned last
	asked   time.Duration // since base, by the local clock, then
}

type sample struct {
	took   time.Duration
	offset time.Duration // of the database from base and what passed since
	skew   time.Duration // of the database from what the machine's clock shows
}

func newClock(local func() time.Time) *clock {
	return &clock{local: local, base: local()}
}

func (c *clock) passed() time.Duration { return c.local().Sub(c.base) }

// now is the database's time, but never goes back. After the database's clock was set back
// it goes at half speed until it is right: a clock that stood still would end nothing.
func (c *clock) now() time.Time {
	passed := c.passed()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = max(passed+c.offset, c.out+(passed-c.asked)/2)
	c.asked = max(passed, c.asked)
	return c.base.Round(0).Add(c.out)
}

// database is the database's time, which may go back.
func (c *clock) database() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Round(0).Add(c.passed() + c.offset)
}

// learn takes an answer: asked and answered are by the local clock. It reports whether the
// database's clock was set, or is another one.
func (c *clock) learn(asked, answered, database time.Time) (stepped bool) {
	took := answered.Sub(asked)
	middle := asked.Add(took / 2)
	s := sample{
		took: took, skew: database.Sub(middle.Round(0)),
		offset: database.Sub(c.base.Round(0)) - middle.Sub(c.base),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := len(c.samples) == 0
	if !first && (s.offset-c.offset).Abs() > maxSkew+took {
		stepped, c.samples = true, nil
	}
	c.samples = append(c.samples, s)
	if len(c.samples) > samplesKept {
		c.samples = c.samples[1:]
	}
	best := c.samples[0]
	for _, other := range c.samples {
		if other.took <= best.took {
			best = other
		}
	}
	if first || stepped {
		c.offset = best.offset
	} else {
		c.offset += (best.offset - c.offset) / 2 // smooth: both have their errors
	}
	if first { // nobody has asked before
		c.out, c.asked = c.passed()+c.offset, c.passed()
	}
	c.skew = s.skew
	if s.took > 4*best.took {
		c.skew = best.skew // too slow to tell much
	}
	return stepped
}

// off is by how much the machine's clock is behind the database's.
func (c *clock) off() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew
}
