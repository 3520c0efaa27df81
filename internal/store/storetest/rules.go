package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

var ruleTests = map[string]func(*testing.T, Store){
	"a call that rings nothing":         ruleSuppressed,
	"a look at nobody":                  ruleNobody,
	"a look answers what is asked":      ruleLook,
	"only the owner's own rules":        ruleOwners,
	"block and unblock":                 ruleBlock,
	"the block list is bounded":         ruleBound,
	"one hundred block at once":         ruleRace,
	"do not disturb":                    ruleQuiet,
	"all rules are replaced":            ruleReplace,
	"hostile texts":                     ruleHostile,
	"rules outlive a session's devices": ruleOutlive,
}

// everyday is a setting with all of its fields.
var everyday = policy.DoNotDisturb{
	On: true, Until: noon.Add(time.Hour), Quiet: policy.QuietHours{From: 22 * 60, To: 7*60 + 30, Zone: "Asia/Seoul"},
}

func blocked(user string) policy.Blocked {
	return policy.Blocked{User: planet.UserRef{ServiceID: "service", UserID: user}, At: noon}
}

func rulesAre(t *testing.T, s Store, of bell.Owner, want policy.Rules) {
	t.Helper()
	got, err := s.RulesOf(t.Context(), of)
	ok(t, "RulesOf", err)
	same(t, "rules of "+of.User.UserID, got, want)
}

func look(t *testing.T, s Store, callee bell.Owner, caller string) policy.Facts {
	t.Helper()
	facts, err := s.Look(t.Context(), policy.Question{
		Callee: callee, Caller: planet.UserRef{ServiceID: "service", UserID: caller}, Rules: true, Name: true,
	})
	ok(t, "Look", err)
	return facts
}

func ruleSuppressed(t *testing.T, s Store) {
	c := newCall()
	c.Suppressed = bell.SuppressDoNotDisturb
	begin(t, s, c)
	same(t, "record", record(t, s, c), call.Record{Call: recorded(c)})
	calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{}, 10)
	ok(t, "Calls", err)
	same(t, "list", calls, []bell.Call{recorded(c)})

	again := c
	again.Suppressed = bell.SuppressBlocked
	if got, err := s.BeginCall(t.Context(), again, nil, nil); err != nil || got != call.Repeated {
		t.Fatalf("BeginCall = %v, %v; want Repeated", got, err)
	}
	same(t, "record after a repeat", record(t, s, c).Call.Suppressed, bell.SuppressDoNotDisturb)
	event, entry := ended(c)
	event.Suppressed = bell.RingsAll // a Call Event does not know
	ok(t, "EndCall", s.EndCall(t.Context(), event, entry))
	same(t, "record after the end", record(t, s, c).Call.Suppressed, bell.SuppressDoNotDisturb)

	// The Call Event may come first.
	late := newCall()
	event, entry = ended(late)
	ok(t, "EndCall", s.EndCall(t.Context(), event, entry))
	late.Suppressed = bell.SuppressPolicy
	if got, err := s.BeginCall(t.Context(), late, nil, nil); err != nil || got != call.AlreadyEnded {
		t.Fatalf("BeginCall = %v, %v; want AlreadyEnded", got, err)
	}
	same(t, "circumstances of a late Notify", record(t, s, late).Call.Circumstances, bell.Circumstances{Overtaken: true})
	same(t, "record of a late Notify", record(t, s, late).Call.Suppressed, bell.SuppressPolicy)
}

func ruleNobody(t *testing.T, s Store) {
	same(t, "facts", look(t, s, owner("bob"), "ann"), policy.Facts{})
	facts, err := s.Look(t.Context(), policy.Question{Callee: owner("bob")})
	ok(t, "Look for nothing", err)
	same(t, "facts", facts, policy.Facts{})
	rulesAre(t, s, owner("bob"), policy.Rules{})
	ok(t, "Unblock", s.Unblock(t.Context(), owner("bob"), blocked("ann").User))
	ok(t, "SetDoNotDisturb", s.SetDoNotDisturb(t.Context(), owner("bob"), policy.DoNotDisturb{}))
}

