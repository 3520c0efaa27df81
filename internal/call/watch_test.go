package call_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

func ownerNamed(user string) bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: user}}
}

func TestWatchIsBounded(t *testing.T) {
	var w call.Watch
	now := time.Now()
	for _, wrong := range []time.Duration{0, -time.Minute, call.MaxWatch + 1} {
		if _, err := w.Add(bob(), now, wrong); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%v: error %v", wrong, err)
		}
	}
	for i := range call.MaxWatched {
		if _, err := w.Add(ownerNamed(strconv.Itoa(i)), now, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Add(bob(), now, time.Minute); bell.KindOf(err) != bell.TooMany {
		t.Errorf("one too many: error %v", err)
	}
	if _, err := w.Add(ownerNamed("3"), now, call.MaxWatch); err != nil {
		t.Errorf("one who is watched, for longer: error %v", err)
	}
	now = now.Add(time.Minute)
	if list := w.List(now); len(list) != 1 || list[0].Owner != ownerNamed("3") || !list[0].Until.Equal(now.Add(59*time.Minute)) {
		t.Errorf("after their time: %v", list)
	}
	if _, err := w.Add(bob(), now, time.Minute); err != nil {
		t.Errorf("there is room again: error %v", err)
	}
	if !w.Remove(bob(), now) || w.Remove(bob(), now) || len(w.List(now)) != 1 {
		t.Error("who is removed is still there, or was not")
	}
}

func TestOnlyCallsOfWatchedUsersAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		var w call.Watch
		lines := x.lines(t, call.Config{Watch: &w})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM), device("b", bell.LongPoll)}
		ring := func(sid planet.SessionID) {
			t.Helper()
			if _, err := x.Ring(t.Context(), x.acme, notify(sid)); err != nil {
				t.Fatal(err)
			}
		}
		ring("before")
		if _, err := w.Add(ownerNamed("carol"), time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		ring("another's")
		if _, err := w.Add(bob(), time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		ring("watched")
		ring("watched")
		<-time.After(time.Minute)
		ring("after")
		calls, devices := lines("watched call"), lines("watched device")
		if len(calls) != 2 || calls[0]["sid"] != "watched" || calls[0]["devices"] != 2.0 || calls[1]["repeated"] != true {
			t.Errorf("calls: %v", calls)
		}
		if len(devices) != 2 || devices[0]["device"] != "a" || devices[0]["fingerprint"] == "" || devices[0]["sid"] != "watched" || devices[1]["channel"] != "longpoll" {
			t.Errorf("devices: %v", devices)
		}
		for sid, want := range map[planet.SessionID]bool{"before": false, "another's": false, "watched": true, "after": false} {
			if got := w.Call(planet.Evaluation, sid); got != want {
				t.Errorf("call %s is watched: %t", sid, got)
			}
		}
		<-time.After(3 * time.Minute)
		ring("much later")
		if w.Call(planet.Evaluation, "watched") {
			t.Error("a call is known for ever")
		}
	})
}

// A call that another process left belongs to whoever continues it, with its callee.
func TestClaimedCallsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		var w call.Watch
		x.lines(t, call.Config{Watch: &w})
		if _, err := w.Add(bob(), time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		c := &bell.Call{Environment: planet.Evaluation, SessionID: "left", Callee: bob().User}
		if _, err := x.Claim(func() ([]bell.Ring, error) { return []bell.Ring{{Call: c}}, nil }); err != nil || !w.Call(planet.Evaluation, "left") {
			t.Errorf("error %v", err)
		}
	})
}
