package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

var roomTests = map[string]func(*testing.T, Store){
	"round trip":                             roomRoundTrip,
	"each field":                             roomEachField,
	"hostile texts":                          roomHostile,
	"what is known is handed to the change":  roomKnown,
	"nothing is written that is not to be":   roomUnwritten,
	"a repeat is told as one":                roomRepeat,
	"an event without session ID":            roomWithoutSession,
	"environments are apart":                 roomEnvironments,
	"changes at once lose nothing":           roomTogether,
	"outgoing events are in the transaction": roomEvents,
	"shuffled events end as ordered ones":    roomShuffled,
}

var roomListTests = map[string]func(*testing.T, Store){
	"pages, newest first":      roomPages,
	"filters":                  roomFilters,
	"a user's runs":            roomsOfUser,
	"participants by page":     roomParticipants,
	"silent runs":              roomSilent,
	"runs to invite to":        roomsToInvite,
	"a run that is not there":  roomMissing,
	"one invitation at a time": roomInvite,
	"invitations of a run":     roomInvitations,
	"old invitations":          roomPrune,
	"withdrawn notices":        roomWithdraw,
}

func newRun(n int) bell.RoomRun {
	return bell.RoomRun{
		Environment: planet.Evaluation, SessionID: planet.SessionID(fmt.Sprintf("%032x", n)), Project: "demo",
		Room:    planet.RoomRef{ServiceID: "service", RoomID: "room"},
		HeardAt: noon.Add(time.Duration(n) * time.Second), SeenAt: noon.Add(time.Duration(n) * time.Second),
		State: bell.RoomOpen, Online: -1,
	}
}

// wholeRun fills every field of a run.
func wholeRun(r bell.RoomRun) bell.RoomRun {
	r.State, r.Reason, r.EndedAt = bell.RoomClosed, bell.RoomSilent, noon.Add(time.Hour)
	r.Host = planet.UserRef{ServiceID: "other-service", UserID: "host"}
	r.SetupAt, r.StartedAt = noon.Add(1*time.Second), noon.Add(2*time.Second)
	r.Online, r.Present, r.Participants, r.Crowded = 3, 4, 5, true
	r.FirstEventAt, r.LastEventAt, r.OnlineAt, r.OnlineRank = noon.Add(3*time.Second), noon.Add(4*time.Second), noon.Add(5*time.Second), 2
	r.EndEventAt, r.SilentAt, r.InviteBy = noon.Add(6*time.Second), noon.Add(7*time.Second), noon.Add(8*time.Second)
	return r
}

func newParticipant(user string) bell.Participant {
	return bell.Participant{
		User: planet.UserRef{ServiceID: "service", UserID: user}, State: bell.ParticipantLeft,
		FirstJoinedAt: noon.Add(1 * time.Second), JoinedAt: noon.Add(2 * time.Second), SeenInAt: noon.Add(3 * time.Second), LeftAt: noon.Add(4 * time.Second),
		TimedOut: true, BillingSeconds: new(int64(17)),
		Release: planet.Release{
			Terminate: ptr(1), DisconnectReason: ptr(0), CallEndReason: ptr(3), ReleaserType: ptr(4), Releaser: "host",
			Code: ptr(218), CodeName: "SESS_KEEPALIVE_TIMEOUT", UserCode: "kick",
		},
		Media: planet.VideoCall, MediaAt: noon.Add(5 * time.Second), UEType: "IOS", UETypeAt: noon.Add(6 * time.Second),
		DisplayName: "Ann", DisplayNameAt: noon.Add(7 * time.Second),
	}
}

func keyOf(r *bell.RoomRun) room.RunKey {
	return room.RunKey{Environment: r.Environment, SessionID: r.SessionID}
}

// putRun writes a run, and a participant unless it is nil.
func putRun(t *testing.T, s Store, r bell.RoomRun, p *bell.Participant) {
	t.Helper()
	c := room.Change{Run: r, WriteRun: true}
	touched := room.Touched{RunKey: keyOf(&r)}
	if p != nil {
		c.Participant, c.WriteParticipant, touched.User = *p, true, p.User
	}
	_, err := s.ChangeRun(t.Context(), touched, bell.JournalEntry{}, func(room.Known) room.Change { return c })
	ok(t, "ChangeRun", err)
}

