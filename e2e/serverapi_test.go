package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// configFile is a configuration with which the commands ask the simulator's Server API.
func (s *scene) configFile() string {
	s.t.Helper()
	p := s.project()
	text := fmt.Sprintf(`ca_file: %q
app_tokens: {signing_key: %q}
projects:
  - name: %s
    service_id: %s
    api_key: %s
    api_secret: %q
    server_api_url: %s
    client_key: %q
    callback_secret: %q
`, s.Config.CAFile, s.Config.AppTokens.SigningKey.Reveal(), p.Name, p.ServiceID, p.APIKey, p.APISecret.Reveal(), p.ServerAPIURL,
		p.ClientKey.Reveal(), p.CallbackSecret.Reveal())
	file := filepath.Join(s.t.TempDir(), "planetbell.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// A call that plays audio rings the callee's devices as any call does, whether Planet Cloud
// reports on it before Notify, before the answer or after it, and its story tells the status.
func TestAudioCaller(t *testing.T) {
	t.Parallel()
	s := play(t)
	file := s.configFile()
	s.phone("bob", sim.IOS, "iPhone")
	s.phone("bob", sim.Android, "Android")
	pc := s.phone("bob", sim.Windows, "PC")
	for i, order := range []sim.StatusOrder{sim.StatusFirst, sim.StatusEarly, sim.StatusAfterward} {
		s.World.API.PlanAgentCalls(sim.AgentPlan{Order: order, Plan: sim.Plan{Kind: sim.PlanAnswered, By: "PC", EndedByCaller: true}})
		out := s.run("", "agent", "call", "--config", file, "--from", "agent-1", "bob", "--content", "abc", "--app-data", "ticket")
		sid, err := planet.ParseSessionID(strings.TrimSpace(out))
		if err != nil {
			t.Fatalf("%q is no session ID: %v", out, err)
		}
		s.rang(pc, i+1)
		s.await("the call has ended and its status came", func() bool {
			story := s.story(sid)
			return story.Call.State == bell.CallEnded && story.Agent != nil
		})
		story := s.settled(sid)
		if len(story.Deliveries) != 3 || story.Call.Outcome != planet.OutcomeCompleted || story.Call.Caller.UserID != "agent-1" {
			t.Errorf("order %d: %+v", order, story.Call)
		}
		if story.Agent.Result != "success" || story.Agent.AgentType != "AUDIO_CALLER" {
			t.Errorf("order %d: %+v", order, story.Agent)
		}
		if shown := s.operator().says("", "call", "show", string(sid)); !strings.Contains(shown, "asked for through the Server API (AUDIO_CALLER), and LINE Planet set it up") {
			t.Errorf("order %d: the operator reads\n%s", order, shown)
		}
	}
}

// A call that could not be set up has no Notify and no Call Event; its story tells why.
func TestAudioCallerFails(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.World.API.PlanAgentCalls(sim.AgentPlan{Order: sim.StatusFirst, FailReason: "Invalid peerId"})
	sid := strings.TrimSpace(s.run("", "agent", "call", "--config", s.configFile(), "--from", "agent-1", "nobody", "--content", "abc"))
	shown := s.operator().says("", "call", "show", sid)
	if !strings.Contains(shown, "Invalid peerId") || !strings.Contains(shown, "Neither Notify nor Call Event came") {
		t.Errorf("the operator reads\n%s", shown)
	}
}

// A message reaches everybody in a room, and a kick-out empties it; the server takes the
// events that tell of it.
func TestRoomByTheServerAPI(t *testing.T) {
	t.Parallel()
	s := play(t)
	file := s.configFile()
	who := func(user string) sim.Participant {
		return sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: user}}
	}
	room, _, err := s.World.Cloud.OpenRoom(s.ctx, planet.RoomRef{ServiceID: "demo-service", RoomID: "lounge"}, who("alice"), planet.VideoCall)
	if err != nil {
		t.Fatal(err)
	}
	room.Join(s.ctx, who("bob"))
	room.Join(s.ctx, who("carol"))

	s.run("from a pipe", "room", "message", "--config", file, "lounge", "-")
	if got := room.Messages(); len(got) != 1 || got[0].Text != "from a pipe" || len(got[0].To) != 3 {
		t.Errorf("the room heard %+v", got)
	}
	s.run("", "room", "kick", "--config", file, "lounge", "alice", "bob", "carol", "--reason", "Closing")
	if left := room.Participants(); len(left) != 0 {
		t.Errorf("still in the room: %v", left)
	}
	s.await("the server has the six events", func() bool {
		return s.metric(`planetbell_callbacks_total{kind="group-call-event"`) == 6
	})
}
