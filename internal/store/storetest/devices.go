package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var deviceTests = map[string]func(*testing.T, Store){
	"round trip":                            deviceRoundTrip,
	"hostile texts":                         deviceHostile,
	"change sees the current one":           deviceChange,
	"change may give another ID":            deviceNewID,
	"an error leaves things as they were":   deviceChangeError,
	"concurrent changes lose nothing":       deviceConcurrentChanges,
	"a push token moves to its new user":    deviceTokenMoves,
	"an added device takes the token too":   deviceAddTakesToken,
	"a token of another kind stays":         deviceTokenStays,
	"a token registered by many at once":    deviceTokenRace,
	"devices without a token live together": deviceNoToken,
	"an operator's devices have no session": deviceNoSession,
	"an ID that is in use is not added":     deviceSameID,
	"remove":                                deviceRemove,
}

var deviceListTests = map[string]func(*testing.T, Store){
	"of an owner":         devicesOf,
	"pages":               devicePages,
	"filters":             deviceFilters,
	"a limit of nothing":  deviceNoLimit,
	"nothing is no error": devicesNone,
}

func deviceIs(t *testing.T, s Store, want bell.Device) {
	t.Helper()
	got, err := s.Device(t.Context(), want.ID)
	ok(t, "Device", err)
	same(t, "device", got, want)
}

func noDevice(t *testing.T, s Store, id string) {
	t.Helper()
	_, err := s.Device(t.Context(), id)
	wantKind(t, "Device", err, bell.NotFound)
}

func deviceRoundTrip(t *testing.T, s Store) {
	want := newDevice("ann", 1)
	add(t, s, want)
	deviceIs(t, s, want)
	got, err := s.DeviceBySession(t.Context(), want.SessionID)
	ok(t, "DeviceBySession", err)
	same(t, "device by session", got, want)

	bare := bell.Device{ID: id("device", 2), Owner: owner("bob"), SessionID: id("session", 2)}
	add(t, s, bare)
	deviceIs(t, s, bare) // zero times stay zero
}

func deviceHostile(t *testing.T, s Store) {
	for i, text := range hostile {
		want := newDevice(text, i)
		want.Owner.User.ServiceID, want.Project, want.SessionID = text, text, text
		want.AppType, want.AppVersion, want.AppID = text, text, text
		want.PushToken = planet.Secret(testlog.TextSecret(text))
		add(t, s, want)
		deviceIs(t, s, want)
		got, err := s.DevicesOf(t.Context(), want.Owner)
		ok(t, "DevicesOf", err)
		same(t, "devices of a hostile owner", got, []bell.Device{want})
	}
}

func deviceChange(t *testing.T, s Store) {
	first := newDevice("ann", 1)
	_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: first.SessionID}, func(known device.Known) (bell.Device, error) {
		if known.OfSession != nil {
			t.Errorf("a new session has a device already: %s", known.OfSession.ID)
		}
		return first, nil
	})
	ok(t, "ChangeDevice", err)

	second := first
	second.AppVersion, second.Channel, second.PushToken, second.ExpiresAt = "2.0", bell.LongPoll, "", time.Time{}
	got, err := s.ChangeDevice(t.Context(), device.Key{SessionID: first.SessionID}, func(known device.Known) (bell.Device, error) {
		if known.OfSession == nil {
			return bell.Device{}, errors.New("the device is missing")
		}
		same(t, "the current device", *known.OfSession, first)
		return second, nil
	})
	ok(t, "ChangeDevice", err)
	same(t, "the changed device", got, second)
	deviceIs(t, s, second)
}

func deviceNewID(t *testing.T, s Store) {
	first := newDevice("ann", 1)
	add(t, s, first)
	second := first
	second.ID = id("device", 2)
	add(t, s, second)
	deviceIs(t, s, second)
	noDevice(t, s, first.ID)
}

func deviceChangeError(t *testing.T, s Store) {
	victim, d := newDevice("bob", 1), newDevice("ann", 2)
	add(t, s, victim)
	add(t, s, d)
	refused := errors.New("refused by the test")
	for _, session := range []string{d.SessionID, "a session without a device"} {
		_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: session}, func(device.Known) (bell.Device, error) {
			stolen := d
			stolen.PushToken, stolen.AppType = victim.PushToken, "changed"
			return stolen, refused
		})
		if !errors.Is(err, refused) {
			t.Errorf("ChangeDevice = %v, want the error of change", err)
		}
	}
	deviceIs(t, s, victim)
	deviceIs(t, s, d)
}

