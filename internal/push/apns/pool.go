package apns

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a fixed number of connections to one APNs server. Every request takes a
// stream of one of them before it is sent, and waits in line when all are taken.
//
// A slot is the place of one connection. Its life:
//
//	dialling -> linked (one stream until the first valid answer, then all) -> lost -> dialling
//
// A connection that APNs drains is replaced at once; requests on it finish. While
// dialling fails, tries come ever more slowly, because APNs takes rapid connecting for
// an attack.
type pool struct {
	transport   *http.Transport
	address     string // host:port
	maxInFlight int    // per connection
	waits       waits
	log         *slog.Logger

	ctx    context.Context // ends the dialling
	cancel context.CancelFunc
	wg     sync.WaitGroup // dialling, closing and housekeeping
	wake   chan struct{}  // one token: a stream came free or a connection was lost

	waiting atomic.Int32 // length of waiters, for the hook, which must not take mu

	mu      sync.Mutex // guards what follows and everything in slots and links
	slots   []*slot
	links   map[*link]struct{} // open, also those that only finish their requests
	waiters list.List          // of *waiter, the oldest first
	strays  map[string]stray   // first attempts that did not go over their home
	closed  bool
}

// slot is the place of one connection.
type slot struct {
	index    int
	link     *link // nil while there is none
	dialling bool
	failures int           // in a row; chooses the wait before the next try
	reason   string        // why the last try failed; empty after a success
	tried    chan struct{} // closed after the first try
}

// link is one connection.
type link struct {
	slot     *slot
	conn     *http.ClientConn
	since    time.Time
	inFlight int       // requests of ours
	streams  int       // the most that the server was seen to allow
	proven   bool      // an answer came to a valid credential: more than one stream may be used
	answered time.Time // when the server last answered anything
	suspect  time.Time // until then an attempt that got no answer speaks against it
	watched  bool      // a watch is under way
	retired  bool      // takes no more requests
	shut     bool      // is closed, or about to be
}

// waiter is a request in line for a stream.
type waiter struct {
	claim claim
	ready chan granted // buffered: granting never waits
}

type granted struct {
	link   *link
	reason string // why there is none
}

// errNoLink says why acquire has no stream to give. Its text is a reason of
// transportRules.
type errNoLink string

func (e errNoLink) Error() string { return string(e) }

// redialWaits are the waits before a connection is dialled again. The first failure
// may be chance; from the fifth on something is wrong that haste does not mend.
var redialWaits = []time.Duration{0, 250 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}

const (
	// hurriedWait is the longest pause between tries while a request waits for a connection.
	hurriedWait   = 2 * time.Second
	patienceStep  = 500 * time.Millisecond // how often it is looked whether one waits
	dialTimeout   = 5 * time.Second        // of TCP, proxy and TLS together
	settledAfter  = 10 * time.Second       // a connection that lived so long owes its end to no fault of ours
	suspectFor    = 5 * time.Second        // SendPingTimeout finds a dead connection by then or somewhat later
	sweepInterval = 2 * time.Second        // how soon a connection that APNs drained while idle is replaced
)

func newPool(transport *http.Transport, address string, connections, maxInFlight int, log *slog.Logger) *pool {
	ctx, cancel := context.WithCancel(context.Background()) // ended by close, which also waits
	p := &pool{
		transport: transport, address: address, maxInFlight: maxInFlight, log: log,
		ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), links: make(map[*link]struct{}),
		strays: make(map[string]stray), waits: waits{silent: silentAtLeast, ping: pingGrace},
	}
	for i := range connections {
		p.slots = append(p.slots, &slot{index: i, tried: make(chan struct{})})
	}
	p.wg.Go(p.housekeeping)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		p.dial(s)
	}
	return p
}

