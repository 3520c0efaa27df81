package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
)

const mainEndpoint = "demo/main"

var webhookTests = map[string]func(*testing.T, Store){
	"told once, in order":        toldInOrder,
	"a lease":                    leases,
	"two claim at once":          claimsAtOnce,
	"who lost its lease":         lostLeases,
	"leases of the dead":         leasesOfTheDead,
	"tried again later":          triedAgain,
	"endpoints":                  manyEndpoints,
	"replays":                    replays,
	"replay of the dead":         replaysOfTheDead,
	"bounds":                     tellingBounds,
	"lists":                      tellingLists,
	"gone endpoints":             goneEndpoints,
	"the events of a call":       eventsOfCalls,
	"a call that was kept away":  eventsOfSuppressed,
	"the events of deliveries":   eventsOfDeliveries,
	"the events of devices":      eventsOfDevices,
	"a known event is dropped":   knownEvents,
	"an event survives its data": hostileEvents,
}

func event(subject string, n int) bell.Event {
	return bell.Event{
		ID: fmt.Sprintf("evt_%s_%d", subject, n), Type: bell.EventCallEnded, Project: "demo", Subject: subject,
		At: noon.Add(time.Duration(n) * time.Second), Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func addEvents(t *testing.T, s Store, events ...bell.Event) {
	t.Helper()
	for _, e := range events {
		ok(t, "AddEvent", s.AddEvent(t.Context(), e))
	}
}

// spreadTo gives all new events to the endpoints.
func spreadTo(t *testing.T, s Store, endpoints ...string) (looked int) {
	t.Helper()
	n, err := s.SpreadEvents(t.Context(), noon, 1000, func(string, bell.EventType) []string { return endpoints })
	ok(t, "SpreadEvents", err)
	return n
}

func claimEvents(t *testing.T, s Store, c webhook.Claim) []webhook.Telling {
	t.Helper()
	if c.Endpoint == "" {
		c.Endpoint = mainEndpoint
	}
	if c.Owner == "" {
		c.Owner = "node-a"
	}
	if c.Now.IsZero() {
		c.Now = noon
	}
	if c.LeaseUntil.IsZero() {
		c.LeaseUntil = c.Now.Add(time.Minute)
	}
	if c.Limit == 0 {
		c.Limit = 1000
	}
	got, err := s.ClaimTellings(t.Context(), c)
	ok(t, "ClaimTellings", err)
	return got
}

func recordEvent(t *testing.T, s Store, of webhook.Telling, state webhook.State, due time.Time) {
	t.Helper()
	held, err := s.RecordTelling(t.Context(), webhook.Result{
		Seq: of.Seq, Endpoint: of.Endpoint, Owner: "node-a", State: state, Attempts: of.Attempts + 1, Due: due, Now: noon, Reason: "status", Status: 500,
	})
	ok(t, "RecordTelling", err)
	if !held {
		t.Errorf("the lease of %s was not held", of.Event.ID)
	}
}

// names are the subjects and numbers of events.
func names(of []webhook.Telling) string {
	var all []string
	for _, t := range of {
		all = append(all, strings.TrimPrefix(t.Event.ID, "evt_"))
	}
	return strings.Join(all, " ")
}

func wantClaim(t *testing.T, s Store, c webhook.Claim, want string) []webhook.Telling {
	t.Helper()
	got := claimEvents(t, s, c)
	if names(got) != want {
		t.Fatalf("claimed %q, want %q", names(got), want)
	}
	return got
}

func toldInOrder(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("b", 1), event("a", 2), event("a", 3))
	if n := spreadTo(t, s, mainEndpoint); n != 4 {
		t.Errorf("%d events were spread", n)
	}
	if n := spreadTo(t, s, mainEndpoint); n != 0 {
		t.Errorf("%d events were spread twice", n)
	}
	got := wantClaim(t, s, webhook.Claim{}, "a_1 b_1")
	want := webhook.Telling{
		Seq: got[0].Seq, Endpoint: mainEndpoint, State: webhook.Waiting, Due: noon.Add(time.Minute), Since: noon, UpdatedAt: noon, Event: event("a", 1),
	}
	same(t, "a claimed telling", got[0], want)
	wantClaim(t, s, webhook.Claim{Owner: "node-b"}, "")
	addEvents(t, s, event("a", 4))
	spreadTo(t, s, mainEndpoint)
	recordEvent(t, s, got[0], webhook.Told, noon)
	second := wantClaim(t, s, webhook.Claim{}, "a_2")
	recordEvent(t, s, second[0], webhook.Dead, noon) // what is given up holds up nothing
	third := wantClaim(t, s, webhook.Claim{}, "a_3")
	recordEvent(t, s, third[0], webhook.Told, noon)
	fourth := wantClaim(t, s, webhook.Claim{}, "a_4")
	recordEvent(t, s, fourth[0], webhook.Told, noon)
	wantClaim(t, s, webhook.Claim{}, "")
	addEvents(t, s, event("a", 5))
	spreadTo(t, s, mainEndpoint)
	wantClaim(t, s, webhook.Claim{}, "a_5")
}

func leases(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("b", 1))
	spreadTo(t, s, mainEndpoint)
	wantClaim(t, s, webhook.Claim{Limit: 1, LeaseUntil: noon.Add(10 * time.Second)}, "a_1")
	wantClaim(t, s, webhook.Claim{Now: noon.Add(10*time.Second - time.Microsecond), Owner: "node-b", LeaseUntil: noon.Add(time.Hour)}, "b_1")
	wantClaim(t, s, webhook.Claim{Now: noon.Add(10 * time.Second), Owner: "node-b"}, "a_1")
	wantClaim(t, s, webhook.Claim{Endpoint: "demo/other", Now: noon.Add(time.Hour)}, "")
}

