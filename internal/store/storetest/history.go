package storetest

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

var historyTests = map[string]func(*testing.T, Store){
	"own calls only, newest first":      historyOwn,
	"filters":                           historyFilters,
	"pages":                             historyPages,
	"a call known by event only":        historyByEvent,
	"not those of an earlier holder":    historyTakenOver,
	"the second of the registration":    historySecond,
	"still those before a renewal":      historyRenewed,
	"a restored session starts anew":    historyRestored,
	"a session that may not ask":        historyRefused,
	"a call is shown without cc_param":  historyNoSecret,
	"a limit of nothing":                historyNoLimit,
	"names that are not what they seem": historyHostile,
}

var filterTests = map[string]func(*testing.T, Store){
	"project, state, outcome, time": callMoreFilters,
}

// asker opens a session of the user, registered an hour before noon, and returns its query.
func asker(t *testing.T, s Store, user string, n int) call.HistoryQuery {
	t.Helper()
	session := newSession(user, n)
	u := newUser(user)
	u.RegisteredAt = noon.Add(-time.Hour)
	ok(t, "OpenSession", s.OpenSession(t.Context(), u, session, account.SessionRule{Now: noon}))
	return call.HistoryQuery{Owner: session.Owner, SessionID: session.ID, Limit: 100}
}

// history reads a user's calls as session IDs, page by page.
func history(t *testing.T, s Store, q call.HistoryQuery) []planet.SessionID {
	t.Helper()
	var ids []planet.SessionID
	for {
		calls, err := s.History(t.Context(), q)
		ok(t, "History", err)
		if len(calls) > q.Limit {
			t.Fatalf("%d calls on a page of %d", len(calls), q.Limit)
		}
		for i := range calls {
			ids = append(ids, calls[i].SessionID)
			q.Before = call.CursorOf(&calls[i])
		}
		if len(calls) < q.Limit {
			return ids
		}
	}
}

// between is a call at a time, recorded.
func between(t *testing.T, s Store, caller, callee bell.Owner, at time.Time) bell.Call {
	t.Helper()
	c := newCall()
	c.Environment, c.Caller, c.Callee, c.NotifiedAt, c.Deadline = callee.Environment, caller.User, callee.User, at, at.Add(time.Minute)
	begin(t, s, c)
	return c
}

func ids(calls ...bell.Call) []planet.SessionID {
	var all []planet.SessionID
	for _, c := range calls {
		all = append(all, c.SessionID)
	}
	return all
}

func historyOwn(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	ann, bob, carol := owner("ann"), owner("bob"), owner("carol")
	namesake, elsewhere := owner("ann"), owner("ann")
	namesake.User.ServiceID = "another"
	elsewhere.Environment = planet.Real
	first := between(t, s, ann, bob, noon)
	second := between(t, s, bob, ann, noon.Add(time.Second))
	self := between(t, s, ann, ann, noon.Add(2*time.Second))
	across := between(t, s, namesake, ann, noon.Add(3*time.Second))
	between(t, s, bob, carol, noon.Add(4*time.Second))
	between(t, s, bob, namesake, noon.Add(5*time.Second))
	between(t, s, bob, elsewhere, noon.Add(6*time.Second))
	same(t, "ann's calls", history(t, s, q), ids(across, self, second, first))
}

