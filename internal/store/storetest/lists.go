package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

var callListTests = map[string]func(*testing.T, Store){
	"pages, newest first":         callPages,
	"calls of one instant":        callTies,
	"filters":                     callFilters,
	"a user's pages":              callUserPages,
	"a call known by event only":  callListedByEvent,
	"a limit of nothing":          callNoLimit,
	"nothing is no error":         callsNone,
	"a page while calls come in":  callPageStable,
	"listed calls are the record": callListedWhole,
}

var journalTests = map[string]func(*testing.T, Store){
	"in the order of time":      journalOrder,
	"round trip":                journalRoundTrip,
	"repeats are dropped":       journalRepeat,
	"repeats at once":           journalRace,
	"without a key":             journalNoKey,
	"of nobody's session":       journalNone,
	"Notify is an entry":        journalNotify,
	"an event keeps its entry":  journalEvent,
	"an event without a Notify": journalEventOnly,
}

// list reads all calls that match, page by page, as session IDs.
func list(t *testing.T, s Store, f call.Filter, limit int) []planet.SessionID {
	t.Helper()
	var ids []planet.SessionID
	var before call.Cursor
	for {
		calls, err := s.Calls(t.Context(), f, before, limit)
		ok(t, "Calls", err)
		if len(calls) > limit {
			t.Fatalf("%d calls on a page of %d", len(calls), limit)
		}
		if len(calls) == 0 {
			return ids
		}
		for _, c := range calls {
			ids = append(ids, c.SessionID)
			before = call.Cursor{At: c.NotifiedAt, SessionID: c.SessionID}
			if c.NotifiedAt.IsZero() {
				before.At = c.EndedAt
			}
		}
	}
}

func callPages(t *testing.T, s Store) {
	var want []planet.SessionID
	for n := range 7 {
		c := newCall()
		c.NotifiedAt = noon.Add(time.Duration(n) * time.Microsecond)
		begin(t, s, c)
		want = append([]planet.SessionID{c.SessionID}, want...)
	}
	for limit := 1; limit <= 8; limit++ {
		same(t, fmt.Sprintf("pages of %d", limit), list(t, s, call.Filter{}, limit), want)
	}
}

func callTies(t *testing.T, s Store) {
	seen := map[planet.SessionID]int{}
	for range 9 {
		c := newCall()
		begin(t, s, c)
		seen[c.SessionID] = 0
	}
	for _, id := range list(t, s, call.Filter{}, 2) {
		seen[id]++
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("call %s was listed %d times", id, times)
		}
	}
}

func callFilters(t *testing.T, s Store) {
	ann, bob := planet.UserRef{ServiceID: "one", UserID: "ann"}, planet.UserRef{ServiceID: "two", UserID: "bob"}
	var ids []planet.SessionID
	for n, parties := range [][2]planet.UserRef{
		{ann, bob}, {bob, ann}, {bob, bob}, {planet.UserRef{ServiceID: "two", UserID: "ann"}, bob}, {ann, ann},
	} {
		c := newCall()
		c.Caller, c.Callee = parties[0], parties[1]
		c.NotifiedAt = noon.Add(-time.Duration(n) * time.Second)
		if n == 4 {
			c.Environment = planet.Real
		}
		begin(t, s, c)
		ids = append(ids, c.SessionID)
	}
	for _, c := range []struct {
		filter call.Filter
		want   []int
	}{
		{call.Filter{}, []int{0, 1, 2, 3, 4}},
		{call.Filter{Environment: planet.Evaluation}, []int{0, 1, 2, 3}},
		{call.Filter{User: ann}, []int{0, 1, 4}},
		{call.Filter{User: ann, Environment: planet.Evaluation}, []int{0, 1}},
		{call.Filter{User: planet.UserRef{UserID: "ann"}}, []int{0, 1, 3, 4}},
		{call.Filter{User: planet.UserRef{ServiceID: "one"}}, []int{0, 1, 4}},
		{call.Filter{User: planet.UserRef{ServiceID: "one", UserID: "bob"}}, nil},
		{call.Filter{User: planet.UserRef{UserID: "' OR ''='"}}, nil},
		{call.Filter{Environment: "none"}, nil},
	} {
		var want []planet.SessionID
		for _, n := range c.want {
			want = append(want, ids[n])
		}
		for _, limit := range []int{1, 10} {
			same(t, fmt.Sprintf("calls of %+v", c.filter), list(t, s, c.filter, limit), want)
		}
	}
}