// roomEntry is a journal entry of a run.
func roomEntry(r *bell.RoomRun, key string) bell.JournalEntry {
	return bell.JournalEntry{
		ReceivedAt: noon, Project: r.Project, Environment: r.Environment, Kind: room.KindGroupCallEvent,
		SessionID: r.SessionID, DedupKey: key, Params: []planet.RawParam{{Name: "sc", Value: "C"}},
	}
}

func roomRoundTrip(t *testing.T, s Store) {
	empty, full := newRun(1), wholeRun(newRun(2))
	p := newParticipant("ann")
	for range 2 { // written anew, and over itself
		putRun(t, s, empty, nil)
		putRun(t, s, full, &p)
	}
	for _, want := range []bell.RoomRun{empty, full} {
		got, err := s.Run(t.Context(), want.Environment, want.SessionID)
		ok(t, "Run", err)
		same(t, "the run", got, want)
	}
	bare := bell.Participant{User: planet.UserRef{UserID: "bob"}, State: bell.ParticipantJoined}
	putRun(t, s, full, &bare)
	got, err := s.Participants(t.Context(), keyOf(&full), planet.UserRef{}, 10)
	ok(t, "Participants", err)
	same(t, "the participants", got, []bell.Participant{p, bare})
}

// roomEachField changes a run, and then one thing after the other of a participant.
func roomEachField(t *testing.T, s Store) {
	run, p := newRun(1), bell.Participant{User: planet.UserRef{ServiceID: "service", UserID: "ann"}, State: bell.ParticipantJoined}
	putRun(t, s, run, &p)
	run = wholeRun(run)
	want := newParticipant("ann")
	for n, change := range []func(){
		func() { p.State = want.State },
		func() { p.FirstJoinedAt = want.FirstJoinedAt },
		func() { p.JoinedAt = want.JoinedAt },
		func() { p.SeenInAt = want.SeenInAt },
		func() { p.LeftAt = want.LeftAt },
		func() { p.TimedOut = want.TimedOut },
		func() { p.BillingSeconds = want.BillingSeconds },
		func() { p.Release.Terminate = want.Release.Terminate },
		func() { p.Release.DisconnectReason = want.Release.DisconnectReason },
		func() { p.Release.CallEndReason = want.Release.CallEndReason },
		func() { p.Release.ReleaserType = want.Release.ReleaserType },
		func() { p.Release.Releaser = want.Release.Releaser },
		func() { p.Release.Code = want.Release.Code },
		func() { p.Release.CodeName = want.Release.CodeName },
		func() { p.Release.UserCode = want.Release.UserCode },
		func() { p.Media, p.MediaAt = want.Media, want.MediaAt },
		func() { p.UEType, p.UETypeAt = want.UEType, want.UETypeAt },
		func() { p.DisplayName, p.DisplayNameAt = want.DisplayName, want.DisplayNameAt },
		func() { p.TimedOut, p.BillingSeconds = false, nil },
		func() { p.Release = planet.Release{} },
	} {
		change()
		putRun(t, s, run, &p)
		got, err := s.Participants(t.Context(), keyOf(&run), planet.UserRef{}, 10)
		ok(t, "Participants", err)
		same(t, fmt.Sprintf("the participants after change %d", n), got, []bell.Participant{p})
	}
	got, err := s.Run(t.Context(), run.Environment, run.SessionID)
	ok(t, "Run", err)
	same(t, "the run", got, run)
}

func roomHostile(t *testing.T, s Store) {
	for i, text := range hostile {
		r, p := newRun(i), newParticipant(text)
		r.Room, r.Host.UserID = planet.RoomRef{ServiceID: text, RoomID: text}, text
		p.DisplayName, p.UEType, p.Release.UserCode = text, text, text
		putRun(t, s, r, &p)
		got, err := s.Participants(t.Context(), keyOf(&r), planet.UserRef{}, 10)
		ok(t, "Participants", err)
		same(t, "the participants", got, []bell.Participant{p})
		runs, err := s.Runs(t.Context(), room.Filter{ServiceID: text, RoomID: text, User: p.User}, room.Cursor{}, 10)
		ok(t, "Runs", err)
		same(t, "the runs", runs, []bell.RoomRun{r})
	}
}

func roomKnown(t *testing.T, s Store) {
	r, p := wholeRun(newRun(1)), newParticipant("ann")
	look := func(user planet.UserRef) (known room.Known) {
		_, err := s.ChangeRun(t.Context(), room.Touched{RunKey: keyOf(&r), User: user}, bell.JournalEntry{}, func(k room.Known) room.Change {
			known = k
			return room.Change{}
		})
		ok(t, "ChangeRun", err)
		return known
	}
	same(t, "before", look(p.User), room.Known{})
	putRun(t, s, r, &p)
	same(t, "the participant", look(p.User), room.Known{Run: r, RunKnown: true, Participant: p, ParticipantKnown: true})
	same(t, "another", look(planet.UserRef{ServiceID: "other", UserID: "ann"}), room.Known{Run: r, RunKnown: true})
	same(t, "nobody", look(planet.UserRef{}), room.Known{Run: r, RunKnown: true})
}

