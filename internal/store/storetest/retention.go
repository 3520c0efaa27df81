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

var retentionTests = map[string]func(*testing.T, Store){
	"calls go with all that is theirs":     forgetWhole,
	"the oldest calls go first":            forgetOldestCalls,
	"calls known by event only go too":     forgetByEvent,
	"many devices make a small batch":      forgetManyDevices,
	"the oldest callbacks go first":        forgetOldestJournal,
	"nothing old is no error":              forgetNothing,
	"a call may come again when forgotten": forgetAndAgain,
	"closed rooms go with their people":    forgetRooms,
	"large rooms go in parts":              forgetLargeRoom,
	"the oldest agent calls go first":      forgetAgentCalls,
}

// forgetWhole removes one of two calls that are alike, and nothing of the other.
func forgetWhole(t *testing.T, s Store) {
	var calls []bell.Call
	var deliveries [][]bell.Delivery
	devices := []bell.Device{newDevice("bob", 1), newDevice("bob", 2)}
	for _, d := range devices {
		add(t, s, d)
	}
	for n := range 2 {
		c := newCall()
		c.NotifiedAt = noon.Add(time.Duration(n) * time.Hour)
		of := begin(t, s, c, devices...)
		of[0].State = bell.DeliveryAccepted
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), of[0], bell.Attempt{DeliveryID: of[0].ID, Number: 1, StartedAt: noon, Outcome: bell.Outcome{Verdict: bell.Accepted}}))
		_, err := s.RecordReceipt(t.Context(), bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: devices[1].ID, At: noon})
		ok(t, "RecordReceipt", err)
		e, entry := ended(c)
		entry.ReceivedAt = c.NotifiedAt
		ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		calls, deliveries = append(calls, c), append(deliveries, of)
	}
	kept := record(t, s, calls[1])
	if len(kept.Deliveries) != 2 || len(kept.Deliveries[0].Attempts)+len(kept.Deliveries[1].Attempts) != 1 {
		t.Fatalf("the test has not enough to remove: %+v", kept)
	}
	n, err := s.ForgetCalls(t.Context(), noon.Add(time.Hour), 10)
	ok(t, "ForgetCalls", err)
	if n != 1 {
		t.Errorf("%d calls were removed, want 1", n)
	}
	_, err = s.Call(t.Context(), calls[0].Environment, calls[0].SessionID)
	wantKind(t, "the removed call", err, bell.NotFound)
	same(t, "the other call", record(t, s, calls[1]), kept)
	// Nothing is left that a delivery could be found by.
	wantKind(t, "an attempt of the removed call", s.RecordAttempt(t.Context(), deliveries[0][0], bell.Attempt{DeliveryID: deliveries[0][0].ID, Number: 2}), bell.NotFound)
	_, err = s.RecordReceipt(t.Context(), bell.Receipt{Environment: calls[0].Environment, SessionID: calls[0].SessionID, DeviceID: devices[0].ID, At: noon})
	wantKind(t, "a receipt of the removed call", err, bell.NotFound)
	// Devices are nobody's history, and callbacks are kept by a rule of their own.
	left, err := s.DevicesOf(t.Context(), owner("bob"))
	ok(t, "DevicesOf", err)
	if len(left) != 2 {
		t.Errorf("%d devices left", len(left))
	}
	if entries := journal(t, s, calls[0].SessionID); len(entries) != 1 || entries[0].Kind != "call-event" {
		t.Errorf("callbacks of the removed call: %+v", entries)
	}
}

func forgetOldestCalls(t *testing.T, s Store) {
	for n := range 7 {
		c := newCall()
		c.NotifiedAt = noon.Add(time.Duration(n*3%7) * time.Minute) // in a jumble
		begin(t, s, c)
	}
	want := list(t, s, call.Filter{}, 10) // newest first
	before := noon.Add(5 * time.Minute)   // 0 to 4 are older
	for _, step := range []struct{ limit, removed, left int }{{0, 0, 7}, {-1, 0, 7}, {2, 2, 5}, {2, 2, 3}, {2, 1, 2}, {2, 0, 2}} {
		n, err := s.ForgetCalls(t.Context(), before, step.limit)
		ok(t, "ForgetCalls", err)
		if n != step.removed {
			t.Errorf("%d calls were removed, want %d", n, step.removed)
		}
		same(t, fmt.Sprintf("what is left of %d", step.left), list(t, s, call.Filter{}, 10), want[:step.left])
	}
}

func forgetByEvent(t *testing.T, s Store) {
	e, entry := ended(newCall()) // at noon and 10 s
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	for _, step := range []struct {
		before time.Time
		want   int
	}{{e.EndedAt, 0}, {e.EndedAt.Add(time.Microsecond), 1}} {
		n, err := s.ForgetCalls(t.Context(), step.before, 10)
		ok(t, "ForgetCalls", err)
		if n != step.want {
			t.Errorf("%d calls before %s were removed, want %d", n, step.before, step.want)
		}
	}
}

// forgetManyDevices: however many devices rang, the sweep gets to an end.
func forgetManyDevices(t *testing.T, s Store) {
	for n := range 3 {
		c := newCall()
		var devices []bell.Device
		for d := range 300 {
			devices = append(devices, bell.Device{ID: id("device", 300*n+d), Channel: bell.FCM})
		}
		begin(t, s, c, devices...)
	}
	total := 0
	for range 10 {
		n, err := s.ForgetCalls(t.Context(), noon.Add(time.Hour), 100)
		ok(t, "ForgetCalls", err)
		if n == 0 {
			break
		}
		total += n
	}
	if left := list(t, s, call.Filter{}, 10); total != 3 || len(left) != 0 {
		t.Errorf("%d calls were removed, %d are left", total, len(left))
	}
}