// warm waits until every slot was dialled once, and fails when none has a connection.
func (p *pool) warm(ctx context.Context) error {
	for _, s := range p.slots {
		select {
		case <-s.tried:
		case <-ctx.Done():
			return errNoLink(reasonDial)
		case <-p.ctx.Done():
			return errNoLink(reasonClosed)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := reasonDial
	for _, s := range p.slots {
		if s.link != nil {
			return nil
		}
		reason = s.reason
	}
	return errNoLink(reason)
}

// close breaks everything off, also requests in flight, and waits for what the pool
// has started.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.cancel()
		for l := range p.links {
			l.slot.link = nil
			p.shut(l)
		}
		p.refuse(reasonClosed)
	}
	p.mu.Unlock()
	p.wg.Wait()
	p.transport.CloseIdleConnections()
}

// acquire takes a stream for one request, waiting in line until ctx ends. The caller must
// hand the link back with release, after RoundTrip, or with giveBack, when it made none.
func (p *pool) acquire(ctx context.Context, c claim) (*link, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errNoLink(reasonClosed)
	}
	if p.waiters.Len() == 0 {
		if l := p.take(c); l != nil {
			p.mu.Unlock()
			return l, nil
		}
	}
	if reason := p.hopeless(); reason != "" {
		p.mu.Unlock()
		return nil, errNoLink(reason)
	}
	w := &waiter{claim: c, ready: make(chan granted, 1)}
	element := p.waiters.PushBack(w)
	p.waiting.Add(1)
	p.grant() // a stream may have come free before the hook could see that somebody waits
	p.mu.Unlock()

	select {
	case g := <-w.ready:
		return g.result()
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case g := <-w.ready: // granted in the same moment
		return g.result()
	default:
	}
	p.leave(element)
	return nil, errNoLink(p.whyNone())
}

func (g granted) result() (*link, error) {
	if g.link == nil {
		return nil, errNoLink(g.reason)
	}
	return g.link, nil
}

// leave takes a waiter out of the line. p.mu is held.
func (p *pool) leave(e *list.Element) {
	p.waiters.Remove(e)
	p.waiting.Add(-1)
}

// refuse sends everybody in line away. p.mu is held.
func (p *pool) refuse(reason string) {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		w := e.Value.(*waiter)
		p.leave(e)
		w.ready <- granted{reason: reason}
	}
}

// whyNone is the reason when nothing came free in time: the last dialling error when
// there is no connection at all. p.mu is held.
func (p *pool) whyNone() string {
	reason := reasonDial
	for _, s := range p.slots {
		if s.link != nil {
			return reasonNoStream
		}
		if s.reason != "" {
			reason = s.reason
		}
	}
	return reason
}

// hopeless returns why waiting for a connection is of no use: TLS fails, which no
// retry inside a ring mends. Empty while there is hope. p.mu is held.
func (p *pool) hopeless() string {
	for _, s := range p.slots {
		if s.link != nil || s.reason != reasonTLS {
			return ""
		}
	}
	return reasonTLS
}

// grant gives free streams to those in line. p.mu is held.
func (p *pool) grant() {
	for e := p.waiters.Front(); e != nil; {
		next := e.Next()
		w := e.Value.(*waiter)
		l := p.take(w.claim)
		if l != nil {
			p.leave(e)
			w.ready <- granted{link: l}
		} else if !w.claim.spare {
			return // whoever may use any connection found none
		}
		e = next
	}
}

// release hands a link back after a request that was sent at a time. p.mu must not be
// held.
func (p *pool) release(l *link, how ending, sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.inFlight--
	switch how {
	case endedTimeout, endedOutrun:
		p.doubt(l, how, sent)
	case endedBroken:
		p.inspect(l)
	case endedReset:
		l.answered = time.Now()
		p.inspect(l)
	case endedAnswered, endedValid, endedUseless:
		l.answered, l.suspect = time.Now(), time.Time{}
		if how == endedValid && !l.proven {
			l.proven = true
			l.streams = l.allowed()
		}
		if how == endedUseless {
			p.lose(l, "refused")
		}
	}
	if l.retired && l.inFlight == 0 {
		p.shut(l)
	}
	p.grant()
}

// ending is how a request on a link ended, as far as the link is concerned.
type ending int