func ruleLook(t *testing.T, s Store) {
	ok(t, "OpenSession", openSession(t, s, newSession("ann", 1), exclusive))
	ok(t, "Block", s.Block(t.Context(), owner("bob"), blocked("ann"), 10))
	ok(t, "SetDoNotDisturb", s.SetDoNotDisturb(t.Context(), owner("bob"), everyday))
	all := policy.Facts{Blocked: true, DoNotDisturb: everyday, CallerName: newUser("ann").DisplayName}
	same(t, "facts", look(t, s, owner("bob"), "ann"), all)
	same(t, "facts of another caller", look(t, s, owner("bob"), "eve"), policy.Facts{DoNotDisturb: everyday})
	same(t, "facts of the way back", look(t, s, owner("ann"), "bob"), policy.Facts{})

	q := policy.Question{Callee: owner("bob"), Caller: blocked("ann").User, Rules: true}
	facts, err := s.Look(t.Context(), q)
	ok(t, "Look for rules", err)
	same(t, "rules", facts, policy.Facts{Blocked: true, DoNotDisturb: everyday})
	q.Rules, q.Name = false, true
	facts, err = s.Look(t.Context(), q)
	ok(t, "Look for a name", err)
	same(t, "name", facts, policy.Facts{CallerName: all.CallerName})
}

func ruleOwners(t *testing.T, s Store) {
	ok(t, "OpenSession", openSession(t, s, newSession("ann", 1), exclusive))
	ok(t, "Block", s.Block(t.Context(), owner("bob"), blocked("ann"), 10))
	ok(t, "SetDoNotDisturb", s.SetDoNotDisturb(t.Context(), owner("bob"), everyday))
	for _, change := range []func(*bell.Owner){
		func(o *bell.Owner) { o.Environment = planet.Real },
		func(o *bell.Owner) { o.User.ServiceID = "other" },
		func(o *bell.Owner) { o.User.UserID = "Bob" }, // user IDs differ by case
	} {
		other := owner("bob")
		change(&other)
		facts := look(t, s, other, "ann")
		facts.CallerName = ""
		same(t, fmt.Sprintf("facts of %v", other), facts, policy.Facts{})
		ok(t, "Unblock", s.Unblock(t.Context(), other, blocked("ann").User))
		ok(t, "SetDoNotDisturb", s.SetDoNotDisturb(t.Context(), other, policy.DoNotDisturb{}))
		ok(t, "ReplaceRules", s.ReplaceRules(t.Context(), other, policy.Rules{}, noon))
	}
	// A caller of the same ID in another service is somebody else.
	facts, err := s.Look(t.Context(), policy.Question{
		Callee: owner("bob"), Caller: planet.UserRef{ServiceID: "other", UserID: "ann"}, Rules: true, Name: true,
	})
	ok(t, "Look", err)
	same(t, "facts of another service's caller", facts, policy.Facts{DoNotDisturb: everyday})
	rulesAre(t, s, owner("bob"), policy.Rules{DoNotDisturb: everyday, Blocked: []policy.Blocked{blocked("ann")}})
}

func ruleBlock(t *testing.T, s Store) {
	bob := owner("bob")
	for _, user := range []string{"eve", "ann"} {
		ok(t, "Block", s.Block(t.Context(), bob, blocked(user), 10))
	}
	later := blocked("eve")
	later.At = noon.Add(time.Hour)
	ok(t, "Block again", s.Block(t.Context(), bob, later, 10))
	rulesAre(t, s, bob, policy.Rules{Blocked: []policy.Blocked{blocked("ann"), blocked("eve")}})
	ok(t, "Unblock", s.Unblock(t.Context(), bob, blocked("ann").User))
	ok(t, "Unblock again", s.Unblock(t.Context(), bob, blocked("ann").User))
	rulesAre(t, s, bob, policy.Rules{Blocked: []policy.Blocked{blocked("eve")}})
}

