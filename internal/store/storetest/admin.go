package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
)

// SignIns is what sessions of the console need; package signin has the contract.
type SignIns interface {
	SaveSignIn(ctx context.Context, key, data string, expires, seen time.Time) error
	FindSignIn(ctx context.Context, key string, now, seenSince time.Time) (data string, seen time.Time, found bool, err error)
	TouchSignIn(ctx context.Context, key string, seen time.Time) error
	EndSignIn(ctx context.Context, key string) error
}

var auditTests = map[string]func(*testing.T, Store){
	"entries come back whole":        auditWhole,
	"the newest first, in pages":     auditPages,
	"filters":                        auditFilters,
	"an entry is written once":       auditOnce,
	"the oldest are forgotten":       auditForget,
	"hostile texts in the log":       auditHostile,
	"one hundred entries at once":    auditTogether,
	"nothing is in an empty log":     auditEmpty,
	"an action is not its neighbour": auditNeighbour,
}

func entry(n int) audit.Entry {
	return audit.Entry{
		ID: id("audit", n), At: noon.Add(time.Duration(n) * time.Second), Who: "ann", Role: bell.Operator, Via: "password",
		Remote: "192.0.2.1", Action: "device.remove", Object: fmt.Sprintf("removed_device=%d", n), Outcome: audit.Done,
	}
}

func auditLog(t *testing.T, s Store, f audit.Filter, before audit.Cursor, limit int) []audit.Entry {
	t.Helper()
	got, err := s.AuditLog(t.Context(), f, before, limit)
	ok(t, "AuditLog", err)
	return got
}

func auditAll(t *testing.T, s Store, entries ...audit.Entry) {
	t.Helper()
	for _, e := range entries {
		ok(t, "Audit", s.Audit(t.Context(), e))
	}
}

func auditEmpty(t *testing.T, s Store) {
	same(t, "the log", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 10), nil)
}

func auditWhole(t *testing.T, s Store) {
	full, bare := entry(2), audit.Entry{ID: id("audit", 1), At: noon, Action: "session.begin", Outcome: audit.Refused}
	auditAll(t, s, full, bare)
	same(t, "the log", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 10), []audit.Entry{full, bare})
}

func auditPages(t *testing.T, s Store) {
	var all []audit.Entry
	for n := range 7 {
		e := entry(n)
		e.At = noon.Add(time.Duration(n/3) * time.Second) // some in the same instant
		all = append([]audit.Entry{e}, all...)
	}
	auditAll(t, s, all...)
	var got []audit.Entry
	var at audit.Cursor
	for {
		page := auditLog(t, s, audit.Filter{}, at, 2)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		last := page[len(page)-1]
		at = audit.Cursor{At: last.At, ID: last.ID}
	}
	same(t, "all pages", got, all)
	same(t, "no page", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 0), nil)
}

func auditFilters(t *testing.T, s Store) {
	base, who, action, outcome := entry(1), entry(2), entry(3), entry(4)
	who.Who, action.Action, outcome.Outcome = "bob", "event.replay", audit.Failed
	auditAll(t, s, base, who, action, outcome)
	for name, test := range map[string]struct {
		f    audit.Filter
		want []audit.Entry
	}{
		"who":      {audit.Filter{Who: "bob"}, []audit.Entry{who}},
		"action":   {audit.Filter{Action: "event.replay"}, []audit.Entry{action}},
		"noun":     {audit.Filter{Action: "device"}, []audit.Entry{outcome, who, base}},
		"outcome":  {audit.Filter{Outcome: audit.Failed}, []audit.Entry{outcome}},
		"since":    {audit.Filter{Since: action.At}, []audit.Entry{outcome, action}},
		"until":    {audit.Filter{Until: action.At}, []audit.Entry{who, base}},
		"together": {audit.Filter{Who: "ann", Action: "device", Since: who.At, Outcome: audit.Failed, Until: noon.Add(time.Hour)}, []audit.Entry{outcome}},
		"nothing":  {audit.Filter{Who: "an"}, nil},
	} {
		same(t, name, auditLog(t, s, test.f, audit.Cursor{}, 10), test.want)
	}
	at := audit.Cursor{At: outcome.At, ID: outcome.ID}
	same(t, "a filter on the second page", auditLog(t, s, audit.Filter{Action: "device"}, at, 10), []audit.Entry{who, base})
}

func auditNeighbour(t *testing.T, s Store) {
	other := entry(1)
	other.Action = "device_test.send"
	auditAll(t, s, other)
	same(t, "device", auditLog(t, s, audit.Filter{Action: "device"}, audit.Cursor{}, 10), nil)
	same(t, "device_test", auditLog(t, s, audit.Filter{Action: "device_test"}, audit.Cursor{}, 10), []audit.Entry{other})
}

func auditOnce(t *testing.T, s Store) {
	again := entry(1)
	again.Object = "another"
	auditAll(t, s, entry(1), again)
	same(t, "the log", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 10), []audit.Entry{entry(1)})
}

func auditForget(t *testing.T, s Store) {
	auditAll(t, s, entry(1), entry(2), entry(3), entry(4))
	for _, step := range []struct{ limit, want int }{{2, 2}, {2, 1}, {2, 0}, {0, 0}} {
		n, err := s.ForgetAudit(t.Context(), entry(4).At, step.limit)
		ok(t, "ForgetAudit", err)
		if n != step.want {
			t.Errorf("forgot %d, want %d", n, step.want)
		}
	}
	same(t, "the log", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 10), []audit.Entry{entry(4)})
}

