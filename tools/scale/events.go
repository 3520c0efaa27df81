package main

import "container/heap"

// clock is a discrete-event simulation: things happen in the order of their time, and of their
// making where that is the same. Times are seconds.
type clock struct {
	now    float64
	made   uint64
	events schedule
}

type event struct {
	at  float64
	seq uint64
	do  func()
}

type schedule []event

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].seq < s[j].seq
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(e any)   { *s = append(*s, e.(event)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = event{}
	*s = (*s)[:last]
	return e
}

// after lets something happen in some seconds.
func (c *clock) after(seconds float64, do func()) {
	c.made++
	heap.Push(&c.events, event{c.now + seconds, c.made, do})
}

// run goes on until nothing is left to happen, or until a time.
func (c *clock) run(until float64) {
	for len(c.events) > 0 && c.events[0].at <= until {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.do()
	}
}

// station is a queue before some servers, first come, first served: the cores of a machine.
type station struct {
	clock   *clock
	servers int
	busy    int
	waiting []job
	head    int
	worked  float64 // seconds of all servers, since the last look
}

type job struct {
	work float64
	done func()
}

func (s *station) submit(work float64, done func()) {
	if s.busy < s.servers {
		s.start(job{work, done})
		return
	}
	s.waiting = append(s.waiting, job{work, done})
}

func (s *station) start(j job) {
	s.busy++
	s.worked += j.work
	s.clock.after(j.work, func() {
		s.busy--
		if s.head < len(s.waiting) {
			next := s.waiting[s.head]
			s.waiting[s.head] = job{}
			if s.head++; s.head > 1024 && s.head*2 > len(s.waiting) {
				s.waiting, s.head = append([]job(nil), s.waiting[s.head:]...), 0
			}
			s.start(next)
		}
		j.done()
	})
}

func (s *station) queued() int { return len(s.waiting) - s.head }

// group is one server that takes all who wait at once, in one go that takes as long for many as
// for one: the write to the log of the database.
type group struct {
	clock   *clock
	length  func() float64
	running bool
	waiting []func()
	worked  float64
}

func (g *group) submit(done func()) {
	g.waiting = append(g.waiting, done)
	g.next()
}

func (g *group) next() {
	if g.running || len(g.waiting) == 0 {
		return
	}
	taken, length := g.waiting, g.length()
	g.waiting, g.running = nil, true
	g.worked += length
	g.clock.after(length, func() {
		g.running = false
		for _, done := range taken {
			done()
		}
		g.next()
	})
}
