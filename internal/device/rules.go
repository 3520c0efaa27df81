package device

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// The figures of the rules; internal/device/DESIGN.md has their reasons.
const (
	suspendFor  = 30 * time.Minute // how long a struck device is passed over
	maxStrikes  = 3                // refusals in a row after which a push token is forgotten ...
	strikesOver = time.Hour        // ... if the first of them is so long ago
)

// badToken is APNs' reason that may be about the server and not about the token.
const badToken = "BadDeviceToken"

// effect is what a lesson comes to.
type effect string

// The effects. Only those from confirmed on change the device.
const (
	unmoved   effect = ""
	withheld  effect = "withheld"  // would have been a strike, but so many fail that the configuration is suspected
	confirmed effect = "confirmed" // the provider took the token: what was held against it ends
	repaired  effect = "repaired"  // the other APNs server took the token
	struck    effect = "struck"
	suspended effect = "suspended"
	forgotten effect = "forgotten"
)

func (e effect) writes() bool { return e != unmoved && e != withheld }

// judge is the one place that decides what a provider's answer means for a device: for the
// row as it is now, whatever it was when the attempt began. It changes nothing by itself.
func judge(row bell.Device, l *bell.Lesson, t trust) (bell.Device, effect) {
	switch {
	case row.Channel == bell.APNsVoIP && l.Device.Channel == bell.APNsAlert:
		return judgeAlert(row, l)
	case row.PushToken == "" || row.PushToken != l.Device.PushToken || row.Channel != l.Device.Channel:
		return row, unmoved // the answer is about a token that was replaced meanwhile
	case row.APNsServerConfirmed && row.APNsServer != l.Device.APNsServer:
		return row, unmoved // a token belongs to one server for good, and it has been found
	case l.Outcome.Verdict == bell.Accepted:
		return accept(row, l)
	case row.RegisteredAt.After(l.At):
		return row, unmoved // the token was given again since
	case l.Outcome.Token == bell.TokenDrop:
		if since := l.Outcome.DeadSince; !since.IsZero() && row.RegisteredAt.After(since) {
			return row, unmoved // dead before it was registered, as after a reinstallation
		}
		return forget(row, l)
	case l.Outcome.Token == bell.TokenCheck:
		return doubt(row, l, t)
	}
	return row, unmoved
}

// judgeAlert decides about a device's other token, for alerts. Only proof ends it: doubt must
// not keep the device from ringing, and costs no more than notices sent in vain.
func judgeAlert(row bell.Device, l *bell.Lesson) (bell.Device, effect) {
	since := l.Outcome.DeadSince
	switch {
	case row.AlertToken == "" || row.AlertToken != l.Device.PushToken, l.Outcome.Token != bell.TokenDrop:
		return row, unmoved
	case row.RegisteredAt.After(l.At), !since.IsZero() && row.RegisteredAt.After(since):
		return row, unmoved // given again since, or dead before it was given
	}
	row.AlertToken = ""
	return row, forgotten
}

// accept ends what was held against a token, and notes which APNs server took it.
func accept(row bell.Device, l *bell.Lesson) (bell.Device, effect) {
	next, e := row, unmoved
	if row.Strikes > 0 || !row.SuspendedUntil.IsZero() {
		acquit(&next)
		e = confirmed
	}
	if !apple(row.Channel) || row.APNsServerConfirmed {
		return next, e
	}
	next.APNsServer, next.APNsServerGuessed, next.APNsServerConfirmed = l.Device.APNsServer, false, true
	if next.APNsServer != row.APNsServer {
		return next, repaired
	}
	return next, confirmed
}

// doubt weighs a refusal that is the token's fault or the configuration's.
func doubt(row bell.Device, l *bell.Lesson, t trust) (bell.Device, effect) {
	own := row.APNsServer == l.Device.APNsServer // always, but for APNs
	guess := guessed(&row)
	environment := l.Outcome.Reason == badToken
	switch {
	case environment && guess && !l.OtherTried:
		return row, unmoved // the other server is asked next
	case environment && guess && !t.guesses:
		return row, withheld
	case environment && guess:
		return forget(row, l)
	case !own && !guess:
		return row, unmoved // the device's own server has spoken already
	case !t.strikes:
		return row, withheld
	}
	return strike(row, l)
}

// strike counts a refusal. The first one of a server that never took the token does not
// suspend: the other server is asked within the second, and may take it.
func strike(row bell.Device, l *bell.Lesson) (bell.Device, effect) {
	next := row
	next.Strikes++
	if next.Strikes == 1 {
		next.StruckAt = l.At
	}
	if next.Strikes >= maxStrikes && l.At.Sub(next.StruckAt) >= strikesOver {
		return forget(row, l)
	}
	if l.Outcome.Reason == badToken && !row.APNsServerConfirmed && next.Strikes == 1 {
		return next, struck
	}
	next.SuspendedUntil, next.SuspendedFor = l.At.Add(suspendFor), bell.Clip(l.Outcome.Reason)
	return next, suspended
}

// forget takes the push token away. The row stays, so that the operator sees why, and the
// device can be told.
func forget(row bell.Device, l *bell.Lesson) (bell.Device, effect) {
	next := row
	acquit(&next)
	next.PushToken, next.PushKeys, next.APNsServerConfirmed = "", "", false
	next.ForgottenAt, next.ForgottenFor = l.At, bell.Clip(l.Outcome.Reason)
	return next, forgotten
}

// acquit ends strikes and suspension.
func acquit(d *bell.Device) {
	d.Strikes, d.StruckAt = 0, time.Time{}
	d.SuspendedUntil, d.SuspendedFor = time.Time{}, ""
}

func apple(c bell.Channel) bool { return c == bell.APNsVoIP || c == bell.APNsAlert }

// guessed reports whether nobody knows which APNs server a device belongs to.
func guessed(d *bell.Device) bool {
	return apple(d.Channel) && d.APNsServerGuessed && !d.APNsServerConfirmed
}
