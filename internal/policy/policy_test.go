package policy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestRulesDecide(t *testing.T) {
	until := func(d time.Duration) DoNotDisturb { return DoNotDisturb{On: true, Until: time.Now().Add(d)} }
	for name, test := range map[string]struct {
		facts func() Facts
		want  bell.Suppression
	}{
		"nothing set":        {func() Facts { return Facts{} }, bell.RingsAll},
		"blocked":            {func() Facts { return Facts{Blocked: true, DoNotDisturb: DoNotDisturb{On: true}} }, bell.SuppressBlocked},
		"do not disturb":     {func() Facts { return Facts{DoNotDisturb: DoNotDisturb{On: true}} }, bell.SuppressDoNotDisturb},
		"until a second on":  {func() Facts { return Facts{DoNotDisturb: until(time.Second)} }, bell.SuppressDoNotDisturb},
		"until now":          {func() Facts { return Facts{DoNotDisturb: until(0)} }, bell.RingsAll},
		"off with an end":    {func() Facts { return Facts{DoNotDisturb: DoNotDisturb{Until: time.Now().Add(time.Hour)}} }, bell.RingsAll},
		"quiet hours, now":   {func() Facts { return Facts{DoNotDisturb: DoNotDisturb{Quiet: QuietHours{0, 60, "UTC"}}} }, bell.SuppressDoNotDisturb},
		"quiet hours, later": {func() Facts { return Facts{DoNotDisturb: DoNotDisturb{Quiet: QuietHours{60, 120, "UTC"}}} }, bell.RingsAll},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is midnight in UTC
				d := open(t, Settings{Rules: true})
				d.store.facts = test.facts()
				if got := d.decide("alice"); got.Suppress != test.want {
					t.Errorf("%+v, want %q", got, test.want)
				}
				want := []Question{{Callee: bell.Owner{Environment: planet.Evaluation, User: callOf("").Callee}, Caller: callOf("alice").Caller, Rules: true}}
				if diff := cmp.Diff(want, d.store.asked); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestQuietHours(t *testing.T) {
	at := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	night := QuietHours{From: 22 * 60, To: 7*60 + 30, Zone: "Asia/Seoul"}
	lunch := QuietHours{From: 12 * 60, To: 13 * 60, Zone: "America/New_York"}
	for _, test := range []struct {
		hours QuietHours
		at    string
		holds bool
	}{
		{night, "2026-09-01T21:59:59+09:00", false},
		{night, "2026-09-01T22:00:00+09:00", true},
		{night, "2026-09-01T23:59:59+09:00", true},
		{night, "2026-09-01T00:00:00+09:00", true},
		{night, "2026-09-01T07:29:59+09:00", true},
		{night, "2026-09-01T07:30:00+09:00", false},
		{night, "2026-09-01T14:00:00Z", true}, // 23:00 there
		{lunch, "2026-09-01T16:30:00Z", true}, // summer time
		{lunch, "2026-12-01T16:30:00Z", false},
		{lunch, "2026-12-01T17:00:00Z", true},
		{lunch, "2026-12-01T18:00:00Z", false},
		{QuietHours{0, 60, "Mars/Dune"}, "2026-09-01T00:30:00Z", false}, // when in doubt it rings
		{QuietHours{0, 60, "Local"}, "2026-09-01T00:30:00Z", false},
		{QuietHours{}, "2026-09-01T00:00:00Z", false},
	} {
		if got := (DoNotDisturb{Quiet: test.hours}).Holds(at(test.at)); got != test.holds {
			t.Errorf("%+v at %s: %v, want %v", test.hours, test.at, got, test.holds)
		}
	}
}

func TestParseQuietHours(t *testing.T) {
	got, err := ParseQuietHours("22:00", "07:05", "Asia/Seoul")
	if err != nil || got != (QuietHours{1320, 425, "Asia/Seoul"}) {
		t.Fatalf("%+v, error %v", got, err)
	}
	if from, to := got.Times(); from != "22:00" || to != "07:05" {
		t.Errorf("shown as %s to %s", from, to)
	}
	for _, wrong := range [][3]string{
		{"22:00", "22:00", "UTC"},
		{"24:00", "07:00", "UTC"},
		{"22:60", "07:00", "UTC"},
		{"9:00", "07:00", "UTC"},
		{"-1:00", "07:00", "UTC"},
		{"+9:00", "07:00", "UTC"},
		{"2200", "07:00", "UTC"},
		{"22:00:00", "07:00", "UTC"},
		{"", "07:00", "UTC"},
		{"22:00", "", "UTC"},
		{"22:00", "07:00", ""},
		{"22:00", "07:00", "Local"},
		{"22:00", "07:00", "../../etc/passwd"},
		{"22:00", "07:00", "Mars/Dune"},
	} {
		if got, err := ParseQuietHours(wrong[0], wrong[1], wrong[2]); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%v: %+v, error %v", wrong, got, err)
		}
	}
}

func TestNamesAreShownAndRememberedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Names: true})
		d.store.facts.CallerName = " Al\x00i\x1b[1mce\u202e\n👩‍👧 "
		const want = "Ali[1mce 👩‍👧"
		for range 3 {
			if got := d.decide("alice"); got.CallerName != want || got.Suppress != bell.RingsAll {
				t.Errorf("%+v, want %q", got, want)
			}
		}
		if len(d.store.asked) != 1 {
			t.Errorf("asked %d times, want 1", len(d.store.asked))
		}
		d.store.facts.CallerName = "Alicia"
		d.decide("carol")
		<-time.After(time.Minute)
		if got := d.decide("alice"); got.CallerName != "Alicia" {
			t.Errorf("%+v after a minute", got)
		}
		if len(d.store.asked) != 3 {
			t.Errorf("asked %d times, want 3", len(d.store.asked))
		}
	})
}

