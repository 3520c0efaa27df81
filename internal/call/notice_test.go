package call_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// iphone rings by VoIP pushes; with alert it is also shown alerts.
func iphone(id string, alert planet.Secret) bell.Device {
	d := device(id, bell.APNsVoIP)
	d.AlertToken = alert
	return d
}

func notice(purpose bell.Purpose, about planet.SessionID) bell.Call {
	return bell.Call{
		Purpose: purpose, Environment: planet.Evaluation, Project: "acme", Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"},
		Callee: bob().User, About: about, Type: planet.AudioCall, CCParam: "must not be here", CallerName: "Alice",
	}
}

// A missed call goes to what can show an alert; an invitation over VoIP only where the
// project says so.
func TestWhoIsTold(t *testing.T) {
	devices := []bell.Device{
		iphone("silent", ""), iphone("shown", "a1e27000"), device("mac", bell.APNsAlert), device("android", bell.FCM), device("LINE's pc", bell.LongPoll), device("pc", bell.LongPoll),
	}
	devices[5].Notices = true
	for name, test := range map[string]struct {
		purpose bell.Purpose
		voip    bool
		want    []string
	}{
		"missed call":                      {bell.PurposeMissedCall, false, []string{"shown/apns_alert", "mac/apns_alert", "android/fcm", "pc/longpoll"}},
		"missed call, apps made for VoIP":  {bell.PurposeMissedCall, true, []string{"shown/apns_alert", "mac/apns_alert", "android/fcm", "pc/longpoll"}},
		"invitation":                       {bell.PurposeInvitation, false, []string{"shown/apns_alert", "mac/apns_alert", "android/fcm", "pc/longpoll"}},
		"invitation to apps made for VoIP": {bell.PurposeInvitation, true, []string{"silent/apns_voip", "shown/apns_voip", "mac/apns_alert", "android/fcm", "pc/longpoll"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(t, nil)
				x.acme.VoIPInvitations = test.voip
				x.store.devices[bob()] = devices
				n, err := x.Tell(t.Context(), notice(test.purpose, "s-1"))
				if err != nil || n != len(test.want) {
					t.Fatalf("%d devices, error %v", n, err)
				}
				var got []string
				for _, r := range x.bells.started {
					got = append(got, r.Device.ID+"/"+string(r.Device.Channel))
					if r.Delivery.Channel != r.Device.Channel || r.Device.Channel == bell.APNsAlert && r.Device.ID == "shown" && r.Device.PushToken != "a1e27000" {
						t.Errorf("%s is told by %s, recorded as %s", r.Device.ID, r.Device.Channel, r.Delivery.Channel)
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestTellRecordsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		n := notice(bell.PurposeMissedCall, "s-1")
		if devices, err := x.Tell(t.Context(), n); err != nil || devices != 1 {
			t.Fatalf("%d devices, error %v", devices, err)
		}
		if want := []string{"DevicesOf", "admit", "BeginCall", "start"}; !slices.Equal(x.bells.events, want) {
			t.Errorf("%v, want %v", x.bells.events, want)
		}
		want := n
		want.CCParam, want.Label, want.State, want.NotifiedAt, want.Deadline = "", "acme-test", bell.CallNotice, time.Now(), time.Now().Add(3*time.Minute)
		want.SessionID = bell.NoticeID(&n)
		if diff := cmp.Diff(want, x.store.calls[callKey{planet.Evaluation, want.SessionID}]); diff != "" {
			t.Error(diff)
		}
		// The same once more, and the same of somebody else or something else.
		if devices, err := x.Tell(t.Context(), n); err != nil || devices != 0 || x.bells.room != 0 {
			t.Errorf("a repeat told %d devices, error %v, room %d", devices, err, x.bells.room)
		}
		for _, other := range []bell.Call{notice(bell.PurposeMissedCall, "s-2"), notice(bell.PurposeInvitation, "s-1"), notice(bell.PurposeInvitation, ""), notice(bell.PurposeInvitation, "")} {
			if devices, err := x.Tell(t.Context(), other); err != nil || devices != 1 {
				t.Errorf("%s about %q told %d devices, error %v", other.Purpose, other.About, devices, err)
			}
		}
		until := notice(bell.PurposeInvitation, "run")
		until.SessionID, until.Deadline = "given", time.Now().Add(time.Minute)
		if _, err := x.Tell(t.Context(), until); err != nil {
			t.Fatal(err)
		}
		if got := x.store.calls[callKey{planet.Evaluation, "given"}]; !got.Deadline.Equal(until.Deadline) {
			t.Errorf("the deadline is %v", got.Deadline)
		}
	})
}

// Names come from clients; whoever hands one on, devices can show it as it is.
func TestNoticesHaveNamesThatAreSafeToShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.acme.TellMissedCalls = true
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		const raw, want = " A\x1bl\u202eice\n", "Alice"
		n := notice(bell.PurposeInvitation, "run")
		n.CallerName = raw
		if _, err := x.Tell(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		x.store.calls[callKey{planet.Evaluation, "s"}] = bell.Call{
			Environment: planet.Evaluation, SessionID: "s", Callee: bob().User, CallerName: raw, State: bell.CallEnded, MissedAt: time.Now(),
		}
		x.running(t)
		synctest.Wait()
		got := x.notices()
		for _, c := range got {
			if c.CallerName != want {
				t.Errorf("the name in a notice of %q is %q, want %q", c.Purpose, c.CallerName, want)
			}
		}
		if len(got) != 2 {
			t.Errorf("%d notices", len(got))
		}
	})
}

func TestTellNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.store.devices[bob()] = []bell.Device{iphone("silent", "")}
		if n, err := x.Tell(t.Context(), notice(bell.PurposeMissedCall, "s-1")); n != 0 || err != nil || len(x.store.calls) != 0 {
			t.Errorf("%d devices, error %v, %d recorded", n, err, len(x.store.calls))
		}
		stranger, call := notice(bell.PurposeMissedCall, "s-1"), notice(bell.PurposeCall, "s-1")
		stranger.Callee.ServiceID = "unknown"
		for _, wrong := range []bell.Call{stranger, call} {
			if _, err := x.Tell(t.Context(), wrong); bell.KindOf(err) != bell.Invalid {
				t.Errorf("error %v", err)
			}
		}
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		x.bells.full = bell.E(bell.Overload, "Full.", nil)
		if _, err := x.Tell(t.Context(), notice(bell.PurposeMissedCall, "s-1")); bell.KindOf(err) != bell.Overload || len(x.store.calls) != 0 {
			t.Errorf("without room: %v", err)
		}
		x.bells.full, x.store.fail["BeginCall"] = nil, bell.E(bell.Unavailable, "Sick.", nil)
		if _, err := x.Tell(t.Context(), notice(bell.PurposeMissedCall, "s-1")); bell.KindOf(err) != bell.Unavailable || len(x.bells.started) != 0 || x.bells.room != 0 {
			t.Errorf("with a sick store: %v, %d started, room %d", err, len(x.bells.started), x.bells.room)
		}
	})
}

