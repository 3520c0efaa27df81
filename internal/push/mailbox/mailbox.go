// Package mailbox holds calls for devices that ask for them by long polling. A call
// is put in first and waiters are woken after that, so a call that comes between two
// polls is had by the next one.
//
// Letters lie in memory; the record of each is its delivery in the database, from
// which a new process fills the mailbox again. A letter goes to the newest poll of its
// device, and comes back when the answer could not be written.
//
// # Guarantees
//
// "Written" is not "arrived": what goes into a connection that has silently died is lost
// without an error (docs/push-providers.md 4.4). So there are two kinds of polls.
//
// A plain poll gets a letter at most once: with the written answer the letter is gone, and
// its delivery is recorded as accepted. LINE's clients poll so, because they do not
// recognise a call that they have had already.
//
// A poll that acknowledges gets it at least once: the letter stays in the box, invisible
// for 3 seconds, and is then handed out again, to a poll that waits or to the next, until
// Acknowledge, Withdraw or its deadline. The first hand-out is recorded as an attempt, but
// the delivery stays pending until the device's receipt, so that after a crash in between
// the next process hands it out once more. If a plain poll of the same device gets the
// letter meanwhile, it is gone.
//
// A stream is a poll that acknowledges and stays; see stream.go.
//
// # Notices
//
// What is no call is handed only to polls whose clients say that they know it: LINE's would
// fail on it, or poll in a loop (docs/line-planet.md 6.6). To all others the box seems empty.
package mailbox

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// Limits of waiting polls. LINE's Android and Apple demos poll again at once after an
// empty answer, so a refusal is never given at once.
const (
	maxPerDevice = 4
	refusalDelay = 2 * time.Second
	cleanEvery   = 5 * time.Second
	// unseen is how long a letter that was handed to a poll that acknowledges stays invisible:
	// the way of the answer and of the receipt over a bad network.
	unseen = 3 * time.Second
	// defaultMaxLetters bounds memory: about 2 KB each.
	defaultMaxLetters = 100_000
)

// Config is what a Mailbox is made of. Taken and HandedOut are needed.
type Config struct {
	// Taken is told of each letter that a plain poll has, with the time of its answer.
	Taken func(ring bell.Ring, at time.Time)
	// HandedOut is told of each letter that a poll that acknowledges has for the first time.
	HandedOut func(ring bell.Ring, at time.Time)
	// Streamed is HandedOut for what a stream has first; HandedOut if nil.
	Streamed func(ring bell.Ring, at time.Time)
	// Entered and Idle are for a mailbox that is one of several; see nodes.go. Nil: it is the only one.
	Entered    func(device string)
	Idle       func(ring bell.Ring)
	MaxWaiting int // polls and streams at once over all devices; 15,000 if 0
	MaxLetters int // calls held at once over all devices; 100,000 if 0
	Metrics    *Metrics
	Now        func() time.Time
	Random     func() float64
}

// Mailbox is a delivery.Sender whose devices come for what it holds. It is safe for
// concurrent use.
type Mailbox struct {
	Config
	closing chan struct{}
	ending  chan struct{}  // what is closed when all polls of now are to end; mu guards the variable
	work    sync.WaitGroup // waiting polls, and letters from a poll's hand to their report

	mu      sync.Mutex // guards all below
	boxes   map[string]*box
	calls   map[bell.CallKey][]*letter // where a call's letters are, so that its end finds them
	byID    map[string]*letter         // by delivery; empty unless there are other mailboxes
	had     map[string]time.Time       // see Had; likewise
	hears   map[bell.CallKey][]*stream // whose devices have the call
	letters int
	waiting int // polls and streams
	streams int
	closed  bool
	stagger time.Duration
}

// box is one device's: letters in order of arrival, polls in order of arrival.
type box struct {
	letters []*letter
	polls   []*poll
}

