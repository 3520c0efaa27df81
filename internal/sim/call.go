package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// CallReport is all that Planet Cloud saw of a call.
type CallReport struct {
	SessionID        planet.SessionID `json:"sid"`
	Caller           planet.UserRef   `json:"caller"`
	Callee           planet.UserRef   `json:"callee"`
	Type             planet.CallType  `json:"type"`
	Plan             PlanKind         `json:"plan"`
	SetupAt          time.Time        `json:"setup_at"`
	ConnectedAt      time.Time        `json:"connected_at,omitzero"`
	EndedAt          time.Time        `json:"ended_at,omitzero"`
	DisconnectReason int              `json:"disconnect_reason"` // 0 while running
	Reason           string           `json:"reason"`            // its name
	Notifies         []Callback       `json:"notifies"`          // the first one is the original
	Events           []Callback       `json:"events"`            // Call Events, more than one with duplicates
	Legs             []LegReport      `json:"legs"`              // in the order of verification
}

// LegReport is what one phone of the callee did.
type LegReport struct {
	Phone            string        `json:"phone"`
	VerifiedAt       time.Time     `json:"verified_at"`
	Latency          time.Duration `json:"latency_ns"`    // from set-up to verification
	Verifications    int           `json:"verifications"` // more than 1: the phone was rung twice
	DisconnectReason int           `json:"disconnect_reason"`
}

// Call is a 1-to-1 call of [Cloud].
type Call struct {
	cloud   *Cloud
	project Project
	request CallRequest
	ccParam string

	decided   chan decision // one place: the first answer or decline
	hangup    chan bool     // one place: true when the caller ended the call by hand
	connected chan struct{} // closed by the answer
	ended     chan struct{} // closed when the call is over for everybody
	done      chan struct{}

	mu     sync.Mutex
	report CallReport
	legs   []*Leg
	over   bool // no leg may begin or decide any more
}

// decision is what a phone's user did first.
type decision struct{ answer bool }

// newCall returns a call that is not running.
func newCall(c *Cloud, p Project, r CallRequest) *Call {
	sid := newUUID()
	return &Call{
		cloud: c, project: p, request: r, ccParam: newCCParam(sid, string(r.Type)),
		decided: make(chan decision, 1), hangup: make(chan bool, 1), done: make(chan struct{}),
		connected: make(chan struct{}), ended: make(chan struct{}),
		report: CallReport{
			SessionID: planet.SessionID(sid), Caller: r.Caller, Callee: r.Callee, Type: r.Type,
			Plan: r.Plan.Kind, SetupAt: c.clock.Now(),
		},
	}
}

// SessionID returns the call's "sid", in lower case.
func (c *Call) SessionID() planet.SessionID { return c.report.SessionID }

// CCParam returns the call's cc_param as it must reach the phones.
func (c *Call) CCParam() planet.CCParam { return planet.CCParam(c.ccParam) }

// Done is closed when the call is over and its Call Event was answered.
func (c *Call) Done() <-chan struct{} { return c.done }

// Hangup ends the call by hand: a ringing one as canceled, an answered one as ended by
// the caller.
func (c *Call) Hangup() { c.hangUp(true) }

// hangUp is Hangup by either side.
func (c *Call) hangUp(byCaller bool) {
	select {
	case c.hangup <- byCaller:
	default:
	}
}

// Report returns what is known so far.
func (c *Call) Report() CallReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Notifies, r.Events = slices.Clone(r.Notifies), slices.Clone(r.Events)
	r.Legs = nil
	for _, l := range c.legs {
		r.Legs = append(r.Legs, l.report)
	}
	return r
}

// run lives the call from set-up to the answered Call Event.
func (c *Call) run(ctx context.Context) {
	defer close(c.done)
	plan := c.request.Plan
	c.event(EventPlaced, 0, fmt.Sprintf("%s calls %s (%s)", c.request.Caller, c.request.Callee, plan.Kind))
	if c.request.before != nil {
		c.request.before(ctx, c.SessionID())
	}
	var notifying sync.WaitGroup
	rel := releaseOf(PlanBusy, false)
	if plan.Kind != PlanBusy {
		failed := make(chan struct{}, 1)
		notifying.Go(func() {
			if !c.notify(ctx) {
				failed <- struct{}{}
			}
		})
		rel = c.ring(ctx, failed)
	}
	c.end(rel)
	if ctx.Err() == nil {
		c.sendEvent(ctx, rel)
	}
	notifying.Wait()
	c.cloud.finished(c.Report())
}