func claimsAtOnce(t *testing.T, s Store) {
	for n := range 40 {
		addEvents(t, s, event(fmt.Sprint("s", n), 1))
	}
	var spread, claimed atomic.Int64
	together(4, func(int) {
		n, err := s.SpreadEvents(t.Context(), noon, 1000, func(string, bell.EventType) []string { return []string{mainEndpoint} })
		if err != nil {
			t.Error(err)
		}
		spread.Add(int64(n))
	})
	together(4, func(i int) {
		got, err := s.ClaimTellings(t.Context(), webhook.Claim{Endpoint: mainEndpoint, Owner: fmt.Sprint(i), Now: noon, LeaseUntil: noon.Add(time.Minute), Limit: 15})
		if err != nil {
			t.Error(err)
		}
		claimed.Add(int64(len(got)))
	})
	if spread.Load() != 40 || claimed.Load() != 40 {
		t.Errorf("%d spread and %d claimed of 40", spread.Load(), claimed.Load())
	}
}

func lostLeases(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("a", 2))
	spreadTo(t, s, mainEndpoint)
	first := claimEvents(t, s, webhook.Claim{LeaseUntil: noon.Add(time.Second)})[0]
	later := noon.Add(2 * time.Second)
	wantClaim(t, s, webhook.Claim{Owner: "node-b", Now: later}, "a_1")
	held, err := s.RecordTelling(t.Context(), webhook.Result{Seq: first.Seq, Endpoint: mainEndpoint, Owner: "node-a", State: webhook.Told, Now: later})
	if held || err != nil {
		t.Errorf("RecordTelling of who lost its lease = %v, %v", held, err)
	}
	wantClaim(t, s, webhook.Claim{Owner: "node-c", Now: later}, "") // neither again nor the one behind it
}

func leasesOfTheDead(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("b", 1), event("c", 1))
	spreadTo(t, s, mainEndpoint)
	claimEvents(t, s, webhook.Claim{Owner: "dead", Limit: 2, LeaseUntil: noon.Add(time.Hour)})
	claimEvents(t, s, webhook.Claim{Owner: "alive", LeaseUntil: noon.Add(time.Hour)})
	n, err := s.FreeTellings(t.Context(), "alive", noon)
	if n != 2 || err != nil {
		t.Errorf("FreeTellings = %d, %v", n, err)
	}
	wantClaim(t, s, webhook.Claim{}, "a_1 b_1")
}

func triedAgain(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("a", 2))
	spreadTo(t, s, mainEndpoint)
	recordEvent(t, s, claimEvents(t, s, webhook.Claim{})[0], webhook.Waiting, noon.Add(5*time.Minute))
	wantClaim(t, s, webhook.Claim{Now: noon.Add(5*time.Minute - time.Microsecond)}, "")
	got := wantClaim(t, s, webhook.Claim{Now: noon.Add(5 * time.Minute)}, "a_1")
	if got[0].Attempts != 1 || got[0].Reason != "status" || got[0].Status != 500 {
		t.Errorf("what became of the first try is not kept: %+v", got[0])
	}
}

