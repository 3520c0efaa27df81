package app

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// invitations are a project's that asks url.
func invitations(url string) config.Project {
	p := config.DefaultProject()
	p.Name, p.ServiceID = "demo", "my-service"
	p.Invitations.OnRoomStart, p.Invitations.MembersURL = true, url
	p.Invitations.MembersToken = planet.Secret(testlog.TextSecret("members-token"))
	p.Invitations.Members = []config.RoomMembers{{Room: "tea", Users: []string{"ann", "bob"}}, {Room: "empty"}}
	return p
}

func names(users []planet.UserRef) (names []string) {
	for _, u := range users {
		names = append(names, u.String())
	}
	return names
}

func runOf(room string) *bell.RoomRun {
	return &bell.RoomRun{Room: planet.RoomRef{ServiceID: "my-service", RoomID: room}, SessionID: "59db2167e13911ea83a8213945545d1c"}
}

// What the configuration says of a room comes first; the customer's system is asked for others.
func TestMembersAreAsked(t *testing.T) {
	asked := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.RawQuery
		if r.Header.Get("Authorization") != "Bearer "+testlog.TextSecret("members-token") {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte(`{"user_ids":["cat","not valid","dan"],"more":1}`))
	}))
	defer server.Close()
	m := newMembers([]config.Project{invitations(server.URL)}, nil)
	defer m.client.CloseIdleConnections()
	project := &bell.Project{Name: "demo"}
	got, err := m.Of(t.Context(), project, runOf("tea"))
	if diff := cmp.Diff([]string{"my-service/ann", "my-service/bob"}, names(got)); diff != "" || err != nil || asked != "" {
		t.Errorf("configured members: %v, asked %q, %s", err, asked, diff)
	}
	got, err = m.Of(t.Context(), project, runOf("coffee"))
	if diff := cmp.Diff([]string{"my-service/cat", "my-service/dan"}, names(got)); diff != "" || err != nil {
		t.Errorf("members of the hook: %v, %s", err, diff)
	}
	if want := "GET room_id=coffee&service_id=my-service&sid=59db2167e13911ea83a8213945545d1c"; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// The customer's system may have a certificate of its own authority: ca_file.
func TestMembersOfAnOwnAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user_ids":["cat"]}`))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for ca, trusted := range map[string]bool{file: true, "": false} {
		cfg := config.Config{CAFile: ca, Projects: []config.Project{invitations(server.URL)}}
		a := &App{cfg: cfg, log: testlog.New(t), registry: prometheus.NewRegistry()}
		s, err := a.newRooms(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Members.Of(t.Context(), &bell.Project{Name: "demo"}, runOf("coffee"))
		if trusted != (err == nil && len(got) == 1) {
			t.Errorf("with ca_file %q: %v, error %v", ca, got, err)
		}
		s.Members.(*members).client.CloseIdleConnections()
	}
}

// Whatever the customer's system does, it costs a bounded time and memory, and what is said of
// it repeats neither the token nor the URL.
func TestMembersThatCannotBeAsked(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	hang := make(chan struct{})
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"status":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "status 418, want 200"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "status 302, want 200"},
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, `is not {"user_ids"`},
		"no list":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"users":[]}`)) }, `is not {"user_ids"`},
		"large":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxMembersAnswer+1)) }, "more than 131072 bytes"},
		"hangs":    {func(_ http.ResponseWriter, r *http.Request) { <-hang }, "no answer within members_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			if name == "hangs" {
				defer close(hang)
			}
			p := invitations(server.URL + "/private-path")
			p.Invitations.MembersTimeout = 100 * time.Millisecond
			if name != "hangs" {
				p.Invitations.MembersTimeout = time.Minute
			}
			m := newMembers([]config.Project{p}, nil)
			defer m.client.CloseIdleConnections()
			_, err := m.Of(t.Context(), &bell.Project{Name: "demo"}, runOf("coffee"))
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "members_url of project demo") {
				t.Fatalf("error %v, want one that says %q", err, test.says)
			}
			if strings.Contains(err.Error(), testlog.Text) || strings.Contains(err.Error(), "private-path") {
				t.Errorf("the error says too much: %v", err)
			}
		})
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}

// Only rooms of the project's own service that have members are invited to, and at most so many.
func TestWhichRoomsInvite(t *testing.T) {
	hook, fixed, off := invitations("https://backend.example.com"), invitations(""), invitations("")
	hook.Name, off.Name, off.Invitations.OnRoomStart = "hook", "off", false
	m := newMembers([]config.Project{hook, fixed, off}, nil)
	for _, c := range []struct {
		project, service, room string
		want                   bool
	}{
		{"demo", "my-service", "tea", true},
		{"demo", "my-service", "coffee", false},
		{"demo", "my-service", "empty", false},
		{"demo", "other-service", "tea", false},
		{"hook", "my-service", "coffee", true},
		{"hook", "other-service", "coffee", false},
		{"off", "my-service", "tea", false},
		{"nobody's", "my-service", "tea", false},
	} {
		if got := m.Invites(c.project, planet.RoomRef{ServiceID: c.service, RoomID: c.room}); got != c.want {
			t.Errorf("project %s, room %s/%s: %v", c.project, c.service, c.room, got)
		}
	}
	if n := len(usersOf("s", strings.Split(strings.Repeat("u,", 2*room.MaxMembers), ","))); n != room.MaxMembers {
		t.Errorf("%d users are invited, want %d", n, room.MaxMembers)
	}
}

// The largest request must be possible within every limit that an operator can set.
func TestNoLimitRefusesTheLargestInvitationForEver(t *testing.T) {
	field, _ := reflect.TypeFor[config.Limits]().FieldByName("InvitationsPerMinute")
	if least := field.Tag.Get("min"); least != strconv.Itoa(room.MaxInvited) {
		t.Errorf("limits.invitations_per_minute may be %s; one request may have %d users", least, room.MaxInvited)
	}
}
