package room

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

var epoch = time.UnixMilli(1_599_463_610_000).UTC()

const (
	service = "planetkit-inhouse"
	runID   = planet.SessionID("59db2167e13911ea83a8213945545d1c")
)

func user(id string) planet.UserRef { return planet.UserRef{ServiceID: service, UserID: id} }

// event is one as LINE Planet sends it, at some milliseconds of the run.
func event(ms int, sc planet.RoomStatus, msc planet.ParticipantStatus, who string, online int) planet.GroupCallEvent {
	e := planet.GroupCallEvent{
		SessionID: runID, Room: planet.RoomRef{ServiceID: service, RoomID: "1111"}, Host: user("host"),
		Status: sc, ParticipantStatus: msc, SetupTime: epoch, StartTime: epoch.Add(time.Second),
		Time: epoch.Add(time.Duration(ms) * time.Millisecond), Online: &online, MediaType: planet.AudioCall, UEType: "IOS",
	}
	if who != "" {
		e.Participant = user(who)
	}
	return e
}

// A plain group call: who is in, who left and how, and how it ended.
func TestAGroupCall(t *testing.T) {
	leave := event(5000, "C", "D", "ann", 1)
	leave.Release, leave.BillingSeconds = planet.Release{CodeName: "NORMAL"}, new(int64(3))
	timeout := event(7000, "E", "T", "host", 0)
	timeout.EndTime = epoch.Add(7 * time.Second)
	s := Replay([]planet.GroupCallEvent{
		event(1000, "S", "C", "host", 1), event(2000, "C", "C", "ann", 2), leave,
	})
	if s.Run.State != bell.RoomOpen || s.Run.Online != 1 || s.Run.Present != 1 || s.Run.Participants != 2 {
		t.Errorf("the run is %+v, want open with host alone", s.Run)
	}
	ann := s.Participants[user("ann")]
	want := bell.Participant{
		User: user("ann"), State: bell.ParticipantLeft,
		FirstJoinedAt: epoch.Add(2 * time.Second), JoinedAt: epoch.Add(2 * time.Second), SeenInAt: epoch.Add(2 * time.Second),
		LeftAt: epoch.Add(5 * time.Second), BillingSeconds: new(int64(3)), Release: planet.Release{CodeName: "NORMAL"},
		Media: planet.AudioCall, MediaAt: epoch.Add(5 * time.Second), UEType: "IOS", UETypeAt: epoch.Add(5 * time.Second),
	}
	if diff := cmp.Diff(want, ann); diff != "" {
		t.Errorf("who left (-want +got):\n%s", diff)
	}
	f := newFact(timeout, time.Time{})
	s = s.apply(&f)
	if r := s.Run; r.State != bell.RoomClosed || r.Reason != bell.RoomEnded || !r.EndedAt.Equal(timeout.EndTime) || r.Present != 0 || r.Host != user("host") {
		t.Errorf("the run is %+v, want ended with nobody in it", r)
	}
	if !s.Participants[user("host")].TimedOut {
		t.Error("that the connection broke is lost")
	}
}

