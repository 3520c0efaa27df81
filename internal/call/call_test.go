package call_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRingBeginsOneDeliveryForEachDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		channels := []bell.Channel{bell.APNsVoIP, bell.APNsVoIP, bell.FCM, bell.FCM, bell.LongPoll, bell.LongPoll}
		for i, channel := range channels {
			x.store.devices[bob()] = append(x.store.devices[bob()], device(string(rune('a'+i)), channel))
		}
		got, err := x.Ring(t.Context(), x.acme, notify("s1"))
		if err != nil || got != (call.RingResult{Devices: 6}) {
			t.Fatalf("%+v, error %v", got, err)
		}
		if want := []string{"DevicesOf", "admit", "BeginCall", "start"}; !slices.Equal(x.bells.events, want) {
			t.Errorf("%v, want %v", x.bells.events, want)
		}
		now, deadline := time.Now(), time.Now().Add(55*time.Second)
		wantCall := bell.Call{
			Environment: planet.Evaluation, SessionID: "s1", Project: "acme", Label: "acme-test",
			Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: bob().User, Type: planet.VideoCall,
			CCParam: planet.CCParam(testlog.CCParam(1)), AppServerData: "data", STID: "stid",
			State: bell.CallRinging, NotifiedAt: now, Deadline: deadline,
		}
		if diff := cmp.Diff(wantCall, x.store.calls[callKey{planet.Evaluation, "s1"}]); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(notify("s1").Raw, x.store.raw); diff != "" {
			t.Error(diff)
		}
		ids := map[string]bool{}
		for i, channel := range channels {
			want := bell.Delivery{
				Environment: planet.Evaluation, SessionID: "s1", DeviceID: string(rune('a' + i)), Channel: channel,
				State: bell.DeliverySending, Deadline: deadline, LeaseOwner: "this", LeaseUntil: now.Add(15 * time.Second),
				CreatedAt: now, UpdatedAt: now,
			}
			if channel == bell.LongPoll {
				want.State, want.LeaseUntil = bell.DeliveryPending, deadline
			}
			recorded, started := x.store.begun[0][i], x.bells.started[i]
			if diff := cmp.Diff(want, recorded, cmpopts.IgnoreFields(bell.Delivery{}, "ID")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(recorded, started.Delivery); diff != "" {
				t.Errorf("started is not what was recorded: %s", diff)
			}
			if started.Device.ID != want.DeviceID || !cmp.Equal(*started.Call, wantCall) {
				t.Errorf("started: %+v", started)
			}
			ids[recorded.ID] = true
		}
		if len(ids) != 6 || len(x.store.begun) != 1 || x.bells.room != 0 {
			t.Errorf("%d IDs, %d transactions, room %d", len(ids), len(x.store.begun), x.bells.room)
		}
	})
}

// A browser whose page is open here gets its call by push and over its stream or polls.
func TestABrowserWhosePageIsOpenRingsTwoWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.Service = call.New(call.Config{Store: x.store, Bells: x.bells, Projects: x.projects, Waits: func(device string) bool { return device != "closed" }})
		open, phone := device("open", bell.WebPush), device("phone", bell.FCM)
		open.PushKeys = planet.Secret(testlog.TextSecret("keys"))
		x.store.devices[bob()] = []bell.Device{open, device("closed", bell.WebPush), phone}
		result, err := x.Ring(t.Context(), x.acme, notify("s1"))
		if err != nil || result.Devices != 3 {
			t.Fatalf("%d devices ring, %v; want 3", result.Devices, err)
		}
		var got []string
		for _, r := range x.bells.started {
			got = append(got, r.Device.ID+" "+string(r.Delivery.Channel))
			if r.Device.Channel != r.Delivery.Channel || (r.Delivery.Channel == bell.LongPoll) != (r.Device.PushToken == "") {
				t.Errorf("by %s: the device is reached by %s", r.Delivery.Channel, r.Device.Channel)
			}
		}
		if want := []string{"open web_push", "open longpoll", "closed web_push", "phone fcm"}; !slices.Equal(got, want) {
			t.Errorf("rung: %v, want %v", got, want)
		}
	})
}