type letter struct {
	ring  bell.Ring
	key   bell.CallKey
	taken bool // out of the box, in the hands of a poll
	over  bool // the call has ended, or the device has it; it does not come back
	told  bool // HandedOut knows of it
	// holder is the stream that it was written to last.
	holder *poll
	// back makes it visible again; nil unless it is invisible. The letter is then not taken.
	back *time.Timer
	// What a mailbox that is one of several needs to know.
	since   time.Time // when it was put in
	leaving bool      // it is being given back, and is invisible
}

// visible reports whether a poll may be given the letter.
func (l *letter) visible(now time.Time) bool {
	return !l.taken && !l.over && !l.leaving && l.back == nil && now.Before(l.ring.Delivery.Deadline)
}

type poll struct {
	got          chan *letter // holds at most one
	ending       <-chan struct{}
	acknowledges bool
	notices      bool    // takes what is no call
	stream       *stream // nil unless it stays
}

// takes reports whether the poll's client understands a letter, and does not have it.
func (p *poll) takes(l *letter) bool {
	return (p.notices || !l.notice()) && (p.stream == nil || p.stream.index(l.key) < 0)
}

func (l *letter) notice() bool { return l.ring.Call.Purpose != bell.PurposeCall }

// New makes a Mailbox.
func New(c Config) *Mailbox {
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 15_000
	}
	if c.MaxLetters == 0 {
		c.MaxLetters = defaultMaxLetters
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Streamed == nil {
		c.Streamed = c.HandedOut
	}
	return &Mailbox{
		Config: c, closing: make(chan struct{}), ending: make(chan struct{}), boxes: map[string]*box{}, calls: map[bell.CallKey][]*letter{},
		byID: map[string]*letter{}, had: map[string]time.Time{}, hears: map[bell.CallKey][]*stream{},
	}
}

// Send puts the ring into its device's box and wakes the newest poll. It implements
// delivery.Sender and never waits.
func (m *Mailbox) Send(ctx context.Context, r *bell.Ring, _ delivery.Try) bell.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil: // withdrawn a moment ago, and Withdraw has been here already
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "interrupted", Token: bell.TokenKeep}
	case r.Call.Purpose != bell.PurposeCall && m.letters >= m.MaxLetters/2: // calls come first, and find room
		return bell.Outcome{Verdict: bell.Rejected, Reason: "mailbox_full", Token: bell.TokenKeep, Alarm: bell.AlarmCount}
	case m.letters >= m.MaxLetters:
		return bell.Outcome{Verdict: bell.Rejected, Reason: "mailbox_full", Token: bell.TokenKeep, Alarm: bell.AlarmPage}
	}
	if _, had := m.had[r.Delivery.ID]; had {
		return bell.Outcome{Verdict: bell.Deposited, Reason: "mailbox", Token: bell.TokenKeep}
	}
	b := m.box(r.Device.ID)
	for _, l := range b.letters {
		if l.ring.Delivery.ID == r.Delivery.ID {
			return bell.Outcome{Verdict: bell.Deposited, Reason: "mailbox", Token: bell.TokenKeep}
		}
	}
	l := &letter{ring: *r, key: bell.CallKey{Environment: r.Call.Environment, SessionID: r.Call.SessionID}}
	b.letters = append(b.letters, l)
	m.calls[l.key] = append(m.calls[l.key], l)
	m.letters++
	m.index(l)
	m.handOut(b)
	return bell.Outcome{Verdict: bell.Deposited, Reason: "mailbox", Token: bell.TokenKeep}
}

// box returns a device's box. The caller holds m.mu.
func (m *Mailbox) box(device string) *box {
	b := m.boxes[device]
	if b == nil {
		b = &box{}
		m.boxes[device] = b
	}
	return b
}

// handOut gives the oldest visible letter that still rings to the newest free poll. Calls
// come before notices, which are handed only to polls that know them.
func (b *box) handOut(now time.Time) {
	for _, notices := range []bool{false, true} {
		for _, l := range b.letters {
			if l.notice() != notices || !l.visible(now) {
				continue
			}
			if !b.give(l) && !b.free() {
				return
			}
		}
	}
}

// handOut is the box's, and then sees to letters for which nobody waits. The caller holds m.mu.
func (m *Mailbox) handOut(b *box) {
	now := m.Now()
	b.handOut(now)
	m.giveBack(b, now)
}

