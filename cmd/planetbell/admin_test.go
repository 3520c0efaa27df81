package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// noon is when the tests take place.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

var adminToken = planet.Secret(testlog.TextSecret("admin-token-of-the-tests"))

const (
	phone = "0198f000-0000-7000-8000-000000000001"
	pad   = "0198f000-0000-7000-8000-000000000002"
	desk  = "0198f000-0000-7000-8000-000000000003"
	sid   = planet.SessionID("9a1b2c3d-0000-4000-8000-00000000000a")
)

// server is a real console over made-up services: devices can be added and removed, and
// calls are what the test says.
type server struct {
	t       testing.TB
	devices []bell.Device
	calls   []bell.Call
	records map[planet.SessionID]call.Record
	notices map[planet.SessionID][]bell.Call // by the call that they are about
	rooms   []bell.RoomRun
	people  []bell.Participant
	journal []bell.JournalEntry
	filter  call.Filter // of the last list of calls
	asked   []string    // what the services were asked, in short
	added   planet.Secret
	minted  planet.Secret
	watch   call.Watch
	fail    error // of every service
}

func (s *server) List(_ context.Context, f device.Filter, after string, limit int) ([]bell.Device, error) {
	s.asked = append(s.asked, fmt.Sprintf("devices %s %s %s %s after %q limit %d", f.Environment, f.ServiceID, f.UserID, f.Channel, after, limit))
	var found []bell.Device
	for _, d := range s.devices {
		if d.ID > after && len(found) < limit && (f.UserID == "" || f.UserID == d.Owner.User.UserID) {
			found = append(found, d)
		}
	}
	return found, s.fail
}

func (s *server) Add(_ context.Context, p *bell.Project, n device.NewDevice) (bell.Device, error) {
	s.asked = append(s.asked, fmt.Sprintf("add %s %s %s %s %s %s", p.Name, n.UserID, n.Channel, n.APNsServer, n.AppType, n.AppID))
	s.added = n.PushToken
	if n.UserID == "not valid" {
		return bell.Device{}, bell.E(bell.Invalid, "user ID: only letters.", nil)
	}
	return bell.Device{
		ID: desk, Owner: bell.Owner{Environment: p.Environment, User: planet.UserRef{ServiceID: p.ServiceID, UserID: n.UserID}},
		Project: p.Name, Channel: n.Channel, PushToken: n.PushToken, APNsServer: bell.APNsServer(n.APNsServer),
	}, s.fail
}

func (s *server) Remove(_ context.Context, id string) error {
	s.asked = append(s.asked, "remove "+id)
	if id == desk {
		return bell.NotFound
	}
	return s.fail
}

func (s *server) Show(_ context.Context, id string) (bell.Device, error) {
	return bell.Device{ID: id}, s.fail
}

func (s *server) Of(context.Context, bell.Owner) ([]bell.Device, error) { return s.devices, s.fail }

func (s *server) MintFor(_ context.Context, p *bell.Project, userID string) (planet.Secret, error) {
	s.asked = append(s.asked, "mint "+p.Name+" "+userID)
	return s.minted, s.fail
}

func (s *server) All() []*bell.Project {
	return []*bell.Project{
		{Name: "main", Environment: planet.Evaluation, ServiceID: "bell-eval", CallbackSecret: planet.Secret(testlog.HexSecret(2, 32))},
		{Name: "live", Environment: planet.Real, ServiceID: "bell-real"},
	}
}

