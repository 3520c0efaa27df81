package pages

import (
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Tone is how a thing is to be taken, before a word of it is read.
type Tone string

// The tones.
const (
	Good  Tone = "good"
	Warn  Tone = "warn"  // look at it when there is time
	Bad   Tone = "bad"   // somebody was not rung, or something does not work
	Live  Tone = "live"  // it is going on
	Quiet Tone = "quiet" // nothing to see
)

// callTone is that of a call. A call that the callee did not take rang all the same, as far as
// we are concerned.
func callTone(c *bell.Call) Tone {
	switch {
	case c.State == bell.CallRinging:
		return Live
	case c.State == bell.CallLost:
		return Warn
	case c.Outcome == planet.OutcomePushFailed || c.Outcome == planet.OutcomeFailed:
		return Bad
	case c.Outcome == planet.OutcomeMissed:
		return Warn
	case c.Outcome == planet.OutcomeCompleted:
		return Good
	}
	return Quiet
}

// deliveryTone is that of a delivery.
func deliveryTone(d *bell.Delivery) Tone {
	switch d.State {
	case bell.DeliveryAccepted, bell.DeliveryReceived:
		return Good
	case bell.DeliveryFailed:
		return Bad
	case bell.DeliveryExpired:
		return Warn
	case bell.DeliveryPending, bell.DeliverySending:
		return Live
	}
	return Quiet
}

// attemptTone is that of one attempt.
func attemptTone(o *bell.Outcome) Tone {
	switch o.Verdict {
	case bell.Accepted, bell.Deposited:
		return Good
	case bell.Rejected:
		return Bad
	}
	return Warn
}
