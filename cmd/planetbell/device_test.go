package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func owner(user string) bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "bell-eval", UserID: user}}
}

func someDevices() []bell.Device {
	return []bell.Device{
		{
			ID: phone, Owner: owner("bob"), Project: "main", SessionID: "s1", AppType: "IOS", AppVersion: "2.1", AppID: "com.example.bell",
			Channel: bell.APNsVoIP, PushToken: planet.Secret(testlog.HexSecret(7, 64)), APNsServer: bell.APNsProduction, APNsServerGuessed: true,
			RegisteredAt: noon.Add(-72 * time.Hour), LastSeenAt: noon.Add(-50 * time.Hour),
		},
		{
			ID: pad, Owner: owner("carol"), Project: "main", SessionID: "s2", AppType: "AND\x1b[31mROID",
			Channel: bell.FCM, PushToken: planet.Secret(testlog.TextSecret("fcm")), LastSeenAt: noon.Add(-3 * time.Minute),
		},
		{ID: desk, Owner: owner("dave"), Project: "main", SessionID: "s3", LastSeenAt: noon},
	}
}

func TestDeviceList(t *testing.T) {
	s := newServer(t)
	s.devices = someDevices()
	base := s.start()
	r := ask(t, base, "device", "list").ok(t)
	golden(t, "admin_device_list.txt", r.stdout)
	if r.stderr != "" {
		t.Errorf("standard error %q", r.stderr)
	}
	golden(t, "admin_device_list.json", ask(t, base, "device", "list", "--json").ok(t).stdout)
	wantAsked(t, s, `devices     after "" limit 101`, `devices     after "" limit 101`)
}

func TestDeviceListSaysWhatProvidersSaid(t *testing.T) {
	s := newServer(t)
	s.devices = someDevices()
	s.devices[0].SuspendedUntil, s.devices[0].SuspendedFor = noon.Add(20*time.Minute), "BadDeviceToken"
	s.devices[1].PushToken, s.devices[1].ForgottenAt, s.devices[1].ForgottenFor = "", noon, "UNREGISTERED"
	base := s.start()
	r := ask(t, base, "device", "list").ok(t)
	for _, want := range []string{"  only if alone, in 20 min again: BadDeviceToken  ", "  no, push token removed: UNREGISTERED  "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is missing in\n%s", want, r.stdout)
		}
	}
	s.devices[0].SuspendedUntil = noon // over
	if r = ask(t, base, "device", "list").ok(t); strings.Contains(r.stdout, "alone") {
		t.Errorf("a suspension that is over:\n%s", r.stdout)
	}
}

func TestDeviceListSelects(t *testing.T) {
	s := newServer(t)
	s.devices = someDevices()
	base := s.start()
	ask(t, base, "device", "list", "--project", "live", "--user", "bob", "--channel", "apns_voip").ok(t)
	ask(t, base, "device", "list", "--environment", "evaluation", "--service-id", "x", "--limit", "2").ok(t)
	wantAsked(t, s, `devices real bell-real bob apns_voip after "" limit 101`, `devices evaluation x   after "" limit 3`)
	ask(t, base, "device", "list", "--project", "moon").fails(t, `there is no project "moon"; there is: main, live`)
	ask(t, base, "device", "list", "--project", "main", "--environment", "real").fails(t, "project", "environment")
	ask(t, base, "device", "list", "--limit", "0").fails(t, "--limit: want at least 1")
	ask(t, base, "device", "list", "--channel", "pigeon").fails(t, "channel: want apns_voip, apns_alert, fcm, web_push or longpoll.")
}

func TestDeviceListSaysThatThereIsMore(t *testing.T) {
	s := newServer(t)
	s.devices = someDevices()
	base := s.start()
	r := ask(t, base, "device", "list", "--limit", "2").ok(t)
	if want := "There are more: add --after " + pad + ", or a higher --limit.\n"; r.stderr != want {
		t.Errorf("standard error %q, want %q", r.stderr, want)
	}
	r = ask(t, base, "device", "list", "--limit", "2", "--after", pad).ok(t)
	if !strings.Contains(r.stdout, desk) || strings.Contains(r.stdout, phone) || r.stderr != "" {
		t.Errorf("the rest: %q, %q", r.stdout, r.stderr)
	}
}

func TestDeviceListFollowsPages(t *testing.T) {
	s := newServer(t)
	for i := range 700 {
		s.devices = append(s.devices, bell.Device{ID: fmt.Sprintf("0198f000-0000-7000-8000-%012d", i), Owner: owner("bob")})
	}
	r := ask(t, s.start(), "device", "list", "--limit", "1000", "--json").ok(t)
	var list console.DeviceList
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.Devices) != 700 || list.Next != "" {
		t.Errorf("%d devices, next %q, %v", len(list.Devices), list.Next, err)
	}
}