// running runs a service for the length of a test.
func (x *exchange) running(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (x *exchange) notices() (all []bell.Call) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	for _, c := range x.store.calls {
		if c.Purpose != bell.PurposeCall {
			all = append(all, c)
		}
	}
	return all
}

func TestWhichCallsWereMissed(t *testing.T) {
	n := func(i int) *int { return &i }
	for reason, missed := range map[int]bool{1203: true, 1201: true, 1302: true, 1002: false, 1202: false, 1001: false, 1304: false} {
		synctest.Test(t, func(t *testing.T) {
			x := newExchange(t, nil)
			x.acme.TellMissedCalls = true
			x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
			x.running(t)
			rang := time.Now()
			for _, id := range []planet.SessionID{"rang", "event only"} {
				if id == "rang" {
					if _, err := x.Ring(t.Context(), x.acme, notify(id)); err != nil {
						t.Fatal(err)
					}
				}
				e := event(id)
				e.Release = planet.Release{DisconnectReason: n(reason)}
				for range 2 { // a repeat changes nothing
					if err := x.End(t.Context(), x.acme, e); err != nil {
						t.Fatal(err)
					}
				}
			}
			synctest.Wait()
			got := x.notices()
			if want := map[bool]int{true: 2}[missed]; len(got) != want {
				t.Fatalf("reason %d: %d notices, want %d", reason, len(got), want)
			}
			for _, c := range got {
				if c.Caller.UserID != "alice" || c.Callee != bob().User || !c.AboutAt.Equal(rang) || c.Type != planet.VideoCall || c.CCParam != "" {
					t.Errorf("%+v", c)
				}
			}
			for _, c := range x.store.calls {
				if !c.MissedAt.IsZero() {
					t.Errorf("call %s is still marked", c.SessionID)
				}
			}
		})
	}
}

// What cannot be told now stays marked, and is told later; what is too old, or no longer
// wanted, is not told.
func TestMarkedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		x.acme.TellMissedCalls = true
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		put := func(id planet.SessionID, service string, notified, marked time.Time) {
			x.store.calls[callKey{planet.Evaluation, id}] = bell.Call{
				Environment: planet.Evaluation, SessionID: id, Project: "acme", Callee: planet.UserRef{ServiceID: service, UserID: "bob"},
				State: bell.CallEnded, Outcome: planet.OutcomeMissed, NotifiedAt: notified, MissedAt: marked,
			}
		}
		now := time.Now()
		put("left by a dead process", "svc", now.Add(-time.Hour), now.Add(-time.Hour))
		put("old", "svc", now.Add(-25*time.Hour), now.Add(-25*time.Hour))
		put("ended after it was lost", "svc", now.Add(-25*time.Hour), now)
		put("not wanted", "svc2", now, now)
		put("kept away", "svc", now.Add(-2*time.Hour), now.Add(-2*time.Hour))
		kept := x.store.calls[callKey{planet.Evaluation, "kept away"}]
		kept.Suppressed = bell.SuppressBlocked
		x.store.calls[callKey{planet.Evaluation, "kept away"}] = kept
		x.store.fail["BeginCall"] = bell.E(bell.Unavailable, "Sick.", nil)
		x.running(t)
		synctest.Wait()
		if got := x.notices(); len(got) != 0 {
			t.Fatalf("%d notices while the store is sick", len(got))
		}
		x.store.mu.Lock()
		delete(x.store.fail, "BeginCall")
		x.store.mu.Unlock()
		<-time.After(6 * time.Second)
		synctest.Wait()
		if got := x.notices(); len(got) != 1 || got[0].About != "left by a dead process" {
			t.Errorf("%d notices", len(got))
		}
		if left, err := x.store.Missed(t.Context(), 10); len(left) != 0 {
			t.Errorf("%d calls are still marked, error %v", len(left), err)
		}
	})
}