// free reports whether there is a poll that has nothing in hand.
func (b *box) free() bool {
	return slices.ContainsFunc(b.polls, func(p *poll) bool { return len(p.got) == 0 })
}

// give reports whether a poll was free for the letter.
func (b *box) give(l *letter) bool {
	for _, p := range slices.Backward(b.polls) {
		if !p.takes(l) {
			continue
		}
		select {
		case p.got <- l:
			l.taken = true
			return true
		default: // has one already
		}
	}
	return false
}

// Wait returns the next call for a device, or nil when none came within the hold, the
// mailbox is closing, or too many polls wait. It returns ctx's error when the device
// went away. With nil it has always waited: an instant refusal would make clients spin.
func (m *Mailbox) Wait(ctx context.Context, w bell.Poll) (*bell.Letter, error) {
	device, hold := w.DeviceID, w.Hold
	p := &poll{got: make(chan *letter, 1), acknowledges: w.Acknowledges, notices: w.Notices}
	if !m.enter(device, p) {
		m.Metrics.refused()
		return nil, m.pause(ctx, min(hold, refusalDelay+time.Duration(m.Random()*float64(time.Second))))
	}
	m.entered(p, device)
	defer m.leave(device, p)
	end := time.Now().Add(hold)
	timer := time.NewTimer(hold)
	defer timer.Stop()
	closing, ending := m.closing, p.ending
	for {
		select {
		case l := <-p.got:
			if letter := m.open(ctx, p, l); letter != nil {
				return letter, nil
			}
			m.entered(p, device) // it was over, and nobody has looked for others
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-closing: // a call that comes until the poll's turn to end is still given to it
			closing = nil
			timer.Reset(min(time.Until(end), time.Duration(m.Random()*float64(m.stagger))))
		case <-ending: // likewise
			ending = nil
			timer.Reset(min(time.Until(end), time.Duration(m.Random()*float64(endWithin))))
		}
	}
}

func (m *Mailbox) enter(device string, p *poll) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.waiting >= m.MaxWaiting {
		return false
	}
	b := m.box(device) // a box is made only for a poll that enters, whose leave drops it
	if len(b.polls) >= maxPerDevice && !b.displace() {
		return false
	}
	p.ending = m.ending
	b.polls = append(b.polls, p)
	m.waiting++
	m.work.Add(1) // before closed is set, so before Close waits
	if p.stream != nil {
		m.join(b, p)
	}
	m.Metrics.waiting(m.waiting - m.streams)
	m.handOut(b)
	return true
}

// leave takes a poll out of its box. A letter that reached it too late goes to another
// poll or waits for the next.
func (m *Mailbox) leave(device string, p *poll) {
	defer m.work.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.box(device) // there is none if the poll was displaced and nothing else is there
	b.polls = slices.DeleteFunc(b.polls, func(other *poll) bool { return other == p })
	m.waiting--
	if p.stream != nil {
		m.part(b, p)
	}
	m.Metrics.waiting(m.waiting - m.streams)
	select {
	case l := <-p.got:
		l.taken = false
	default:
	}
	m.handOut(b)
	m.drop(device, b)
}

// drop forgets a box that holds nothing. The caller holds m.mu.
func (m *Mailbox) drop(device string, b *box) {
	if len(b.letters) == 0 && len(b.polls) == 0 && m.boxes[device] == b {
		delete(m.boxes, device)
	}
}

// open turns a letter into what the poll's answer needs. It returns nil when the call
// ended, or the device went away, between the letter's way to the poll and the poll's
// waking; a letter of a device that went away is handed out again by leave.
func (m *Mailbox) open(ctx context.Context, p *poll, l *letter) *bell.Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.over {
		m.offer(l) // what came meanwhile found this poll busy
		return nil
	}
	if ctx.Err() != nil {
		l.taken = false
		return nil
	}
	m.work.Add(1) // ended by done, while the poll itself still counts
	now := m.Now()
	var once sync.Once
	return &bell.Letter{
		SessionID: l.ring.Call.SessionID, Payload: l.ring.Call.Payload(now),
		Done: func(written bool) {
			once.Do(func() {
				if report := m.done(p, l, written); report != nil {
					// The device must not wait for our disk: it has its call.
					go report()
					return
				}
				m.work.Done()
			})
		},
	}
}

