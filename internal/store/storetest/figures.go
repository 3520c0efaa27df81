package storetest

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

var figureTests = map[string]func(*testing.T, Store){
	"calls by minute":            tallies,
	"what fails, by reason":      failingGroups,
	"what a device was told":     rungCalls,
	"nothing of anything either": noFigures,
}

func tallies(t *testing.T, s Store) {
	minute := noon.Truncate(time.Minute)
	at := func(after time.Duration, end bool) {
		c := newCall()
		c.NotifiedAt = minute.Add(after)
		begin(t, s, c)
		if end {
			over, entry := ended(c)
			ok(t, "EndCall", s.EndCall(t.Context(), over, entry))
		}
	}
	at(-time.Microsecond, false)
	at(0, false)
	at(time.Second, true)
	at(59*time.Second, true)
	at(time.Minute, false)
	got, more, err := s.Tally(t.Context(), minute, 10)
	ok(t, "Tally", err)
	want := []call.Minute{
		{At: minute, State: bell.CallEnded, Outcome: planet.OutcomeDeclined, Calls: 2},
		{At: minute, State: bell.CallRinging, Calls: 1},
		{At: minute.Add(time.Minute), State: bell.CallRinging, Calls: 1},
	}
	same(t, "the tally", got, want)
	if more {
		t.Error("there is said to be more")
	}
	if got, more, err = s.Tally(t.Context(), minute, 2); err != nil || !more || len(got) != 2 || got[1].At != minute.Add(time.Minute) {
		t.Errorf("the newest two: %+v, more %v, %v", got, more, err)
	}
}

func failingGroups(t *testing.T, s Store) {
	iphone, android := newDevice("bob", 1), newDevice("bob", 2)
	android.Channel, android.APNsServer, android.APNsServerGuessed = bell.FCM, "", false
	add(t, s, iphone)
	add(t, s, android)
	fail := func(d bell.Delivery, state bell.DeliveryState, reason string, at time.Time) {
		d.State, d.Reason, d.Attempts, d.UpdatedAt, d.LeaseOwner, d.LeaseUntil = state, reason, 1, at, "", time.Time{}
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{DeliveryID: d.ID, Number: 1, StartedAt: at}))
	}
	start := func(c bell.Call, at time.Time) []bell.Delivery {
		deliveries := []bell.Delivery{newDelivery(c, iphone), newDelivery(c, android)}
		for i := range deliveries {
			deliveries[i].CreatedAt = at
		}
		_, err := s.BeginCall(t.Context(), c, deliveries, nil)
		ok(t, "BeginCall", err)
		return deliveries
	}
	first, second := newCall(), newCall()
	one, two := start(first, noon), start(second, noon.Add(time.Millisecond)) // which begins later, and fails sooner
	fail(one[0], bell.DeliveryFailed, "BadDeviceToken", noon.Add(2*time.Second))
	fail(two[0], bell.DeliveryFailed, "BadDeviceToken", noon.Add(time.Second))
	fail(one[1], bell.DeliveryExpired, "timeout", noon.Add(3*time.Second))
	fail(two[1], bell.DeliveryAccepted, "", noon.Add(4*time.Second))
	got, err := s.Failing(t.Context(), noon, 10)
	ok(t, "Failing", err)
	if len(got) != 2 {
		t.Fatalf("%d groups, want 2: %+v", len(got), got)
	}
	same(t, "the largest group", got[0], call.FailingGroup{
		Project: "demo", Channel: bell.APNsVoIP, Server: bell.APNsSandbox, State: bell.DeliveryFailed, Reason: "BadDeviceToken",
		Count: 2, Calls: 2, Last: noon.Add(2 * time.Second), Environment: planet.Evaluation, SessionID: first.SessionID, DeviceID: iphone.ID,
	})
	same(t, "the other group", got[1], call.FailingGroup{
		Project: "demo", Channel: bell.FCM, State: bell.DeliveryExpired, Reason: "timeout", Count: 1, Calls: 1,
		Last: noon.Add(3 * time.Second), Environment: planet.Evaluation, SessionID: first.SessionID, DeviceID: android.ID,
	})
	if got, err = s.Failing(t.Context(), noon.Add(time.Second), 10); err != nil || len(got) != 0 {
		t.Errorf("what began later: %+v, %v", got, err)
	}
	if got, err = s.Failing(t.Context(), noon, 1); err != nil || len(got) != 1 {
		t.Errorf("one of them: %+v, %v", got, err)
	}
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), iphone.ID))
	if got, err = s.Failing(t.Context(), noon, 10); err != nil || len(got) != 2 || got[0].Server != "" || got[0].Count != 2 {
		t.Errorf("of a device that is gone: %+v, %v", got, err)
	}
}

func rungCalls(t *testing.T, s Store) {
	iphone, other := newDevice("bob", 1), newDevice("bob", 2)
	add(t, s, iphone)
	add(t, s, other)
	var want []planet.SessionID
	for n := range 4 {
		c := newCall()
		c.NotifiedAt = noon.Add(time.Duration(n) * time.Second)
		if n == 1 {
			begin(t, s, c, other)
			continue
		}
		begin(t, s, c, iphone, other)
		want = append([]planet.SessionID{c.SessionID}, want...)
	}
	sessions := func(most int) (ids []planet.SessionID) {
		list, err := s.Rung(t.Context(), iphone, most)
		ok(t, "Rung", err)
		for _, r := range list {
			if r.Delivery.DeviceID != iphone.ID || r.Delivery.SessionID != r.Call.SessionID || r.Call.CCParam != "" {
				t.Errorf("a delivery to %s of call %s", r.Delivery.DeviceID, r.Call.SessionID)
			}
			ids = append(ids, r.Call.SessionID)
		}
		return ids
	}
	same(t, "what the device was told", sessions(10), want)
	same(t, "of the newest three calls", sessions(3), want[:2])
}

func noFigures(t *testing.T, s Store) {
	if got, more, err := s.Tally(t.Context(), noon, 5); err != nil || more || len(got) != 0 {
		t.Errorf("Tally: %+v, %v, %v", got, more, err)
	}
	if got, err := s.Failing(t.Context(), noon, 5); err != nil || len(got) != 0 {
		t.Errorf("Failing: %+v, %v", got, err)
	}
	if got, err := s.Rung(t.Context(), newDevice("bob", 1), 5); err != nil || len(got) != 0 {
		t.Errorf("Rung: %+v, %v", got, err)
	}
}
