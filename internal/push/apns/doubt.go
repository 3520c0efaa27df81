package apns

import "time"

const (
	// silentAtLeast is how long a request must have waited before its lack of an answer
	// says anything about its connection. The first hedge comes after 400 ms.
	silentAtLeast = 300 * time.Millisecond
	// pingGrace is how long a connection may take to answer a PING before it is dead: the
	// slowest round trip worth waiting for.
	pingGrace = time.Second
	// pingLook is how often it is looked whether the PING was answered.
	pingLook = 20 * time.Millisecond
)

// waits are the times above, which tests shorten.
type waits struct{ silent, ping time.Duration }

// doubt is told that a request, sent at a time, got no answer on l. If nothing else was
// answered there since, and this connection in particular is to blame, l is cut: what is
// stuck on it goes over another connection at once instead of waiting for its own time
// to run out. p.mu is held.
//
// That another connection answered meanwhile is such a proof, and in a request that was
// outrun that is given. When no connection answers, either APNs is slow, and to cut
// would make it worse, or the network lost them all; a PING tells.
func (p *pool) doubt(l *link, how ending, sent time.Time) {
	now := time.Now()
	l.suspect = now.Add(suspectFor)
	if l.shut || l.answered.After(sent) || now.Sub(sent) < p.waits.silent {
		return
	}
	if how == endedOutrun || p.answeredElsewhere(l, sent) {
		p.cut(l)
		return
	}
	p.watch(l)
}

// answeredElsewhere reports whether a connection other than l answered since a time.
// p.mu is held.
func (p *pool) answeredElsewhere(l *link, since time.Time) bool {
	for other := range p.links {
		if other != l && other.answered.After(since) {
			return true
		}
	}
	return false
}

// cut closes a connection with all that is under way on it, and dials another. p.mu is
// held.
func (p *pool) cut(l *link) {
	p.lose(l, "silent")
	p.shut(l)
}

// watch looks whether l answers the PING that net/http sends together with the
// cancellation of a request after which nothing was read, and cuts it if not. p.mu is
// held.
func (p *pool) watch(l *link) {
	if l.watched {
		return
	}
	l.watched = true
	since := time.Now()
	p.wg.Go(func() {
		look := time.NewTicker(pingLook)
		defer look.Stop()
		for {
			select {
			case <-p.ctx.Done():
				return
			case <-look.C:
			}
			if p.watchEnds(l, since) {
				return
			}
		}
	})
}

// watchEnds looks once, and reports whether there is nothing more to look for.
//
// net/http goes on counting a cancelled request as in flight until the PING is answered,
// so a connection that has no more in flight than we know of is alive. (It sends no PING
// when one was answered and nothing else since; then we are none the wiser and leave
// the connection to the regular PINGs.)
func (p *pool) watchEnds(l *link, since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.shut:
		return true
	case l.answered.After(since), l.conn.InFlight() <= l.inFlight:
		l.watched = false
		return true
	case time.Since(since) < p.waits.ping:
		return false
	}
	p.cut(l)
	return true
}