func manyEndpoints(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("a", 2))
	room := event("r", 1)
	room.Type, room.Project = bell.EventRoomEnded, "other"
	unwanted := event("u", 1)
	unwanted.Type = bell.EventCallRinging
	addEvents(t, s, room, unwanted)
	_, err := s.SpreadEvents(t.Context(), noon, 1000, func(project string, kind bell.EventType) []string {
		switch {
		case project == "other" && kind == bell.EventRoomEnded:
			return []string{"other/rooms"}
		case project == "demo" && kind == bell.EventCallEnded:
			return []string{"demo/one", "demo/two"}
		}
		return nil
	})
	ok(t, "SpreadEvents", err)
	one := wantClaim(t, s, webhook.Claim{Endpoint: "demo/one"}, "a_1")
	wantClaim(t, s, webhook.Claim{Endpoint: "other/rooms"}, "r_1")
	recordEvent(t, s, one[0], webhook.Told, noon)
	wantClaim(t, s, webhook.Claim{Endpoint: "demo/one"}, "a_2") // each endpoint has its own order
	wantClaim(t, s, webhook.Claim{Endpoint: "demo/two"}, "a_1")
	open, dead, err := s.Backlogs(t.Context())
	ok(t, "Backlogs", err)
	if dead != 0 || open["demo/one"].Open != 1 || open["demo/two"] != (webhook.Backlog{Open: 2, Oldest: noon}) || len(open) != 3 {
		t.Errorf("Backlogs = %+v, %d", open, dead)
	}
	if _, err := s.ReplayEvent(t.Context(), unwanted.ID, "", noon); bell.KindOf(err) != bell.NotFound {
		t.Errorf("an event that nobody wants is kept: %v", err)
	}
}

func replays(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("a", 2))
	spreadTo(t, s, mainEndpoint, "demo/two")
	first := claimEvents(t, s, webhook.Claim{})[0]
	recordEvent(t, s, first, webhook.Told, noon)
	later := noon.Add(time.Hour)
	n, err := s.ReplayEvent(t.Context(), first.Event.ID, "", later)
	if n != 1 || err != nil { // at the other endpoint it is open
		t.Fatalf("ReplayEvent = %d, %v", n, err)
	}
	got := wantClaim(t, s, webhook.Claim{Now: later}, "a_2") // it stands behind what is open
	if n, err := s.ReplayEvent(t.Context(), first.Event.ID, mainEndpoint, later); n != 0 || err != nil {
		t.Errorf("a second replay = %d, %v", n, err)
	}
	recordEvent(t, s, got[0], webhook.Told, noon)
	again := wantClaim(t, s, webhook.Claim{Now: later}, "a_1")
	if again[0].Attempts != 0 || again[0].Reason != "" || again[0].Status != 0 {
		t.Errorf("a replay does not begin anew: %+v", again[0])
	}
	_, err = s.ReplayEvent(t.Context(), "evt_none", "", later)
	wantKind(t, "ReplayEvent", err, bell.NotFound)
}

func replaysOfTheDead(t *testing.T, s Store) {
	for n := 1; n <= 3; n++ {
		addEvents(t, s, event("a", n), event("b", n))
	}
	spreadTo(t, s, mainEndpoint, "demo/two")
	for range 3 {
		for _, c := range claimEvents(t, s, webhook.Claim{}) {
			state := webhook.Dead
			if c.Event.ID == "evt_b_2" {
				state = webhook.Told
			}
			recordEvent(t, s, c, state, noon)
		}
	}
	for _, want := range []int{4, 1, 0} {
		if n, err := s.ReplayDead(t.Context(), mainEndpoint, noon, 4); n != want || err != nil {
			t.Errorf("ReplayDead = %d, %v, want %d", n, err, want)
		}
	}
	for _, want := range []string{"a_1 b_1", "a_2 b_3", "a_3"} {
		for _, c := range wantClaim(t, s, webhook.Claim{}, want) {
			recordEvent(t, s, c, webhook.Told, noon)
		}
	}
}

func tellingBounds(t *testing.T, s Store) {
	for n := 1; n <= 6; n++ {
		addEvents(t, s, event("a", n), event(fmt.Sprint("x", n), 1))
	}
	spreadTo(t, s, mainEndpoint)
	leased := claimEvents(t, s, webhook.Claim{Limit: 1, LeaseUntil: noon.Add(time.Hour)}) // a_1
	sweep := func(b webhook.Bounds) webhook.Swept {
		t.Helper()
		b.Limit = 100
		did, err := s.SweepTellings(t.Context(), b)
		ok(t, "SweepTellings", err)
		return did
	}
	loose := webhook.Bounds{Now: noon.Add(time.Minute), Open: 100, OpenFor: time.Hour, Dead: 100, DeadFor: time.Hour, Keep: time.Hour}
	same(t, "a sweep that has nothing to do", sweep(loose), webhook.Swept{})

	tight := loose
	tight.Open = 9
	same(t, "a sweep of too many", sweep(tight), webhook.Swept{Crowded: 3})
	dead, err := s.Tellings(t.Context(), webhook.Filter{State: webhook.Dead}, webhook.Cursor{}, 10)
	ok(t, "Tellings", err)
	if names(dead) != "a_3 a_2 x1_1" && names(dead) != "a_2 x2_1 x1_1" && names(dead) != "x2_1 a_2 x1_1" || dead[0].Reason != "too_many" {
		t.Errorf("given up: %q, want the oldest that are not being told", names(dead))
	}

	recordEvent(t, s, leased[0], webhook.Told, noon)
	wantClaim(t, s, webhook.Claim{Now: noon.Add(time.Minute), Limit: 1, LeaseUntil: noon.Add(time.Minute)}, "a_3") // goes on behind those given up
	tight = loose
	tight.Dead = 1
	same(t, "a sweep of too many dead", sweep(tight), webhook.Swept{Dropped: 2})
	if _, err := s.ReplayEvent(t.Context(), "evt_x1_1", "", noon); bell.KindOf(err) != bell.NotFound {
		t.Errorf("the oldest dead letter is kept: %v", err)
	}

	// Those behind others have their full time from when their turn comes.
	old := loose
	for i, want := range []webhook.Swept{{GivenUp: 5, Dropped: 1, Deleted: 1}, {GivenUp: 1, Dropped: 5}, {GivenUp: 1, Dropped: 1}, {GivenUp: 1, Dropped: 1}, {Dropped: 1}} {
		old.Now = noon.Add(time.Duration(2+2*i) * time.Hour)
		same(t, fmt.Sprintf("sweep %d of what is old", i+1), sweep(old), want)
	}
	all, err := s.Tellings(t.Context(), webhook.Filter{}, webhook.Cursor{}, 10)
	if len(all) != 0 || err != nil {
		t.Errorf("%d are left, %v", len(all), err)
	}
	addEvents(t, s, event("a", 1)) // it is forgotten, and so it is new
	if n := spreadTo(t, s, mainEndpoint); n != 1 {
		t.Error("an event is kept without its tellings")
	}
}

