package room

import (
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// What third parties have seen, and what the documents say in two ways: docs/line-planet.md
// 3.3, 3.6 and 11. Each test is one of them.

const base = "sid=59db2167e13911ea83a8213945545d1c&svc_id=planetkit-inhouse&id=1111"

// replay parses queries and makes the state of their run.
func replay(t *testing.T, queries ...string) State {
	t.Helper()
	var events []planet.GroupCallEvent
	for _, q := range queries {
		events = append(events, parse(t, q))
	}
	return Replay(events)
}

func joinAt(who, ts, online string) string {
	return base + "&user_svc_id=planetkit-inhouse&user_id=" + who + "&sc=C&msc=C&ts=" + ts + "&online=" + online
}

func TestOddityTheDocumentsExample(t *testing.T) {
	s := replay(t, base+"&user_svc_id=planetkit-inhouse&user_id=9286&host_svc_id=planetkit-inhouse&host_id=2809&sc=C"+
		"&setup_time=1597744702514&start_time=1597744703058&end_time=0&online=2&mediaType=V&msc=C&stid=application-data&ts=1599463610820")
	p := s.Participants[user("9286")]
	if p.State != bell.ParticipantJoined || p.Media != planet.VideoCall {
		t.Errorf("mediaType was not read: %+v", p)
	}
	if r := s.Run; r.Online != 2 || r.Present != 1 || r.Host != user("2809") || r.StartedAt.UnixMilli() != 1597744703058 || r.State != bell.RoomOpen {
		t.Errorf("the run is %+v", r)
	}
}

func TestOddityBothSpellingsOfTheMediaType(t *testing.T) {
	s := replay(t, joinAt("ann", "1599463610820", "1")+"&media_type=A", joinAt("bob", "1599463610821", "2")+"&mediaType=V")
	if a, b := s.Participants[user("ann")].Media, s.Participants[user("bob")].Media; a != "A" || b != "V" {
		t.Errorf("media %q and %q, want A and V", a, b)
	}
}

// 1599463612 seconds are later than 1599463610820 milliseconds, though a smaller number.
func TestOdditySecondsAndMilliseconds(t *testing.T) {
	s := replay(t, joinAt("ann", "1599463612", "2"), joinAt("bob", "1599463610820", "1"))
	if s.Run.Online != 2 || s.Run.LastEventAt.Unix() != 1599463612 {
		t.Errorf("online %d of %v, want that of the event in seconds", s.Run.Online, s.Run.LastEventAt)
	}
}

func TestOddityAStartWithoutUser(t *testing.T) {
	s := replay(t, base+"&sc=S&ts=1599463610820&online=0&host_id=2809")
	if s.Run.State != bell.RoomOpen || len(s.Participants) != 0 || s.Run.Host != user("2809") {
		t.Errorf("the run is %+v with %d participants, want open and waiting", s.Run, len(s.Participants))
	}
	s = replay(t, base+"&sc=S&ts=1599463610820&online=0", joinAt("ann", "1599463610821", "1"))
	if s.Run.Present != 1 || s.Run.Online != 1 {
		t.Errorf("the join after it was lost: %+v", s.Run)
	}
}

func TestOddityAStartNamesItsParticipant(t *testing.T) {
	for _, msc := range []string{"", "&msc=C"} {
		s := replay(t, base+"&sc=S&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610820&online=1"+msc)
		if s.Participants[user("ann")].State != bell.ParticipantJoined {
			t.Errorf("with %q the first participant did not join", msc)
		}
	}
}

// An event that does not say what happened says nothing of who is in.
func TestOddityMSCMissing(t *testing.T) {
	s := replay(t, joinAt("ann", "1599463610820", "1"), base+"&sc=C&user_svc_id=planetkit-inhouse&user_id=bob&ts=1599463610821&online=2")
	if len(s.Participants) != 1 || s.Run.Online != 2 {
		t.Errorf("%d participants and %d online, want 1 and the count of the newest event", len(s.Participants), s.Run.Online)
	}
}

func TestOddityTheUsersServiceIsMissing(t *testing.T) {
	s := replay(t, base+"&sc=C&msc=C&user_id=ann&ts=1599463610820&online=1")
	if s.Participants[user("ann")].State != bell.ParticipantJoined {
		t.Errorf("participants are %v, want ann of the room's service", s.Participants)
	}
}

// A time-out is a leave.
func TestOddityTimedOut(t *testing.T) {
	s := replay(t, joinAt("ann", "1599463610820", "2"),
		base+"&sc=C&msc=T&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610900&online=1&disconnect_reason=1301")
	p := s.Participants[user("ann")]
	if p.State != bell.ParticipantLeft || !p.TimedOut || p.Release.DisconnectReason == nil {
		t.Errorf("participant is %+v", p)
	}
}

func TestOddityTheSameUserComesBack(t *testing.T) {
	leave := base + "&sc=C&msc=D&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610900&online=1"
	s := replay(t, joinAt("ann", "1599463611000", "2"), leave, joinAt("ann", "1599463610820", "2"))
	p := s.Participants[user("ann")]
	if p.State != bell.ParticipantJoined || len(s.Participants) != 1 || !p.FirstJoinedAt.Before(p.JoinedAt) || p.LeftAt.IsZero() {
		t.Errorf("participant is %+v, want back, with the leave remembered", p)
	}
}

// Only the leave was heard of, or only a change of media: the gaps stay visible.
func TestOddityEventsAreLost(t *testing.T) {
	s := replay(t, base+"&sc=C&msc=D&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610900&online=3",
		base+"&sc=C&msc=M&user_svc_id=planetkit-inhouse&user_id=bob&ts=1599463610890&mediaType=V&online=4")
	if a := s.Participants[user("ann")]; a.State != bell.ParticipantLeft || !a.JoinedAt.IsZero() {
		t.Errorf("ann is %+v", a)
	}
	if b := s.Participants[user("bob")]; b.State != bell.ParticipantJoined || b.Media != planet.VideoCall || !b.JoinedAt.IsZero() {
		t.Errorf("bob is %+v", b)
	}
	if s.Run.Online != 3 || s.Run.Present != 1 {
		t.Errorf("online %d and present %d, want 3 and 1: they must not be made to agree", s.Run.Online, s.Run.Present)
	}
}

func TestOddityTheNewestCountWins(t *testing.T) {
	s := replay(t, joinAt("cat", "1599463610830", "3"), joinAt("ann", "1599463610810", "1"), joinAt("bob", "1599463610820", "2"),
		base+"&sc=C&ts=1599463610999")
	if s.Run.Online != 3 {
		t.Errorf("online %d, want 3: by ts, and an event without a count takes none away", s.Run.Online)
	}
}

// The end is final, also when events of the run come later, or are newer.
func TestOddityEventsAfterTheEnd(t *testing.T) {
	end := base + "&sc=E&msc=D&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610900&end_time=1599463610900&online=0"
	s := replay(t, end, joinAt("bob", "1599463610850", "2"), joinAt("cat", "1599463610950", "1"))
	if s.Run.State != bell.RoomClosed || s.Run.Reason != bell.RoomEnded || len(s.Participants) != 3 {
		t.Errorf("the run is %+v with %d participants", s.Run, len(s.Participants))
	}
}

// Nobody online closes a run whose end was lost; a newer event opens it again.
func TestOddityTheEndIsLost(t *testing.T) {
	leave := base + "&sc=C&msc=D&user_svc_id=planetkit-inhouse&user_id=ann&ts=1599463610900&online=0"
	s := replay(t, joinAt("ann", "1599463610820", "1"), leave)
	if s.Run.State != bell.RoomClosed || s.Run.Reason != bell.RoomEmpty || s.Run.EndedAt.UnixMilli() != 1599463610900 {
		t.Errorf("the run is %+v, want empty", s.Run)
	}
	s = replay(t, leave, joinAt("ann", "1599463610820", "1"), joinAt("bob", "1599463610950", "1"))
	if s.Run.State != bell.RoomOpen || !s.Run.EndedAt.IsZero() {
		t.Errorf("the run is %+v, want open again", s.Run)
	}
}

// The old table says 36 bytes, the examples have 32; letter case does not matter.
func TestOddityLengthsOfTheSessionID(t *testing.T) {
	for _, sid := range []string{"59DB2167E13911EA83A8213945545D1C", "59db2167-e139-11ea-83a8-213945545d1c"} {
		s := replay(t, "sid="+sid+"&svc_id=planetkit-inhouse&id=1111&sc=S&ts=1599463610820&online=1")
		if string(s.Run.SessionID) != strings.ToLower(sid) {
			t.Errorf("session %q, want %q in lower case", s.Run.SessionID, sid)
		}
	}
}

// Without ts, an event is where its other times say, else where it came.
func TestOddityTSMissing(t *testing.T) {
	came := time.UnixMilli(1599463999000).UTC()
	end := newFact(parse(t, base+"&sc=E&end_time=1599463610900&online=0"), came)
	start := newFact(parse(t, base+"&sc=S&start_time=1599463610700&online=1"), came)
	change := newFact(parse(t, base+"&sc=C&msc=C&user_id=ann&online=1"), came)
	if end.at.UnixMilli() != 1599463610900 || start.at.UnixMilli() != 1599463610700 || !end.timed || !start.timed {
		t.Errorf("the end is at %v and the start at %v", end.at, start.at)
	}
	if !change.at.Equal(came) || change.timed {
		t.Errorf("the change is at %v, want where it came", change.at)
	}
}

// In one instant, who leaves has left, and an end is the last word.
func TestOddityEventsOfOneInstant(t *testing.T) {
	s := replay(t, base+"&sc=C&msc=D&user_id=ann&ts=1599463610820&online=1", joinAt("ann", "1599463610820", "2"),
		base+"&sc=S&ts=1599463610820&online=7")
	if s.Participants[user("ann")].State != bell.ParticipantLeft || s.Run.Online != 1 {
		t.Errorf("ann is %s with %d online, want left with 1", s.Participants[user("ann")].State, s.Run.Online)
	}
}
