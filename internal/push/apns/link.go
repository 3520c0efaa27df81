package apns

import (
	"hash/crc32"
	"time"
)

// claim is what a request asks of the pool.
type claim struct {
	id    string // the delivery's, the same over its attempts
	home  int    // chooses the connection to prefer
	spare bool   // any connection but that of the first attempt
}

func newClaim(id string, spare bool) claim {
	return claim{id: id, home: int(crc32.ChecksumIEEE([]byte(id)) >> 1), spare: spare} // never negative, also where int has 32 bits
}

// take reserves a stream for a request: on its home if it can, else on another. A spare
// request gets one only on another connection than the first attempt had, unless there
// is none. nil when none is free. p.mu is held.
func (p *pool) take(c claim) *link {
	n := len(p.slots)
	avoid := p.avoid(c)
	now := time.Now()
	for _, doubtful := range []bool{false, true} { // suspects last
		for i := range n {
			s := p.slots[(c.home+i)%n]
			if s == avoid || s.link == nil || now.Before(s.link.suspect) != doubtful || !p.reserve(s.link) {
				continue
			}
			if !c.spare {
				p.wentOver(c, s.link)
			}
			return s.link
		}
	}
	return nil
}

// avoid is the place that a spare request must not go to; nil when it may go anywhere:
// because the connection of the first attempt is gone, or all there is. p.mu is held.
func (p *pool) avoid(c claim) *slot {
	if !c.spare {
		return nil
	}
	first := p.slots[c.home%len(p.slots)]
	if went, strayed := p.strays[c.id]; strayed {
		if went.link.retired {
			return nil
		}
		first = went.link.slot
	}
	for _, s := range p.slots {
		if s != first && (s.link != nil || s.reason == "") { // there, or about to be
			return first
		}
	}
	return nil
}

// stray is a first attempt that did not go over its home, which was busy, in doubt or
// not there.
type stray struct {
	link *link
	at   time.Time
}

const (
	strayFor   = 2 * time.Minute // no ring lasts longer
	mostStrays = 4096            // strays remembered; beyond it a spare request avoids its home
)

// wentOver remembers the connection of an attempt that is not spare, if it is not what
// the spare one would guess. p.mu is held.
func (p *pool) wentOver(c claim, l *link) {
	switch {
	case l.slot == p.slots[c.home%len(p.slots)]:
		delete(p.strays, c.id)
	case len(p.strays) < mostStrays:
		p.strays[c.id] = stray{link: l, at: time.Now()}
	}
}

// forgetStrays forgets what no attempt can ask for any more. p.mu is held.
func (p *pool) forgetStrays() {
	for id, s := range p.strays {
		if time.Since(s.at) > strayFor {
			delete(p.strays, id)
		}
	}
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

// renew replaces all connections; what is under way on them finishes. p.mu must not be
// held.
func (p *pool) renew(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		if s.link != nil {
			p.lose(s.link, why)
		}
	}
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