func roomUnwritten(t *testing.T, s Store) {
	r := newRun(1)
	c, err := s.ChangeRun(t.Context(), room.Touched{RunKey: keyOf(&r)}, roomEntry(&r, "k"), func(room.Known) room.Change {
		return room.Change{Run: r, Events: []bell.Event{{ID: "e"}}}
	})
	ok(t, "ChangeRun", err)
	if c.WriteRun {
		t.Error("ChangeRun says that it wrote")
	}
	_, err = s.Run(t.Context(), r.Environment, r.SessionID)
	wantKind(t, "Run", err, bell.NotFound)
	if journal, err := s.Journal(t.Context(), r.SessionID); err != nil || len(journal) != 1 {
		t.Errorf("the journal has %d entries (%v), want the callback", len(journal), err)
	}
}

func roomRepeat(t *testing.T, s Store) {
	r := newRun(1)
	var repeats []bool
	for range 2 {
		_, err := s.ChangeRun(t.Context(), room.Touched{RunKey: keyOf(&r)}, roomEntry(&r, "k"), func(k room.Known) room.Change {
			repeats = append(repeats, k.Repeat)
			return room.Change{Run: r, WriteRun: true}
		})
		ok(t, "ChangeRun", err)
	}
	same(t, "repeats", repeats, []bool{false, true})
	if journal, err := s.Journal(t.Context(), r.SessionID); err != nil || len(journal) != 1 {
		t.Errorf("the journal has %d entries (%v), want one", len(journal), err)
	}
}

func roomWithoutSession(t *testing.T, s Store) {
	closed, older, newer, elsewhere := newRun(3), newRun(1), newRun(2), newRun(4)
	closed.State = bell.RoomClosed
	elsewhere.Room.RoomID = "other"
	entry := roomEntry(&bell.RoomRun{Environment: planet.Evaluation}, "k")
	touched := room.Touched{RunKey: room.RunKey{Environment: planet.Evaluation}, Room: newer.Room}
	asked := 0
	change := func(k room.Known) room.Change {
		asked++
		k.Run.Online = 7
		return room.Change{Run: k.Run, WriteRun: true}
	}
	c, err := s.ChangeRun(t.Context(), touched, entry, change)
	ok(t, "ChangeRun", err)
	if asked != 0 || c.WriteRun {
		t.Error("an event of no run changed one")
	}
	for _, r := range []bell.RoomRun{closed, older, newer, elsewhere} {
		putRun(t, s, r, nil)
	}
	c, err = s.ChangeRun(t.Context(), touched, entry, change)
	ok(t, "ChangeRun", err)
	if c.Run.SessionID != newer.SessionID {
		t.Errorf("run %s was changed, want the newest open one, %s", c.Run.SessionID, newer.SessionID)
	}
	if got, err := s.Run(t.Context(), "", newer.SessionID); err != nil || got.Online != 7 {
		t.Errorf("%d online (%v), want 7", got.Online, err)
	}
}

func roomEnvironments(t *testing.T, s Store) {
	a, b := newRun(1), newRun(1)
	b.Environment, b.Online, b.HeardAt = planet.Real, 5, b.HeardAt.Add(time.Second)
	putRun(t, s, a, nil)
	putRun(t, s, b, nil)
	for _, want := range []bell.RoomRun{a, b} {
		got, err := s.Run(t.Context(), want.Environment, want.SessionID)
		ok(t, "Run", err)
		same(t, "the run", got, want)
	}
	got, err := s.Run(t.Context(), "", a.SessionID)
	ok(t, "Run", err)
	same(t, "without environment, the newest", got, b)
}