// stream draws the events of a group call with all that third parties have seen.
func stream(t *rapid.T) []planet.GroupCallEvent {
	who := rapid.SampledFrom([]string{"", "host", "ann", "bob", "cat", "dan"})
	statuses := rapid.SampledFrom([]planet.RoomStatus{"S", "C", "C", "C", "C", "C", "E", "", "X"})
	deeds := rapid.SampledFrom([]planet.ParticipantStatus{"C", "C", "D", "T", "M", "", "Z"})
	text := rapid.SampledFrom([]string{"", "x", "y"})
	n := rapid.IntRange(1, 30).Draw(t, "n")
	events := make([]planet.GroupCallEvent, n)
	for i := range events {
		// Few distinct times, so that many events share one.
		e := event(rapid.IntRange(1, 12).Draw(t, "ms")*1000, statuses.Draw(t, "sc"), deeds.Draw(t, "msc"), who.Draw(t, "who"), rapid.IntRange(0, 5).Draw(t, "online"))
		if rapid.IntRange(0, 4).Draw(t, "no online") == 0 {
			e.Online = nil
		}
		if rapid.IntRange(0, 4).Draw(t, "no host") == 0 {
			e.Host, e.Room, e.SetupTime, e.StartTime = planet.UserRef{}, planet.RoomRef{}, time.Time{}, time.Time{}
		}
		if rapid.IntRange(0, 4).Draw(t, "other host") == 0 {
			e.Host, e.Room.RoomID = user("other"), "2222"
		}
		e.MediaType = planet.CallType(rapid.SampledFrom([]string{"", "A", "V"}).Draw(t, "media"))
		e.UEType, e.DisplayName, e.Release.UserCode = text.Draw(t, "ue"), text.Draw(t, "name"), text.Draw(t, "code")
		if rapid.Bool().Draw(t, "billed") {
			e.BillingSeconds = new(rapid.Int64Range(0, 2).Draw(t, "billing"))
		}
		if e.Status == planet.RoomEnded && rapid.Bool().Draw(t, "end time") {
			e.EndTime = e.Time.Add(time.Second)
		}
		events[i] = e
	}
	return events
}

// The state of a run does not depend on the order in which its events come, nor on how
// often each does; and what is missing is missing, nothing else.
func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ordered := stream(t)
		if rapid.Bool().Draw(t, "truncated") {
			ordered = ordered[:rapid.IntRange(0, len(ordered)).Draw(t, "kept")]
		}
		want := Replay(ordered)
		mixed := append([]planet.GroupCallEvent(nil), ordered...)
		for range rapid.IntRange(0, 10).Draw(t, "repeats") {
			if len(ordered) > 0 {
				mixed = append(mixed, rapid.SampledFrom(ordered).Draw(t, "again"))
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		got := Replay(mixed)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("another order ends otherwise (-ordered +mixed):\n%s", diff)
		}
	})
}

// What a run says of itself is what its participants say.
func TestTheCountsAreThoseOfTheParticipants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Replay(stream(t))
		present := 0
		for _, p := range s.Participants {
			present += presence(&p)
		}
		if s.Run.Participants != len(s.Participants) || s.Run.Present != present {
			t.Fatalf("%d participants and %d present, want %d and %d", s.Run.Participants, s.Run.Present, len(s.Participants), present)
		}
	})
}

// A repeat writes nothing: duplicates cost the database nothing but the look.
func TestARepeatWritesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := stream(t)
		s := Replay(events)
		f := newFact(rapid.SampledFrom(events).Draw(t, "again"), epoch.Add(time.Hour))
		known := Known{Run: s.Run, RunKnown: true}
		known.Participant, known.ParticipantKnown = s.Participants[f.user]
		if c := reduce(known, &f); c.WriteRun || c.WriteParticipant {
			t.Fatalf("a repeat changes the run: %v, %+v", c.WriteRun, cmp.Diff(known.Run, c.Run))
		}
	})
}

// More participants than are kept do not grow the run, and it says so.
func TestParticipantsAreBounded(t *testing.T) {
	s := State{Participants: map[planet.UserRef]bell.Participant{}}
	for i := range MaxParticipants + 2 {
		f := newFact(event(i+1, "C", "C", fmt.Sprintf("u%d", i), i+1), time.Time{})
		s = s.apply(&f)
	}
	if len(s.Participants) != MaxParticipants || s.Run.Participants != MaxParticipants || !s.Run.Crowded || s.Run.Online != MaxParticipants+2 {
		t.Errorf("%d participants are kept, crowded %v, %d online", len(s.Participants), s.Run.Crowded, s.Run.Online)
	}
	f := newFact(event(1_000_000, "C", "D", "u7", MaxParticipants+1), time.Time{})
	if s = s.apply(&f); s.Participants[user("u7")].State != bell.ParticipantLeft {
		t.Error("a participant that is kept can not leave a crowded run")
	}
}

func parse(t *testing.T, query string) planet.GroupCallEvent {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	e, err := planet.ParseGroupCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