func forgetOldestJournal(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	var entries []bell.JournalEntry
	for n := range 6 {
		_, entry := ended(c)
		entry.DedupKey = fmt.Sprint("event", n)
		if n > 3 {
			entry.DedupKey = "" // never a repeat
		}
		entry.ReceivedAt = noon.Add(time.Duration(n*5%6+1) * time.Minute)
		ok(t, "AppendJournal", s.AppendJournal(t.Context(), entry))
	}
	entries = journal(t, s, c.SessionID)[1:] // the first is Notify's, which is the call's
	before := noon.Add(5 * time.Minute)      // 1 to 4 are older
	for _, step := range []struct{ limit, removed, left int }{{0, 0, 6}, {-1, 0, 6}, {3, 3, 3}, {3, 1, 2}, {3, 0, 2}} {
		n, err := s.ForgetJournal(t.Context(), before, step.limit)
		ok(t, "ForgetJournal", err)
		if n != step.removed {
			t.Errorf("%d callbacks were removed, want %d", n, step.removed)
		}
		same(t, fmt.Sprintf("what is left of %d", step.left), journal(t, s, c.SessionID)[1:], entries[6-step.left:])
	}
	record(t, s, c) // is still there
}

func forgetNothing(t *testing.T, s Store) {
	for range 2 {
		calls, callErr := s.ForgetCalls(t.Context(), noon, 10)
		entries, err := s.ForgetJournal(t.Context(), noon, 10)
		if callErr != nil || err != nil || calls != 0 || entries != 0 {
			t.Errorf("%d, %v; %d, %v", calls, callErr, entries, err)
		}
		begin(t, s, newCall()) // at noon, which is not before noon
	}
}

func forgetAndAgain(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	_, err := s.ForgetCalls(t.Context(), noon.Add(time.Hour), 10)
	ok(t, "ForgetCalls", err)
	// Its event is repeated after months: there is nothing to merge with, and it is kept.
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	same(t, "the call", record(t, s, c).Call, e)
}

// closedRun is a closed run whose first event came n minutes after noon.
func closedRun(n int) bell.RoomRun {
	r := newRun(n)
	r.HeardAt, r.State, r.Reason = noon.Add(time.Duration(n)*time.Minute), bell.RoomClosed, bell.RoomEnded
	return r
}

func forgetRooms(t *testing.T, s Store) {
	open := newRun(9)
	putRun(t, s, open, nil)
	ann := newParticipant("ann")
	for n := range 5 {
		putRun(t, s, closedRun(n), &ann)
	}
	for _, step := range []struct {
		before, limit, want int
		left                []int
	}{{3, 0, 0, []int{0, 1, 2, 3, 4}}, {3, 2, 2, []int{2, 3, 4}}, {3, 2, 1, []int{3, 4}}, {3, 2, 0, []int{3, 4}}, {60, 9, 2, nil}} {
		n, err := s.ForgetRooms(t.Context(), noon.Add(time.Duration(step.before)*time.Minute), step.limit)
		ok(t, "ForgetRooms", err)
		if n != step.want {
			t.Errorf("%d runs were removed, want %d", n, step.want)
		}
		for n := range 5 {
			r := closedRun(n)
			_, err := s.Run(t.Context(), r.Environment, r.SessionID)
			if kept := slices.Contains(step.left, n); kept != (err == nil) {
				t.Errorf("run %d after the sweep: %v, want it kept: %t", n, err, kept)
			}
		}
	}
	_, err := s.Run(t.Context(), open.Environment, open.SessionID)
	ok(t, "an old run that is open", err)
}

// forgetLargeRoom: a run goes whole, however many were in it, and a room that is used again
// does not find its people.
func forgetLargeRoom(t *testing.T, s Store) {
	r := closedRun(1)
	for n := range 900 {
		p := newParticipant(fmt.Sprintf("user%d", n))
		putRun(t, s, r, &p)
	}
	rounds := 0
	for n := 1; n > 0 && rounds < 20; rounds++ {
		var err error
		n, err = s.ForgetRooms(t.Context(), noon.Add(time.Hour), 100)
		ok(t, "ForgetRooms", err)
	}
	if rounds < 3 || rounds > 10 {
		t.Errorf("900 participants went in %d rounds", rounds)
	}
	_, err := s.Run(t.Context(), r.Environment, r.SessionID)
	wantKind(t, "the removed run", err, bell.NotFound)
	putRun(t, s, r, nil)
	_, err = s.Run(t.Context(), r.Environment, r.SessionID)
	ok(t, "the run that is heard of again", err)
	people, err := s.Participants(t.Context(), keyOf(&r), planet.UserRef{}, 10)
	ok(t, "Participants", err)
	if len(people) != 0 {
		t.Errorf("%d participants of the removed run are found", len(people))
	}
}

func forgetAgentCalls(t *testing.T, s Store) {
	var calls []bell.Call
	for n := range 4 {
		c := newCall()
		calls = append(calls, c)
		appendEntry(t, s, agentEntry(c, n, ""))
	}
	for _, step := range []struct{ limit, removed, gone int }{{0, 0, 0}, {2, 2, 2}, {2, 1, 3}, {2, 0, 3}} {
		n, err := s.ForgetAgentCalls(t.Context(), noon.Add(3*time.Second), step.limit)
		ok(t, "ForgetAgentCalls", err)
		if n != step.removed {
			t.Errorf("%d statuses were removed, want %d", n, step.removed)
		}
		for i, c := range calls {
			_, err := s.Call(t.Context(), c.Environment, c.SessionID)
			if gone := err != nil; gone != (i < step.gone) {
				t.Errorf("status %d after the sweep: %v", i, err)
			}
		}
	}
}
