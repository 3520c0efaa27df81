package console_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

func teaRoom() bell.RoomRun {
	return bell.RoomRun{
		Environment: planet.Evaluation, SessionID: sid, Room: planet.RoomRef{ServiceID: "bell-eval", RoomID: "tea"}, Project: "main",
		HeardAt: noon, SeenAt: noon, State: bell.RoomClosed, Reason: bell.RoomEmpty, EndedAt: noon.Add(time.Hour),
		Host: planet.UserRef{ServiceID: "bell-eval", UserID: "alice"}, SetupAt: noon, StartedAt: noon,
		Online: 0, Present: 1, Participants: 2, FirstEventAt: noon, LastEventAt: noon.Add(time.Hour), OnlineAt: noon, InviteBy: noon,
	}
}

func guests() []bell.Participant {
	reason := 1301
	return []bell.Participant{
		{User: planet.UserRef{ServiceID: "bell-eval", UserID: "alice"}, State: bell.ParticipantLeft, FirstJoinedAt: noon, JoinedAt: noon.Add(time.Minute), LeftAt: noon.Add(time.Hour), Media: planet.VideoCall, UEType: "IOS", DisplayName: "Alice"},
		{User: planet.UserRef{ServiceID: "other", UserID: "bob"}, State: bell.ParticipantLeft, LeftAt: noon.Add(time.Hour), TimedOut: true, BillingSeconds: new(int64(60)), Release: planet.Release{DisconnectReason: &reason}},
	}
}

func TestListRooms(t *testing.T) {
	f := newFake(t)
	var asked []string
	f.rooms = func(filter room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error) {
		asked = append(asked, fmt.Sprintf("%s %s/%s open %v user %s/%s before %d %s limit %d", filter.Environment, filter.ServiceID, filter.RoomID,
			filter.Open, filter.User.ServiceID, filter.User.UserID, max(before.HeardAt.Unix(), 0), before.SessionID, limit))
		second := teaRoom()
		second.SessionID, second.State, second.Reason, second.Online, second.EndedAt = "b2", bell.RoomOpen, "", -1, time.Time{}
		second.Host, second.Crowded = planet.UserRef{}, true
		return []bell.RoomRun{teaRoom(), second}[:min(limit, 2)], nil
	}
	h := newHandler(t, f, testConfig())
	golden(t, "rooms.json", indented(t, ask(t, h, "GET", "/admin/v1/rooms", "").Body))
	first := decode[console.RoomRunList](t, ask(t, h, "GET", "/admin/v1/rooms?limit=1&environment=real&service_id=s&room_id=r&user_id=u&user_service_id=us&state=open", ""))
	if len(first.Runs) != 1 || first.Next == "" {
		t.Fatalf("a page of one is %+v", first)
	}
	ask(t, h, "GET", "/admin/v1/rooms/bell-eval/tea?limit=1&before="+first.Next, "")
	want := []string{
		" / open false user / before 0  limit 51",
		"real s/r open true user us/u before 0  limit 2",
		fmt.Sprintf(" bell-eval/tea open false user / before %d %s limit 2", noon.Unix(), sid),
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for query, part := range map[string]string{
		"?state=closed": "state: want open", "?user_service_id=s": "user_service_id: want user_id", "?before=x": "before: want", "?limit=0": "limit: want",
		"?environment=moon": "environment: want", "?open=1": "There is no parameter",
	} {
		wantProblem(t, ask(t, h, "GET", "/admin/v1/rooms"+query, ""), http.StatusBadRequest, "invalid", part)
	}
}

func TestShowRun(t *testing.T) {
	f := newFake(t)
	var asked []string
	f.run = func(e planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
		if id != sid {
			return bell.RoomRun{}, bell.E(bell.NotFound, "Nothing.", nil)
		}
		return teaRoom(), nil
	}
	f.people = func(run *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error) {
		asked = append(asked, fmt.Sprintf("%s after %s limit %d", run.SessionID, after, limit))
		return guests()[:min(limit, 2)], nil
	}
	h := newHandler(t, f, testConfig())
	path := "/admin/v1/rooms/bell-eval/tea/runs/" + string(sid)
	golden(t, "room_run.json", indented(t, ask(t, h, "GET", path, "").Body))
	first := decode[console.RoomRunStory](t, ask(t, h, "GET", path+"?limit=1&environment=evaluation", ""))
	if len(first.Participants) != 1 || first.Next == "" {
		t.Fatalf("a page of one is %+v", first)
	}
	ask(t, h, "GET", path+"?after="+first.Next, "")
	want := []string{string(sid) + " after / limit 51", string(sid) + " after / limit 2", string(sid) + " after bell-eval/alice limit 51"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for _, wrong := range []string{"/admin/v1/rooms/bell-eval/tea/runs/abc", "/admin/v1/rooms/bell-eval/coffee/runs/" + string(sid), "/admin/v1/rooms/other/tea/runs/" + string(sid)} {
		wantProblem(t, ask(t, h, "GET", wrong, ""), http.StatusNotFound, "not_found", "no run of this room")
	}
	wantProblem(t, ask(t, h, "GET", path+"?after=%2B", ""), http.StatusBadRequest, "invalid", "after: want")
	wantProblem(t, ask(t, h, "GET", "/admin/v1/rooms/bell-eval/tea/runs/a_b", ""), http.StatusBadRequest, "invalid", "sid: ")
}