func deviceConcurrentChanges(t *testing.T, s Store) {
	const writers = 30
	d := newDevice("ann", 1)
	d.AppVersion = ""
	add(t, s, d)
	together(writers, func(int) {
		_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: d.SessionID}, func(known device.Known) (bell.Device, error) {
			next := *known.OfSession
			next.AppVersion += "x"
			return next, nil
		})
		if err != nil {
			t.Errorf("ChangeDevice: %v", err)
		}
	})
	got, err := s.Device(t.Context(), d.ID)
	ok(t, "Device", err)
	if len(got.AppVersion) != writers {
		t.Errorf("%d of %d changes were kept", len(got.AppVersion), writers)
	}
}

func deviceTokenMoves(t *testing.T, s Store) {
	old, next := newDevice("ann", 1), newDevice("bob", 2)
	add(t, s, old)
	next.PushToken = old.PushToken
	add(t, s, next)
	noDevice(t, s, old.ID)
	deviceIs(t, s, next)
	add(t, s, next) // writing it again removes nothing
	deviceIs(t, s, next)

	// A device that had another token takes it back.
	third := newDevice("ann", 3)
	add(t, s, third)
	third.PushToken = old.PushToken
	add(t, s, third)
	noDevice(t, s, next.ID)
	deviceIs(t, s, third)
}

func deviceAddTakesToken(t *testing.T, s Store) {
	old, next := newDevice("ann", 1), newDevice("bob", 2)
	add(t, s, old)
	next.PushToken, next.SessionID = old.PushToken, ""
	ok(t, "AddDevice", s.AddDevice(t.Context(), next))
	noDevice(t, s, old.ID)
	deviceIs(t, s, next)
}

func deviceTokenStays(t *testing.T, s Store) {
	first := newDevice("ann", 1)
	add(t, s, first)
	for i, change := range []func(*bell.Device){
		func(d *bell.Device) { d.Owner.Environment = planet.Real },
		func(d *bell.Device) { d.Owner.User.ServiceID = "other" },
		func(d *bell.Device) { d.Channel = bell.APNsAlert },
		func(d *bell.Device) { d.PushToken += "0" },
	} {
		other := newDevice("ann", 2+i)
		other.PushToken = first.PushToken
		change(&other)
		add(t, s, other)
		deviceIs(t, s, first)
		deviceIs(t, s, other)
	}
}

func deviceTokenRace(t *testing.T, s Store) {
	const users = 20
	token := newDevice("", 99).PushToken
	together(users, func(i int) {
		d := newDevice(fmt.Sprintf("user-%d", i), i)
		d.PushToken = token
		_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: d.SessionID}, func(device.Known) (bell.Device, error) { return d, nil })
		if err != nil {
			t.Errorf("ChangeDevice: %v", err)
		}
	})
	devices, err := s.Devices(t.Context(), device.Filter{}, "", 2*users)
	ok(t, "Devices", err)
	if len(devices) != 1 || devices[0].PushToken != token {
		t.Errorf("%d devices have the token, want 1", len(devices))
	}
}

func deviceNoToken(t *testing.T, s Store) {
	for i := range 3 {
		d := newDevice("ann", i)
		d.Channel, d.PushToken = bell.LongPoll, ""
		add(t, s, d)
	}
	devices, err := s.DevicesOf(t.Context(), owner("ann"))
	ok(t, "DevicesOf", err)
	if len(devices) != 3 {
		t.Errorf("%d devices, want 3", len(devices))
	}
}

func deviceNoSession(t *testing.T, s Store) {
	for i := range 2 {
		d := newDevice("ann", i)
		d.SessionID = ""
		ok(t, "AddDevice", s.AddDevice(t.Context(), d))
		deviceIs(t, s, d)
	}
	_, err := s.DeviceBySession(t.Context(), "")
	wantKind(t, "DeviceBySession", err, bell.NotFound)
	_, err = s.ChangeDevice(t.Context(), device.Key{SessionID: ""}, func(known device.Known) (bell.Device, error) {
		if known.OfSession != nil {
			t.Error("an operator's device was taken for that of no session")
		}
		return bell.Device{}, bell.E(bell.Forbidden, "Not without a session.", nil)
	})
	wantKind(t, "ChangeDevice", err, bell.Forbidden)
}

func deviceSameID(t *testing.T, s Store) {
	d := newDevice("ann", 1)
	add(t, s, d)
	other := newDevice("eve", 1)
	other.SessionID, other.PushToken = "", newDevice("", 2).PushToken
	if err := s.AddDevice(t.Context(), other); err == nil {
		t.Error("a second device with the same ID was added")
	}
	deviceIs(t, s, d)
}