func historyFilters(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	ann, bob := owner("ann"), owner("bob")
	outcomes := []planet.Outcome{planet.OutcomeMissed, planet.OutcomeCanceled, planet.OutcomeBusy, planet.OutcomeCompleted, ""}
	var calls []bell.Call
	for n, outcome := range outcomes {
		for m, sides := range [][2]bell.Owner{{ann, bob}, {bob, ann}} {
			c := between(t, s, sides[0], sides[1], noon.Add(time.Duration(2*n+m)*time.Second))
			if outcome != "" {
				e, entry := ended(c)
				e.Outcome = outcome
				ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
			}
			calls = append(calls, c)
		}
	}
	for _, c := range []struct {
		change func(*call.HistoryQuery)
		want   []int
	}{
		{func(*call.HistoryQuery) {}, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{func(q *call.HistoryQuery) { q.Direction = call.Outgoing }, []int{8, 6, 4, 2, 0}},
		{func(q *call.HistoryQuery) { q.Direction = call.Incoming }, []int{9, 7, 5, 3, 1}},
		{func(q *call.HistoryQuery) { q.Outcomes = []planet.Outcome{planet.OutcomeBusy} }, []int{5, 4}},
		{func(q *call.HistoryQuery) { q.Direction, q.Outcomes = call.Incoming, bell.MissedOutcomes() }, []int{3, 1}},
		{func(q *call.HistoryQuery) { q.Outcomes = []planet.Outcome{"' OR ''='"} }, nil},
		{func(q *call.HistoryQuery) { q.Since = noon.Add(6 * time.Second) }, []int{9, 8, 7, 6}},
		{func(q *call.HistoryQuery) { q.Since = noon.Add(6*time.Second + time.Microsecond) }, []int{9, 8, 7}},
		{func(q *call.HistoryQuery) { q.Since = noon.Add(-2 * time.Hour); q.Outcomes = outcomes[:1] }, []int{1, 0}},
	} {
		for _, limit := range []int{1, 3, 100} {
			asked := q
			asked.Limit = limit
			c.change(&asked)
			var want []planet.SessionID
			for _, n := range c.want {
				want = append(want, calls[n].SessionID)
			}
			same(t, fmt.Sprintf("%+v", asked), history(t, s, asked), want)
		}
	}
}

// historyPages has calls of one instant: each is listed once.
func historyPages(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	seen := map[planet.SessionID]int{}
	for n := range 9 {
		sides := []bell.Owner{owner("ann"), owner("bob")}
		seen[between(t, s, sides[n%2], sides[1-n%2], noon).SessionID] = 0
	}
	for limit := 1; limit < 11; limit++ {
		q.Limit = limit
		for id := range seen {
			seen[id] = 0
		}
		for _, id := range history(t, s, q) {
			seen[id]++
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("pages of %d: call %s was listed %d times", limit, id, times)
			}
		}
	}
}

// historyByEvent has the call of a busy callee, for which no Notify comes.
func historyByEvent(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	c := newCall()
	c.Caller, c.Callee = owner("bob").User, owner("ann").User
	e, entry := ended(c)
	e.Outcome = planet.OutcomeBusy
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	calls, err := s.History(t.Context(), q)
	ok(t, "History", err)
	same(t, "the call", calls, []bell.Call{e})
	// Its Notify comes late, and changes nothing but its place.
	c.NotifiedAt = noon.Add(time.Second)
	if got, err := s.BeginCall(t.Context(), c, nil, nil); err != nil || got != call.AlreadyEnded {
		t.Fatalf("BeginCall: %v, %v", got, err)
	}
	same(t, "the calls", history(t, s, q), ids(c))
}

// historyTakenOver: whoever takes a user ID over does not see the calls of its earlier
// holder (docs/adr/0002).
func historyTakenOver(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	ann, bob := owner("ann"), owner("bob")
	between(t, s, ann, bob, noon.Add(-time.Second))
	between(t, s, bob, ann, noon.Add(-time.Microsecond))
	if got := history(t, s, q); len(got) != 2 {
		t.Fatalf("%d calls before", len(got))
	}
	next := newSession("ann", 2)
	next.IssuedAt = noon
	ok(t, "OpenSession", openSession(t, s, next, exclusive)) // registered at noon
	_, err := s.History(t.Context(), q)
	wantKind(t, "the earlier holder's History", err, bell.Unauthorized)

	asked := q
	asked.SessionID = next.ID
	same(t, "calls right after", history(t, s, asked), nil)
	first := between(t, s, bob, ann, noon)
	second := between(t, s, ann, bob, noon.Add(time.Second))
	same(t, "own calls", history(t, s, asked), ids(second, first))
	asked.Since = noon.Add(-time.Hour)
	same(t, "own calls, asked for more", history(t, s, asked), ids(second, first))
}

// historySecond: of a call known by its event only the end is known, in whole seconds; such
// a call of the second in which the user registered is shown, and no earlier one.
func historySecond(t *testing.T, s Store) {
	second := newSession("ann", 1)
	ok(t, "OpenSession", openSession(t, s, second, exclusive)) // at noon, which has microseconds
	q := call.HistoryQuery{Owner: second.Owner, SessionID: second.ID, Limit: 10}
	var want []planet.SessionID
	for _, ago := range []time.Duration{2, 1, 0} {
		c := newCall()
		c.Callee = owner("ann").User
		e, entry := ended(c)
		e.EndedAt = noon.Truncate(time.Second).Add(-ago * time.Second)
		ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		if ago == 0 {
			want = ids(c)
		}
	}
	same(t, "calls", history(t, s, q), want)
	q.Since = noon.Truncate(time.Second)
	same(t, "calls since that second", history(t, s, q), want)
	q.Since = noon
	same(t, "calls since noon", history(t, s, q), nil)
}

