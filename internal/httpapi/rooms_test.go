package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

func TestGroupCallEventsReachRooms(t *testing.T) {
	for _, test := range []struct {
		query string
		want  planet.RoomStatus
		warn  bool
	}{
		{"?sid=59DB2167E13911EA83A8213945545D1C&svc_id=" + service + "&id=room&sc=S", planet.RoomStarted, false},
		{"?sid=59db2167e13911ea83a8213945545d1c&svc_id=other&id=room&sc=E&mediaType=V", planet.RoomEnded, true},
	} {
		w := newWorld(t)
		var got planet.GroupCallEvent
		w.rooms.take = func(_ context.Context, p *bell.Project, e planet.GroupCallEvent) error {
			if p != w.project {
				t.Errorf("taken for project %v", p)
			}
			got = e
			return nil
		}
		w.do("GET", cb("group-call-event")+test.query, "").want(t, http.StatusOK)
		if got.SessionID != "59db2167e13911ea83a8213945545d1c" || got.Status != test.want || len(got.Raw) == 0 {
			t.Errorf("got %+v", got)
		}
		if warned := w.lines()[0]["level"] == "WARN"; warned != test.warn {
			t.Errorf("%s: warned %v", test.query, warned)
		}
		if n := w.counted("group-call-event", "kept"); n != 1 {
			t.Errorf("counted %v", n)
		}
	}
}

// Who invites, and into which service's room, the app token says and not the body.
func TestInvite(t *testing.T) {
	w := newWorld(t)
	var got room.Request
	w.rooms.invite = func(_ context.Context, p *bell.Project, r room.Request) (room.Invited, error) {
		if p != w.project {
			t.Errorf("invited for project %v", p)
		}
		got = r
		return room.Invited{Users: 1, Devices: 3}, nil
	}
	body := `{"userIds":["bob","alice","cat","bob"],"message":"come","appFields":{"app_topic":"tea"},"inviter":"mallory","serviceId":"other"}`
	out := w.do("POST", "/v2/rooms/tea-room/invite", body, as(appToken)...)
	out.want(t, http.StatusOK)
	want := room.Request{
		Room: planet.RoomRef{ServiceID: service, RoomID: "tea-room"}, Inviter: planet.UserRef{ServiceID: service, UserID: "alice"},
		Users:     []planet.UserRef{{ServiceID: service, UserID: "bob"}, {ServiceID: service, UserID: "cat"}},
		AppFields: map[string]string{"app_topic": "tea", "app_message": "come"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the request (-want +got):\n%s", diff)
	}
}

// What the answer says of who is registered, the project decides.
func TestInviteRevealsNobody(t *testing.T) {
	for reveals, want := range map[bool]string{false: `{"users":2}`, true: `{"users":1,"devices":3}`} {
		w := newWorld(t)
		w.project.UnknownCallee404 = reveals
		w.rooms.invite = func(context.Context, *bell.Project, room.Request) (room.Invited, error) {
			return room.Invited{Users: 1, Devices: 3}, nil
		}
		out := w.do("POST", "/v2/rooms/room/invite", `{"userIds":["bob","nobody"]}`, as(appToken)...)
		out.want(t, http.StatusOK)
		var answer struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(out.body, &answer); err != nil || string(answer.Data) != want {
			t.Errorf("revealing %v: %s (%v), want %s", reveals, answer.Data, err, want)
		}
	}
}

// The limit counts users, not requests.
func TestInvitationsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.config.InvitationsPerMinute = 5
	for _, step := range []struct {
		users  string
		status int
	}{{`["a","b","c"]`, 200}, {`["a","b","c"]`, 429}, {`["a","b"]`, 200}, {`["a"]`, 429}} {
		w.do("POST", "/v2/rooms/room/invite", `{"userIds":`+step.users+`}`, as(appToken)...).want(t, step.status)
	}
}
