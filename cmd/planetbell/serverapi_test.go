package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// pretendLine is LINE Planet as the commands of this file meet it: its Server API, with alice,
// bob and carol in the room "lounge" of "my-service".
type pretendLine struct {
	*sim.ServerAPI
	cloud  *sim.Cloud
	room   *sim.Room
	caFile string
}

func newPretendLine(dir string) (*pretendLine, error) {
	ca, err := sim.NewCA()
	if err != nil {
		return nil, err
	}
	l := &pretendLine{cloud: sim.NewCloud(sim.CloudOptions{}), caFile: filepath.Join(dir, "line-ca.pem")}
	l.ServerAPI = sim.NewServerAPI(sim.ServerAPIOptions{Cloud: l.cloud, CA: ca})
	if err := ca.WriteFile(l.caFile); err != nil {
		return nil, err
	}
	// Nobody takes the callbacks of this project; they are another test's.
	err = l.cloud.AddProject(sim.Project{
		ServiceID: "my-service", CallbackURL: "http://127.0.0.1:1/cb/x", APIKey: "my-key", APISecret: planet.Secret(testlog.HexSecret(1, 64)),
	})
	if err != nil {
		return nil, err
	}
	return l, l.Start()
}

func (l *pretendLine) open(t testing.TB) {
	t.Helper()
	who := func(id string) sim.Participant {
		return sim.Participant{User: planet.UserRef{ServiceID: "my-service", UserID: id}}
	}
	room, _, err := l.cloud.OpenRoom(t.Context(), planet.RoomRef{ServiceID: "my-service", RoomID: "lounge"}, who("alice"), planet.AudioCall)
	if err != nil {
		t.Fatal(err)
	}
	room.Join(t.Context(), who("bob"))
	room.Join(t.Context(), who("carol"))
	l.room = room
}

// close ends it; the cloud last, as it has calls that the API placed.
func (l *pretendLine) close() {
	_ = l.Close()
	l.cloud.Close()
}

// startLine is the script command "line": it sets $LINE_URL and $LINE_CA.
func startLine(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := newPretendLine(ts.MkAbs("."))
	ts.Check(err)
	ts.Defer(l.close)
	ts.Setenv("LINE_URL", l.URL())
	ts.Setenv("LINE_CA", l.caFile)
}

// project is an entry of the configuration.
func lineProject(name, service, key, secret, url string) string {
	return fmt.Sprintf(`  - name: %s
    service_id: %s
    api_key: %s
    api_secret: "%s"
    server_api_url: %q
    client_key: %s
    callback_secret: %s
`, name, service, key, secret, url, testlog.TextSecret("client-key-"+name), testlog.TextSecret("callback-secret-0123456789-"+name))
}

// lineScene is a pretend LINE Planet, and configurations to ask it with.
type lineScene struct {
	*pretendLine
	dir string
}

func newLineScene(t *testing.T) *lineScene {
	t.Helper()
	l, err := newPretendLine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	l.open(t)
	return &lineScene{l, t.TempDir()}
}

// ask runs a command with a configuration of these projects.
func (s *lineScene) ask(t *testing.T, stdin string, projects []string, args ...string) result {
	t.Helper()
	file := filepath.Join(s.dir, "planetbell.yaml")
	text := fmt.Sprintf("ca_file: %q\nadmin: {token: %s}\napp_tokens: {signing_key: \"%s\"}\nprojects:\n%s",
		s.caFile, testlog.TextSecret("admin-token-0001"), testlog.HexSecret(9, 64), strings.Join(projects, ""))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := command{stdin: stdin, args: append(args, "--config", file)}.run(t)
	r.noSecrets(t)
	return r
}

// good is a project that LINE Planet knows.
func (s *lineScene) good() []string {
	return []string{lineProject("main", "my-service", "my-key", testlog.HexSecret(1, 64), s.URL())}
}

func TestRoomKick(t *testing.T) {
	s := newLineScene(t)
	r := s.ask(t, "", s.good(), "room", "kick", "--project", "main", "lounge", "bob", "carol", "--reason", "Spam").ok(t)
	if r.stdout != "Not in room lounge any more: bob, carol.\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if left := s.room.Participants(); len(left) != 1 || left[0].UserID != "alice" {
		t.Errorf("in the room: %v", left)
	}
	r = s.ask(t, "", s.good(), "room", "kick", "lounge", "alice", "--json").ok(t) // one project needs no name
	var got roomDone
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Project != "main" || got.RoomID != "lounge" || got.ServiceID != "my-service" || len(got.UserIDs) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	s.ask(t, "", s.good(), "room", "kick", "lounge", "alice").fails(t, `no call is running in room lounge of service "my-service"`)
}