func TestRingThatRingsNothing(t *testing.T) {
	tests := []struct {
		name   string
		before func(t *testing.T, x *exchange)
		want   call.RingResult
		err    error
		events []string
	}{
		{"a repeat", func(t *testing.T, x *exchange) {
			if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
				t.Fatal(err)
			}
		}, call.RingResult{Repeated: true}, nil, []string{"DevicesOf", "admit", "BeginCall", "dismiss"}},
		{"a call that has ended", func(t *testing.T, x *exchange) {
			if err := x.End(t.Context(), x.acme, event("s1")); err != nil {
				t.Fatal(err)
			}
		}, call.RingResult{Repeated: true}, nil, []string{"DevicesOf", "admit", "BeginCall", "dismiss"}},
		{
			"devices cannot be looked up", func(_ *testing.T, x *exchange) { x.store.fail["DevicesOf"] = errDisk },
			call.RingResult{},
			errDisk,
			[]string{"DevicesOf"},
		},
		{
			"the call cannot be recorded", func(_ *testing.T, x *exchange) { x.store.fail["BeginCall"] = errDisk },
			call.RingResult{},
			errDisk,
			[]string{"DevicesOf", "admit", "BeginCall", "dismiss"},
		},
		{
			"too many calls", func(_ *testing.T, x *exchange) { x.bells.full = bell.E(bell.Unavailable, "Full.", nil) },
			call.RingResult{},
			bell.Unavailable,
			[]string{"DevicesOf", "admit"},
		},
		{
			"no devices", func(_ *testing.T, x *exchange) { delete(x.store.devices, bob()) },
			call.RingResult{},
			nil,
			[]string{"DevicesOf", "admit", "BeginCall", "start"},
		},
		{"none that can be reached", func(_ *testing.T, x *exchange) {
			gone, tokenless := device("gone", bell.LongPoll), device("tokenless", bell.FCM)
			gone.ExpiresAt, tokenless.PushToken = time.Now(), ""
			x.store.devices[bob()] = []bell.Device{gone, tokenless, {ID: "silent"}}
		}, call.RingResult{}, nil, []string{"DevicesOf", "admit", "BeginCall", "start"}},
		{
			"a user of that name in another environment", func(_ *testing.T, x *exchange) { x.acme.Environment = planet.Real },
			call.RingResult{},
			nil,
			[]string{"DevicesOf", "admit", "BeginCall", "start"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(t, nil)
				x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
				test.before(t, x)
				x.bells.events, x.bells.started = nil, nil
				got, err := x.Ring(t.Context(), x.acme, notify("s1"))
				if got != test.want || !errors.Is(err, test.err) {
					t.Errorf("%+v, error %v", got, err)
				}
				if !slices.Equal(x.bells.events, test.events) || len(x.bells.started) != 0 || x.bells.room != 0 {
					t.Errorf("%v, want %v; %d started, room %d", x.bells.events, test.events, len(x.bells.started), x.bells.room)
				}
				if err != nil && strings.Contains(err.Error(), testlog.Text) {
					t.Errorf("the error holds cc_param: %v", err)
				}
			})
		})
	}
}

func TestRingOfManyRepeatsAtOnce(t *testing.T) {
	x := newExchange(t, nil)
	bells := &lockedBells{fakeBells: x.bells}
	projects, err := bell.NewProjects([]*bell.Project{x.acme})
	if err != nil {
		t.Fatal(err)
	}
	service := call.New(call.Config{Store: x.store, Bells: bells, Projects: projects})
	x.store.devices[bob()] = []bell.Device{device("a", bell.FCM), device("b", bell.LongPoll)}
	var work sync.WaitGroup
	var mu sync.Mutex
	rang := 0
	for range 50 {
		work.Go(func() {
			got, err := service.Ring(t.Context(), x.acme, notify("s1"))
			mu.Lock()
			defer mu.Unlock()
			if rang += got.Devices; err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if rang != 2 || len(x.bells.started) != 2 || x.bells.room != 0 {
		t.Errorf("%d devices rang, %d started, room %d", rang, len(x.bells.started), x.bells.room)
	}
}

// lockedBells are fakeBells for many goroutines.
type lockedBells struct {
	*fakeBells
	one sync.Mutex
}

func (b *lockedBells) Admit(rings []bell.Ring) error {
	b.one.Lock()
	defer b.one.Unlock()
	return b.fakeBells.Admit(rings)
}

func (b *lockedBells) Dismiss(rings []bell.Ring) {
	b.one.Lock()
	defer b.one.Unlock()
	b.fakeBells.Dismiss(rings)
}

func (b *lockedBells) Start(r []bell.Ring) {
	b.one.Lock()
	defer b.one.Unlock()
	b.fakeBells.Start(r)
}

// The callee's app checks the label, so it is that of the callee's project.
func TestCallAcrossServices(t *testing.T) {
	x := newExchange(t, nil)
	carol := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc2", UserID: "carol"}}
	x.store.devices[carol] = []bell.Device{device("c", bell.FCM)}
	n := notify("s1")
	n.Callee = carol.User
	if got, err := x.Ring(t.Context(), x.acme, n); err != nil || got.Devices != 1 {
		t.Fatalf("%+v, error %v", got, err)
	}
	if c := x.bells.started[0].Call; c.Label != "beta-test" || c.Project != "acme" {
		t.Errorf("label %q, project %q", c.Label, c.Project)
	}
	n.SessionID, n.Callee.ServiceID = "s2", "unknown"
	if _, err := x.Ring(t.Context(), x.acme, n); err != nil {
		t.Fatal(err)
	}
	if c := x.store.calls[callKey{planet.Evaluation, "s2"}]; c.Label != "acme-test" {
		t.Errorf("label %q for an unknown service", c.Label)
	}
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
			t.Fatal(err)
		}
		x.bells.events = nil
		began := time.Now()
		<-time.After(20 * time.Second)
		e := event("s1")
		reason := 1201
		e.StartTime, e.EndTime, e.Duration = began.Add(4*time.Second), began.Add(19*time.Second), 15*time.Second
		e.Release = planet.Release{DisconnectReason: &reason}
		if err := x.End(t.Context(), x.acme, e); err != nil {
			t.Fatal(err)
		}
		if want := []string{"withdraw evaluation s1", "EndCall"}; !slices.Equal(x.bells.events, want) {
			t.Errorf("%v, want %v", x.bells.events, want)
		}
		want := bell.Call{
			Environment: planet.Evaluation, SessionID: "s1", Project: "acme", Caller: e.Caller, Callee: e.Callee, Type: e.Type,
			AppServerData: "data", STID: "stid", State: bell.CallEnded, Outcome: e.Outcome(), Release: e.Release,
			StartedAt: e.StartTime, EndedAt: e.EndTime, Duration: e.Duration, NotifiedAt: began, Deadline: began.Add(55 * time.Second),
		}
		record, err := x.Show(t.Context(), planet.Evaluation, "s1")
		if diff := cmp.Diff(want, record.Call); diff != "" || err != nil || want.Outcome == "" {
			t.Errorf("outcome %q, error %v, %s", want.Outcome, err, diff)
		}
		entry := bell.JournalEntry{
			ReceivedAt: time.Now(), Project: "acme", Environment: planet.Evaluation, Kind: call.KindCallEvent,
			SessionID: "s1", DedupKey: e.DedupKey(), Params: e.Raw,
		}
		if diff := cmp.Diff([]bell.JournalEntry{entry}, x.store.journal); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEndOfACallThatWasNeverSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		if err := x.End(t.Context(), x.acme, event("s9")); err != nil {
			t.Fatal(err)
		}
		c := x.store.calls[callKey{planet.Evaluation, "s9"}]
		if c.State != bell.CallEnded || !c.EndedAt.Equal(time.Now()) || !c.NotifiedAt.IsZero() || !c.StartedAt.IsZero() {
			t.Errorf("recorded: %+v", c)
		}
	})
}