func auditHostile(t *testing.T, s Store) {
	var all []audit.Entry
	for n, text := range hostile {
		e := entry(n)
		e.Who, e.Object, e.Remote = text, text, text
		all = append([]audit.Entry{e}, all...)
	}
	auditAll(t, s, all...)
	same(t, "the log", auditLog(t, s, audit.Filter{}, audit.Cursor{}, 50), all)
	for _, e := range all {
		same(t, "by name", auditLog(t, s, audit.Filter{Who: e.Who}, audit.Cursor{}, 50), []audit.Entry{e})
		same(t, "by action", auditLog(t, s, audit.Filter{Action: e.Who}, audit.Cursor{}, 50), nil)
	}
}

func auditTogether(t *testing.T, s Store) {
	together(100, func(i int) {
		if err := s.Audit(t.Context(), entry(i)); err != nil {
			t.Errorf("Audit: %v", err)
		}
	})
	if n := len(auditLog(t, s, audit.Filter{}, audit.Cursor{}, 200)); n != 100 {
		t.Errorf("%d entries", n)
	}
}

var signInTests = map[string]func(*testing.T, Store){
	"a sign-in is found until it ends":    signInFound,
	"only a used one stays":               signInIdle,
	"a touch brings nothing back":         signInTouch,
	"signed out":                          signInEnd,
	"saved anew":                          signInAnew,
	"those that have ended are removed":   signInForget,
	"twenty touch and one signs out":      signInRace,
	"hostile texts in sign-ins":           signInHostile,
	"an unknown sign-in can be forgotten": signInUnknown,
}

func signInIs(t *testing.T, s Store, key string, now, seenSince time.Time, want string) {
	t.Helper()
	data, seen, found, err := s.FindSignIn(t.Context(), key, now, seenSince)
	ok(t, "FindSignIn", err)
	if found != (want != "") || data != want || found == seen.IsZero() {
		t.Errorf("found %v with %q, seen %v; want %q", found, data, seen, want)
	}
}

func signInFound(t *testing.T, s Store) {
	ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), "key", "data", noon.Add(time.Hour), noon))
	signInIs(t, s, "key", noon, noon, "data")
	signInIs(t, s, "key", noon.Add(time.Hour-time.Microsecond), noon, "data")
	signInIs(t, s, "key", noon.Add(time.Hour), noon, "")
	signInIs(t, s, "Key", noon, noon, "")
}

func signInIdle(t *testing.T, s Store) {
	ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), "key", "data", noon.Add(time.Hour), noon))
	signInIs(t, s, "key", noon, noon.Add(time.Microsecond), "")
	ok(t, "TouchSignIn", s.TouchSignIn(t.Context(), "key", noon.Add(time.Minute)))
	signInIs(t, s, "key", noon, noon.Add(time.Minute), "data")
	ok(t, "TouchSignIn of a node that is behind", s.TouchSignIn(t.Context(), "key", noon))
	signInIs(t, s, "key", noon, noon.Add(time.Minute), "data")
}

func signInTouch(t *testing.T, s Store) {
	ok(t, "TouchSignIn", s.TouchSignIn(t.Context(), "key", noon))
	signInIs(t, s, "key", noon, noon, "")
}

func signInEnd(t *testing.T, s Store) {
	for _, key := range []string{"key", "other"} {
		ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), key, "data", noon.Add(time.Hour), noon))
	}
	ok(t, "EndSignIn", s.EndSignIn(t.Context(), "key"))
	signInIs(t, s, "key", noon, noon, "")
	signInIs(t, s, "other", noon, noon, "data")
}

func signInUnknown(t *testing.T, s Store) {
	ok(t, "EndSignIn", s.EndSignIn(t.Context(), "key"))
}

func signInAnew(t *testing.T, s Store) {
	ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), "key", "data", noon.Add(time.Hour), noon))
	ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), "key", "more", noon.Add(2*time.Hour), noon.Add(time.Minute)))
	signInIs(t, s, "key", noon.Add(time.Hour), noon.Add(time.Minute), "more")
}

func signInForget(t *testing.T, s Store) {
	for n := range 5 {
		ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), id("key", n), "data", noon.Add(time.Duration(n)*time.Second), noon))
	}
	for _, step := range []struct{ limit, want int }{{3, 3}, {3, 1}, {3, 0}} {
		n, err := s.ForgetSignIns(t.Context(), noon.Add(4*time.Second), step.limit)
		ok(t, "ForgetSignIns", err)
		if n != step.want {
			t.Errorf("forgot %d, want %d", n, step.want)
		}
	}
	signInIs(t, s, id("key", 4), noon, noon, "data")
}

// Whoever signs out is out, whatever else their browser asks at that moment.
func signInRace(t *testing.T, s Store) {
	ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), "key", "data", noon.Add(time.Hour), noon))
	together(20, func(i int) {
		run := func() error { return s.TouchSignIn(t.Context(), "key", noon.Add(time.Duration(i)*time.Second)) }
		if i == 10 {
			run = func() error { return s.EndSignIn(t.Context(), "key") }
		}
		if err := run(); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	})
	signInIs(t, s, "key", noon, noon, "")
}

func signInHostile(t *testing.T, s Store) {
	for _, text := range hostile {
		ok(t, "SaveSignIn", s.SaveSignIn(t.Context(), text, text, noon.Add(time.Hour), noon))
	}
	for _, text := range hostile {
		signInIs(t, s, text, noon, noon, text)
	}
}