const (
	endedValid    ending = iota // answered, and the credential was valid
	endedAnswered               // answered, but the credential was not accepted
	endedUseless                // answered that this connection is of no more use
	endedTimeout                // no answer in time
	endedOutrun                 // no answer before another connection gave one
	endedReset                  // broken off by the server, which is an answer of the connection
	endedBroken                 // broken off
	endedUnused                 // never sent
)

// giveBack returns a stream that was not used.
func (p *pool) giveBack(l *link) {
	l.conn.Release()
	p.release(l, endedUnused, time.Time{})
}

// redialWait is how long to wait before a slot is dialled, with some chance so that
// nodes that lost their connections together do not come back together.
func redialWait(failures int) time.Duration {
	wait := redialWaits[min(failures, len(redialWaits)-1)]
	return wait - time.Duration(rand.Float64()*0.3*float64(wait))
}

// dial starts dialling for a slot that has no connection, unless that is under way.
// p.mu is held.
func (p *pool) dial(s *slot) {
	if p.closed || s.dialling || s.link != nil {
		return
	}
	s.dialling = true
	p.wg.Go(func() { p.dialUntilLinked(s) })
}

// dialUntilLinked is the one goroutine that dials for s.
func (p *pool) dialUntilLinked(s *slot) {
	for p.pause(s) {
		if p.dialOnce(s) {
			return
		}
	}
}

// pause waits before s is dialled, and reports whether it is to be. A call that waits for
// a connection must not wait for the longest of the pauses: it has a minute to ring.
func (p *pool) pause(s *slot) bool {
	p.mu.Lock()
	left := redialWait(s.failures)
	p.mu.Unlock()
	for waited := time.Duration(0); left > 0; {
		step := min(left, patienceStep)
		timer := time.NewTimer(step)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return false
		}
		waited, left = waited+step, left-step
		if waited >= hurriedWait && p.waiting.Load() > 0 {
			return true
		}
	}
	return p.ctx.Err() == nil
}

// dialOnce dials and reports whether the dialling is over.
func (p *pool) dialOnce(s *slot) bool {
	ctx, cancel := context.WithTimeoutCause(p.ctx, dialTimeout, errors.New("dialling took too long"))
	conn, err := p.transport.NewClientConn(ctx, "https", p.address)
	cancel()

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		if err == nil {
			p.wg.Go(func() { _ = conn.Close() })
		}
		return true
	}
	if err != nil {
		reason := dialReason(err)
		if reason != s.reason { // said once, not with every try
			p.log.Warn("no connection to APNs", "address", p.address, "connection", s.index, "reason", reason,
				"detail", transportRules[reason].detail)
		}
		s.failures++
		s.reason = reason
		s.markTried()
		if hopeless := p.hopeless(); hopeless != "" {
			p.refuse(hopeless)
		}
		p.grant() // a spare request may have waited for this connection
		return false
	}
	p.log.Info("connected to APNs", "address", p.address, "connection", s.index)
	s.link = &link{slot: s, conn: conn, since: time.Now(), streams: 1}
	p.links[s.link] = struct{}{}
	s.dialling, s.reason = false, ""
	s.markTried()
	conn.SetStateHook(p.stateChanged)
	p.grant()
	return true
}

// markTried tells warm that s was dialled. p.mu is held.
func (s *slot) markTried() {
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// stateChanged is net/http's hook. It may run inside any call on the connection, also
// under p.mu, so it only leaves a note for housekeeping.
func (p *pool) stateChanged(conn *http.ClientConn) {
	if p.waiting.Load() == 0 && conn.Err() == nil {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// housekeeping gives out streams that came free and replaces connections that were
// lost, when told by the hook, and looks for drained ones every now and then.
func (p *pool) housekeeping() {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-sweep.C:
			p.mu.Lock()
			p.forgetStrays()
			p.mu.Unlock()
		}
		p.mu.Lock()
		for _, s := range p.slots {
			if s.link != nil {
				p.inspect(s.link)
			}
		}
		p.grant()
		p.mu.Unlock()
	}
}