func callUserPages(t *testing.T, s Store) {
	var want []planet.SessionID
	for n := range 10 {
		c := newCall()
		c.NotifiedAt = noon.Add(-time.Duration(n) * time.Minute)
		if n%2 == 0 {
			c.Caller, c.Callee = c.Callee, c.Caller
		}
		begin(t, s, c)
		want = append(want, c.SessionID)
	}
	same(t, "bob's calls", list(t, s, call.Filter{User: newCall().Callee}, 3), want)
}

func callListedByEvent(t *testing.T, s Store) {
	early, late := newCall(), newCall()
	early.NotifiedAt, late.NotifiedAt = noon.Add(5*time.Second), noon.Add(15*time.Second)
	begin(t, s, early)
	begin(t, s, late)
	byEvent := newCall()
	e, entry := ended(byEvent) // after 10 s
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	for _, limit := range []int{1, 5} {
		same(t, "calls", list(t, s, call.Filter{}, limit), []planet.SessionID{late.SessionID, byEvent.SessionID, early.SessionID})
	}
	// Its Notify, which comes late, moves it to its own time.
	_, err := s.BeginCall(t.Context(), byEvent, nil, nil)
	ok(t, "BeginCall", err)
	same(t, "calls", list(t, s, call.Filter{}, 2), []planet.SessionID{late.SessionID, early.SessionID, byEvent.SessionID})
}

func callNoLimit(t *testing.T, s Store) {
	begin(t, s, newCall())
	for _, limit := range []int{0, -1} {
		calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{}, limit)
		if err != nil || len(calls) != 0 {
			t.Errorf("limit %d gave %d calls, %v", limit, len(calls), err)
		}
	}
}

func callsNone(t *testing.T, s Store) {
	if got := list(t, s, call.Filter{}, 5); len(got) != 0 {
		t.Errorf("an empty database has %d calls", len(got))
	}
}

func callPageStable(t *testing.T, s Store) {
	old, newer := newCall(), newCall()
	begin(t, s, old)
	newer.NotifiedAt = noon.Add(time.Second)
	begin(t, s, newer)
	latest := newCall()
	latest.NotifiedAt = noon.Add(time.Hour)
	begin(t, s, latest) // after the first page was read
	calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{At: newer.NotifiedAt, SessionID: newer.SessionID}, 5)
	ok(t, "Calls", err)
	if len(calls) != 1 || calls[0].SessionID != old.SessionID {
		t.Errorf("the second page has %d calls, want the old one", len(calls))
	}
}

func callListedWhole(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c, newDevice("bob", 1))
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{}, 5)
	ok(t, "Calls", err)
	same(t, "calls", calls, []bell.Call{record(t, s, c).Call})
}

func journal(t *testing.T, s Store, id planet.SessionID) []bell.JournalEntry {
	t.Helper()
	entries, err := s.Journal(t.Context(), id)
	ok(t, "Journal", err)
	return entries
}

func newEntry(n int) bell.JournalEntry {
	return bell.JournalEntry{
		ReceivedAt: noon.Add(time.Duration(n) * time.Second), Project: "demo", Environment: planet.Evaluation,
		Kind: "group-call-event", SessionID: "room", DedupKey: fmt.Sprintf("key-%d", n),
		Params: []planet.RawParam{{Name: "n", Value: fmt.Sprint(n)}},
	}
}

