package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// listRooms reads all runs that match, page by page, as session IDs.
func listRooms(t *testing.T, s Store, f room.Filter, limit int) []planet.SessionID {
	t.Helper()
	var ids []planet.SessionID
	var before room.Cursor
	for {
		runs, err := s.Runs(t.Context(), f, before, limit)
		ok(t, "Runs", err)
		if len(runs) > limit {
			t.Fatalf("%d runs on a page of %d", len(runs), limit)
		}
		if len(runs) == 0 {
			return ids
		}
		for _, r := range runs {
			ids = append(ids, r.SessionID)
			before = room.Cursor{HeardAt: r.HeardAt, SessionID: r.SessionID}
		}
	}
}

func roomPages(t *testing.T, s Store) {
	var want []planet.SessionID
	for n := range 7 {
		r := newRun(n)
		r.HeardAt = noon.Add(time.Duration(n/2) * time.Second) // two of each instant
		putRun(t, s, r, nil)
		want = append([]planet.SessionID{r.SessionID}, want...)
	}
	for _, limit := range []int{1, 2, 3, 10} {
		same(t, fmt.Sprintf("pages of %d", limit), listRooms(t, s, room.Filter{}, limit), want)
	}
	same(t, "a limit of nothing", listRooms(t, s, room.Filter{}, 0), nil)
}

func roomFilters(t *testing.T, s Store) {
	open, closed, other, real := newRun(1), newRun(2), newRun(3), newRun(4)
	closed.State = bell.RoomClosed
	other.Room.RoomID = "other"
	real.Environment, real.Room.ServiceID = planet.Real, "other-service"
	for _, r := range []bell.RoomRun{open, closed, other, real} {
		putRun(t, s, r, nil)
	}
	for name, c := range map[string]struct {
		filter room.Filter
		want   []planet.SessionID
	}{
		"open":        {room.Filter{Open: true}, []planet.SessionID{real.SessionID, other.SessionID, open.SessionID}},
		"room":        {room.Filter{ServiceID: "service", RoomID: "room"}, []planet.SessionID{closed.SessionID, open.SessionID}},
		"open room":   {room.Filter{ServiceID: "service", RoomID: "room", Open: true}, []planet.SessionID{open.SessionID}},
		"environment": {room.Filter{Environment: planet.Real}, []planet.SessionID{real.SessionID}},
		"service":     {room.Filter{ServiceID: "other-service"}, []planet.SessionID{real.SessionID}},
		"none":        {room.Filter{RoomID: "nowhere"}, nil},
	} {
		same(t, name, listRooms(t, s, c.filter, 2), c.want)
	}
}

func roomsOfUser(t *testing.T, s Store) {
	ann, bob := newParticipant("ann"), newParticipant("bob")
	foreign := ann
	foreign.User.ServiceID = "other-service"
	for n, p := range []*bell.Participant{&ann, &bob, &ann, &foreign, nil, &ann} {
		putRun(t, s, newRun(n), p)
	}
	id := func(n int) planet.SessionID { return newRun(n).SessionID }
	same(t, "ann's", listRooms(t, s, room.Filter{User: ann.User}, 2), []planet.SessionID{id(5), id(2), id(0)})
	same(t, "any ann's", listRooms(t, s, room.Filter{User: planet.UserRef{UserID: "ann"}}, 2), []planet.SessionID{id(5), id(3), id(2), id(0)})
	same(t, "nobody's", listRooms(t, s, room.Filter{User: planet.UserRef{UserID: "cat"}}, 2), nil)
}

func roomParticipants(t *testing.T, s Store) {
	r, other := newRun(1), newRun(2)
	var want []bell.Participant
	for n := range 5 {
		p := newParticipant(fmt.Sprintf("user-%d", n/2))
		p.User.ServiceID = fmt.Sprintf("service-%d", n)
		putRun(t, s, r, &p)
		want = append(want, p)
	}
	p := newParticipant("stranger")
	putRun(t, s, other, &p)
	var got []bell.Participant
	var after planet.UserRef
	for {
		page, err := s.Participants(t.Context(), keyOf(&r), after, 2)
		ok(t, "Participants", err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].User
	}
	same(t, "participants", got, want)
	none, err := s.Participants(t.Context(), room.RunKey{Environment: planet.Real, SessionID: r.SessionID}, planet.UserRef{}, 2)
	ok(t, "Participants", err)
	same(t, "of a run that is not there", none, nil)
}

