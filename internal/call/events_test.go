package call_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func eventTypes(events []bell.Event) string {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = string(e.Type)
	}
	return strings.Join(names, " ")
}

// A call's events are recorded with what they tell, and only those that the project wants.
func TestCallsMakeEvents(t *testing.T) {
	for name, test := range map[string]struct {
		wanted     bell.EventSet
		begin, end string
	}{
		"none":       {0, "", ""},
		"all":        {bell.Events(bell.EventTypes()...), "call.ringing", "call.ended call.missed"},
		"only ends":  {bell.Events(bell.EventCallEnded), "", "call.ended"},
		"only rings": {bell.Events(bell.EventCallRinging), "call.ringing", ""},
		"only rooms": {bell.Events(bell.EventRoomEnded), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(t, nil)
				x.acme.Events = test.wanted
				x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
				if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
					t.Fatal(err)
				}
				key := callKey{planet.Evaluation, "s1"}
				if got := x.store.calls[key].Events; eventTypes(got) != test.begin {
					t.Errorf("a Notify makes %q, want %q", eventTypes(got), test.begin)
				} else if len(got) > 0 && !strings.Contains(string(got[0].Data), `"devices":1`) {
					t.Errorf("call.ringing says %s", got[0].Data)
				}
				e := event("s1")
				code := 1203
				e.Release, e.Duration, e.StartTime = planet.Release{DisconnectReason: &code}, 0, time.Time{}
				if err := x.End(t.Context(), x.acme, e); err != nil {
					t.Fatal(err)
				}
				if got := x.store.calls[key].Events; eventTypes(got) != test.end {
					t.Errorf("a Call Event makes %q, want %q", eventTypes(got), test.end)
				}
			})
		})
	}
}

// Calls that wait in memory for a sick database carry their events with them.
func TestEventsWaitWithTheirCall(t *testing.T) {
	in(t, nil, func(t *testing.T, w *ward) {
		w.acme.Events = bell.Events(bell.EventTypes()...)
		w.store.ail(healthy, refuses)
		w.mustRing("s1")
		if err := w.End(t.Context(), w.acme, event("s2")); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second)
		w.store.ail(healthy, healthy)
		pass(10 * time.Second)
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		if got := eventTypes(w.store.calls[callKey{planet.Evaluation, "s1"}].Events); got != "call.ringing" {
			t.Errorf("a Notify that waited is recorded with %q", got)
		}
		if got := eventTypes(w.store.calls[callKey{planet.Evaluation, "s2"}].Events); !strings.HasPrefix(got, "call.ended") {
			t.Errorf("a Call Event that waited is recorded with %q", got)
		}
	})
}