// A remembered name is not asked for again when the rules are.
func TestRulesAreNeverRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Rules: true, Names: true})
		d.store.facts.CallerName = "Alice"
		d.decide("alice")
		d.store.facts.Blocked = true
		if got := d.decide("alice"); got.Suppress != bell.SuppressBlocked {
			t.Errorf("%+v", got)
		}
		d.store.facts.Blocked = false
		if got := d.decide("alice"); got.CallerName != "Alice" || got.Suppress != bell.RingsAll {
			t.Errorf("%+v", got)
		}
		if q := d.store.asked; !q[0].Name || q[1].Name || !q[1].Rules || !q[2].Rules {
			t.Errorf("asked %+v", q)
		}
	})
}

func TestSickStoreLetsTheCallRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Rules: true, Names: true})
		d.store.facts = Facts{Blocked: true, CallerName: "Alice"}
		d.store.err = errDisk
		if got := d.decide("alice"); got.Suppress != bell.RingsAll {
			t.Errorf("%+v", got)
		}
		d.store.err = nil
		d.store.hangs = make(chan struct{})
		began := time.Now()
		if got := d.decide("alice"); got.Suppress != bell.RingsAll {
			t.Errorf("%+v", got)
		}
		if took := time.Since(began); took != lookBudget {
			t.Errorf("it took %v, want %v", took, lookBudget)
		}
		// What failed is not remembered as a caller without a name.
		d.store.mu.Lock()
		close(d.store.hangs)
		d.store.hangs, d.store.facts.Blocked = nil, false
		d.store.mu.Unlock()
		if got := d.decide("alice"); got.CallerName != "Alice" {
			t.Errorf("%+v once the store is well", got)
		}
	})
}

func TestNothingWantedAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{})
		if d.Needed() {
			t.Error("a policy is needed for a project that wants none")
		}
		if got := d.decide("alice"); !cmp.Equal(got, bell.Decision{}) || len(d.store.asked) > 0 {
			t.Errorf("%+v, asked %v", got, d.store.asked)
		}
		for _, s := range []Settings{{Rules: true}, {Names: true}, hooked} {
			if !open(t, s).Needed() {
				t.Errorf("no policy is needed for %+v", s)
			}
		}
		got := d.Decide(t.Context(), &bell.Project{Name: "unknown"}, callOf("alice"))
		if !cmp.Equal(got, bell.Decision{}) {
			t.Errorf("%+v for a project that is not configured", got)
		}
	})
}

// kept is a store of one owner's rules.
type keptRules struct {
	Store
	owner bell.Owner
	rules Rules
}

func (k *keptRules) Block(_ context.Context, o bell.Owner, b Blocked, limit int) error {
	k.owner, k.rules.Blocked = o, append(k.rules.Blocked, b)
	if limit != MaxBlocked {
		return bell.E(bell.Invalid, "Another limit.", nil)
	}
	return nil
}

func (k *keptRules) SetDoNotDisturb(_ context.Context, o bell.Owner, d DoNotDisturb) error {
	k.owner, k.rules.DoNotDisturb = o, d
	return nil
}
func (k *keptRules) Unblock(context.Context, bell.Owner, planet.UserRef) error { return nil }

