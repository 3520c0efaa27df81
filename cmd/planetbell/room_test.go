package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

type serverRooms struct{ *server }

func (s serverRooms) List(_ context.Context, f room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error) {
	s.asked = append(s.asked, fmt.Sprintf("rooms %s %s/%s user %q open %v limit %d", f.Environment, f.ServiceID, f.RoomID, f.User.UserID, f.Open, limit))
	var found []bell.RoomRun
	for _, r := range s.rooms {
		if (before.HeardAt.IsZero() || r.HeardAt.Before(before.HeardAt)) && (f.RoomID == "" || f.RoomID == r.Room.RoomID) && len(found) < limit {
			found = append(found, r)
		}
	}
	return found, s.fail
}

func (s serverRooms) Show(_ context.Context, e planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
	s.asked = append(s.asked, fmt.Sprintf("run %s %s", e, id))
	for _, r := range s.rooms {
		if r.SessionID == id {
			return r, s.fail
		}
	}
	return bell.RoomRun{}, bell.NotFound
}

func (s serverRooms) People(_ context.Context, _ *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error) {
	s.asked = append(s.asked, fmt.Sprintf("people after %q limit %d", after.UserID, limit))
	var found []bell.Participant
	for _, p := range s.people {
		if p.User.UserID > after.UserID && len(found) < limit {
			found = append(found, p)
		}
	}
	return found, s.fail
}

func someRooms() []bell.RoomRun {
	open := bell.RoomRun{
		Environment: planet.Evaluation, SessionID: "59db2167e13911ea83a8213945545d1c", Room: planet.RoomRef{ServiceID: "bell-eval", RoomID: "tea"},
		HeardAt: noon.Add(-10 * time.Minute), StartedAt: noon.Add(-10 * time.Minute), LastEventAt: noon.Add(-time.Minute),
		Host: owner("alice").User, State: bell.RoomOpen, Online: 3, Present: 2, Participants: 4, Crowded: true,
	}
	silent := bell.RoomRun{
		Environment: planet.Evaluation, SessionID: "b2", HeardAt: noon.Add(-48 * time.Hour), State: bell.RoomClosed,
		Reason: bell.RoomSilent, EndedAt: noon.Add(-47 * time.Hour), Online: -1,
	}
	ended := open
	ended.SessionID, ended.HeardAt, ended.State, ended.Reason, ended.Online = "a1", noon.Add(-72*time.Hour), bell.RoomClosed, bell.RoomEnded, 0
	return []bell.RoomRun{open, silent, ended}
}

func someGuests() []bell.Participant {
	return []bell.Participant{
		{User: owner("alice").User, State: bell.ParticipantJoined, JoinedAt: noon.Add(-9 * time.Minute), Media: planet.VideoCall, UEType: "IOS", DisplayName: "Alice\x1b]0;"},
		{User: owner("bob").User, State: bell.ParticipantLeft, JoinedAt: noon.Add(-9 * time.Minute), LeftAt: noon.Add(-time.Minute), TimedOut: true},
		{User: owner("cat").User, State: bell.ParticipantLeft, LeftAt: noon.Add(-time.Minute), Release: planet.Release{DisconnectReason: number(1001)}},
	}
}

func TestRoomList(t *testing.T) {
	s := newServer(t)
	s.rooms = someRooms()
	base := s.start()
	golden(t, "admin_room_list.txt", ask(t, base, "room", "list").ok(t).stdout)
	ask(t, base, "room", "list", "--json").ok(t)
	ask(t, base, "room", "list", "--project", "main", "--user", "bob", "--limit", "7", "--room", "tea", "--open").ok(t)
	wantAsked(t, s, `rooms  / user "" open false limit 21`, `rooms  / user "" open false limit 21`, `rooms evaluation bell-eval/tea user "bob" open true limit 8`)
	r := ask(t, base, "room", "list", "--limit", "1").ok(t)
	_, rest, found := strings.Cut(r.stderr, "There are more: add --before ")
	before, _, _ := strings.Cut(rest, ",")
	if !found {
		t.Fatalf("standard error %q", r.stderr)
	}
	if r = ask(t, base, "room", "list", "--before", before).ok(t); strings.Contains(r.stdout, "59db") || !strings.Contains(r.stdout, "a1") {
		t.Errorf("the rest:\n%s", r.stdout)
	}
	if r := ask(t, newServer(t).start(), "room", "list").ok(t); r.stdout != "" || !strings.Contains(r.stderr, "There is no such group call.") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
}

func TestRoomShow(t *testing.T) {
	s := newServer(t)
	s.rooms, s.people = someRooms(), someGuests()
	base := s.start()
	golden(t, "admin_room_show.txt", ask(t, base, "room", "show", "bell-eval/tea").ok(t).stdout)
	r := ask(t, base, "room", "show", "bell-eval/tea", "A1", "--environment", "evaluation", "--limit", "2", "--json").ok(t)
	if !strings.Contains(r.stdout, `"sid": "a1"`) || strings.Contains(r.stdout, `"user_id": "cat"`) {
		t.Errorf("shown:\n%s", r.stdout)
	}
	wantAsked(t, s, `rooms  bell-eval/tea user "" open false limit 2`, "run evaluation 59db2167e13911ea83a8213945545d1c", `people after "" limit 201`,
		"run evaluation a1", `people after "" limit 3`)
	if r := ask(t, base, "room", "show", "bell-eval/tea", "--limit", "1").ok(t); !strings.Contains(r.stderr, "There are more participants") {
		t.Errorf("standard error %q", r.stderr)
	}
	ask(t, base, "room", "show", "bell-eval/coffee").fails(t, "there is no group call of this room")
	ask(t, base, "room", "show", "bell-eval/tea", "abc").fails(t, "There is no run of this room with this session ID.")
	ask(t, base, "room", "show", "tea").fails(t, "want a room as SERVICE/ROOM")
	ask(t, base, "room", "show").fails(t, "give a room as SERVICE/ROOM")
}
