package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// run is the operator's view of a run with all its participants.
func (s *scene) groupCall(ref planet.RoomRef, sid planet.SessionID) (console.RoomRun, map[planet.UserRef]console.Participant) {
	s.t.Helper()
	people := map[planet.UserRef]console.Participant{}
	query := url.Values{"limit": {"150"}} // so that 200 are two pages
	for {
		var page console.RoomRunStory
		if status := s.admin(http.MethodGet, "/admin/v1/rooms/"+ref.ServiceID+"/"+ref.RoomID+"/runs/"+string(sid)+"?"+query.Encode(), "", &page); status != http.StatusOK {
			s.t.Fatalf("the run was answered %d", status)
		}
		for _, p := range page.Participants {
			people[planet.UserRef{ServiceID: p.ServiceID, UserID: p.UserID}] = p
		}
		if page.Next == "" {
			return page.Run, people
		}
		query.Set("after", page.Next)
	}
}

// replay is the ordered replay of a story.
func replay(t *testing.T, story *sim.RoomStory) room.State {
	t.Helper()
	var events []planet.GroupCallEvent
	for _, params := range story.Events {
		values := url.Values{}
		for _, p := range params {
			values.Add(p.Name, p.Value)
		}
		e, err := planet.ParseGroupCallEvent(values)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return room.Replay(events)
}

// A group call of 200 whose events come in any order, many of them twice, ends in the state
// of the ordered replay: with the server stopped and started in between, too.
func TestAGroupCallOfTwoHundred(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"open": false, "ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := play(t)
			ref := planet.RoomRef{ServiceID: "demo-service", RoomID: "assembly"}
			story := sim.NewRoomStory(ref, 200, time.Now().Add(-time.Hour), ends, 7)
			for round := range 2 { // the second time all are repeats
				sent, err := s.World.Cloud.TellShuffled(s.ctx, story, 0.3)
				if err != nil {
					t.Fatal(err)
				}
				if len(sent) <= len(story.Events) {
					t.Fatalf("%d callbacks of %d events: none came twice", len(sent), len(story.Events))
				}
				for _, cb := range sent {
					if !cb.OK() {
						t.Fatalf("an event was answered %d %s", cb.Status, cb.Err)
					}
				}
				want := replay(t, story)
				run, people := s.groupCall(ref, story.SessionID)
				sameRun(t, run, want.Run)
				for user, p := range want.Participants {
					samePerson(t, people[user], p, &want.Run)
				}
				if len(people) != 200 || want.Run.Participants != 200 {
					t.Errorf("%d participants are kept, want 200", len(people))
				}
				if round == 0 {
					s.stop()
					s.start()
				}
			}
		})
	}
}

func sameRun(t *testing.T, got console.RoomRun, want bell.RoomRun) {
	t.Helper()
	if got.State != want.State || got.Reason != want.Reason || got.Online == nil || *got.Online != want.Online || got.Present != want.Present ||
		got.ParticipantCount != want.Participants || !got.EndedAt.Equal(want.EndedAt) || !got.StartedAt.Equal(want.StartedAt) ||
		!got.FirstEventAt.Equal(want.FirstEventAt) || !got.LastEventAt.Equal(want.LastEventAt) || got.Host.UserID != want.Host.UserID {
		t.Errorf("the run is %+v, want %+v", got, want)
	}
}

func samePerson(t *testing.T, got console.Participant, want bell.Participant, run *bell.RoomRun) {
	t.Helper()
	if want.State == bell.ParticipantJoined && run.State == bell.RoomClosed {
		want.State, want.LeftAt = bell.ParticipantLeft, run.EndedAt
	}
	if got.State != want.State || !got.JoinedAt.Equal(want.JoinedAt) || !got.FirstJoinedAt.Equal(want.FirstJoinedAt) || !got.LeftAt.Equal(want.LeftAt) ||
		got.TimedOut != want.TimedOut || got.UEType != want.UEType || got.DisplayName != want.DisplayName || got.Media != "audio" {
		t.Errorf("participant %s is %+v, want %+v", want.User, got, want)
	}
}

