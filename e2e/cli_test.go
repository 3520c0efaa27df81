package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// operator is somebody at a terminal beside the running server.
type operator struct {
	*scene
	flags []string
}

func (s *scene) operator() operator {
	s.t.Helper()
	token := filepath.Join(s.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.Config.Admin.Token.Reveal()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return operator{s, []string{"--admin-url", s.App.AdminURL(), "--admin-token-file", token}}
}

// says runs a command that prints nothing secret.
func (o operator) says(input string, args ...string) string {
	o.t.Helper()
	out := o.run(input, slices.Concat(args, o.flags)...)
	o.watch.keep("planetbell "+args[0], out)
	return out
}

// asks runs a command and decodes its JSON.
func (o operator) asks(v any, input string, args ...string) {
	o.t.Helper()
	if err := json.Unmarshal([]byte(o.says(input, append(args, "--json")...)), v); err != nil {
		o.t.Fatalf("planetbell %s --json: %v", args[0], err)
	}
}

// An operator's day: a token to try a call with, a device added by hand, what became of
// a call, and the device removed.
func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	s := play(t)
	o := s.operator()
	pc := s.phone("bob", sim.Windows, "PC")

	token := strings.TrimSpace(s.run("", slices.Concat([]string{"token", "mint", "--project", "demo", "--user", "carol"}, o.flags)...))
	device := sim.FCMTokenPrefix + ":" + strings.Repeat("y", 140)
	s.World.FCM.Register(device, nil)
	var added console.Device
	o.asks(&added, device, "device", "add", "--project", "demo", "--user", "bob", "--channel", "fcm", "--push-token-file", "-")
	if !added.AddedByOperator || added.UserID != "bob" {
		t.Errorf("the added device is %+v", added)
	}

	c, err := s.World.Cloud.Place(sim.CallRequest{
		Caller:      planet.UserRef{ServiceID: "demo-service", UserID: "carol"},
		Callee:      planet.UserRef{ServiceID: "demo-service", UserID: "bob"},
		AccessToken: planet.Secret(token),
	})
	if err != nil {
		t.Fatalf("Planet Cloud refuses the minted token: %v", err)
	}
	if _, err := s.World.FCM.AwaitMessages(s.ctx, 1); err != nil {
		t.Error("the added device was not rung")
	}
	s.rang(pc, 1)
	c.Hangup()
	s.over(c)
	s.settled(c.SessionID())

	var calls console.CallList
	o.asks(&calls, "", "call", "list", "--user", "bob")
	if len(calls.Calls) != 1 || calls.Calls[0].SID != c.SessionID() || calls.Calls[0].Outcome != planet.OutcomeCanceled {
		t.Errorf("call list: %+v", calls.Calls)
	}
	var story console.CallStory
	o.asks(&story, "", "call", "show", strings.ToUpper(string(c.SessionID())))
	if len(story.Deliveries) != 2 || story.Call.Caller.UserID != "carol" {
		t.Errorf("call show: %d deliveries of a call by %s", len(story.Deliveries), story.Call.Caller.UserID)
	}
	if text := o.says("", "call", "show", string(c.SessionID())); !strings.Contains(text, "cancel") {
		t.Errorf("call show does not say how the call ended:\n%s", text)
	}

	o.says("", "device", "remove", added.ID)
	var devices console.DeviceList
	o.asks(&devices, "", "device", "list", "--user", "bob")
	if len(devices.Devices) != 1 || devices.Devices[0].ID == added.ID {
		t.Errorf("device list after the removal: %+v", devices.Devices)
	}
}