// ring waits for what happens first to a ringing call, and if that is an answer, for
// the end of the conversation.
func (c *Call) ring(ctx context.Context, failed <-chan struct{}) release {
	ctx, cancel := context.WithCancel(ctx)
	var timers sync.WaitGroup
	defer timers.Wait()
	defer cancel()
	after := func(d time.Duration) <-chan struct{} {
		ch := make(chan struct{})
		timers.Go(func() {
			if c.cloud.clock.Wait(ctx, d) == nil {
				close(ch)
			}
		})
		return ch
	}
	var cancelled <-chan struct{}
	if c.request.Plan.Kind == PlanCanceled {
		cancelled = after(c.request.Plan.After)
	}
	var rel release
	hung, byCaller := false, false
	select {
	case <-failed:
		rel = pushError()
	case <-cancelled:
		rel = releaseOf(PlanCanceled, true)
	case byCaller = <-c.hangup:
		hung, rel = true, releaseOf(PlanCanceled, true)
	case <-after(c.ringTime()):
		rel = releaseOf(PlanUnanswered, false)
	case <-ctx.Done():
		rel = releaseOf(PlanUnanswered, false)
	case d := <-c.decided:
		return c.conversation(ctx, d, after)
	}
	if d, late := c.close(); late {
		if hung { // somebody answered and hung up before this loop looked
			c.hangUp(byCaller)
		}
		return c.conversation(ctx, d, after)
	}
	return rel
}

// ringTime is how long this call rings.
func (c *Call) ringTime() time.Duration {
	if c.request.RingTime > 0 {
		return c.request.RingTime
	}
	return c.cloud.o.RingTime
}

// close ends the ring, unless a phone decided just before: then it returns that.
func (c *Call) close() (d decision, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case d = <-c.decided:
		return d, true
	default:
		c.over = true
		return d, false
	}
}

// conversation waits for the end of an answered call.
func (c *Call) conversation(ctx context.Context, d decision, after func(time.Duration) <-chan struct{}) release {
	if !d.answer {
		return releaseOf(PlanDeclined, false)
	}
	users := []planet.UserRef{c.request.Caller, c.request.Callee}
	c.cloud.talk(1, users...)
	defer c.cloud.talk(-1, users...)
	select {
	case <-after(c.request.Plan.Talk):
		return releaseOf(PlanAnswered, c.request.Plan.EndedByCaller)
	case byCaller := <-c.hangup:
		return releaseOf(PlanAnswered, byCaller)
	case <-ctx.Done():
		return releaseOf(PlanAnswered, false)
	}
}

// end closes the call for all phones.
func (c *Call) end(rel release) {
	c.mu.Lock()
	c.over = true
	c.report.EndedAt = c.cloud.clock.Now()
	c.report.DisconnectReason, c.report.Reason = rel.reason, rel.reasonName
	for _, l := range c.legs {
		l.endLocked(rel.reason)
	}
	at := c.report.EndedAt.Sub(c.report.SetupAt)
	close(c.ended)
	c.mu.Unlock()
	c.event(EventEnded, at, fmt.Sprintf("the call is over: %s", rel.reasonName))
}

// event reports to whoever watches.
func (c *Call) event(kind EventKind, latency time.Duration, text string) {
	c.cloud.event(Event{
		Kind: kind, SessionID: c.report.SessionID, User: c.request.Callee.String(), Latency: latency, Text: text,
	})
}