func TestEndWithdrawsEvenIfItCannotBeRecorded(t *testing.T) {
	x := newExchange(t, nil)
	x.store.fail["EndCall"] = errDisk
	if err := x.End(t.Context(), x.acme, event("s1")); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "s1") {
		t.Errorf("error %v", err)
	}
	if want := []string{"withdraw evaluation s1", "EndCall"}; !slices.Equal(x.bells.events, want) {
		t.Errorf("%v, want %v", x.bells.events, want)
	}
}

func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		kinds := []string{"group-call-event", call.KindAgentCallStatus, call.KindRecording}
		var want []bell.JournalEntry
		for _, kind := range kinds {
			item := call.JournalItem{Kind: kind, SessionID: "s1", DedupKey: kind + "/s1", Params: []planet.RawParam{{Name: "sid", Value: "s1"}}}
			if kind == call.KindAgentCallStatus {
				item.Agent = &bell.AgentStatus{AgentType: "AUDIO_CALLER", Success: true}
			}
			for range 2 { // a repeat is dropped
				if err := x.Journal(t.Context(), x.acme, item); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, bell.JournalEntry{
				ReceivedAt: time.Now(), Project: "acme", Environment: planet.Evaluation, Kind: kind,
				SessionID: "s1", DedupKey: item.DedupKey, Params: item.Params, Agent: item.Agent,
			})
		}
		got, err := x.JournalOf(t.Context(), "s1")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v, %s", err, diff)
		}
		x.store.fail["AppendJournal"] = errDisk
		if err := x.Journal(t.Context(), x.acme, call.JournalItem{Kind: call.KindRecording}); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "recording") {
			t.Errorf("error %v", err)
		}
	})
}

func TestShowAndListAskTheStore(t *testing.T) {
	x := newExchange(t, nil)
	if _, err := x.Show(t.Context(), planet.Real, "s1"); !errors.Is(err, bell.NotFound) {
		t.Errorf("error %v", err)
	}
	filter, before := call.Filter{User: bob().User}, call.Cursor{At: time.Unix(1, 0), SessionID: "s1"}
	if calls, err := x.List(t.Context(), filter, before, 7); err != nil || len(calls) != 0 {
		t.Errorf("%v, error %v", calls, err)
	}
	if diff := cmp.Diff([]any{filter, before, 7}, x.store.asked); diff != "" {
		t.Error(diff)
	}
}

// To refuse the repeat of a Notify because no more calls can ring would end the call that
// rings already. A new call is refused.
func TestARepeatIsNotRefusedForLackOfRoom(t *testing.T) {
	x := newExchange(t, nil)
	x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
	if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
		t.Fatal(err)
	}
	x.bells.full = bell.E(bell.Overload, "Too many calls ring.", nil)
	if got, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil || !got.Repeated {
		t.Errorf("the repeat: %+v, %v", got, err)
	}
	if _, err := x.Ring(t.Context(), x.acme, notify("s2")); !errors.Is(err, bell.Overload) {
		t.Errorf("a new call: %v, want it refused", err)
	}
	if n := len(x.bells.started); n != 1 {
		t.Errorf("%d devices ring, want 1", n)
	}
}
