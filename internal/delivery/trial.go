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
	Attempt bell.Attempt
}

// testCCParam is in a test that looks like a call: a device cannot verify it, and so ends the
// call that it shows.
const testCCParam = "planetbell-test-call"

// Try sends one test to one device, through its real sender, and returns what the provider
// answered. It is one attempt, never repeated and not recorded; the registry learns from it
// what it is worth for the push token, as from any. It takes one of the places that notices
// have, so that calls do not wait for it, and says nothing to the breaker.
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
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, errTrial)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	select {
	case rt.aside <- struct{}{}:
		defer func() { <-rt.aside }()
	case <-ctx.Done():
		return TrialResult{}, bell.E(bell.Unavailable, "This route has no room for a test at the moment; try again.", context.Cause(ctx))
	}
	now := e.Now()
	ring := trialRing(t, d, now)
	outcome := sender.Send(ctx, &ring, Try{Number: 1, Now: now})
	a := bell.Attempt{DeliveryID: ring.Delivery.ID, Number: 1, StartedAt: now, Took: e.Now().Sub(now), Outcome: outcome}
	if e.Registry != nil && (outcome.Verdict == bell.Accepted || outcome.Token == bell.TokenDrop) {
		e.Registry.Learn(ctx, bell.Lesson{Device: d, Credential: rt.key.Credential, Outcome: outcome, At: now})
	}
	return TrialResult{Channel: d.Channel, Route: rt.key, Attempt: a}, nil
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
