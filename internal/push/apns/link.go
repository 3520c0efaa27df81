package apns

import "time"

// take reserves a stream for a request: on home if it can, else on another; a spare
// request only on another, unless home is all there is. nil when none is free. p.mu
// is held.
func (p *pool) take(home int, spare bool) *link {
	n := len(p.slots)
	if spare && !p.others(home) {
		spare = false
	}
	now := time.Now()
	for _, doubtful := range []bool{false, true} { // suspects last
		for i := range n {
			if spare && i == 0 {
				continue
			}
			l := p.slots[(home+i)%n].link
			if l != nil && now.Before(l.suspect) == doubtful && p.reserve(l) {
				return l
			}
		}
	}
	return nil
}

// others reports whether there is a connection besides home, or one is about to be.
// p.mu is held.
func (p *pool) others(home int) bool {
	for i, s := range p.slots {
		if i != home%len(p.slots) && (s.link != nil || s.reason == "") {
			return true
		}
	}
	return false
}

// reserve takes a stream of l. Until an answer proved the credential, a connection has
// one stream only: APNs asks for it, and before the server's SETTINGS came nobody knows
// how many it takes. p.mu is held.
func (p *pool) reserve(l *link) bool {
	most := p.maxInFlight
	if !l.proven {
		most = 1
	}
	if l.inFlight >= most {
		return false
	}
	if l.conn.Reserve() == nil {
		l.inFlight++
		return true
	}
	p.inspect(l)
	return false
}

// inspect looks whether l still takes requests, and replaces it if not. p.mu is held.
//
// net/http tells that a connection is closed, but not that the server is draining it
// (GOAWAY): it then only refuses to reserve. So a connection that refuses, although
// fewer requests are on it than it once allowed, is draining. (A server that lowers its
// limit looks the same; that costs one new connection.) All reservations are made under
// p.mu, so between the two looks below the number can only fall.
func (p *pool) inspect(l *link) {
	if l.retired {
		return
	}
	if l.conn.Err() != nil {
		p.lose(l, "closed")
		return
	}
	if l.conn.Available() > 0 {
		if l.proven {
			l.streams = max(l.streams, l.allowed())
		}
		return
	}
	if l.conn.InFlight() >= l.streams {
		return // full
	}
	if l.conn.Reserve() == nil {
		l.conn.Release()
		return
	}
	p.lose(l, "draining")
}

// allowed is how many streams the server allows, or fewer: what comes free between the
// two calls is missed. p.mu is held.
func (l *link) allowed() int { return l.conn.Available() + l.conn.InFlight() }

// lose takes l out of its slot, closes it once its requests have ended, and dials
// again. p.mu is held.
func (p *pool) lose(l *link, why string) {
	if l.retired {
		return
	}
	l.retired = true
	s := l.slot
	age := time.Since(l.since)
	switch {
	case age >= settledAfter:
		s.failures = 0
	case l.proven: // it worked, but briefly: never redial at full speed
		s.failures = min(s.failures+1, 3)
	default:
		s.failures++
	}
	p.log.Info("connection to APNs is over", "connection", s.index, "why", why, "age", age.Round(time.Millisecond), "in_flight", l.inFlight)
	s.link = nil
	if l.inFlight == 0 {
		p.shut(l)
	}
	p.dial(s)
}

// shut closes a connection, without waiting: TLS may take a moment to say goodbye.
// p.mu is held.
func (p *pool) shut(l *link) {
	if l.shut {
		return
	}
	l.retired, l.shut = true, true
	delete(p.links, l)
	p.wg.Go(func() { _ = l.conn.Close() })
}

// counts returns how many connections there are and how many are missing.
func (p *pool) counts() (open, missing int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		if s.link != nil {
			open++
		} else {
			missing++
		}
	}
	return open, missing
}