func tellingLists(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("b", 1), event("a", 2), event("c", 1))
	spreadTo(t, s, mainEndpoint, "demo/two")
	claimed := claimEvents(t, s, webhook.Claim{})
	recordEvent(t, s, claimed[1], webhook.Told, noon) // b_1
	recordEvent(t, s, claimed[2], webhook.Dead, noon) // c_1
	for _, test := range []struct {
		filter webhook.Filter
		want   string
	}{
		{webhook.Filter{}, "c_1 c_1 a_2 a_2 b_1 b_1 a_1 a_1"},
		{webhook.Filter{Endpoint: mainEndpoint}, "c_1 a_2 b_1 a_1"},
		{webhook.Filter{Endpoint: mainEndpoint, State: webhook.Waiting}, "a_2 a_1"},
		{webhook.Filter{State: webhook.Told}, "b_1"},
		{webhook.Filter{State: webhook.Dead}, "c_1"},
		{webhook.Filter{Endpoint: "demo/none"}, ""},
	} {
		var all []webhook.Telling
		var before webhook.Cursor
		for {
			page, err := s.Tellings(t.Context(), test.filter, before, 3)
			ok(t, "Tellings", err)
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
			before = webhook.Cursor{Seq: page[len(page)-1].Seq, Endpoint: page[len(page)-1].Endpoint}
		}
		if names(all) != test.want {
			t.Errorf("%+v lists %q, want %q", test.filter, names(all), test.want)
		}
		if slices.ContainsFunc(all, func(l webhook.Telling) bool { return l.Event.Data != nil }) {
			t.Error("a list holds the data of events")
		}
	}
}

func goneEndpoints(t *testing.T, s Store) {
	ok(t, "MarkGone", s.MarkGone(t.Context(), mainEndpoint, "print-1", noon))
	ok(t, "MarkGone", s.MarkGone(t.Context(), mainEndpoint, "print-2", noon))
	gone, err := s.GoneEndpoints(t.Context())
	ok(t, "GoneEndpoints", err)
	same(t, "gone endpoints", gone, map[string]string{mainEndpoint: "print-2"})
	ok(t, "ClearGone", s.ClearGone(t.Context(), mainEndpoint))
	wantKind(t, "ClearGone", s.ClearGone(t.Context(), mainEndpoint), bell.NotFound)
}

func knownEvents(t *testing.T, s Store) {
	addEvents(t, s, event("a", 1), event("a", 1))
	if n := spreadTo(t, s, mainEndpoint); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	addEvents(t, s, event("a", 1))
	if n := spreadTo(t, s, mainEndpoint); n != 0 {
		t.Error("an event that was spread is recorded again")
	}
}

func hostileEvents(t *testing.T, s Store) {
	for i, text := range hostile {
		e := event(fmt.Sprint("h", i), 1)
		e.Subject, e.Data = text, []byte(text)
		addEvents(t, s, e)
	}
	spreadTo(t, s, mainEndpoint)
	got := claimEvents(t, s, webhook.Claim{})
	if len(got) != len(hostile) {
		t.Fatalf("%d of %d were claimed", len(got), len(hostile))
	}
	for i, text := range hostile {
		if got[i].Event.Subject != text || string(got[i].Event.Data) != text {
			t.Errorf("%q came back as %q", text, got[i].Event.Data)
		}
	}
}