func roomSilent(t *testing.T, s Store) {
	silent, loud, closed := newRun(1), newRun(2), newRun(3)
	closed.State, loud.SeenAt, silent.SeenAt = bell.RoomClosed, noon.Add(time.Hour), noon
	for _, r := range []bell.RoomRun{silent, loud, closed} {
		r.SeenAt = r.SeenAt.Add(0)
		putRun(t, s, r, nil)
	}
	for limit, want := range map[int][]room.RunKey{10: {keyOf(&silent)}, 0: nil} {
		got, err := s.SilentRuns(t.Context(), noon.Add(time.Hour), limit)
		ok(t, "SilentRuns", err)
		same(t, "silent", got, want)
	}
	got, err := s.SilentRuns(t.Context(), noon, 10)
	ok(t, "SilentRuns", err)
	same(t, "silent since then, but not before", got, nil)
}

func roomsToInvite(t *testing.T, s Store) {
	due, done := newRun(1), newRun(2)
	due.InviteBy = noon.Add(time.Minute)
	putRun(t, s, due, nil)
	putRun(t, s, done, nil)
	got, err := s.RunsToInvite(t.Context(), 10)
	ok(t, "RunsToInvite", err)
	same(t, "due", got, []bell.RoomRun{due})
	due.InviteBy = time.Time{}
	putRun(t, s, due, nil)
	got, err = s.RunsToInvite(t.Context(), 10)
	ok(t, "RunsToInvite", err)
	same(t, "when it is done", got, nil)
}

func roomMissing(t *testing.T, s Store) {
	putRun(t, s, newRun(1), nil)
	for _, id := range []planet.SessionID{"nowhere", ""} {
		_, err := s.Run(t.Context(), planet.Evaluation, id)
		wantKind(t, "Run", err, bell.NotFound)
	}
	_, err := s.Run(t.Context(), planet.Real, newRun(1).SessionID)
	wantKind(t, "Run of the other environment", err, bell.NotFound)
}

// newInvitation asks bob into a run for a minute.
func newInvitation(at time.Time) room.Invitation {
	r := newRun(1)
	return room.Invitation{
		Run: keyOf(&r), Room: r.Room, User: planet.UserRef{ServiceID: "service", UserID: "bob"}, At: at, Deadline: at.Add(time.Minute),
	}
}

func roomInvite(t *testing.T, s Store) {
	first := newInvitation(noon)
	for _, step := range []struct {
		name  string
		give  room.Invitation
		want  room.Invitation
		fresh bool
	}{
		{"the first", first, first, true},
		{"while it counts", newInvitation(noon.Add(59 * time.Second)), first, false},
		{"at its deadline", newInvitation(noon.Add(time.Minute)), newInvitation(noon.Add(time.Minute)), true},
		{"while that one counts", newInvitation(noon.Add(time.Minute)), newInvitation(noon.Add(time.Minute)), false},
	} {
		got, fresh, err := s.Invite(t.Context(), step.give)
		ok(t, "Invite", err)
		same(t, step.name, got, step.want)
		if fresh != step.fresh {
			t.Errorf("%s: fresh is %v", step.name, fresh)
		}
	}
	for name, change := range map[string]func(*room.Invitation){
		"user":        func(i *room.Invitation) { i.User.UserID = "cat" },
		"service":     func(i *room.Invitation) { i.User.ServiceID = "other" },
		"run":         func(i *room.Invitation) { i.Run.SessionID = "" },
		"room":        func(i *room.Invitation) { i.Room.RoomID = "other" },
		"environment": func(i *room.Invitation) { i.Run.Environment = planet.Real },
	} {
		i := newInvitation(noon.Add(time.Minute))
		change(&i)
		if got, fresh, err := s.Invite(t.Context(), i); err != nil || !fresh || got != i {
			t.Errorf("another %s: %+v, fresh %v, %v", name, got, fresh, err)
		}
	}
}

