package room

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func everything(string, bell.EventType) bool { return true }

func take(t *testing.T, s *Service, events ...planet.GroupCallEvent) {
	t.Helper()
	for _, e := range events {
		if err := s.Take(t.Context(), project, e); err != nil {
			t.Fatal(err)
		}
	}
}

func types(events []bell.Event) (types []string) {
	for _, e := range events {
		types = append(types, string(e.Type))
	}
	return types
}

// The customer's systems are told what changed, each once, and nothing of a run that is over.
func TestWhatTheCustomerIsTold(t *testing.T) {
	store := newFakeStore()
	s := New(Config{Store: store, Keeper: straight{}, Wants: everything})
	join := event(2000, "C", "C", "ann", 2)
	join.DisplayName, join.ClientAddress = "Ann", "192.0.2.7"
	end := event(9000, "E", "D", "host", 0)
	take(t, s, event(1000, "S", "C", "host", 1), join, join, event(3000, "C", "M", "ann", 2), end, end, event(8000, "C", "T", "ann", 1))
	if got, want := types(store.events), []string{"room.started", "room.changed", "room.changed", "room.ended"}; !slices.Equal(got, want) {
		t.Fatalf("told %v, want %v", got, want)
	}
	var ids []string
	for _, e := range store.events {
		ids = append(ids, e.ID)
		if e.Subject != "room/evaluation/planetkit-inhouse/1111" || e.Project != "demo" {
			t.Errorf("event is %+v", e)
		}
		if strings.Contains(string(e.Data), "192.0.2.7") || strings.Contains(string(e.Data), "client_address") {
			t.Errorf("an address of a client goes out: %s", e.Data)
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 4 {
		t.Errorf("IDs %v are not four", ids)
	}
	var got, want map[string]any
	if err := json.Unmarshal(store.events[1].Data, &got); err != nil {
		t.Fatal(err)
	}
	err := json.Unmarshal([]byte(`{"project": "demo", "environment": "evaluation", "service_id": "planetkit-inhouse", "room_id": "1111",
		"sid": "59db2167e13911ea83a8213945545d1c", "state": "open", "online": 2, "started_at": "2020-09-07T07:26:51Z",
		"host": {"service_id": "planetkit-inhouse", "user_id": "host"},
		"participant": {"service_id": "planetkit-inhouse", "user_id": "ann", "did": "joined", "display_name": "Ann", "media": "audio"}}`), &want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if last := string(store.events[3].Data); !strings.Contains(last, `"reason":"ended"`) || !strings.Contains(last, `"state":"closed"`) {
		t.Errorf("the end is told as %s", last)
	}
}

func TestOnlyWhatIsWantedIsTold(t *testing.T) {
	store := newFakeStore()
	s := New(Config{Store: store, Keeper: straight{}, Wants: func(p string, k bell.EventType) bool {
		return p == "demo" && k == bell.EventRoomEnded
	}})
	take(t, s, event(1000, "S", "C", "host", 1), event(9000, "E", "D", "host", 0))
	if got := types(store.events); !slices.Equal(got, []string{"room.ended"}) {
		t.Errorf("told %v", got)
	}
	take(t, New(Config{Store: store, Keeper: straight{}}), event(1000, "S", "C", "host", 1))
	if len(store.events) != 1 {
		t.Error("somebody is told without wanting it")
	}
}

// An event without ts is put where it came. Its repeat comes later, and must not be taken
// for a second join.
func TestARepeatWithoutTimeChangesNothing(t *testing.T) {
	now := epoch
	store := newFakeStore()
	s := New(Config{Store: store, Keeper: straight{}, Now: func() time.Time { return now }})
	join, leave := event(0, "C", "C", "ann", 1), event(0, "C", "D", "ann", 3)
	join.Time, leave.Time = time.Time{}, time.Time{}
	for _, e := range []planet.GroupCallEvent{join, leave, join} {
		now = now.Add(time.Second)
		take(t, s, e)
	}
	if p := store.people[RunKey{planet.Evaluation, runID}][user("ann")]; p.State != bell.ParticipantLeft {
		t.Errorf("participant is %+v, want left", p)
	}
}

// An event without session ID goes to the run that is open.
func TestAnEventWithoutSessionID(t *testing.T) {
	store := newFakeStore()
	s := New(Config{Store: store, Keeper: straight{}})
	join := event(2000, "C", "C", "ann", 2)
	join.SessionID = ""
	take(t, s, join)
	if len(store.runs) != 0 {
		t.Error("an event of no run made one")
	}
	join.Time = join.Time.Add(time.Second)
	take(t, s, event(1000, "S", "C", "host", 1), join)
	if r := store.runs[RunKey{planet.Evaluation, runID}]; len(store.runs) != 1 || r.Participants != 2 || r.SessionID != runID {
		t.Errorf("%d runs, the one being %+v", len(store.runs), r)
	}
}

// A room is used again with a new session ID: the runs are two.
func TestARoomIsUsedAgain(t *testing.T) {
	store := newFakeStore()
	s := New(Config{Store: store, Keeper: straight{}})
	again := event(9000, "S", "C", "ann", 1)
	again.SessionID = "0123456789abcdef0123456789abcdef"
	take(t, s, again, event(1000, "S", "C", "host", 1), event(8000, "E", "D", "host", 0))
	first, second := store.runs[RunKey{planet.Evaluation, runID}], store.runs[RunKey{planet.Evaluation, again.SessionID}]
	if first.State != bell.RoomClosed || second.State != bell.RoomOpen || first.Room != second.Room || second.Participants != 1 {
		t.Errorf("the runs are\n%+v\n%+v", first, second)
	}
}

func TestTroubleIsPassedOn(t *testing.T) {
	store := newFakeStore()
	store.failure = bell.E(bell.Unavailable, "The disk is gone.", nil)
	s := New(Config{Store: store, Keeper: straight{}})
	if err := s.Take(t.Context(), project, event(1000, "S", "C", "host", 1)); !errors.Is(err, bell.Unavailable) {
		t.Errorf("Take: %v", err)
	}
}

// A room of which nothing is heard is closed; a newer event opens it again, an older one
// does not, and a room that is heard of stays open.
func TestSilentRoomsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		s := New(Config{Store: store, Keeper: straight{}, Wants: everything, ForgetAfter: time.Hour})
		done := make(chan struct{})
		ctx, cancel := contextOf(t)
		go func() { defer close(done); s.Run(ctx) }()
		loud := event(0, "C", "M", "cat", 1)
		loud.SessionID = "10d"
		take(t, s, event(1000, "S", "C", "host", 1))
		for n := range 6 {
			loud.Time = epoch.Add(time.Duration(n) * time.Minute)
			take(t, s, loud)
			pass(20 * time.Minute)
		}
		run := func(id planet.SessionID) bell.RoomRun {
			r, err := store.Run(t.Context(), planet.Evaluation, id)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := run(runID); r.State != bell.RoomClosed || r.Reason != bell.RoomSilent || !r.EndedAt.Equal(epoch.Add(time.Second)) {
			t.Errorf("the silent run is %+v", r)
		}
		if r := run("10d"); r.State != bell.RoomOpen {
			t.Errorf("the other run is %+v", r)
		}
		take(t, s, event(500, "C", "C", "ann", 1))
		if r := run(runID); r.State != bell.RoomClosed || r.Participants != 2 {
			t.Errorf("an older event made it %+v", r)
		}
		take(t, s, event(1500, "C", "C", "bob", 3))
		if r := run(runID); r.State != bell.RoomOpen || r.Online != 3 || !r.EndedAt.IsZero() {
			t.Errorf("a newer event made it %+v", r)
		}
		ended := slices.DeleteFunc(slices.Clone(store.events), func(e bell.Event) bool { return e.Type != bell.EventRoomEnded })
		if len(ended) != 1 || !strings.Contains(string(ended[0].Data), `"reason":"silent"`) {
			t.Errorf("its end was told as %v", ended)
		}
		cancel()
		<-done
	})
}
