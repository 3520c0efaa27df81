package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// told are the types of all events that are to be told, oldest first, and their data.
func recordedEvents(t *testing.T, s Store) (types, data string) {
	t.Helper()
	for {
		spreadTo(t, s, mainEndpoint)
		got := claimEvents(t, s, webhook.Claim{})
		if len(got) == 0 {
			return strings.TrimSpace(types), data
		}
		for _, c := range got {
			types += string(c.Event.Type) + " "
			data += string(c.Event.Data) + "\n"
			testlog.Keep(t, "event", string(c.Event.Data))
			recordEvent(t, s, c, webhook.Told, noon)
		}
	}
}

func wantTold(t *testing.T, s Store, want string, parts ...string) {
	t.Helper()
	types, data := recordedEvents(t, s)
	if types != want {
		t.Errorf("told: %q, want %q", types, want)
	}
	for _, part := range parts {
		if !strings.Contains(data, part) {
			t.Errorf("what is told lacks %s:\n%s", part, data)
		}
	}
}

func eventsOfCalls(t *testing.T, s Store) {
	c := newCall()
	c.Events = []bell.Event{bell.RingingEvent(&c, 1)}
	begin(t, s, c)
	if _, err := s.BeginCall(t.Context(), c, nil, nil); err != nil {
		t.Fatal(err)
	}
	end, entry := ended(c)
	end.Outcome = planet.OutcomeMissed
	end.Wanted, end.AppServerData = bell.Events(bell.EventTypes()...), ""
	ok(t, "EndCall", s.EndCall(t.Context(), end, entry))
	ok(t, "EndCall", s.EndCall(t.Context(), end, entry))
	// What only Notify said is told too.
	wantTold(t, s, "call.ringing call.ended call.missed", `"notified_at":"`+noon.Format(time.RFC3339Nano)+`"`, `"app_server_data":"`+c.AppServerData+`"`)
	ok(t, "EndCall", s.EndCall(t.Context(), end, entry))
	wantTold(t, s, "")
}

// A call that was kept away is told as one, and is not missed: whoever tells the callee of
// missed calls would tell of somebody who is blocked.
func eventsOfSuppressed(t *testing.T, s Store) {
	c := newCall()
	c.Suppressed, c.CCParam = bell.SuppressBlocked, ""
	begin(t, s, c)
	end, entry := ended(c)
	end.Outcome, end.Wanted, end.Suppressed = planet.OutcomeMissed, bell.Events(bell.EventTypes()...), bell.RingsAll
	end.MissedAt = noon
	ok(t, "EndCall", s.EndCall(t.Context(), end, entry))
	wantTold(t, s, "call.ended", `"suppressed":"blocked"`)
	marked, err := s.Missed(t.Context(), 10)
	ok(t, "Missed", err)
	if len(marked) != 0 {
		t.Errorf("the callee is to be told of %+v", marked)
	}
}

func eventsOfDeliveries(t *testing.T, s Store) {
	c := newCall()
	devices := []bell.Device{newDevice("bob", 1), newDevice("bob", 2), newDevice("bob", 3), newDevice("bob", 4)}
	deliveries := make([]bell.Delivery, len(devices))
	for i, d := range devices {
		add(t, s, d)
		deliveries[i] = newDelivery(c, d)
	}
	deliveries[3].State, deliveries[3].Reason, deliveries[3].LeaseOwner = bell.DeliveryFailed, "no_room", ""
	_, err := s.BeginCall(t.Context(), c, deliveries, nil)
	ok(t, "BeginCall", err)
	wantTold(t, s, "delivery.failed", `"reason":"no_room"`, devices[3].ID)

	move := func(i int, state bell.DeliveryState, reason string) {
		t.Helper()
		d := deliveries[i]
		d.State, d.Reason, d.Attempts = state, reason, 1
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{DeliveryID: d.ID, Number: 1, StartedAt: noon}))
	}
	move(0, bell.DeliveryAccepted, "")
	wantTold(t, s, "")
	move(1, bell.DeliveryFailed, "Unregistered")
	move(1, bell.DeliveryFailed, "Unregistered")
	wantTold(t, s, "delivery.failed", `"reason":"Unregistered"`, `"state":"failed"`, deliveries[1].ID, string(c.SessionID))
	move(0, bell.DeliveryFailed, "late") // what was accepted stays so
	wantTold(t, s, "")
	_, err = s.ExpireDeliveries(t.Context(), c.Deadline)
	ok(t, "ExpireDeliveries", err)
	_, err = s.ExpireDeliveries(t.Context(), c.Deadline)
	ok(t, "ExpireDeliveries", err)
	wantTold(t, s, "delivery.failed", `"state":"expired"`, deliveries[2].ID)
}

func eventsOfDevices(t *testing.T, s Store) {
	const removed = string(bell.EventDeviceRemoved)
	add(t, s, newDevice("bob", 1))
	wantTold(t, s, "")
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), id("device", 1)))
	wantTold(t, s, removed, `"why":"removed"`, `"what":"device"`, id("device", 1))
	wantKind(t, "RemoveDevice", s.RemoveDevice(t.Context(), id("device", 1)), bell.NotFound)
	wantTold(t, s, "")

	add(t, s, newDevice("bob", 2))
	moved := newDevice("eve", 3)
	moved.PushToken = newDevice("bob", 2).PushToken
	add(t, s, moved)
	wantTold(t, s, removed, `"why":"token_moved"`, id("device", 2))

	replaced := newDevice("eve", 4)
	replaced.SessionID = moved.SessionID
	_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: moved.SessionID}, func(device.Known) (bell.Device, error) { return replaced, nil })
	ok(t, "ChangeDevice", err)
	wantTold(t, s, removed, `"why":"replaced"`, id("device", 3))
	_, err = s.ChangeDevice(t.Context(), device.Key{SessionID: moved.SessionID}, func(device.Known) (bell.Device, error) { return replaced, nil })
	ok(t, "ChangeDevice", err)
	wantTold(t, s, "") // it registered again, as apps do

	ok(t, "AmendDevice", s.AmendDevice(t.Context(), replaced.ID, func(d bell.Device) (bell.Device, bool) {
		d.PushToken, d.ForgottenAt, d.ForgottenFor = "", noon, "Unregistered"
		return d, true
	}))
	wantTold(t, s, removed, `"why":"token_dead"`, `"what":"push_token"`, `"reason":"Unregistered"`, replaced.ID)
	ok(t, "AmendDevice", s.AmendDevice(t.Context(), replaced.ID, func(d bell.Device) (bell.Device, bool) { return d, true }))
	wantTold(t, s, "")
	_, err = s.PruneDevices(t.Context(), noon.Add(time.Hour), 10)
	ok(t, "PruneDevices", err)
	wantTold(t, s, removed, `"why":"unseen"`, replaced.ID)
}
