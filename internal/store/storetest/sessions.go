package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

var sessionTests = map[string]func(*testing.T, Store){
	"round trip":                           sessionRoundTrip,
	"hostile texts":                        sessionHostile,
	"who may take a user ID":               sessionRule,
	"taken changes nothing":                sessionTakenChangesNothing,
	"only the same owner's sessions":       sessionOtherOwners,
	"one of many takes a free user ID":     sessionRace,
	"restore adds what is missing":         sessionRestore,
	"restore leaves what is there":         sessionRestoreKeeps,
	"an ID that is in use is not taken":    sessionSameID,
	"not exclusive revokes nothing":        sessionShared,
	"a session that nobody ever opened":    sessionMissing,
	"repeated sign-up of one installation": sessionAgain,
	"devices of earlier holders go":        sessionTakesOver,
}

func newSession(user string, n int) bell.Session {
	return bell.Session{
		ID: id("session", n), Owner: owner(user), Project: "demo",
		IssuedAt: noon.Add(-time.Minute), ExpiresAt: noon.Add(time.Hour),
	}
}

func newUser(user string) bell.User {
	return bell.User{Owner: owner(user), DisplayName: "Ann Ä.", Region: "KR", RegisteredAt: noon}
}

// exclusive is the rule of a project without shared user IDs, with 30 s of grace.
var exclusive = account.SessionRule{Now: noon, Exclusive: true, FreeIssuedBefore: noon.Add(-30 * time.Second)}

func openSession(t *testing.T, s Store, session bell.Session, rule account.SessionRule) error {
	t.Helper()
	return s.OpenSession(t.Context(), newUser(session.Owner.User.UserID), session, rule)
}

func sessionIs(t *testing.T, s Store, want bell.Session) {
	t.Helper()
	got, err := s.Session(t.Context(), want.ID)
	ok(t, "Session", err)
	same(t, "session", got, want)
}

func sessionRoundTrip(t *testing.T, s Store) {
	want := newSession("ann", 1)
	ok(t, "OpenSession", openSession(t, s, want, exclusive))
	sessionIs(t, s, want)

	revoked := newSession("bob", 2)
	revoked.RevokedAt, revoked.IssuedAt = noon, time.Time{}
	ok(t, "OpenSession", openSession(t, s, revoked, exclusive))
	sessionIs(t, s, revoked)
}

func sessionHostile(t *testing.T, s Store) {
	for i, text := range hostile {
		want := newSession(text, i)
		want.Project, want.Owner.User.ServiceID = text, text
		user := bell.User{Owner: want.Owner, DisplayName: text, Region: text, RegisteredAt: noon}
		ok(t, "OpenSession", s.OpenSession(t.Context(), user, want, exclusive))
		sessionIs(t, s, want)
	}
}

func sessionRule(t *testing.T, s Store) {
	for i, c := range []struct {
		name    string
		other   func(*bell.Session)
		device  bool
		taken   bool
		revokes bool
	}{
		{"living, has a device", func(*bell.Session) {}, true, true, false},
		{"living, no device, old", func(*bell.Session) {}, false, false, true},
		{"living, no device, in its grace", func(o *bell.Session) { o.IssuedAt = noon.Add(-29 * time.Second) }, false, true, false},
		{"living, no device, grace just over", func(o *bell.Session) { o.IssuedAt = noon.Add(-31 * time.Second) }, false, false, true},
		{"expired, has a device", func(o *bell.Session) { o.ExpiresAt = noon.Add(-time.Second) }, true, false, false},
		{"expired, in its grace", func(o *bell.Session) {
			o.IssuedAt, o.ExpiresAt = noon.Add(-10*time.Second), noon.Add(-time.Second)
		}, false, false, false},
		{"revoked, has a device", func(o *bell.Session) { o.RevokedAt = noon.Add(-time.Second) }, true, false, false},
		{"revoked, in its grace", func(o *bell.Session) {
			o.IssuedAt, o.RevokedAt = noon.Add(-10*time.Second), noon.Add(-time.Second)
		}, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			user := "user of " + c.name
			old, next := newSession(user, 2*i), newSession(user, 2*i+1)
			next.IssuedAt = noon
			c.other(&old)
			ok(t, "the first OpenSession", openSession(t, s, old, exclusive))
			if c.device {
				add(t, s, newDevice(user, 2*i))
			}
			err := openSession(t, s, next, exclusive)
			if c.taken {
				wantKind(t, "OpenSession", err, bell.Taken)
				sessionIs(t, s, old)
				return
			}
			ok(t, "OpenSession", err)
			sessionIs(t, s, next)
			if c.revokes {
				old.RevokedAt = noon
			}
			sessionIs(t, s, old)
		})
	}
}

func sessionTakenChangesNothing(t *testing.T, s Store) {
	free, holder := newSession("ann", 1), newSession("ann", 2)
	ok(t, "OpenSession", openSession(t, s, free, account.SessionRule{Now: noon}))
	ok(t, "OpenSession", openSession(t, s, holder, account.SessionRule{Now: noon}))
	add(t, s, newDevice("ann", 2))

	wantKind(t, "OpenSession", openSession(t, s, newSession("ann", 3), exclusive), bell.Taken)
	sessionIs(t, s, free) // not revoked, although it alone would have been
	sessionIs(t, s, holder)
	_, err := s.Session(t.Context(), id("session", 3))
	wantKind(t, "Session", err, bell.NotFound)
}