func TestNoDevices(t *testing.T) {
	base := newServer(t).start()
	r := ask(t, base, "device", "list").ok(t)
	if r.stdout != "" || !strings.Contains(r.stderr, "There is no such device.") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	if r := ask(t, base, "device", "list", "--json").ok(t); r.stdout != "{\n  \"devices\": []\n}\n" || r.stderr != "" {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
}

func TestDeviceAdd(t *testing.T) {
	token := testlog.HexSecret(3, 64)
	file := filepath.Join(t.TempDir(), "token.txt")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stdin string
		args        []string
		note        string
	}{
		{"from a file", "", []string{"--push-token-file", file}, ""},
		{"from standard input", token + "\n", []string{"--push-token-file", "-"}, ""},
		{"from the command line", "", []string{"--push-token", token}, "Note: --push-token leaves the token in the shell's history"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			args := append([]string{
				"device", "add", "--project", "main", "--user", "bob", "--channel", "apns_voip",
				"--apns-server", "sandbox", "--app-type", "IOS", "--app-id", "com.example",
			}, test.args...)
			r := askWith(t, s.start(), test.stdin, args...).ok(t)
			want := "Added device " + desk + " of bell-eval/bob: apns_voip sandbox, push token " + planet.Secret(token).Fingerprint() + ".\n"
			if r.stdout != want {
				t.Errorf("standard output %q, want %q", r.stdout, want)
			}
			if !strings.HasPrefix(r.stderr, test.note) || (test.note == "") != (r.stderr == "") {
				t.Errorf("standard error %q", r.stderr)
			}
			if s.added != planet.Secret(token) {
				t.Error("the registry got another push token")
			}
			wantAsked(t, s, "add main bob apns_voip sandbox IOS com.example")
		})
	}
}

func TestDeviceAddJSON(t *testing.T) {
	r := askWith(t, newServer(t).start(), testlog.TextSecret("fcm"), "device", "add", "--project", "main", "--user", "bob",
		"--channel", "fcm", "--push-token-file", "-", "--json").ok(t)
	var d console.Device
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil || d.ID != desk || d.Channel != bell.FCM || d.PushTokenFingerprint == "" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDeviceAddRefused(t *testing.T) {
	base := newServer(t).start()
	add := func(args ...string) result {
		return askWith(t, base, testlog.TextSecret("token"), append([]string{"device", "add"}, args...)...)
	}
	add().fails(t, "--project NAME --user ID --channel CHANNEL")
	add("--project", "main", "--user", "bob", "--channel", "fcm").fails(t, "give the push token with --push-token-file")
	add("--project", "main", "--user", "bob", "--channel", "fcm", "--push-token-file", "/nowhere").fails(t, "--push-token-file", "no such file")
	add("--project", "main", "--user", "bob", "--channel", "fcm", "--push-token-file", "-", "--push-token", "x").fails(t, "push-token")
	add("--project", "moon", "--user", "bob", "--channel", "fcm", "--push-token-file", "-").fails(t, `there is no project "moon"; there is: main, live`)
	add("--project", "main", "--user", "bob", "--channel", "longpoll", "--push-token-file", "-").fails(t, "--channel longpoll: want apns_voip, apns_alert, fcm or web_push; a polling device registers itself")
	add("--project", "main", "--user", "not valid", "--channel", "fcm", "--push-token-file", "-").fails(t, "user ID: only letters.")
}

func TestDeviceRemove(t *testing.T) {
	s := newServer(t)
	base := s.start()
	r := ask(t, base, "device", "remove", phone, desk, pad)
	if want := "Removed device " + phone + ".\nRemoved device " + pad + ".\n"; r.stdout != want {
		t.Errorf("standard output %q, want %q", r.stdout, want)
	}
	if r.err == nil || r.err.Error() != "device "+desk+": There is no device with this ID." {
		t.Errorf("error %v", r.err)
	}
	wantAsked(t, s, "remove "+phone, "remove "+desk, "remove "+pad)
	r = ask(t, base, "device", "remove", phone, "--json").ok(t)
	if want := "{\n  \"removed\": [\n    \"" + phone + "\"\n  ]\n}\n"; r.stdout != want {
		t.Errorf("JSON %q", r.stdout)
	}
	ask(t, base, "device", "remove").fails(t, "give at least one device ID, as planetbell device list shows it; see ")
}

func TestDeviceRemoveStopsWhenTheServerIsGone(t *testing.T) {
	s := newServer(t)
	r := command{args: []string{"device", "remove", phone, pad, "--admin-url", s.start()}}.run(t)
	r.fails(t, "wants an admin token")
	if strings.Count(r.err.Error(), "wants an admin token") != 1 {
		t.Errorf("the same error twice: %v", r.err)
	}
}