// verify begins a leg.
func (c *Call) verify(phone string, user planet.UserRef) (*Leg, error) {
	c.mu.Lock()
	for _, l := range c.legs {
		if l.report.Phone == phone && !l.dropped {
			l.report.Verifications++
			c.mu.Unlock()
			return nil, ErrVerifiedTwice
		}
	}
	if user != c.request.Callee {
		c.mu.Unlock()
		return nil, ErrNotCallee
	}
	if c.over || !c.report.ConnectedAt.IsZero() {
		c.mu.Unlock()
		return nil, ErrReleasedCall
	}
	now := c.cloud.clock.Now()
	l := &Leg{call: c, connected: make(chan struct{}), done: make(chan struct{}), report: LegReport{
		Phone: phone, VerifiedAt: now, Latency: now.Sub(c.report.SetupAt), Verifications: 1,
	}}
	c.legs = append(c.legs, l)
	c.mu.Unlock()
	c.event(EventVerified, l.report.Latency, phone+" rings")
	return l, nil
}

// Leg is one phone's part of a call: it rings until somebody decides.
type Leg struct {
	call      *Call
	connected chan struct{} // closed when this leg answered
	done      chan struct{}
	report    LegReport // guarded by call.mu
	dropped   bool      // likewise
}

// SessionID returns the call's "sid".
func (l *Leg) SessionID() planet.SessionID { return l.call.report.SessionID }

// Plan returns what the phone's user does by the call's plan: decide says whether he
// does anything at all, answer whether he answers or declines, after how long he takes.
func (l *Leg) Plan() (decide, answer bool, after time.Duration) {
	p := l.call.request.Plan
	if p.By != "" && p.By != l.report.Phone {
		return false, false, 0
	}
	return p.Kind == PlanAnswered || p.Kind == PlanDeclined, p.Kind == PlanAnswered, p.After
}

// Answer is acceptCall. The first phone wins, and the others end with 1206; for them it
// returns [ErrReleasedCall].
func (l *Leg) Answer() error { return l.decide(true) }

// Decline refuses the call for all phones of the user; the others end with 1207.
func (l *Leg) Decline() error { return l.decide(false) }

// Hangup ends the call on the callee's side: an answered one as ended by the callee, if this
// leg answered it, and a ringing one as declined.
func (l *Leg) Hangup() error {
	select {
	case <-l.connected:
		l.call.hangUp(false)
		return nil
	default:
		return l.Decline()
	}
}

// Drop is what the cloud sees of a phone that is gone without a word, such as a page that was
// closed: an answered call ends, and a ringing one rings on elsewhere. The phone may come back
// and verify the call again.
func (l *Leg) Drop() {
	select {
	case <-l.connected:
		l.call.hangUp(false)
		return
	default:
	}
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	l.dropped = true
	l.endLocked(networkUnstable)
}

// Done is closed when the leg is over.
func (l *Leg) Done() <-chan struct{} { return l.done }

// Reason returns the disconnect reason of the leg (docs/line-planet.md 4.3), 0 while it runs.
func (l *Leg) Reason() int {
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	return l.report.DisconnectReason
}

// Disconnect reasons of the phones that lost, or were lost (docs/line-planet.md 4.3).
const (
	multiDeviceAnswer  = 1206
	multiDeviceDecline = 1207
	networkUnstable    = 1301
)

func (l *Leg) decide(answer bool) error {
	c := l.call
	c.mu.Lock()
	if c.over || l.report.DisconnectReason != 0 || !c.report.ConnectedAt.IsZero() {
		c.mu.Unlock()
		return ErrReleasedCall
	}
	select {
	case c.decided <- decision{answer: answer}:
	default:
		c.mu.Unlock()
		return ErrReleasedCall
	}
	lost := multiDeviceDecline
	if answer {
		lost = multiDeviceAnswer
		c.report.ConnectedAt = c.cloud.clock.Now()
		close(l.connected)
		close(c.connected)
	} else {
		c.over = true
	}
	for _, other := range c.legs {
		if other != l {
			other.endLocked(lost)
		}
	}
	at := c.cloud.clock.Now().Sub(c.report.SetupAt)
	c.mu.Unlock()
	if answer {
		c.event(EventConnected, at, l.report.Phone+" answers")
	}
	return nil
}

// endLocked ends the leg once; the call's mutex is held.
func (l *Leg) endLocked(reason int) {
	if l.report.DisconnectReason != 0 {
		return
	}
	l.report.DisconnectReason = reason
	close(l.done)
}

// latency returns the time from set-up to verification.
func (l *Leg) latency() time.Duration {
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	return l.report.Latency
}