func sessionOtherOwners(t *testing.T, s Store) {
	mine := newSession("ann", 1)
	ok(t, "OpenSession", openSession(t, s, mine, exclusive))
	add(t, s, newDevice("ann", 1))
	for i, change := range []func(*bell.Owner){
		func(o *bell.Owner) { o.Environment = planet.Real },
		func(o *bell.Owner) { o.User.ServiceID = "other" },
		func(o *bell.Owner) { o.User.UserID = "Ann" }, // user IDs differ by case
	} {
		other := newSession("ann", 10+i)
		change(&other.Owner)
		ok(t, "OpenSession of another owner", s.OpenSession(t.Context(), bell.User{Owner: other.Owner}, other, exclusive))
		sessionIs(t, s, other)
	}
	sessionIs(t, s, mine)
}

func sessionRace(t *testing.T, s Store) {
	var opened atomic.Int32
	together(20, func(i int) {
		session := newSession("ann", i)
		session.IssuedAt = noon
		switch err := openSession(t, s, session, exclusive); bell.KindOf(err) {
		case "":
			opened.Add(1)
			if err != nil {
				t.Errorf("OpenSession: %v", err)
			}
		case bell.Taken:
		default:
			t.Errorf("OpenSession: %v", err)
		}
	})
	if n := opened.Load(); n != 1 {
		t.Errorf("%d installations got the user ID, want 1", n)
	}
}

func sessionRestore(t *testing.T, s Store) {
	want := newSession("ann", 1)
	ok(t, "RestoreSession", s.RestoreSession(t.Context(), newUser("ann"), want))
	sessionIs(t, s, want)
	// The session counts like any other: its user ID is taken once it has a device.
	add(t, s, newDevice("ann", 1))
	wantKind(t, "OpenSession", openSession(t, s, newSession("ann", 2), exclusive), bell.Taken)
}

func sessionRestoreKeeps(t *testing.T, s Store) {
	want := newSession("ann", 1)
	want.RevokedAt = noon.Add(-time.Second)
	ok(t, "OpenSession", openSession(t, s, want, exclusive))
	again := want
	again.RevokedAt, again.Project = time.Time{}, "another"
	ok(t, "RestoreSession", s.RestoreSession(t.Context(), bell.User{Owner: again.Owner}, again))
	sessionIs(t, s, want)
}

func sessionSameID(t *testing.T, s Store) {
	want := newSession("ann", 1)
	ok(t, "OpenSession", openSession(t, s, want, exclusive))
	thief := newSession("eve", 1)
	if err := openSession(t, s, thief, exclusive); err == nil {
		t.Error("a second session with the same ID was opened")
	}
	sessionIs(t, s, want)
}

func sessionShared(t *testing.T, s Store) {
	first, second := newSession("ann", 1), newSession("ann", 2)
	ok(t, "OpenSession", openSession(t, s, first, account.SessionRule{Now: noon}))
	add(t, s, newDevice("ann", 1))
	ok(t, "OpenSession", openSession(t, s, second, account.SessionRule{Now: noon}))
	sessionIs(t, s, first)
	sessionIs(t, s, second)
}

func sessionMissing(t *testing.T, s Store) {
	_, err := s.Session(t.Context(), "nobody's")
	wantKind(t, "Session", err, bell.NotFound)
}

func sessionAgain(t *testing.T, s Store) {
	// The user's row exists; its names change, and nothing else fails because of it.
	first, second := newSession("ann", 1), newSession("ann", 2)
	ok(t, "OpenSession", openSession(t, s, first, exclusive))
	user := newUser("ann")
	user.DisplayName, user.Region = "Ann B.", ""
	ok(t, "OpenSession", s.OpenSession(t.Context(), user, second, exclusive))
	first.RevokedAt = noon
	sessionIs(t, s, first)
	sessionIs(t, s, second)
}

// A user ID that changes hands takes no devices along: they would ring for a stranger's
// calls. An operator's device stays, and so does everybody else's.
func sessionTakesOver(t *testing.T, s Store) {
	expired := newSession("ann", 1)
	expired.ExpiresAt = noon.Add(-time.Second)
	ok(t, "OpenSession", openSession(t, s, expired, exclusive))
	old, operators, others := newDevice("ann", 1), newDevice("ann", 2), newDevice("bob", 3)
	old.SessionID, operators.SessionID, others.SessionID = expired.ID, "", id("session", 3)
	for _, d := range []bell.Device{old, operators, others} {
		add(t, s, d)
	}

	ok(t, "OpenSession", openSession(t, s, newSession("ann", 4), account.SessionRule{Now: noon}))
	deviceIs(t, s, old) // a shared user ID: nobody is pushed aside

	later := account.SessionRule{Now: noon.Add(2 * time.Hour), Exclusive: true, FreeIssuedBefore: noon.Add(time.Hour)}
	ok(t, "OpenSession", openSession(t, s, newSession("ann", 5), later))
	noDevice(t, s, old.ID)
	deviceIs(t, s, operators)
	deviceIs(t, s, others)
}