func deviceRemove(t *testing.T, s Store) {
	d, other := newDevice("ann", 1), newDevice("ann", 2)
	add(t, s, d)
	add(t, s, other)
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), d.ID))
	noDevice(t, s, d.ID)
	deviceIs(t, s, other)
	wantKind(t, "RemoveDevice again", s.RemoveDevice(t.Context(), d.ID), bell.NotFound)
	_, err := s.DeviceBySession(t.Context(), d.SessionID)
	wantKind(t, "DeviceBySession", err, bell.NotFound)
}

func devicesOf(t *testing.T, s Store) {
	var want []bell.Device
	for _, n := range []int{3, 1, 2} { // not written in the order of age
		add(t, s, newDevice("ann", n))
	}
	for n := range 3 {
		want = append(want, newDevice("ann", n+1))
	}
	add(t, s, newDevice("bob", 4))
	elsewhere := newDevice("ann", 5)
	elsewhere.Owner.Environment = planet.Real
	add(t, s, elsewhere)

	got, err := s.DevicesOf(t.Context(), owner("ann"))
	ok(t, "DevicesOf", err)
	same(t, "devices, oldest first", got, want)
	got, err = s.DevicesOf(t.Context(), elsewhere.Owner)
	ok(t, "DevicesOf", err)
	same(t, "devices in Real", got, []bell.Device{elsewhere})
}

func devicePages(t *testing.T, s Store) {
	for n := range 7 {
		add(t, s, newDevice("ann", n))
	}
	var got []string
	after := ""
	for page := 0; ; page++ {
		devices, err := s.Devices(t.Context(), device.Filter{}, after, 3)
		ok(t, "Devices", err)
		if want := []int{3, 3, 1, 0}[page]; len(devices) != want {
			t.Fatalf("page %d has %d devices, want %d", page, len(devices), want)
		}
		if len(devices) == 0 {
			break
		}
		for _, d := range devices {
			got = append(got, d.ID)
		}
		after = got[len(got)-1]
	}
	var want []string
	for n := range 7 {
		want = append(want, id("device", n))
	}
	same(t, "all pages", got, want)
}

func deviceFilters(t *testing.T, s Store) {
	for n, change := range []func(*bell.Device){
		func(*bell.Device) {},
		func(d *bell.Device) { d.Owner.Environment = planet.Real },
		func(d *bell.Device) { d.Owner.User.ServiceID = "other" },
		func(d *bell.Device) { d.Owner.User.UserID = "bob" },
		func(d *bell.Device) { d.Channel = bell.FCM },
	} {
		d := newDevice("ann", n)
		change(&d)
		add(t, s, d)
	}
	for _, c := range []struct {
		filter device.Filter
		want   []int
	}{
		{device.Filter{}, []int{0, 1, 2, 3, 4}},
		{device.Filter{Environment: "real"}, []int{1}},
		{device.Filter{ServiceID: "other"}, []int{2}},
		{device.Filter{UserID: "bob"}, []int{3}},
		{device.Filter{Channel: bell.FCM}, []int{4}},
		{device.Filter{Environment: "evaluation", ServiceID: "service", UserID: "ann", Channel: bell.APNsVoIP}, []int{0}},
		{device.Filter{UserID: "nobody"}, nil},
		{device.Filter{UserID: "' OR ''='"}, nil},
	} {
		got, err := s.Devices(t.Context(), c.filter, "", 10)
		ok(t, "Devices", err)
		var ids, want []string
		for _, d := range got {
			ids = append(ids, d.ID)
		}
		for _, n := range c.want {
			want = append(want, id("device", n))
		}
		same(t, fmt.Sprintf("devices of %+v", c.filter), ids, want)
	}
}

func deviceNoLimit(t *testing.T, s Store) {
	add(t, s, newDevice("ann", 1))
	for _, limit := range []int{0, -1} {
		got, err := s.Devices(t.Context(), device.Filter{}, "", limit)
		ok(t, "Devices", err)
		if len(got) != 0 {
			t.Errorf("limit %d gave %d devices", limit, len(got))
		}
	}
}

func devicesNone(t *testing.T, s Store) {
	got, err := s.DevicesOf(t.Context(), owner("nobody"))
	ok(t, "DevicesOf", err)
	if len(got) != 0 {
		t.Errorf("nobody has %d devices", len(got))
	}
}