func roomTogether(t *testing.T, s Store) {
	const n = 60
	r := newRun(1)
	together(n, func(i int) {
		p := newParticipant(fmt.Sprintf("user-%d", i))
		_, err := s.ChangeRun(context.Background(), room.Touched{RunKey: keyOf(&r), User: p.User}, bell.JournalEntry{}, func(k room.Known) room.Change {
			c := room.Change{Run: r, WriteRun: true, Participant: p, WriteParticipant: true}
			c.Run.Participants = k.Run.Participants + 1
			return c
		})
		if err != nil {
			t.Errorf("ChangeRun: %v", err)
		}
	})
	got, err := s.Run(t.Context(), r.Environment, r.SessionID)
	ok(t, "Run", err)
	people, err := s.Participants(t.Context(), keyOf(&r), planet.UserRef{}, n+1)
	ok(t, "Participants", err)
	if got.Participants != n || len(people) != n {
		t.Errorf("%d counted and %d kept, want %d", got.Participants, len(people), n)
	}
}

// An event that cannot be written takes its change with it.
func roomEvents(t *testing.T, s Store) {
	r := newRun(1)
	e := bell.Event{ID: "evt-1", Type: bell.EventRoomStarted, Project: "demo", Subject: "room/evaluation/service/room", At: noon, Data: []byte(`{}`)}
	for range 2 { // a second one with the same ID is dropped, and is no error
		_, err := s.ChangeRun(t.Context(), room.Touched{RunKey: keyOf(&r)}, bell.JournalEntry{}, func(room.Known) room.Change {
			return room.Change{Run: r, WriteRun: true, Events: []bell.Event{e}}
		})
		ok(t, "ChangeRun", err)
	}
}

// keeper is a backlog of a healthy store.
type keeper struct{}

func (keeper) Keep(ctx context.Context, _ bell.JournalEntry, write func(context.Context) error) error {
	return write(ctx)
}

// roomShuffled feeds a service whose store is s with events in any order, some of them twice,
// and compares with the replay of the ordered ones: the store keeps all that the rule needs.
func roomShuffled(t *testing.T, s Store) {
	project := &bell.Project{Name: "demo", Environment: planet.Evaluation}
	service := room.New(room.Config{Store: s, Keeper: keeper{}})
	rapid.Check(t, func(rt *rapid.T) {
		id := planet.SessionID(uuid.NewString())
		ordered := make([]planet.GroupCallEvent, rapid.IntRange(1, 12).Draw(rt, "n"))
		for i := range ordered {
			ordered[i] = drawRoomEvent(rt, id, i)
		}
		for _, i := range rapid.Permutation(indexes(len(ordered), 2)).Draw(rt, "order") {
			must(rt, "Take", service.Take(t.Context(), project, ordered[i]))
		}
		want := room.Replay(ordered)
		got, err := s.Run(t.Context(), planet.Evaluation, id)
		must(rt, "Run", err)
		got.HeardAt, got.SeenAt, got.Project, got.Environment = time.Time{}, time.Time{}, "", ""
		if got != want.Run {
			rt.Fatalf("the run is\n%+v, want\n%+v", got, want.Run)
		}
		people, err := s.Participants(t.Context(), room.RunKey{Environment: planet.Evaluation, SessionID: id}, planet.UserRef{}, 100)
		must(rt, "Participants", err)
		if len(people) != len(want.Participants) {
			rt.Fatalf("%d participants, want %d", len(people), len(want.Participants))
		}
		for _, p := range people {
			same(t, "participant", p, want.Participants[p.User])
		}
	})
}

// indexes are 0 to n-1, each so many times.
func indexes(n, times int) []int {
	var all []int
	for i := range n {
		all = append(all, slices.Repeat([]int{i}, times)...)
	}
	return all
}

func drawRoomEvent(rt *rapid.T, id planet.SessionID, i int) planet.GroupCallEvent {
	return planet.GroupCallEvent{
		SessionID: id, Room: planet.RoomRef{ServiceID: "service", RoomID: "room"},
		Participant: planet.UserRef{ServiceID: "service", UserID: rapid.SampledFrom([]string{"", "ann", "bob", "cat"}).Draw(rt, "user")},
		Host:        planet.UserRef{ServiceID: "service", UserID: "ann"},
		Status:      rapid.SampledFrom([]planet.RoomStatus{"S", "C", "C", "C", "C", "E"}).Draw(rt, "sc"), ParticipantStatus: rapid.SampledFrom([]planet.ParticipantStatus{"C", "D", "T", "M"}).Draw(rt, "msc"),
		Time:   noon.Truncate(time.Millisecond).Add(time.Duration(i/2) * time.Millisecond),
		Online: ptr(rapid.IntRange(0, 3).Draw(rt, "online")), MediaType: planet.VideoCall, UEType: "IOS",
		DisplayName: rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "name"), BillingSeconds: new(int64(i)),
	}
}