// done puts a letter that was not written back, and one that was where its poll's kind
// wants it. It returns what is left to do outside of the lock, if anything is: a report,
// which ends the letter's share in m.work.
func (m *Mailbox) done(p *poll, l *letter, written bool) (report func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.Now()
	switch {
	case !written && l.over:
		return nil
	case !written:
		l.taken = false
		m.Metrics.delivered("put_back")
		m.offer(l)
		return nil
	case p.stream != nil:
		return m.streamed(p, l, at)
	case p.acknowledges && l.told:
		m.Metrics.delivered("redelivered")
		m.hide(l)
		return nil
	case p.acknowledges:
		l.told = true
		m.Metrics.delivered("handed_out")
		m.hide(l)
		return m.report(m.HandedOut, l.ring, at)
	}
	m.settle(l)
	m.Metrics.delivered("delivered")
	return m.report(m.Taken, l.ring, at)
}

func (m *Mailbox) report(to func(bell.Ring, time.Time), r bell.Ring, at time.Time) func() {
	return func() {
		defer m.work.Done()
		to(r, at)
	}
}

// offer hands out what is visible in a letter's box. The caller holds m.mu.
func (m *Mailbox) offer(l *letter) {
	device := l.ring.Device.ID
	b := m.box(device)
	m.handOut(b)
	m.drop(device, b)
}

// hide makes a letter that was written invisible for a while, unless it is over. In a
// closed mailbox it stays so: the next process hands it out. The caller holds m.mu, and a
// share in m.work, so that Close waits for the timer's own.
func (m *Mailbox) hide(l *letter) {
	if l.over {
		return
	}
	l.taken = false
	m.work.Add(1)
	l.back = time.AfterFunc(unseen, func() {
		defer m.work.Done()
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.back == nil {
			return // too late to be stopped
		}
		l.back = nil
		m.offer(l)
	})
	if m.closed {
		m.forget(l)
	}
}

// forget stops a letter's timer, if it has one. It stays invisible if the mailbox is
// closed. The caller holds m.mu.
func (m *Mailbox) forget(l *letter) {
	if l.back != nil && l.back.Stop() {
		m.work.Done()
	}
}

// discard takes a letter out of its box for good; one in the hands of a poll does not
// come back. The caller holds m.mu.
func (m *Mailbox) discard(l *letter) {
	if l.over {
		return
	}
	l.over = true
	m.forget(l)
	l.back = nil
	m.letters--
	delete(m.byID, l.ring.Delivery.ID)
	same := func(other *letter) bool { return other == l }
	if rest := slices.DeleteFunc(m.calls[l.key], same); len(rest) > 0 {
		m.calls[l.key] = rest
	} else {
		delete(m.calls, l.key)
	}
	device := l.ring.Device.ID
	b := m.box(device)
	b.letters = slices.DeleteFunc(b.letters, same)
	m.drop(device, b)
}

// Withdraw removes a call that has ended from all boxes. The context of its deliveries
// must have ended before, so that none is put in later.
func (m *Mailbox) Withdraw(environment planet.Environment, id planet.SessionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range slices.Clone(m.calls[bell.CallKey{Environment: environment, SessionID: id}]) {
		m.settle(l)
	}
	m.tellOver(bell.CallKey{Environment: environment, SessionID: id})
}

// Acknowledge removes a call from the box of a device that says that it has it.
func (m *Mailbox) Acknowledge(environment planet.Environment, id planet.SessionID, device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range slices.Clone(m.calls[bell.CallKey{Environment: environment, SessionID: id}]) {
		if l.ring.Device.ID == device {
			m.Metrics.delivered("acknowledged")
			m.settle(l)
		}
	}
	m.acknowledged(bell.CallKey{Environment: environment, SessionID: id}, device)
}