func (s *server) ByName(name string) (*bell.Project, bool) {
	for _, p := range s.All() {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

type serverCalls struct{ *server }

func (s serverCalls) List(_ context.Context, f call.Filter, before call.Cursor, limit int) ([]bell.Call, error) {
	s.filter = f
	if f.About != "" {
		return s.notices[f.About], nil
	}
	s.asked = append(s.asked, fmt.Sprintf("calls %s %s limit %d", f.Environment, f.User, limit))
	var found []bell.Call
	for _, c := range s.server.calls {
		asked := !c.NotifiedAt.Before(f.Since) && (f.Until.IsZero() || c.NotifiedAt.Before(f.Until))
		if asked && (before.At.IsZero() || c.NotifiedAt.Before(before.At)) && len(found) < limit {
			found = append(found, c)
		}
	}
	return found, s.fail
}

func (s serverCalls) Show(_ context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
	s.asked = append(s.asked, fmt.Sprintf("show %s %s", e, id))
	r, ok := s.records[id]
	if !ok {
		return r, bell.NotFound
	}
	return r, s.fail
}

func (s serverCalls) JournalOf(context.Context, planet.SessionID) ([]bell.JournalEntry, error) {
	return s.server.journal, s.fail
}

func newServer(t testing.TB) *server {
	return &server{t: t, records: map[planet.SessionID]call.Record{}}
}

// start serves the console on a port of its own and returns its address.
func (s *server) start() string {
	h := console.New(
		console.Config{Token: adminToken, Now: func() time.Time { return noon }},
		console.Services{Devices: s, Calls: serverCalls{s}, Rooms: serverRooms{s}, Tokens: s, Projects: s, Events: serverEvents{s}, Watch: &s.watch, Audit: &audited{}},
		testlog.New(s.t), prometheus.NewRegistry(),
	)
	srv := httptest.NewServer(h)
	s.t.Cleanup(srv.Close)
	return srv.URL
}

// result is what a command did.
type result struct {
	stdout, stderr string
	err            error
}

// command is one run of planetbell with the admin commands.
type command struct {
	stdin   string
	environ []string
	args    []string
}

func (c command) run(t testing.TB) result {
	t.Helper()
	root := &cobra.Command{Use: "planetbell", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().String("config", "", "the configuration file")
	admin := &adminFlags{environ: c.environ, now: func() time.Time { return noon }}
	root.AddCommand(newTokenCommand(admin), newDeviceCommand(admin), newCallCommand(admin),
		newWhyCommand(admin), newRoomCommand(admin), newAgentCommand(admin), newEventCommand(admin),
		newAuditCommand(admin), newAdminCommand(), newDebugCommand(admin))
	var stdout, stderr bytes.Buffer
	root.SetIn(strings.NewReader(c.stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(c.args)
	err := root.ExecuteContext(t.Context())
	return result{stdout.String(), stderr.String(), err}
}

// ask runs a command against the server, with the admin token in the environment, and
// checks that nothing it says holds a secret.
func ask(t testing.TB, base string, args ...string) result {
	t.Helper()
	return askWith(t, base, "", args...)
}

func askWith(t testing.TB, base, stdin string, args ...string) result {
	t.Helper()
	r := command{
		stdin: stdin, args: append(args, "--admin-url", base),
		environ: []string{"PLANETBELL_ADMIN_TOKEN=" + adminToken.Reveal()},
	}.run(t)
	r.noSecrets(t)
	return r
}

func (r result) noSecrets(t testing.TB) {
	t.Helper()
	for what, text := range map[string]string{"standard output": r.stdout, "standard error": r.stderr, "error": fmt.Sprint(r.err)} {
		leaked := false
		for _, canary := range []string{testlog.Hex, testlog.Text} {
			leaked = leaked || strings.Contains(text, canary)
		}
		if leaked {
			t.Errorf("%s shows a secret", what)
			continue
		}
		testlog.Keep(t, what, text)
	}
}

// ok fails the test unless the command succeeded.
func (r result) ok(t testing.TB) result {
	t.Helper()
	if r.err != nil {
		t.Fatalf("the command failed: %v", r.err)
	}
	return r
}

// fails checks that the command failed with a sentence that has these parts.
func (r result) fails(t testing.TB, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if r.err == nil || !strings.Contains(r.err.Error(), part) {
			t.Errorf("error %v, want one that says %q", r.err, part)
		}
	}
	if r.stdout != "" {
		t.Errorf("standard output of a failed command: %q", r.stdout)
	}
}

// golden compares text with a file under testdata.
func golden(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func wantAsked(t testing.TB, s *server, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Errorf("the services were asked (-want +got):\n%s", diff)
	}
}

// handle serves one handler in place of planetbell.
func handle(t testing.TB, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}
