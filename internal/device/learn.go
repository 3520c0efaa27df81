package device

import (
	"context"
	"errors"
	"log/slog"

	"github.com/planetbell/planetbell/internal/bell"
)

// Learn takes what one attempt taught about a device's push token, and does what follows
// for the device as it is now: nothing, mostly. It may block for a write until ctx ends. A
// lesson that the database does not take is lost: the next attempt teaches it again.
func (s *Service) Learn(ctx context.Context, lesson bell.Lesson) {
	if lesson.At.IsZero() {
		lesson.At = s.Now()
	}
	if !teaches(&lesson) {
		return
	}
	t := s.shares.count(&lesson)
	if lesson.Outcome.Verdict == bell.Accepted && !news(&lesson.Device) {
		return
	}
	e, err := s.apply(ctx, &lesson, t)
	switch {
	case errors.Is(err, bell.NotFound): // removed meanwhile, or its token moved to another user
	case err != nil:
		s.Log.Error("what a provider said about a push token was not written", append(about(&lesson), "error", err)...)
	default:
		s.tell(&lesson, e)
	}
}

// teaches reports whether a provider has said anything about a push token. A refusal of what
// we sent wrong, such as APNs' MissingDeviceToken, is no word about the device.
func teaches(l *bell.Lesson) bool {
	o := &l.Outcome
	return l.Device.PushToken != "" && o.Alarm != bell.AlarmBug &&
		(o.Verdict == bell.Accepted || o.Token == bell.TokenCheck || o.Token == bell.TokenDrop)
}

// news reports whether it matters that a push was taken: a write for each push would be
// too much.
func news(d *bell.Device) bool {
	other := d.Channel == bell.APNsAlert && d.AlertToken != "" // nothing is held against that
	return d.Strikes > 0 || !d.SuspendedUntil.IsZero() || apple(d.Channel) && !d.APNsServerConfirmed && !other
}

// apply looks first and writes only if there is something to write: while a whole route
// fails, the database's one writer has better things to do.
func (s *Service) apply(ctx context.Context, l *bell.Lesson, t trust) (effect, error) {
	row, err := s.Store.Device(ctx, l.Device.ID)
	if err != nil {
		return unmoved, err
	}
	if _, e := judge(row, l, t); !e.writes() {
		return e, nil
	}
	var done effect
	err = s.Store.AmendDevice(ctx, l.Device.ID, func(current bell.Device) (bell.Device, bool) {
		next, e := judge(current, l, t)
		done = e
		return next, e.writes()
	})
	if err != nil {
		return unmoved, err // done is not even looked at: the closure may still be at work on it
	}
	return done, nil
}

// tell reports an effect to log and metrics.
func (s *Service) tell(l *bell.Lesson, e effect) {
	switch e {
	case struck, suspended:
		s.shares.remember(l)
		if e == suspended {
			s.Metrics.suspended(l.Device.Channel, l.Outcome.Reason)
		}
		s.Log.Warn("a push token was refused; the device is "+string(e), about(l)...)
	case forgotten:
		s.Metrics.forgotten(l.Device.Channel, l.Outcome.Reason)
		s.Log.Warn("a push token was forgotten", about(l)...)
	case repaired:
		s.Metrics.repaired(l.Device.APNsServer)
		s.Log.Warn("a push token belongs to another APNs server than was registered; this is remembered", about(l)...)
	case withheld:
		s.alert(l)
	case confirmed, unmoved:
	}
}

// alert reports that refusals are held to be the configuration's fault, or that too little
// was sent to tell.
func (s *Service) alert(l *bell.Lesson) {
	s.Metrics.alerted(l.Credential, l.Device.Channel, l.Outcome.Reason)
	judged, failed, say := s.shares.suspect(l)
	if !say {
		return
	}
	message := "too few pushes were judged to tell a dead push token from a wrong configuration; no device is touched"
	if judged >= minJudged {
		message = "so many push tokens are refused that the configuration must be wrong: check bundle ID, Firebase project and servers; no device is touched"
	}
	s.Log.Error(message, append(about(l), slog.Int("judged", judged), slog.Int("refused", failed))...)
}

// about names a lesson in the log. The token itself is never shown.
func about(l *bell.Lesson) []any {
	return []any{
		slog.String("device", l.Device.ID), slog.String("fingerprint", l.Device.PushToken.Fingerprint()),
		slog.String("via", l.Credential), slog.String("channel", string(l.Device.Channel)),
		slog.String("server", string(l.Device.APNsServer)), slog.String("app", l.Device.AppID),
		slog.String("reason", l.Outcome.Reason),
	}
}