func TestRoomMessage(t *testing.T) {
	s := newLineScene(t)
	r := s.ask(t, "", s.good(), "room", "message", "lounge", `{"a":1}`).ok(t)
	if r.stdout != "Sent 7 bytes to everybody in room lounge.\n" {
		t.Errorf("%+v", r)
	}
	s.ask(t, "from\na pipe\n", s.good(), "room", "message", "lounge", "-", "--json").ok(t)
	got := s.room.Messages()
	if len(got) != 2 || got[0].Text != `{"a":1}` || got[1].Text != "from\na pipe\n" || len(got[0].To) != 3 {
		t.Errorf("%+v", got)
	}
	s.ask(t, strings.Repeat("x", 5000), s.good(), "room", "message", "lounge", "-").fails(t, "the message has 3073 bytes; give 1 to 3072")
	s.ask(t, "", s.good(), "room", "message", "nowhere", "x").fails(t, "no call is running in room nowhere")
}

func TestAgentCall(t *testing.T) {
	s := newLineScene(t)
	args := []string{"agent", "call", "--from", "agent-1", "bob", "--content", "abc", "--wait-ms", "1500", "--count", "2", "--app-data", "x"}
	r := s.ask(t, "", s.good(), args...).ok(t)
	requests := s.Requests()
	if last := requests[len(requests)-1]; r.stdout != string(last.SessionID)+"\n" || last.Operation != "audio-caller" {
		t.Errorf("%+v, %+v", r, last)
	}
	r = s.ask(t, "", s.good(), append(args, "--json")...).ok(t)
	var got agentDone
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.SID == "" || got.Caller != "agent-1" || got.Callee != "bob" {
		t.Errorf("%+v, %v", got, err)
	}
	s.ask(t, "", s.good(), "agent", "call", "bob", "--content", "abc").fails(t, "say who calls and what is played: --from USER --content ID")
	s.ask(t, "", s.good(), "agent", "call", "bob", "--from", "bob", "--content", "abc").fails(t, "nobody can call himself")
	s.ask(t, "", s.good(), "agent", "call", "--from", "bob", "--content", "abc").fails(t, "give the user ID of the callee")
}

// Each refusal says what to look at.
func TestLineRefuses(t *testing.T) {
	s := newLineScene(t)
	secret := testlog.HexSecret(1, 64)
	kick := []string{"room", "kick", "lounge", "bob"}
	two := append(s.good(), lineProject("other", "other-service", "my-key", secret, s.URL()))
	s.ask(t, "", two, kick...).fails(t, "say for which project: --project NAME, one of main, other")
	s.ask(t, "", two, append(kick, "--project", "moon")...).fails(t, `there is no project "moon"; there is: main, other`)
	s.ask(t, "", two, append(kick, "--project", "other")...).fails(t, `the API key "my-key" of project "other" has no right for service "other-service"`)
	long := strings.Repeat("k", 150)
	s.ask(t, "", []string{lineProject("main", "my-service", long, secret, s.URL())}, kick...).fails(t,
		`LINE Planet (evaluation) refuses the API key "kkkkkkkkkkkkkkkk…" of project "main", or its secret: compare api_key and api_secret`)
	s.ask(t, "", []string{lineProject("main", "my-service", "my-key", testlog.HexSecret(2, 64), s.URL())}, "agent", "call", "bob", "--from", "a", "--content", "c").fails(t,
		`refuses the API key "my-key"`, `It says "ApiKey not found"`)
	s.ask(t, "", s.good(), "room", "kick", "lounge", "b b").fails(t, "user 1: the user ID has a forbidden character")
	s.ask(t, "", s.good(), append(kick, "--reason", "no spaces")...).fails(t, "the reason has a forbidden character")
	s.ask(t, "", s.good(), "room", "kick", "lounge").fails(t, "give a room ID and at least one user ID")
	if err := s.Faults().Add(sim.Fault{Kind: sim.FaultServerError, Count: 1}); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "", s.good(), "room", "message", "lounge", "x").fails(t, "LINE Planet has an internal error (500 INTERNAL_SERVER_ERROR)", "it may have been carried out all the same")
	if err := s.Faults().Add(sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: "3600"}); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "", s.good(), "room", "message", "lounge", "x").fails(t, "LINE Planet is not available now; try again later")
	s.Faults().Clear()
	if err := s.Faults().Add(sim.Fault{Kind: sim.FaultReset, Count: 1}); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "", s.good(), "room", "message", "lounge", "x").fails(t, s.URL(), "LINE Planet gave no answer")
	if n := len(s.room.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// What is wrong elsewhere in the configuration is no reason not to ask; what is wrong with the
// key is.
func TestLineWithAConfigurationThatIsNotRight(t *testing.T) {
	s := newLineScene(t)
	elsewhere := s.good()[0] + "    apns: [{bundle_id: com.example, key_file: missing.p8}]\n"
	broken := lineProject("other", "", "", "", "http://elsewhere.example")
	s.ask(t, "", []string{elsewhere, broken}, "room", "message", "--project", "main", "lounge", "x").ok(t)
	r := s.ask(t, "", []string{elsewhere, broken}, "room", "message", "--project", "other", "lounge", "x")
	r.fails(t, "the configuration has")
	if !strings.Contains(r.stderr, "projects[1].server_api_url") {
		t.Errorf("%q", r.stderr)
	}
}
