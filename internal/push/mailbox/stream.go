package mailbox

import (
	"context"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// This file is for streams: polls that stay, and take letter after letter.
//
// A stream takes a letter as a poll that acknowledges does. What was written to it is not
// written to it again: its bytes come in order, so that whoever gets the second copy has had
// the first, and whoever lost the first has lost the connection. So a letter that has no receipt
// after the invisible time goes to every other poll and stream of the device, and to each new one
// at once, unless its client says that it has it.

const (
	// maxKnown is how many letters a stream remembers that its device has. More than that,
	// and none of them acknowledged, are handed out once more.
	maxKnown = 64
	// maxNamed is how many of them an event's ID names.
	maxNamed = 8
	// knownFor is how long a call is remembered whose deadline is not known.
	knownFor = 5 * time.Minute
)

// stream is the part of a poll that is a stream's.
type stream struct {
	environment planet.Environment
	device      string
	news        chan struct{} // holds one: something of what follows has changed

	known     []knownLetter // the oldest first; Mailbox.mu guards it
	displaced bool          // its place is another's; likewise

	// What follows is the goroutine's that holds the stream. It is not on its stack: see Stream.
	write           func(bell.StreamEvent) bool
	beat            time.Duration
	end, next       time.Time // of the stream, and when it beats
	timer           *time.Timer
	closing, ending <-chan struct{}
}

// knownLetter is a call or notice that a stream's device has.
type knownLetter struct {
	key      bell.CallKey
	deadline time.Time
	notice   bool
	has      bool   // acknowledged
	why      string // it has ended, and the device is to be told so
}

func (s *stream) index(key bell.CallKey) int {
	return slices.IndexFunc(s.known, func(k knownLetter) bool { return k.key == key })
}

// rings reports whether a call that the stream's device knows of is not known to be over.
func (s *stream) rings(key bell.CallKey) bool {
	k := &s.known[s.index(key)]
	return k.why == "" && !k.notice
}

func (s *stream) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// named is what an event's ID says: what still rings, and notices without a receipt. The
// caller holds Mailbox.mu.
func (s *stream) named() []planet.SessionID {
	var ids []planet.SessionID
	for _, k := range slices.Backward(s.known) {
		if k.why == "" && !(k.notice && k.has) && len(ids) < maxNamed {
			ids = append(ids, k.key.SessionID)
		}
	}
	slices.Reverse(ids)
	return ids
}

// learn notes that a stream's device has a letter. The caller holds m.mu.
func (m *Mailbox) learn(s *stream, k knownLetter) {
	if i := s.index(k.key); i >= 0 {
		s.known[i].deadline, s.known[i].notice = k.deadline, k.notice
		return
	}
	if len(s.known) == maxKnown {
		m.unlearn(s, 0)
	}
	s.known = append(s.known, k)
	m.hears[k.key] = append(m.hears[k.key], s)
}

func (m *Mailbox) unlearn(s *stream, i int) {
	key := s.known[i].key
	s.known = slices.Delete(s.known, i, i+1)
	if rest := slices.DeleteFunc(m.hears[key], func(other *stream) bool { return other == s }); len(rest) > 0 {
		m.hears[key] = rest
	} else {
		delete(m.hears, key)
	}
}

// tellOver lets streams know that a call is over that their devices have. The caller holds m.mu.
func (m *Mailbox) tellOver(key bell.CallKey) {
	for _, s := range m.hears[key] {
		s.known[s.index(key)].why = bell.EndedByCall
		s.wake()
	}
}

// Stream hands what comes for a device to write, one thing after another, until the hold is
// over, ctx ends, the mailbox closes, or write says that it could not write. What write was
// given is as a poll's letter: it comes back if it was not written, and until its receipt if it was.
// It returns nil, or, when there are too many polls and streams, after a wait, an error of the
// kind bell.Unavailable, having written nothing.
//
// write is called from this goroutine only. A letter that comes while it writes waits in the
// mailbox: there is no other queue. While nothing happens there is little on the stack; see the
// handler.
func (m *Mailbox) Stream(ctx context.Context, s *bell.Stream, write func(bell.StreamEvent) bool) error {
	p := m.newStream(s, write)
	if !m.enter(s.DeviceID, p) {
		return m.refuse(ctx, s.Hold)
	}
	m.entered(p, s.DeviceID)
	defer m.leave(s.DeviceID, p)
	if m.begin(ctx, p, s) {
		defer p.stream.timer.Stop()
		for m.flow(ctx, p) {
		}
	}
	return nil
}

// refuse is the answer to one stream too many, when its time has come.
func (m *Mailbox) refuse(ctx context.Context, hold time.Duration) error {
	m.Metrics.refusedStream()
	if err := m.pause(ctx, min(hold, refusalDelay+time.Duration(m.Random()*float64(time.Second)))); err != nil {
		return err
	}
	return bell.E(bell.Unavailable, "There are too many polls and streams; try again soon.", nil)
}

// begin opens a stream, and reports whether it goes on.
func (m *Mailbox) begin(ctx context.Context, p *poll, s *bell.Stream) bool {
	now := time.Now()
	p.stream.end, p.stream.next = now.Add(s.Hold), now.Add(s.Beat)
	if !p.stream.write(bell.StreamEvent{Kind: bell.StreamOpened}) || !m.resume(ctx, p, s) {
		return false
	}
	p.stream.closing, p.stream.ending = m.closing, p.ending
	p.stream.timer = time.NewTimer(time.Hour) // flow sets it
	return true
}

func (m *Mailbox) newStream(s *bell.Stream, write func(bell.StreamEvent) bool) *poll {
	p := &poll{
		got: make(chan *letter, 1), acknowledges: true, notices: s.Notices,
		stream: &stream{environment: s.Environment, device: s.DeviceID, news: make(chan struct{}, 1), beat: s.Beat, write: write},
	}
	for _, id := range s.Known {
		p.stream.known = append(p.stream.known, knownLetter{key: bell.CallKey{Environment: s.Environment, SessionID: id}, deadline: m.Now().Add(knownFor)})
	}
	return p
}

// resume records what the device says that it has, and finds out what of it is over. It
// reports whether the device is still there.
func (m *Mailbox) resume(ctx context.Context, p *poll, s *bell.Stream) bool {
	for _, id := range s.Known {
		a := s.Arrived(ctx, id)
		if ctx.Err() != nil {
			return false
		}
		m.mu.Lock()
		if i := p.stream.index(bell.CallKey{Environment: s.Environment, SessionID: id}); i >= 0 {
			k := &p.stream.known[i]
			if a.Unknown {
				k.deadline, k.notice, k.has = time.Time{}, true, true // forgotten, without a word
			}
			if !a.Deadline.IsZero() {
				k.deadline = a.Deadline
			}
			if a.Over && k.why == "" {
				k.why = bell.EndedByCall
				p.stream.wake()
			}
		}
		m.mu.Unlock()
	}
	return true
}

// flow waits for the next thing to do, does it, and reports whether the stream goes on.
func (m *Mailbox) flow(ctx context.Context, p *poll) bool {
	s := p.stream
	s.timer.Reset(m.idle(s))
	select {
	case l := <-p.got:
		return m.hand(ctx, p, l)
	case <-s.news:
		return m.tellEnds(s)
	case <-s.timer.C:
		return m.onTime(s)
	case <-s.closing: // what comes until the stream's turn to end is still given to it
		s.closing = nil
		m.endSoon(s, m.stagger)
	case <-s.ending: // likewise
		s.ending = nil
		m.endSoon(s, endWithin)
	case <-ctx.Done():
		return false
	}
	return true
}

// onTime does what is due when nothing has come.
func (m *Mailbox) onTime(s *stream) bool {
	now := time.Now()
	if !now.Before(s.end) {
		s.write(bell.StreamEvent{Kind: bell.StreamOver})
		return false
	}
	if now.Before(s.next) {
		return m.tellEnds(s)
	}
	s.next = now.Add(s.beat)
	return s.write(bell.StreamEvent{Kind: bell.StreamBeat})
}

// endSoon lets a stream end somewhere within the next while.
func (m *Mailbox) endSoon(s *stream, within time.Duration) {
	if soon := time.Now().Add(time.Duration(m.Random() * float64(within))); soon.Before(s.end) {
		s.end = soon
	}
}

// idle is after how long a stream has something to do even if nothing comes.
func (m *Mailbox) idle(s *stream) time.Duration {
	d := min(time.Until(s.end), time.Until(s.next))
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(s.known) > 0 {
		now := m.Now()
		for _, k := range s.known {
			d = min(d, k.deadline.Sub(now))
		}
	}
	return max(d, 0)
}

// hand gives a letter to a stream, and reports whether the stream goes on.
func (m *Mailbox) hand(ctx context.Context, p *poll, l *letter) bool {
	e, ok := m.openStream(ctx, p, l)
	if !ok {
		if ctx.Err() == nil {
			m.entered(p, p.stream.device) // it was over, and nobody has looked for others
		}
		return ctx.Err() == nil
	}
	written := p.stream.write(e)
	p.stream.next = time.Now().Add(p.stream.beat)
	if report := m.done(p, l, written); report != nil {
		go report()
	} else {
		m.work.Done()
	}
	return written
}

// streamed hides a letter that was written to a stream. The caller holds m.mu.
func (m *Mailbox) streamed(p *poll, l *letter, at time.Time) (report func()) {
	l.holder = p
	first := !l.told
	l.told = true
	m.hide(l)
	m.offer(l) // what came meanwhile found this stream busy
	if !first {
		m.Metrics.event("replayed")
		return nil
	}
	m.Metrics.event("delivered")
	return m.report(m.Streamed, l.ring, at)
}

// acknowledged notes for the streams of a device that it has said that it has something. The
// caller holds m.mu.
func (m *Mailbox) acknowledged(key bell.CallKey, device string) {
	for _, s := range m.hears[key] {
		if s.device == device {
			s.known[s.index(key)].has = true
		}
	}
}

// openStream is open for a stream.
func (m *Mailbox) openStream(ctx context.Context, p *poll, l *letter) (bell.StreamEvent, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.over {
		m.offer(l)
		return bell.StreamEvent{}, false
	}
	if ctx.Err() != nil {
		l.taken = false
		return bell.StreamEvent{}, false
	}
	m.work.Add(1) // ended by hand
	m.learn(p.stream, knownLetter{key: l.key, deadline: l.ring.Delivery.Deadline, notice: l.notice()})
	return bell.StreamEvent{
		Kind: bell.StreamLetter, SessionID: l.key.SessionID, Payload: l.ring.Call.Payload(m.Now()), Notice: l.notice(), Known: p.stream.named(),
	}, true
}

// tellEnds tells a stream what of that which its device knows is over, and reports whether the
// stream goes on.
func (m *Mailbox) tellEnds(s *stream) bool {
	for {
		e, ok := m.nextEnd(s)
		if !ok {
			return true
		}
		if !s.write(e) || e.Kind == bell.StreamOver {
			return false
		}
		s.next = time.Now().Add(s.beat)
	}
}

func (m *Mailbox) nextEnd(s *stream) (bell.StreamEvent, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.displaced {
		return bell.StreamEvent{Kind: bell.StreamOver, Later: true}, true
	}
	now := m.Now()
	for i := 0; i < len(s.known); i++ {
		k := s.known[i]
		expired := k.why == "" && !now.Before(k.deadline)
		if k.why == "" && !expired {
			continue
		}
		m.unlearn(s, i)
		i--
		if expired && k.notice { // it may be looked at for longer
			continue
		}
		why := k.why
		if expired {
			why = bell.EndedByDeadline
		}
		m.Metrics.event(why)
		return bell.StreamEvent{Kind: bell.StreamEnded, SessionID: k.key.SessionID, Why: why, Known: s.named()}, true
	}
	return bell.StreamEvent{}, false
}

// show makes letters visible that are hidden for their receipt, if which says so. The caller
// holds m.mu.
func (m *Mailbox) show(b *box, which func(*letter) bool) {
	for _, l := range b.letters {
		if l.back != nil && which(l) {
			m.forget(l)
			l.back = nil
		}
	}
}

// join lets a stream into a box: it gets at once what has no receipt. The caller holds m.mu.
func (m *Mailbox) join(b *box, p *poll) {
	for _, k := range p.stream.known {
		m.hears[k.key] = append(m.hears[k.key], p.stream)
	}
	m.show(b, func(*letter) bool { return true })
	m.streams++
	m.Metrics.streaming(m.streams)
}

// part takes a stream's traces away. What it was given and has no receipt for is there for
// others at once. The caller holds m.mu.
func (m *Mailbox) part(b *box, p *poll) {
	for len(p.stream.known) > 0 {
		m.unlearn(p.stream, len(p.stream.known)-1)
	}
	m.show(b, func(l *letter) bool { return l.holder == p })
	m.streams--
	m.Metrics.streaming(m.streams)
}

// displace ends the oldest stream of a box, if there is one, so that there is room: its
// connection may have died long ago, without a word. The caller holds m.mu.
func (b *box) displace() bool {
	i := slices.IndexFunc(b.polls, func(p *poll) bool { return p.stream != nil })
	if i < 0 {
		return false
	}
	s := b.polls[i].stream
	b.polls = slices.Delete(b.polls, i, i+1)
	s.displaced = true
	s.wake()
	return true
}
