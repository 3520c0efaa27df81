package device

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// story is one device with the little that must be true of it, whatever providers say and
// in whatever order.
type story struct {
	row      bell.Device
	now      time.Time
	token    int         // the one last given
	strikes  []time.Time // since the token was given or taken
	taken    bell.APNsServer
	given    time.Time
	attempts []bell.Device // snapshots with which answers may still come
}

func (m *story) give(r *rapid.T) {
	m.token += rapid.IntRange(0, 1).Draw(r, "another token")
	a := Address{NotificationType: rapid.SampledFrom([]string{"apnsvoip", "apnsvoip", "fcm"}).Draw(r, "type"), Token: secret(m.token)}
	a.APNsServer = rapid.SampledFrom([]string{"", "production", "sandbox"}).Draw(r, "server")
	address, err := parseAddress(&bell.Project{}, a)
	if err != nil {
		r.Fatal(err)
	}
	if address.token != m.row.PushToken || address.channel != m.row.Channel {
		m.taken = ""
	}
	address.apply(&m.row)
	m.row.RegisteredAt, m.given, m.strikes = m.now, m.now, nil
	m.attempts = append(m.attempts, m.row)
}

func secret(n int) planet.Secret { return planet.Secret(testlog.HexSecret(n, 20)) }

// answer lets an attempt come to something, perhaps long after it was made.
func (m *story) answer(r *rapid.T) {
	if len(m.attempts) == 0 {
		return
	}
	d := rapid.SampledFrom(m.attempts).Draw(r, "attempt")
	l := bell.Lesson{Device: d, At: m.now}
	if apple(d.Channel) {
		l.Outcome = rapid.SampledFrom([]bell.Outcome{accepted, unregistered, badDevice, notForTopic}).Draw(r, "outcome")
		l.Device.APNsServer = rapid.SampledFrom([]bell.APNsServer{bell.APNsProduction, bell.APNsSandbox}).Draw(r, "server")
		l.OtherTried = rapid.Bool().Draw(r, "other tried")
	} else {
		l.Outcome = rapid.SampledFrom([]bell.Outcome{accepted, gone, mismatch, noToken}).Draw(r, "outcome")
	}
	if l.Outcome.Token == bell.TokenDrop && rapid.Bool().Draw(r, "with a time") {
		l.Outcome.DeadSince = m.now.Add(-time.Duration(rapid.IntRange(0, 120).Draw(r, "dead for minutes")) * time.Minute)
	}
	t := trust{strikes: rapid.Bool().Draw(r, "strikes are trusted"), guesses: rapid.Bool().Draw(r, "guesses are trusted")}
	before := m.row
	next, e := judge(m.row, &l, t)
	m.check(r, before, next, &l, t, e)
	m.row = next
}

// check holds what must be true of every step.
func (m *story) check(r *rapid.T, before, next bell.Device, l *bell.Lesson, t trust, e effect) {
	about := before.PushToken != "" && before.PushToken == l.Device.PushToken && before.Channel == l.Device.Channel
	switch {
	case e.writes() == (before == next):
		r.Fatalf("effect %q, changed %t", e, before != next)
	case !about && e != unmoved:
		r.Fatalf("an answer about another token did %q", e)
	case next.ID != before.ID || next.Channel != before.Channel || next.RegisteredAt != before.RegisteredAt:
		r.Fatalf("more than the token's worth was changed: %+v", next)
	case m.taken != "" && next.PushToken != "" && next.APNsServer != m.taken:
		r.Fatalf("the server flipped from %s to %s", m.taken, next.APNsServer)
	case next.PushToken != before.PushToken && (next.PushToken != "" || e != forgotten || next.ForgottenAt.IsZero()):
		r.Fatalf("the token was changed by %q", e)
	}
	if l.Outcome.Verdict == bell.Accepted && about && (m.taken == "" || m.taken == l.Device.APNsServer) {
		if next.Strikes != 0 || next.Suspended(m.now) || apple(next.Channel) && !next.APNsServerConfirmed {
			r.Fatalf("a token that was taken is held to account: %+v", next)
		}
		if m.strikes = nil; apple(next.Channel) {
			m.taken = l.Device.APNsServer
		}
	}
	if e == struck || e == suspended {
		m.strikes = append(m.strikes, m.now)
	}
	if next.Strikes != len(m.strikes) && e != forgotten {
		r.Fatalf("%d strikes, want %d", next.Strikes, len(m.strikes))
	}
	if e == forgotten {
		m.forgotten(r, before, l, t)
	}
	if next.Suspended(m.now) && len(m.strikes) == 0 {
		r.Fatal("suspended without a strike")
	}
}

// forgotten checks that there was proof.
func (m *story) forgotten(r *rapid.T, before bell.Device, l *bell.Lesson, t trust) {
	dead := l.Outcome.DeadSince
	proof := l.Outcome.Token == bell.TokenDrop && (dead.IsZero() || !m.given.After(dead))
	both := l.Outcome.Reason == badToken && guessed(&before) && l.OtherTried && t.guesses
	third := len(m.strikes) >= 2 && t.strikes && !m.now.Before(m.strikes[0].Add(time.Hour))
	if !proof && !both && !third {
		r.Fatalf("forgotten for %s after strikes at %v", l.Outcome.Reason, m.strikes)
	}
	m.strikes, m.taken = nil, ""
}

func TestWhatIsHeldAgainstAToken(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := &story{row: bell.Device{ID: "device"}, now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
		m.give(r)
		r.Repeat(map[string]func(*rapid.T){
			"the token is given": m.give,
			"an attempt is made": func(*rapid.T) { m.attempts = append(m.attempts, m.row) },
			"an answer comes":    m.answer,
			"another answer":     m.answer,
			"yet another answer": m.answer,
			"minutes pass": func(r *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 50).Draw(r, "minutes")) * time.Minute)
			},
		})
	})
}