// Events of rooms that come while the disk is sick are not lost.
func TestRoomEventsOutliveASickDisk(t *testing.T) {
	t.Parallel()
	s := play(t)
	ref := planet.RoomRef{ServiceID: "demo-service", RoomID: "assembly"}
	story := sim.NewRoomStory(ref, 20, time.Now().Add(-time.Hour), true, 11)
	unlock := s.lockDatabase()
	sent, err := s.World.Cloud.TellShuffled(s.ctx, story, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	for _, cb := range sent {
		if !cb.OK() {
			t.Fatalf("an event was answered %d %s", cb.Status, cb.Err)
		}
	}
	unlock()
	want := replay(t, story)
	s.await("all events are recorded", func() bool { return s.metric("planetbell_backlog_items") == 0 })
	run, people := s.groupCall(ref, story.SessionID)
	sameRun(t, run, want.Run)
	if len(people) != 20 {
		t.Errorf("%d participants are kept, want 20", len(people))
	}
}

// Alice asks Bob into a room: his apps that know notices are told, over every channel, and
// nobody is rung.
func TestAnInvitationOnRequest(t *testing.T) {
	t.Parallel()
	s := play(t)
	alice := s.phone("alice", sim.Android, "Alice's Android")
	f := s.family("bob")
	body := `{"userIds":["bob","nobody"],"message":"tea is ready","appFields":{"app_topic":"tea"}}`
	invite := func() answer {
		r := s.request(http.MethodPost, s.App.PublicURL()+"/v2/rooms/tea-room/invite", body)
		r.Header.Set("Authorization", "Bearer "+alice.AppToken().Reveal())
		return s.do(r)
	}
	a := invite()
	var data struct {
		Users   int  `json:"users"`
		Devices *int `json:"devices"`
	}
	if err := json.Unmarshal(a.envelope(t).Data, &data); err != nil || a.status != http.StatusOK || data.Users != 2 || data.Devices != nil {
		t.Errorf("answered %d %s; it must not say who is registered", a.status, a.body)
	}
	s.invited(f, map[string]string{"app_caller_uid": "alice", "app_message": "tea is ready", "app_topic": "tea", "app_room_id": "tea-room"})
	invite() // told once
	s.nobodyElse(f, 1)
	for _, p := range s.World.Phones() {
		if n := len(p.Received()); n != 0 {
			t.Errorf("%s rang %d times for an invitation", p.Name(), n)
		}
	}
}

// When a room starts, its members are invited, all but the host: here the customer's own
// system says who they are.
func TestMembersAreInvitedWhenARoomStarts(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) {
		c.Projects[0].Invitations.OnRoomStart = true
		c.Projects[0].Invitations.Members = []config.RoomMembers{{Room: "team-room", Users: []string{"alice", "bob", "nobody"}}}
	}))
	host := s.phone("alice", sim.Android, "Alice's Android")
	f := s.family("bob")
	r, cb, err := s.World.Cloud.OpenRoom(s.ctx, planet.RoomRef{ServiceID: "demo-service", RoomID: "team-room"},
		sim.Participant{User: host.User(), DisplayName: "Alice"}, planet.VideoCall)
	if err != nil || !cb.OK() {
		t.Fatalf("the room was not opened: %v, %d", err, cb.Status)
	}
	s.invited(f, map[string]string{"app_caller_uid": "alice", "app_caller_name": "Alice", "app_room_id": "team-room", "app_call_session_id": string(r.SessionID())})
	if cb := r.Join(s.ctx, sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: "bob"}}); !cb.OK() {
		t.Errorf("the join was answered %d", cb.Status)
	}
	r.End(s.ctx)
	s.nobodyElse(f, 1)
	run, people := s.groupCall(planet.RoomRef{ServiceID: "demo-service", RoomID: "team-room"}, r.SessionID())
	if run.State != bell.RoomClosed || len(people) != 2 {
		t.Errorf("the run is %+v with %d participants", run, len(people))
	}
	if shown := s.operator().says("", "room", "show", "demo-service/team-room"); !strings.Contains(shown, "demo-service/bob") {
		t.Errorf("the operator sees:\n%s", shown)
	}
}

// invited waits until the family's own apps were told of an invitation.
func (s *scene) invited(f family, want map[string]string) {
	s.t.Helper()
	want["app_event"], want["app_callee_uid"], want["app_room_service_id"] = "invitation", "bob", "demo-service"
	for _, p := range f.own() {
		notices, err := p.AwaitNotices(s.ctx, 1)
		if err != nil {
			s.t.Fatalf("%s was not invited: %v", p.Name(), err)
		}
		for key, value := range want {
			if got := notices[0].Fields[key]; got != value {
				s.t.Errorf("%s was told %s=%q, want %q", p.Name(), key, got, value)
			}
		}
	}
}