func ruleBound(t *testing.T, s Store) {
	bob := owner("bob")
	ok(t, "Block", s.Block(t.Context(), bob, blocked("a"), 2))
	ok(t, "Block", s.Block(t.Context(), bob, blocked("b"), 2))
	wantKind(t, "one more", s.Block(t.Context(), bob, blocked("c"), 2), bell.Invalid)
	ok(t, "Block of who is on it", s.Block(t.Context(), bob, blocked("b"), 2))
	rulesAre(t, s, bob, policy.Rules{Blocked: []policy.Blocked{blocked("a"), blocked("b")}})
	ok(t, "Block of another owner", s.Block(t.Context(), owner("ann"), blocked("c"), 2))
}

func ruleRace(t *testing.T, s Store) {
	bob := owner("bob")
	together(100, func(i int) {
		if err := s.Block(t.Context(), bob, blocked(fmt.Sprint(i)), 10); err != nil && bell.KindOf(err) != bell.Invalid {
			t.Errorf("Block: %v", err)
		}
	})
	rules, err := s.RulesOf(t.Context(), bob)
	ok(t, "RulesOf", err)
	if len(rules.Blocked) != 10 {
		t.Errorf("%d users are blocked, want 10", len(rules.Blocked))
	}
}

func ruleQuiet(t *testing.T, s Store) {
	bob := owner("bob")
	for _, d := range []policy.DoNotDisturb{everyday, {On: true}, {Quiet: policy.QuietHours{From: 1, To: 1439, Zone: "UTC"}}, {}, everyday} {
		ok(t, "SetDoNotDisturb", s.SetDoNotDisturb(t.Context(), bob, d))
		rulesAre(t, s, bob, policy.Rules{DoNotDisturb: d})
		same(t, "facts", look(t, s, bob, "ann"), policy.Facts{DoNotDisturb: d})
	}
}

func ruleReplace(t *testing.T, s Store) {
	bob := owner("bob")
	ok(t, "Block", s.Block(t.Context(), bob, blocked("ann"), 10))
	ok(t, "Block", s.Block(t.Context(), bob, blocked("eve"), 10))
	now := noon.Add(time.Hour)
	want := policy.Rules{DoNotDisturb: everyday, Blocked: []policy.Blocked{blocked("eve"), blocked("zoe")}}
	ok(t, "ReplaceRules", s.ReplaceRules(t.Context(), bob, want, now))
	want.Blocked[1].At = now
	rulesAre(t, s, bob, want)
	ok(t, "ReplaceRules", s.ReplaceRules(t.Context(), bob, policy.Rules{}, now))
	rulesAre(t, s, bob, policy.Rules{})
}

func ruleHostile(t *testing.T, s Store) {
	for _, text := range hostile {
		o := owner(text)
		b := policy.Blocked{User: planet.UserRef{ServiceID: text, UserID: text}, At: noon}
		ok(t, "Block", s.Block(t.Context(), o, b, 10))
		rulesAre(t, s, o, policy.Rules{Blocked: []policy.Blocked{b}})
		facts, err := s.Look(t.Context(), policy.Question{Callee: o, Caller: b.User, Rules: true, Name: true})
		ok(t, "Look", err)
		same(t, "facts", facts, policy.Facts{Blocked: true})
	}
}

// Somebody who signs up again, and shows that he is the same, still does not want to hear of
// whom he blocked. Who takes over the user ID neither hears of that nor is kept quiet by it.
func ruleOutlive(t *testing.T, s Store) {
	ok(t, "OpenSession", openSession(t, s, newSession("bob", 1), exclusive))
	ok(t, "Block", s.Block(t.Context(), owner("bob"), blocked("eve"), 10))
	next := newSession("bob", 2)
	ok(t, "OpenSession", openSession(t, s, next, account.SessionRule{Now: noon}))
	rules, err := s.RulesOf(t.Context(), next.Owner)
	ok(t, "RulesOf", err)
	if !slices.Equal(rules.Blocked, []policy.Blocked{blocked("eve")}) {
		t.Errorf("rules %+v", rules)
	}
	rules.DoNotDisturb = everyday
	ok(t, "ReplaceRules", s.ReplaceRules(t.Context(), next.Owner, rules, noon))
	ok(t, "OpenSession", openSession(t, s, newSession("bob", 3), exclusive))
	rulesAre(t, s, next.Owner, policy.Rules{})
}
