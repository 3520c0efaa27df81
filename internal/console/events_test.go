package console_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/webhook"
)

// fakeEvents notes what it was asked and answers three events. What is not there is told to nobody.
type fakeEvents struct {
	asked []string
	fail  error
}

func (f *fakeEvents) ask(format string, args ...any) {
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fakeEvents) List(_ context.Context, filter webhook.Filter, before webhook.Cursor, limit int) ([]webhook.Telling, error) {
	f.ask("list %s %s %d %s %d", filter.Endpoint, filter.State, before.Seq, before.Endpoint, limit)
	var all []webhook.Telling
	for i, state := range []webhook.State{webhook.Waiting, webhook.Behind, webhook.Dead} {
		t := webhook.Telling{
			Seq: int64(9 - i), Endpoint: "main/crm-1", State: state, Due: noon.Add(time.Hour), UpdatedAt: noon,
			Event: bell.Event{ID: fmt.Sprint("evt_", i), Type: bell.EventCallEnded, Project: "main", Subject: "call/real/1", At: noon},
		}
		if state == webhook.Dead {
			t.Attempts, t.Reason, t.Status = 10, "status", 503
		}
		all = append(all, t)
	}
	return all[:min(limit, len(all))], f.fail
}

func (f *fakeEvents) Statuses(context.Context) ([]webhook.Status, error) {
	return []webhook.Status{{
		Endpoint: "main/crm-1", Host: "crm.example.com", Fallback: "other.example.com", Types: []bell.EventType{bell.EventCallEnded},
		Health: webhook.Down, Open: 3, Oldest: noon,
	}}, f.fail
}

func (f *fakeEvents) Replay(_ context.Context, id, endpoint string) (int, error) {
	f.ask("replay %s %q", id, endpoint)
	if bell.KindOf(f.fail) == bell.NotFound {
		return 0, f.fail
	}
	return 2, f.fail
}

func (f *fakeEvents) ReplayDead(_ context.Context, endpoint string) (int, bool, error) {
	f.ask("replay dead %s", endpoint)
	if bell.KindOf(f.fail) == bell.NotFound {
		return 0, false, f.fail
	}
	return 20000, true, f.fail
}

func (f *fakeEvents) Enable(_ context.Context, endpoint string) error {
	f.ask("enable %s", endpoint)
	return f.fail
}

func (f *fakeEvents) Test(_ context.Context, p *bell.Project) (string, error) {
	f.ask("test %s", p.Name)
	if bell.KindOf(f.fail) == bell.NotFound {
		return "", f.fail
	}
	return "evt_test", f.fail
}

func TestEvents(t *testing.T) {
	f := newFake(t)
	events := &fakeEvents{}
	f.events = events
	h := newHandler(t, f, testConfig())
	for _, test := range []struct {
		method, target, body string
		status               int
		asked                string
	}{
		{"GET", "/admin/v1/events", "", 200, "list   0  51"},
		{"GET", "/admin/v1/events?endpoint=main/crm-1&state=dead&limit=2&before=9-main/crm-1", "", 200, "list main/crm-1 dead 9 main/crm-1 3"},
		{"GET", "/admin/v1/events/endpoints", "", 200, ""},
		{"POST", "/admin/v1/events/evt_1/replay", "", 200, `replay evt_1 ""`},
		{"POST", "/admin/v1/events/evt_1/replay?endpoint=main/crm-1", "", 200, `replay evt_1 "main/crm-1"`},
		{"POST", "/admin/v1/events/replay", `{"endpoint":"main/crm-1"}`, 200, "replay dead main/crm-1"},
		{"POST", "/admin/v1/events/enable", `{"endpoint":"main/crm-1"}`, 204, "enable main/crm-1"},
		{"POST", "/admin/v1/events/test", `{"project":"main"}`, 202, "test main"},

		{"GET", "/admin/v1/events?state=behind", "", 400, ""},
		{"GET", "/admin/v1/events?before=x", "", 400, ""},
		{"GET", "/admin/v1/events?before=-1-main/crm", "", 400, ""},
		{"GET", "/admin/v1/events?limit=501", "", 400, ""},
		{"GET", "/admin/v1/events?user_id=bob", "", 400, ""},
		{"POST", "/admin/v1/events/" + strings.Repeat("a", 129) + "/replay", "", 404, ""},
		{"POST", "/admin/v1/events/test", `{"project":"none"}`, 404, ""},
		{"POST", "/admin/v1/events/replay", "", 415, ""},
		{"POST", "/admin/v1/events/replay", `{"url":"x"}`, 400, ""},
	} {
		events.asked = nil
		w := ask(t, h, test.method, test.target, test.body)
		if got := strings.Join(events.asked, ","); w.Code != test.status || got != test.asked {
			t.Errorf("%s %s: %d, asked %q; want %d and %q", test.method, test.target, w.Code, got, test.status, test.asked)
		}
	}
	events.fail = bell.E(bell.NotFound, "There is no such endpoint.", nil)
	for _, target := range []string{"/admin/v1/events/evt_1/replay", "/admin/v1/events/replay", "/admin/v1/events/enable"} {
		wantProblem(t, ask(t, h, "POST", target, `{"endpoint":"x"}`), 404, "not_found", "There is no such endpoint.")
	}
}

func TestEventViews(t *testing.T) {
	f := newFake(t)
	f.events = &fakeEvents{}
	h := newHandler(t, f, testConfig())
	list := decode[console.EventList](t, ask(t, h, "GET", "/admin/v1/events?limit=2", ""))
	if len(list.Events) != 2 || list.Next != "8-main/crm-1" || list.Events[0].NextAt.IsZero() || !list.Events[1].NextAt.IsZero() {
		t.Errorf("%+v", list)
	}
	list = decode[console.EventList](t, ask(t, h, "GET", "/admin/v1/events?limit=3", ""))
	want := console.Event{
		ID: "evt_2", Type: bell.EventCallEnded, Project: "main", Endpoint: "main/crm-1", Subject: "call/real/1", At: noon,
		State: webhook.Dead, Attempts: 10, UpdatedAt: noon, Reason: "status", Status: 503,
	}
	if diff := cmp.Diff(want, list.Events[2]); diff != "" || list.Next != "" {
		t.Error(diff, list.Next)
	}
	endpoints := decode[console.EventEndpointList](t, ask(t, h, "GET", "/admin/v1/events/endpoints", ""))
	wantEndpoint := console.EventEndpoint{
		Endpoint: "main/crm-1", Host: "crm.example.com", FallbackHost: "other.example.com", Types: []bell.EventType{bell.EventCallEnded},
		Health: webhook.Down, Waiting: 3, OldestAt: noon,
	}
	if diff := cmp.Diff([]console.EventEndpoint{wantEndpoint}, endpoints.Endpoints); diff != "" {
		t.Error(diff)
	}
	if got := decode[console.Replayed](t, ask(t, h, "POST", "/admin/v1/events/replay", `{"endpoint":"x"}`)); got != (console.Replayed{Replayed: 20000, More: true}) {
		t.Errorf("%+v", got)
	}
}
