package sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// maxSpins is after how many unusable answers in a row a phone gives up, where the real
// app would go on for ever without a pause.
const maxSpins = 20

// startPolling begins to poll if the app polls and does not poll already.
func (p *Phone) startPolling() {
	if !p.profile.polls {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil || p.closed || p.account.AppToken == "" {
		return
	}
	// No poll after the registration has ended, whatever the machine's clock says: the
	// loop looks at the phone's own clock before every poll.
	ctx, stop := context.WithCancel(p.ctx)
	account, stopped := p.account, make(chan struct{})
	p.stop, p.stopped = stop, stopped
	p.busy.Go(func() {
		defer close(stopped)
		p.pollLoop(ctx, account)
		stop()
		p.mu.Lock()
		p.stop = nil
		p.mu.Unlock()
	})
}

// StopPolling ends polling, as an app does in the background, and waits for the end.
func (p *Phone) StopPolling() {
	p.mu.Lock()
	stop, stopped := p.stop, p.stopped
	p.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	<-stopped
}

// ResumePolling begins to poll again after [Phone.StopPolling], or after the app had
// stopped by itself.
func (p *Phone) ResumePolling() { p.startPolling() }

// pollLoop polls until the app would stop.
func (p *Phone) pollLoop(ctx context.Context, account clients.Registration) {
	if !p.preparePolling(ctx, account) {
		return
	}
	if p.o.Streams {
		p.streamLoop(ctx, account)
		return
	}
	spins := 0
	for ctx.Err() == nil && p.clock.Now().Before(account.Expires) {
		poll, receipt := p.pollOnce(ctx, account)
		if ctx.Err() != nil {
			return
		}
		if poll.Err != nil {
			p.trouble("notification/lp", poll.Err)
		}
		if poll.Call != nil && !p.acknowledge(receipt) {
			p.pollCall(ctx, poll)
		}
		if poll.Next != clients.Spin {
			spins = 0
		}
		switch poll.Next {
		case clients.PollLater:
			_ = p.clock.Wait(ctx, clients.Pause) // the loop looks at ctx
		case clients.Spin:
			if spins++; spins >= maxSpins {
				return
			}
		case clients.Stop:
			return
		case clients.StopForCall:
			if !p.preparePolling(ctx, account) {
				return
			}
		}
	}
}

// preparePolling does what the Windows app does before every start of polling.
func (p *Phone) preparePolling(ctx context.Context, account clients.Registration) bool {
	if p.kind != Windows {
		return true
	}
	if err := p.sendToken(ctx, account.AppToken); err != nil {
		p.trouble("update_notification_token before polling", err)
		return false
	}
	return true
}

// pollOnce sends one poll. The receipt is for its call, if it has one.
func (p *Phone) pollOnce(ctx context.Context, account clients.Registration) (clients.Poll, receiptBody) {
	a, err := p.request(ctx, apiRequest{
		method: http.MethodGet, path: p.pollPath(), token: account.AppToken, limit: p.profile.pollLimit,
	})
	poll := clients.Poll{Next: p.profile.decoder.PollFailed(), Err: err}
	if err == nil && p.pollNotice(a) {
		return clients.Poll{Next: clients.PollNow}, receiptBody{}
	}
	if err == nil {
		poll = p.profile.decoder.Poll(a)
	}
	p.mu.Lock()
	p.stats.Polls++
	if poll.Next == clients.Spin {
		p.stats.Spins++
	}
	p.mu.Unlock()
	return poll, receiptOfPoll(a)
}

// pollCall takes a call from a poll: Apple and Windows wait until it is over, Android
// polls on beside it.
func (p *Phone) pollCall(ctx context.Context, poll clients.Poll) {
	if poll.Next == clients.StopForCall {
		p.ring(ctx, *poll.Call, "poll")
		return
	}
	p.background(func() { p.ring(p.ctx, *poll.Call, "poll") })
}

// onAPNs takes a push from the APNs fake.
func (p *Phone) onAPNs(push APNsPush) {
	p.background(func() {
		call, err := clients.AppleVoIP(push.Body)
		if err != nil {
			p.unusable("apns", err)
			return
		}
		if p.acknowledge(receiptOfPush(push)) {
			return
		}
		p.ring(p.ctx, call, "apns")
	})
}

// onFCM takes a message from the FCM fake.
func (p *Phone) onFCM(m FCMMessage) {
	p.background(func() {
		if isNotice(m.Data) && !m.Notification {
			p.messageNotice(m)
			return
		}
		call, err := clients.AndroidData(m.Data)
		if err == nil && m.Notification {
			err = errors.New("the message has a notification object; the system tray swallows it")
		}
		if err != nil {
			p.unusable("fcm", err)
			return
		}
		if p.acknowledge(receiptOfMessage(m)) {
			return
		}
		p.ring(p.ctx, call, "fcm")
	})
}

func (p *Phone) unusable(via string, err error) {
	p.receipts.add(Receipt{At: p.clock.Now(), Via: via, Err: err})
	p.trouble(via, err)
}

// ring verifies a call that came in, does what the phone's user does, and returns when
// the call is over for this phone.
func (p *Phone) ring(ctx context.Context, call clients.Call, via string) {
	p.mu.Lock()
	behavior := p.behavior
	p.mu.Unlock()
	r := Receipt{At: p.clock.Now(), Via: via, Call: call}
	var leg *Leg
	if p.o.Cloud != nil && behavior.Kind != BehaviorDeaf {
		leg, r.Err = p.o.Cloud.Verify(p.o.Name, p.o.User, call.CCParam)
	}
	if leg != nil {
		r.Rang, r.SessionID = true, leg.SessionID()
	}
	p.receipts.add(r)
	if r.Err != nil {
		p.trouble("verifyCall", r.Err)
		return
	}
	e := Event{Kind: EventReceived, SessionID: r.SessionID, Text: "got a call by " + via}
	if leg == nil {
		p.event(e)
		return
	}
	e.Latency = leg.latency()
	p.event(e)
	p.decide(ctx, leg, behavior)
	select {
	case <-leg.Done():
		reason := leg.Reason()
		p.event(Event{Kind: EventEnded, SessionID: r.SessionID, Text: fmt.Sprintf("ended with %d %s", reason, planet.DisconnectReason(reason).Name)})
	case <-ctx.Done():
	}
}

// decide answers or declines, if somebody is there to do it, unless the leg ends first.
func (p *Phone) decide(ctx context.Context, leg *Leg, b Behavior) {
	decide, answer, after := leg.Plan()
	if b.Kind != BehaviorPlan {
		decide, answer, after = b.Kind != BehaviorIgnore, b.Kind == BehaviorAnswer, b.After
	}
	if !decide || p.waitFor(ctx, leg, after) != nil {
		return
	}
	// Losing against another phone is no trouble: the leg says so.
	if answer {
		_ = leg.Answer()
		return
	}
	_ = leg.Decline()
}

// waitFor waits, but not beyond the end of the leg.
func (p *Phone) waitFor(ctx context.Context, leg *Leg, d time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-leg.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	err := p.clock.Wait(ctx, d)
	cancel()
	<-done
	return err
}
