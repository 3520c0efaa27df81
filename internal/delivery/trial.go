package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// trialTime bounds a trial: an operator waits for it.
const trialTime = 8 * time.Second

var errTrial = errors.New("the provider did not answer a test in time")

// Trial is a test of one device.
type Trial struct {
	Device bell.Device
	Label  string // the "_env" of its project
	// Call makes the test look like a call, so that the phone rings: the only way to try a VoIP
	// push, which iOS wants to see reported as a call. Else it is a notice, for which an iPhone
	// that rings by VoIP pushes needs a second token.
	Call bool
}

// TrialResult is what a test came to: the provider's whole answer.
type TrialResult struct {
	Channel bell.Channel // by which it went
	Route   RouteKey
	Attempt bell.Attempt // the last one: its answer counts
	// Own is what the device's own APNs server said, if the other was asked after it; else nil.
	Own *bell.Attempt
}

// testCCParam is in a test that looks like a call: a device cannot verify it, and so ends the
// call that it shows.
const testCCParam = "planetbell-test-call"

// Try sends one test to one device, through its real sender, and returns what the provider
// answered. It is one attempt, not recorded, and never repeated, but for one thing: where a
// ring would ask the other APNs server, so does it. It takes one of the places that notices
// have, and one of the route's, as a notice does: so calls find places, and a route never has
// more attempts at once than it may. It says nothing to the breaker.
//
// The registry learns that a push was taken, and that the provider calls the token dead.
// It does not learn of a doubt ([bell.TokenCheck]): who tests again and again would suspend
// the device.
//
// The error kind is bell.Invalid for a device that cannot be tested (it polls, it has no
// address, or no token for notices; nothing leads to it), and bell.Unavailable when the
// engine is stopping or no place became free. Everything a provider says is no error.
func (e *Engine) Try(ctx context.Context, t Trial) (TrialResult, error) {
	d := t.Device
	if !t.Call && !bell.PurposeTest.Goes(d.Channel) {
		d = d.Over(bell.APNsAlert)
	}
	switch {
	case d.Channel == bell.LongPoll:
		return TrialResult{}, bell.E(bell.Invalid, "This device polls: there is no provider that could be asked. When it last asked for calls is among its facts.", nil)
	case d.Channel == "" || d.PushToken == "" && t.Device.PushToken == "":
		return TrialResult{}, bell.E(bell.Invalid, "This device has no push token.", nil)
	case d.PushToken == "":
		return TrialResult{}, bell.E(bell.Invalid, "This iPhone gave no token for alerts, so only a test call can reach it, which makes it ring.", nil)
	}
	rt, sender, reason := e.routeTo(&d)
	if reason != "" {
		return TrialResult{}, bell.E(bell.Invalid, "Nothing leads to this device: "+reason+".", nil)
	}
	trial, cancel := context.WithTimeoutCause(ctx, trialTime, errTrial)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	ring := trialRing(t, d, e.Now())
	a, err := e.tryOnce(trial, way{rt, sender}, &ring, 1)
	if err != nil {
		return TrialResult{}, err
	}
	got := TrialResult{Channel: d.Channel, Route: rt.key, Attempt: a}
	if a.Outcome.Verdict == bell.RetryOtherHost && e.otherWay(&d) {
		other := ring
		other.Device.APNsServer = otherServer(d.APNsServer)
		if rt, sender, reason = e.routeTo(&other.Device); reason == "" {
			if a, err = e.tryOnce(trial, way{rt, sender}, &other, 2); err == nil {
				ring, got.Own, got.Route, got.Attempt = other, new(got.Attempt), rt.key, a
			}
		}
	}
	if o := got.Attempt.Outcome; o.Verdict == bell.Accepted || o.Token == bell.TokenDrop {
		e.teach(bell.Lesson{
			Device: ring.Device, Credential: got.Route.Credential, Outcome: o, OtherTried: got.Own != nil, At: got.Attempt.StartedAt,
		})
	}
	return got, nil
}

// tryOnce makes one attempt of a test, when there is a place for it.
func (e *Engine) tryOnce(ctx context.Context, w way, r *bell.Ring, number int) (bell.Attempt, error) {
	for _, places := range []chan struct{}{w.route.aside, w.route.places} {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return bell.Attempt{}, bell.E(bell.Unavailable, "This route has no room for a test at the moment; try again.", context.Cause(ctx))
		}
	}
	w.route.metrics.attempting.Inc()
	defer w.route.metrics.attempting.Dec()
	now := e.Now()
	outcome := w.sender.Send(ctx, r, Try{Number: number, Now: now})
	return bell.Attempt{
		DeliveryID: r.Delivery.ID, Number: number, StartedAt: now, Took: e.Now().Sub(now), Server: w.route.key.apnsServer(), Outcome: outcome,
	}, nil
}

// trialRing makes what is sent.
func trialRing(t Trial, d bell.Device, now time.Time) bell.Ring {
	c := &bell.Call{
		Environment: d.Owner.Environment, SessionID: planet.SessionID(bell.NewID()), Project: d.Project, Label: t.Label,
		Caller: d.Owner.User, Callee: d.Owner.User, CallerName: "planetbell test", Type: planet.AudioCall,
		State: bell.CallNotice, Purpose: bell.PurposeTest, NotifiedAt: now, Deadline: now.Add(trialTime),
	}
	if t.Call {
		c.Purpose, c.State, c.CCParam = bell.PurposeCall, bell.CallRinging, testCCParam
	}
	return bell.Ring{Call: c, Device: d, Delivery: bell.Delivery{
		ID: bell.NewID(), Environment: c.Environment, SessionID: c.SessionID, DeviceID: d.ID, Channel: d.Channel,
		State: bell.DeliverySending, Deadline: c.Deadline, CreatedAt: now, UpdatedAt: now,
	}}
}