// historyRenewed: who proves to be the same user, or shares the user ID, keeps the history.
func historyRenewed(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	c := between(t, s, owner("bob"), owner("ann"), noon.Add(-time.Second))
	next := newSession("ann", 2)
	next.IssuedAt = noon
	ok(t, "OpenSession", openSession(t, s, next, account.SessionRule{Now: noon}))
	for _, id := range []string{q.SessionID, next.ID} {
		q.SessionID = id
		same(t, "calls", history(t, s, q), ids(c))
	}
}

func historyRestored(t *testing.T, s Store) {
	session := newSession("ann", 1)
	between(t, s, owner("bob"), owner("ann"), noon.Add(-time.Second))
	ok(t, "RestoreSession", s.RestoreSession(t.Context(), newUser("ann"), session))
	q := call.HistoryQuery{Owner: session.Owner, SessionID: session.ID, Limit: 10}
	same(t, "calls", history(t, s, q), nil)
	c := between(t, s, owner("bob"), owner("ann"), noon)
	same(t, "calls", history(t, s, q), ids(c))
}

func historyRefused(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	other := asker(t, s, "bob", 2)
	between(t, s, owner("bob"), owner("ann"), noon)
	for name, change := range map[string]func(*call.HistoryQuery){
		"an unknown session":               func(q *call.HistoryQuery) { q.SessionID = "nobody's" },
		"no session":                       func(q *call.HistoryQuery) { q.SessionID = "" },
		"another user's session":           func(q *call.HistoryQuery) { q.SessionID = other.SessionID },
		"a session of another service":     func(q *call.HistoryQuery) { q.Owner.User.ServiceID = "another" },
		"a session of another environment": func(q *call.HistoryQuery) { q.Owner.Environment = planet.Real },
	} {
		asked := q
		change(&asked)
		calls, err := s.History(t.Context(), asked)
		wantKind(t, name, err, bell.Unavailable)
		if len(calls) > 0 {
			t.Errorf("%s: %d calls", name, len(calls))
		}
	}
	revoked := newSession("ann", 3)
	revoked.RevokedAt = noon
	ok(t, "OpenSession", openSession(t, s, revoked, account.SessionRule{Now: noon}))
	q.SessionID = revoked.ID
	_, err := s.History(t.Context(), q)
	wantKind(t, "a revoked session", err, bell.Unauthorized)
}

func historyNoSecret(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	between(t, s, owner("bob"), owner("ann"), noon)
	calls, err := s.History(t.Context(), q)
	ok(t, "History", err)
	if len(calls) != 1 || calls[0].CCParam != "" {
		t.Errorf("%d calls, one with cc_param", len(calls))
	}
}

func historyNoLimit(t *testing.T, s Store) {
	q := asker(t, s, "ann", 1)
	between(t, s, owner("bob"), owner("ann"), noon)
	for _, limit := range []int{0, -1} {
		q.Limit = limit
		calls, err := s.History(t.Context(), q)
		ok(t, "History", err)
		if len(calls) != 0 {
			t.Errorf("%d calls on a page of %d", len(calls), limit)
		}
	}
}

func historyHostile(t *testing.T, s Store) {
	for n, text := range hostile {
		q := asker(t, s, text, n)
		c := between(t, s, owner(text), owner("bob"), noon)
		same(t, "calls", history(t, s, q), ids(c))
	}
}

