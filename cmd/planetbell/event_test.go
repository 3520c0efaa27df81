package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// serverEvents are three events for two endpoints.
type serverEvents struct{ *server }

func (s serverEvents) ask(format string, args ...any) error {
	s.asked = append(s.asked, fmt.Sprintf(format, args...))
	return s.fail
}

func (s serverEvents) List(_ context.Context, f webhook.Filter, before webhook.Cursor, limit int) ([]webhook.Telling, error) {
	all := []webhook.Telling{
		{Seq: 3, State: webhook.Behind, Event: bell.Event{ID: "evt_3", Type: bell.EventCallMissed}},
		{Seq: 2, State: webhook.Waiting, Attempts: 2, Due: noon.Add(5 * time.Minute), Reason: "timeout", Event: bell.Event{ID: "evt_2", Type: bell.EventCallEnded}},
		{Seq: 1, State: webhook.Dead, Attempts: 10, Reason: "status", Status: 503, Event: bell.Event{ID: "evt_1", Type: bell.EventCallRinging}},
	}
	for i := range all {
		all[i].Endpoint, all[i].Event.At, all[i].UpdatedAt = "main/crm", noon.Add(-time.Minute), noon
	}
	for before.Seq > 0 && len(all) > 0 && all[0].Seq >= before.Seq {
		all = all[1:]
	}
	return all[:min(limit, len(all))], s.ask("events %s %s limit %d", f.Endpoint, f.State, limit)
}

func (s serverEvents) Statuses(context.Context) ([]webhook.Status, error) {
	return []webhook.Status{
		{Endpoint: "main/crm", Host: "crm.example.com", Types: bell.EventTypes(), Health: webhook.Up},
		{Endpoint: "live/log", Host: "log.example.com", Fallback: "b.example.com", Types: []bell.EventType{bell.EventCallEnded, bell.EventCallMissed}, Health: webhook.Gone, Open: 12, Oldest: noon.Add(-time.Hour)},
	}, s.fail
}

func (s serverEvents) Replay(_ context.Context, id, endpoint string) (int, error) {
	if id == "evt_none" {
		return 0, bell.E(bell.NotFound, "There is no event with this ID.", nil)
	}
	return 1, s.ask("replay %s %s", id, endpoint)
}

func (s serverEvents) ReplayDead(_ context.Context, endpoint string) (int, bool, error) {
	err := s.ask("replay dead %s", endpoint)
	return 100, len(s.asked) < 3, err
}

func (s serverEvents) Enable(_ context.Context, endpoint string) error {
	return s.ask("enable %s", endpoint)
}

func (s serverEvents) Test(_ context.Context, p *bell.Project) (string, error) {
	return "evt_test", s.ask("test %s", p.Name)
}

func TestEventList(t *testing.T) {
	s := newServer(t)
	url := s.start()
	golden(t, "admin_event_list.txt", ask(t, url, "event", "list").ok(t).stdout)
	r := ask(t, url, "event", "list", "--state", "dead", "--endpoint", "main/crm", "--limit", "1").ok(t)
	if !strings.Contains(r.stderr, "--before 3-main/crm") {
		t.Errorf("nothing says how to go on: %q", r.stderr)
	}
	wantAsked(t, s, "events   limit 51", "events main/crm dead limit 2")
	golden(t, "admin_event_list.json", ask(t, url, "event", "list", "--json").ok(t).stdout)
	if r := ask(t, url, "event", "list", "--before", "1-main/crm").ok(t); r.stdout != "" || r.stderr == "" {
		t.Errorf("an empty list: %q, %q", r.stdout, r.stderr)
	}
	ask(t, url, "event", "list", "--state", "odd").fails(t, "want waiting, told or dead")
}

func TestEventEndpoints(t *testing.T) {
	s := newServer(t)
	url := s.start()
	golden(t, "admin_event_endpoints.txt", ask(t, url, "event", "endpoints").ok(t).stdout)
	ask(t, url, "event", "endpoints", "--json").ok(t)
	for _, words := range [][]string{{"event", "enable", "--admin-url=" + url, ""}, {"event", "list", "--admin-url=" + url, "--endpoint", ""}} {
		if got := offered(t, []string{"PLANETBELL_ADMIN_TOKEN=" + adminToken.Reveal()}, words...); strings.Join(got, " ") != "main/crm live/log" {
			t.Errorf("%v offers %v", words, got)
		}
	}
}

func TestEventReplay(t *testing.T) {
	s := newServer(t)
	url := s.start()
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"replay", "evt_1", "evt_2"}, "2 events will be told again.\n"},
		{[]string{"enable", "main/crm"}, "main/crm is told events again.\n"},
		{[]string{"test", "--project", "main"}, "Event evt_test is on its way; planetbell event list shows what becomes of it.\n"},
	} {
		if got := ask(t, url, append([]string{"event"}, test.args...)...).ok(t).stdout; got != test.says {
			t.Errorf("%v says %q, want %q", test.args, got, test.says)
		}
	}
	wantAsked(t, s, "replay evt_1 ", "replay evt_2 ", "enable main/crm", "test main")
	s.asked = nil
	if got := ask(t, url, "event", "replay", "--dead", "--endpoint", "main/crm").ok(t).stdout; got != "300 events will be told again.\n" {
		t.Errorf("a replay of all says %q", got)
	}
	ask(t, url, "event", "replay", "evt_none").fails(t, "There is no event with this ID.")
	for _, args := range [][]string{{"replay"}, {"replay", "--dead"}, {"replay", "--dead", "--endpoint", "x", "evt_1"}, {"enable"}, {"test"}} {
		ask(t, url, append([]string{"event"}, args...)...).fails(t, "--help")
	}
}

func TestEventSecret(t *testing.T) {
	first := command{args: []string{"event", "secret"}}.run(t).ok(t).stdout
	second := command{args: []string{"event", "secret"}}.run(t).ok(t).stdout
	for _, text := range []string{first, second} {
		if _, err := bell.ParseSigningKey(planet.Secret(strings.TrimSuffix(text, "\n"))); err != nil {
			t.Error("the secret is not taken:", err)
		}
	}
	if first == second {
		t.Error("the same secret twice")
	}
}