// Without room a missed call waits for some minutes, and is not tried with every call that
// ends meanwhile: calls come first. Then it is told, or given up.
func TestNoRoomForANotice(t *testing.T) {
	for name, roomAfter := range map[string]time.Duration{"a burst": 4 * time.Minute, "for long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(t, nil)
				x.acme.TellMissedCalls = true
				x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
				x.store.fail["BeginCall"] = bell.E(bell.Overload, "Full.", nil)
				x.store.calls[callKey{planet.Evaluation, "s"}] = bell.Call{
					Environment: planet.Evaluation, SessionID: "s", Callee: bob().User, State: bell.CallEnded, MissedAt: time.Now(),
				}
				marked := func() int {
					left, _ := x.store.Missed(t.Context(), 10)
					return len(left)
				}
				x.running(t)
				synctest.Wait()
				tries := func() (n int) {
					x.bells.mu.Lock()
					defer x.bells.mu.Unlock()
					for _, event := range x.bells.events {
						if event == "BeginCall" {
							n++
						}
					}
					return n
				}
				e := event("canceled")
				cancelled := 1201
				e.Release = planet.Release{DisconnectReason: &cancelled}
				if err := x.End(t.Context(), x.acme, e); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if marked() != 2 || tries() != 1 {
					t.Errorf("%d calls are marked, want 2; %d tries, want 1", marked(), tries())
				}
				if <-time.After(roomAfter); roomAfter < 5*time.Minute {
					x.store.mu.Lock()
					delete(x.store.fail, "BeginCall")
					x.store.mu.Unlock()
					<-time.After(6 * time.Second)
				}
				synctest.Wait()
				want := 0
				if roomAfter < 5*time.Minute {
					want = 2
				}
				if marked() != 0 || len(x.notices()) != want {
					t.Errorf("%d calls are still marked, %d were told, want %d", marked(), len(x.notices()), want)
				}
			})
		})
	}
}

func TestCallsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		told := 0
		x.Service = call.New(call.Config{
			Store: x.store, Bells: x.bells, Projects: x.projects, LostAfter: time.Hour,
			LostEvents: func(c bell.Call) []bell.Event {
				if told++; c.State != bell.CallLost {
					t.Errorf("told of a call that is %s", c.State)
				}
				return []bell.Event{{ID: string(c.SessionID)}}
			},
		})
		if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
			t.Fatal(err)
		}
		x.running(t)
		of := func() bell.Call {
			x.store.mu.Lock()
			defer x.store.mu.Unlock()
			return x.store.calls[callKey{planet.Evaluation, "s1"}]
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if c := of(); c.State != bell.CallRinging {
			t.Fatalf("after an hour it is %s", c.State)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if c := of(); c.State != bell.CallLost || c.CCParam != "" || len(c.Events) != 1 || told != 1 {
			t.Errorf("after more it is %s, %d events", c.State, len(c.Events))
		}
		if err := x.End(t.Context(), x.acme, event("s1")); err != nil || of().State != bell.CallEnded {
			t.Errorf("its event came: %v", err)
		}
	})
}

func TestNoticeIDs(t *testing.T) {
	n := notice(bell.PurposeMissedCall, "s-1")
	if got := bell.NoticeID(&n); got != bell.NoticeID(&n) || len(got) != 36 {
		t.Errorf("%s", got)
	}
	seen := map[planet.SessionID]string{bell.NoticeID(&n): "itself"}
	for what, change := range map[string]func(*bell.Call){
		"purpose":     func(c *bell.Call) { c.Purpose = bell.PurposeInvitation },
		"environment": func(c *bell.Call) { c.Environment = planet.Real },
		"about":       func(c *bell.Call) { c.About = "s-2" },
		"room":        func(c *bell.Call) { c.Room.RoomID = "r" },
		"user":        func(c *bell.Call) { c.Callee.UserID = "carol" },
	} {
		other := n
		change(&other)
		if same, ok := seen[bell.NoticeID(&other)]; ok {
			t.Errorf("another %s has the ID of %s", what, same)
		}
		seen[bell.NoticeID(&other)] = what
	}
	if _, err := planet.ParseSessionID(string(bell.NoticeID(&n))); err != nil {
		t.Error(err)
	}
}