func journalOrder(t *testing.T, s Store) {
	var want []bell.JournalEntry
	for _, n := range []int{3, 1, 2} {
		ok(t, "AppendJournal", s.AppendJournal(t.Context(), newEntry(n)))
		want = append(want, newEntry(n))
	}
	other := newEntry(4)
	other.SessionID = "another room"
	ok(t, "AppendJournal", s.AppendJournal(t.Context(), other))
	slices.SortFunc(want, func(a, b bell.JournalEntry) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	same(t, "journal", journal(t, s, "room"), want)
}

func journalRoundTrip(t *testing.T, s Store) {
	e := newEntry(1)
	for _, text := range append([]string{"", "a=b&c=d", "+%20", "\xff\xfe not UTF-8", "with\x00NUL"}, hostile...) {
		e.Params = append(e.Params, planet.RawParam{Name: text, Value: text}, planet.RawParam{Name: "same name", Value: text})
	}
	ok(t, "AppendJournal", s.AppendJournal(t.Context(), e))
	same(t, "journal", journal(t, s, "room"), []bell.JournalEntry{e})

	bare := bell.JournalEntry{SessionID: "bare", Kind: "recording"}
	ok(t, "AppendJournal", s.AppendJournal(t.Context(), bare))
	same(t, "bare entry", journal(t, s, "bare"), []bell.JournalEntry{bare})
}

func journalRepeat(t *testing.T, s Store) {
	first := newEntry(1)
	ok(t, "AppendJournal", s.AppendJournal(t.Context(), first))
	repeat := first
	repeat.ReceivedAt, repeat.Params = noon.Add(time.Hour), nil
	ok(t, "AppendJournal of a repeat", s.AppendJournal(t.Context(), repeat))
	same(t, "journal", journal(t, s, "room"), []bell.JournalEntry{first})

	want := []bell.JournalEntry{first}
	for i, change := range []func(*bell.JournalEntry){
		func(e *bell.JournalEntry) { e.Project = "another" },
		func(e *bell.JournalEntry) { e.Kind = "recording" },
		func(e *bell.JournalEntry) { e.DedupKey = "Key-1" },
	} {
		other := first
		other.ReceivedAt = noon.Add(time.Duration(2+i) * time.Second)
		change(&other)
		ok(t, "AppendJournal", s.AppendJournal(t.Context(), other))
		want = append(want, other)
	}
	same(t, "journal", journal(t, s, "room"), want)
}

func journalRace(t *testing.T, s Store) {
	together(30, func(int) {
		if err := s.AppendJournal(t.Context(), newEntry(1)); err != nil {
			t.Errorf("AppendJournal: %v", err)
		}
	})
	if n := len(journal(t, s, "room")); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func journalNoKey(t *testing.T, s Store) {
	e := newEntry(1)
	e.DedupKey = ""
	for range 2 {
		ok(t, "AppendJournal", s.AppendJournal(t.Context(), e))
	}
	if n := len(journal(t, s, "room")); n != 2 {
		t.Errorf("%d entries without a key, want both", n)
	}
}

func journalNone(t *testing.T, s Store) {
	if n := len(journal(t, s, "nobody's")); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
}

func journalNotify(t *testing.T, s Store) {
	c := newCall()
	raw := []planet.RawParam{{Name: "sid", Value: string(c.SessionID)}, {Name: "new", Value: "unknown & odd"}}
	_, err := s.BeginCall(t.Context(), c, nil, raw)
	ok(t, "BeginCall", err)
	entries := journal(t, s, c.SessionID)
	if len(entries) != 1 {
		t.Fatalf("%d entries, want Notify's", len(entries))
	}
	entries[0].DedupKey = "" // the store's own affair
	same(t, "Notify's entry", entries[0], bell.JournalEntry{
		ReceivedAt: noon, Project: c.Project, Environment: c.Environment, Kind: "notify", SessionID: c.SessionID, Params: raw,
	})
}

func journalEvent(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	entries := journal(t, s, c.SessionID)
	if len(entries) != 2 || entries[0].Kind != "notify" {
		t.Fatalf("%d entries, want Notify's and the event's", len(entries))
	}
	same(t, "the event's entry", entries[1], entry)
}

func journalEventOnly(t *testing.T, s Store) {
	e, entry := ended(newCall())
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	same(t, "journal", journal(t, s, e.SessionID), []bell.JournalEntry{entry})
	// A second event of the call, with a key of its own, is kept too: none is lost.
	other := entry
	other.DedupKey, other.ReceivedAt = "another", noon.Add(time.Minute)
	ok(t, "EndCall", s.EndCall(t.Context(), e, other))
	same(t, "journal", journal(t, s, e.SessionID), []bell.JournalEntry{entry, other})
}