func (k *keptRules) RulesOf(_ context.Context, o bell.Owner) (Rules, error) {
	k.owner = o
	return k.rules, nil
}

func (k *keptRules) ReplaceRules(_ context.Context, o bell.Owner, r Rules, _ time.Time) error {
	k.owner, k.rules = o, r
	return nil
}

func TestUsersKeepTheirRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptRules{}
		s, err := New(Config{Store: store, Settings: map[string]Settings{"acme": {Rules: true}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		id := bell.Identity{Project: acme, Owner: bell.Owner{Environment: planet.Evaluation, User: callOf("").Callee}}
		eve := planet.UserRef{ServiceID: "other", UserID: "eve"}
		if err := s.Block(t.Context(), id, eve); err != nil {
			t.Error(err)
		}
		end := time.Now().Add(time.Hour)
		if err := s.SetDoNotDisturb(t.Context(), id, DoNotDisturb{Until: end, Quiet: QuietHours{From: 1, To: 2}}); err != nil {
			t.Error(err)
		}
		want := Rules{Blocked: []Blocked{{eve, time.Now()}}} // an end of what is off, and hours of nowhere, are nothing
		if diff := cmp.Diff(want, store.rules); diff != "" || store.owner != id.Owner {
			t.Errorf("for %v: %s", store.owner, diff)
		}
		if got, err := s.Mine(t.Context(), id); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%+v, error %v", got, err)
		}
		for _, wrong := range []planet.UserRef{{ServiceID: "svc"}, {UserID: "eve"}, {ServiceID: "svc", UserID: "e v e"}, {ServiceID: "s/v", UserID: "eve"}} {
			for what, err := range map[string]error{
				"block": s.Block(t.Context(), id, wrong), "unblock": s.Unblock(t.Context(), id, wrong),
				"replace": s.ReplaceRules(t.Context(), acme, "bob", Rules{Blocked: []Blocked{{User: wrong}}}),
			} {
				if bell.KindOf(err) != bell.Invalid {
					t.Errorf("%s %v: %v", what, wrong, err)
				}
			}
		}
	})
}

func TestOperatorsReplaceRules(t *testing.T) {
	store := &keptRules{}
	s, err := New(Config{Store: store, Settings: map[string]Settings{"acme": {Rules: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eve := Blocked{User: planet.UserRef{ServiceID: "svc", UserID: "eve"}}
	if err := s.ReplaceRules(t.Context(), acme, "bob", Rules{Blocked: []Blocked{eve, eve}}); err != nil {
		t.Fatal(err)
	}
	if store.owner.User != callOf("").Callee || !cmp.Equal(store.rules.Blocked, []Blocked{eve}) {
		t.Errorf("%v: %+v", store.owner, store.rules)
	}
	if got, err := s.RulesOf(t.Context(), acme, "bob"); err != nil || len(got.Blocked) != 1 {
		t.Errorf("%+v, error %v", got, err)
	}
	many := Rules{Blocked: make([]Blocked, MaxBlocked+1)}
	for i := range many.Blocked {
		many.Blocked[i].User = planet.UserRef{ServiceID: "svc", UserID: "u" + formatMinute(i)[0:2] + formatMinute(i)[3:]}
	}
	if err := s.ReplaceRules(t.Context(), acme, "bob", many); bell.KindOf(err) != bell.Invalid {
		t.Errorf("a list that is too long: %v", err)
	}
	if err := s.ReplaceRules(t.Context(), acme, "b o b", Rules{}); bell.KindOf(err) != bell.Invalid {
		t.Errorf("rules of nobody: %v", err)
	}
	if _, err := s.RulesOf(t.Context(), acme, ""); bell.KindOf(err) != bell.Invalid {
		t.Errorf("rules of nobody: %v", err)
	}
}

func TestRulesThatAreSwitchedOff(t *testing.T) {
	s, err := New(Config{Settings: map[string]Settings{"acme": {Names: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := bell.Identity{Project: acme}
	eve := planet.UserRef{ServiceID: "svc", UserID: "eve"}
	_, mine := s.Mine(t.Context(), id)
	_, theirs := s.RulesOf(t.Context(), acme, "bob")
	for _, err := range []error{
		mine, theirs, s.Block(t.Context(), id, eve), s.Unblock(t.Context(), id, eve), s.SetDoNotDisturb(t.Context(), id, DoNotDisturb{}),
		s.ReplaceRules(t.Context(), acme, "bob", Rules{}),
	} {
		if bell.KindOf(err) != bell.Forbidden {
			t.Errorf("%v, want forbidden", err)
		}
	}
}