func callMoreFilters(t *testing.T, s Store) {
	var calls []bell.Call
	for n := range 6 {
		c := newCall()
		c.NotifiedAt = noon.Add(-time.Duration(n) * time.Second)
		c.Project = []string{"demo", "shop"}[n%2]
		begin(t, s, c)
		if n >= 2 {
			e, entry := ended(c)
			e.Outcome = []planet.Outcome{planet.OutcomePushFailed, planet.OutcomeMissed}[n/4]
			ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		}
		calls = append(calls, c)
	}
	user := newCall().Callee
	for _, c := range []struct {
		filter call.Filter
		want   []int
	}{
		{call.Filter{Project: "shop"}, []int{1, 3, 5}},
		{call.Filter{Project: "none"}, nil},
		{call.Filter{State: bell.CallRinging}, []int{0, 1}},
		{call.Filter{State: bell.CallEnded}, []int{2, 3, 4, 5}},
		{call.Filter{State: bell.CallLost}, nil},
		{call.Filter{Outcome: planet.OutcomePushFailed}, []int{2, 3}},
		{call.Filter{Outcome: planet.OutcomeMissed, Project: "demo"}, []int{4}},
		{call.Filter{Outcome: planet.OutcomeBusy}, nil},
		{call.Filter{Since: noon.Add(-2 * time.Second)}, []int{0, 1, 2}},
		{call.Filter{Until: noon.Add(-2 * time.Second)}, []int{3, 4, 5}},
		{call.Filter{Since: noon.Add(-4 * time.Second), Until: noon.Add(-time.Second)}, []int{2, 3, 4}},
		{call.Filter{User: user, Outcome: planet.OutcomeMissed, Since: noon.Add(-time.Hour)}, []int{4, 5}},
		{call.Filter{User: user, State: bell.CallRinging, Project: "demo"}, []int{0}},
		{call.Filter{User: planet.UserRef{UserID: "nobody"}, Outcome: planet.OutcomeMissed}, nil},
	} {
		var want []planet.SessionID
		for _, n := range c.want {
			want = append(want, calls[n].SessionID)
		}
		for _, limit := range []int{1, 10} {
			same(t, fmt.Sprintf("calls of %+v", c.filter), list(t, s, c.filter, limit), want)
		}
	}
}

// callAnyOrder: whatever each of the two leaves out, and however often they come, the record
// of a call is the same in each order (docs/line-planet.md 3.6), and says whether the event
// came first.
func callAnyOrder(t *testing.T, s Store) {
	const notify, event = "n", "e"
	for left := range 1 << 6 {
		base := newCall()
		e, entry := ended(base)
		e.Caller, e.AppServerData, e.STID = planet.UserRef{ServiceID: "event's", UserID: "event's"}, "event's", "event's"
		for bit, field := range []*string{
			&base.Caller.ServiceID, &base.Caller.UserID, &base.AppServerData, &base.STID, &e.Caller.UserID, &e.AppServerData,
		} {
			if left&(1<<bit) != 0 {
				*field = ""
			}
		}
		var first call.Record
		for n, order := range []string{"ne", "en", "nene", "enen", "nnee", "een"} {
			c, end, kept := base, e, entry
			c.SessionID = newCall().SessionID // a call of its own, to be compared
			end.SessionID, kept.SessionID, kept.DedupKey = c.SessionID, c.SessionID, "event of "+string(c.SessionID)
			for _, what := range strings.Split(order, "") {
				switch what {
				case notify:
					_, err := s.BeginCall(t.Context(), c, nil, nil)
					ok(t, "BeginCall", err)
				case event:
					ok(t, "EndCall", s.EndCall(t.Context(), end, kept))
				}
			}
			got := record(t, s, c)
			if overtaken := got.Call.Circumstances.Overtaken; overtaken != strings.HasPrefix(order, event) {
				t.Errorf("after %s the Notify was overtaken: %t", order, overtaken)
			}
			got.Call.SessionID, got.Call.Circumstances = "", bell.Circumstances{}
			if n == 0 {
				first = got
			}
			same(t, fmt.Sprintf("the record after %s without %06b", order, left), got, first)
			if entries := journal(t, s, c.SessionID); len(entries) != 2 {
				t.Errorf("%s: %d callbacks are kept, want 2", order, len(entries))
			}
		}
		want := base.Caller
		want.ServiceID, want.UserID = cmp.Or(want.ServiceID, e.Caller.ServiceID), cmp.Or(want.UserID, e.Caller.UserID)
		if first.Call.Caller != want || first.Call.AppServerData != cmp.Or(base.AppServerData, e.AppServerData) || first.Call.STID != cmp.Or(base.STID, e.STID) {
			t.Errorf("without %06b: caller %s, data %q, %q", left, first.Call.Caller, first.Call.AppServerData, first.Call.STID)
		}
	}
}