func roomInvitations(t *testing.T, s Store) {
	a, b := newInvitation(noon), newInvitation(noon.Add(time.Second))
	b.User.UserID = "cat"
	elsewhere := newInvitation(noon)
	elsewhere.Run.Environment = planet.Real
	for _, i := range []room.Invitation{a, b, elsewhere} {
		_, _, err := s.Invite(t.Context(), i)
		ok(t, "Invite", err)
	}
	for name, c := range map[string]struct {
		now   time.Time
		limit int
		want  []room.Invitation
	}{
		"both": {noon, 10, []room.Invitation{a, b}}, "one has ended": {a.Deadline, 10, []room.Invitation{b}}, "a limit": {noon, 1, []room.Invitation{a}},
	} {
		got, err := s.InvitationsOf(t.Context(), a.Run, c.now, c.limit)
		ok(t, "InvitationsOf", err)
		same(t, name, got, c.want)
	}
}

func roomPrune(t *testing.T, s Store) {
	for n := range 3 {
		i := newInvitation(noon)
		i.User.UserID = fmt.Sprint(n)
		_, _, err := s.Invite(t.Context(), i)
		ok(t, "Invite", err)
	}
	deadline := newInvitation(noon).Deadline
	for _, step := range []struct {
		before time.Time
		want   int
	}{{deadline, 0}, {deadline.Add(time.Microsecond), 2}, {deadline.Add(time.Microsecond), 1}} {
		n, err := s.PruneInvitations(t.Context(), step.before, 2)
		ok(t, "PruneInvitations", err)
		if n != step.want {
			t.Errorf("%d were removed, want %d", n, step.want)
		}
	}
}

// Only what is open of the notices that are named is withdrawn: then nobody claims it, and it
// does not expire.
func roomWithdraw(t *testing.T, s Store) {
	ended, other, foreign, c := newNotice("run-1"), newNotice("run-2"), newNotice("run-1"), newCall()
	foreign.SessionID, foreign.Environment = ended.SessionID, planet.Real
	phone, tablet, pc := newDevice("bob", 1), newDevice("bob", 2), newDevice("bob", 3)
	for _, d := range []bell.Device{phone, tablet, pc} {
		add(t, s, d)
	}
	withdrawn, kept := begin(t, s, ended, phone, tablet, pc), begin(t, s, other, phone)
	kept = append(append(kept, begin(t, s, foreign, phone)...), begin(t, s, c, phone)...)
	sending, accepted := withdrawn[1], withdrawn[2]
	sending.State, accepted.State = bell.DeliverySending, bell.DeliveryAccepted
	for _, d := range []bell.Delivery{sending, accepted} {
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{}))
	}
	at := noon.Add(time.Second)
	ids := []planet.SessionID{"nowhere", ended.SessionID, c.SessionID}
	for range 2 { // it can be repeated
		ok(t, "WithdrawNotices", s.WithdrawNotices(t.Context(), planet.Evaluation, ids, at))
	}
	ok(t, "WithdrawNotices of nothing", s.WithdrawNotices(t.Context(), planet.Evaluation, nil, at))
	for _, d := range withdrawn[:2] {
		got := state(t, s, d)
		if got.State != bell.DeliveryWithdrawn || got.LeaseOwner != "" || !got.LeaseUntil.IsZero() || !got.UpdatedAt.Equal(at) {
			t.Errorf("withdrawn is %+v", got)
		}
	}
	stateIs(t, s, accepted, bell.DeliveryAccepted)
	for _, d := range kept {
		stateIs(t, s, d, bell.DeliveryPending)
	}
	late := noon.Add(time.Hour)
	n, err := s.ExpireDeliveries(t.Context(), late)
	if ok(t, "ExpireDeliveries", err); n != len(kept) {
		t.Errorf("%d deliveries expire, want %d", n, len(kept))
	}
	stateIs(t, s, withdrawn[0], bell.DeliveryWithdrawn)
}
