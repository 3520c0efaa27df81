package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/planet"
)

var deviceVerdictTests = map[string]func(*testing.T, Store){
	"what is held against a token is kept": verdictRoundTrip,
	"amend sees and writes the row":        amendWrites,
	"amend need not write":                 amendNothing,
	"amend of none":                        amendNone,
	"amend while others register":          amendRace,
	"a token is forgotten once":            amendForgetsOnce,
	"a client's ID finds its device":       clientIDFinds,
	"a client's ID is its owner's":         clientIDOfOwner,
	"a client's ID moves within a session": clientIDMoves,
	"a client's ID from many sessions":     clientIDRace,
	"devices without contact are pruned":   pruneUnseen,
	"pruning is in batches":                pruneBatches,
}

// doubted is a device with every field about its token's worth set.
func doubted(user string, n int) bell.Device {
	d := newDevice(user, n)
	d.ClientID, d.APNsServerConfirmed = fmt.Sprintf("installation %d ~", n), true
	d.Strikes, d.StruckAt = 2, noon.Add(-time.Hour)
	d.SuspendedUntil, d.SuspendedFor = noon.Add(time.Minute), "BadDeviceToken"
	d.ForgottenAt, d.ForgottenFor = noon.Add(time.Second), "Unregistered"
	return d
}

func verdictRoundTrip(t *testing.T, s Store) {
	want := doubted("ann", 1)
	add(t, s, want)
	deviceIs(t, s, want)
	got, err := s.DevicesOf(t.Context(), want.Owner)
	ok(t, "DevicesOf", err)
	same(t, "devices", got, []bell.Device{want})

	c := newCall()
	begin(t, s, c, want)
	same(t, "the device of a claimed ring", claimOne(t, s).Device, want)
	same(t, "the device of a record", record(t, s, c).Deliveries[0].Device, want)
}

func amendWrites(t *testing.T, s Store) {
	first, other := doubted("ann", 1), doubted("ann", 2)
	add(t, s, first)
	add(t, s, other)
	want := first
	want.PushToken, want.Strikes, want.StruckAt, want.SuspendedUntil = "", 0, time.Time{}, time.Time{}
	err := s.AmendDevice(t.Context(), first.ID, func(current bell.Device) (bell.Device, bool) {
		same(t, "the current row", current, first)
		return want, true
	})
	ok(t, "AmendDevice", err)
	deviceIs(t, s, want)
	deviceIs(t, s, other)

	// An operator's device can be amended too.
	operators := newDevice("ann", 3)
	operators.SessionID = ""
	ok(t, "AddDevice", s.AddDevice(t.Context(), operators))
	err = s.AmendDevice(t.Context(), operators.ID, func(current bell.Device) (bell.Device, bool) {
		current.Strikes++
		return current, true
	})
	ok(t, "AmendDevice", err)
	operators.Strikes++
	deviceIs(t, s, operators)
}

func amendNothing(t *testing.T, s Store) {
	want := doubted("ann", 1)
	add(t, s, want)
	ok(t, "AmendDevice", s.AmendDevice(t.Context(), want.ID, func(bell.Device) (bell.Device, bool) { return bell.Device{}, false }))
	deviceIs(t, s, want)
}

func amendNone(t *testing.T, s Store) {
	add(t, s, newDevice("ann", 1))
	err := s.AmendDevice(t.Context(), id("device", 2), func(bell.Device) (bell.Device, bool) {
		t.Error("change was called for a device that is not there")
		return bell.Device{}, false
	})
	wantKind(t, "AmendDevice", err, bell.NotFound)
}

// forgetToken is the compare-and-set of a 410: only that very token is taken away.
func forgetToken(t *testing.T, s Store, d bell.Device) (written bool) {
	t.Helper()
	err := s.AmendDevice(t.Context(), d.ID, func(current bell.Device) (bell.Device, bool) {
		written = current.PushToken == d.PushToken
		current.PushToken, current.ForgottenAt = "", noon
		return current, written
	})
	ok(t, "AmendDevice", err)
	return written
}

// amendRace lets a 410 meet the registration of a new token, in both orders and at once: the
// new token is there at the end.
func amendRace(t *testing.T, s Store) {
	renew := func(d bell.Device) bell.Device {
		next := d
		next.PushToken = d.PushToken[:len(d.PushToken)-4] + "bbbb"
		_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: d.SessionID}, func(device.Known) (bell.Device, error) { return next, nil })
		if err != nil {
			t.Errorf("ChangeDevice: %v", err)
		}
		return next
	}
	for n, order := range []string{"registered first", "forgotten first", "at once", "at once", "at once", "at once"} {
		old := newDevice("ann", n)
		add(t, s, old)
		want := old
		switch order {
		case "registered first":
			want = renew(old)
			if forgetToken(t, s, old) {
				t.Error("a token was forgotten that had been replaced")
			}
		case "forgotten first":
			if !forgetToken(t, s, old) {
				t.Error("the token was not forgotten")
			}
			want = renew(old)
		default:
			var both sync.WaitGroup
			both.Go(func() { want = renew(old) })
			forgetToken(t, s, old)
			both.Wait()
		}
		deviceIs(t, s, want)
	}
}

func amendForgetsOnce(t *testing.T, s Store) {
	d := newDevice("ann", 1)
	add(t, s, d)
	var mu sync.Mutex
	times := 0
	together(20, func(int) {
		if forgetToken(t, s, d) {
			mu.Lock()
			defer mu.Unlock()
			times++
		}
	})
	if times != 1 {
		t.Errorf("the token was forgotten %d times", times)
	}
}

// registerAs stores a device as an installation with an ID registers it: the ID's device
// is taken over.
func registerAs(t *testing.T, s Store, d bell.Device) (device.Known, bell.Device) {
	t.Helper()
	var found device.Known
	key := device.Key{SessionID: d.SessionID, Owner: d.Owner, ClientID: d.ClientID}
	got, err := s.ChangeDevice(t.Context(), key, func(known device.Known) (bell.Device, error) {
		found = known
		next := d
		if known.OfClient != nil {
			next.ID = known.OfClient.ID
		}
		return next, nil
	})
	ok(t, "ChangeDevice", err)
	return found, got
}

func clientIDFinds(t *testing.T, s Store) {
	first := doubted("ann", 1)
	found, _ := registerAs(t, s, first)
	same(t, "known at first", found, device.Known{})
	found, _ = registerAs(t, s, first)
	same(t, "known in the same session", found, device.Known{OfSession: &first})

	second := newDevice("ann", 2) // another session, another token
	second.ClientID = first.ClientID
	found, got := registerAs(t, s, second)
	same(t, "known in another session", found, device.Known{OfClient: &first})
	second.ID = first.ID
	same(t, "the written device", got, second)
	deviceIs(t, s, second)
	_, err := s.DeviceBySession(t.Context(), first.SessionID)
	wantKind(t, "DeviceBySession", err, bell.NotFound)

	third := newDevice("ann", 3) // a session that had a device of its own already
	add(t, s, third)
	own := third
	third.ClientID = first.ClientID
	found, _ = registerAs(t, s, third)
	same(t, "known with a device of its own", found, device.Known{OfSession: &own, OfClient: &second})
	noDevice(t, s, own.ID)
	third.ID = first.ID
	got2, err := s.DevicesOf(t.Context(), third.Owner)
	ok(t, "DevicesOf", err)
	same(t, "all devices", got2, []bell.Device{third})
}

func clientIDOfOwner(t *testing.T, s Store) {
	var all []bell.Device
	for n, change := range []func(*bell.Device){
		func(*bell.Device) {},
		func(d *bell.Device) { d.Owner.User.UserID = "eve" },
		func(d *bell.Device) { d.Owner.User.ServiceID = "other" },
		func(d *bell.Device) { d.Owner.Environment = planet.Real },
	} {
		d := newDevice("ann", n)
		d.ClientID = "guessed"
		change(&d)
		all = append(all, d)
		found, _ := registerAs(t, s, d)
		same(t, "known", found, device.Known{})
	}
	for _, d := range all { // nobody has taken anybody's
		deviceIs(t, s, d)
	}
	// No ID is nobody's ID.
	for n := range 3 {
		found, _ := registerAs(t, s, newDevice("bob", 10+n))
		same(t, "known without an ID", found, device.Known{})
	}
	// An error leaves both as they were.
	refused := errors.New("refused by the test")
	key := device.Key{SessionID: all[0].SessionID, Owner: all[1].Owner, ClientID: "guessed"}
	_, err := s.ChangeDevice(t.Context(), key, func(known device.Known) (bell.Device, error) {
		same(t, "known", known, device.Known{OfSession: &all[0], OfClient: &all[1]})
		return newDevice("mallory", 20), refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("ChangeDevice = %v, want the error of change", err)
	}
	for _, d := range all {
		deviceIs(t, s, d)
	}
}

func clientIDMoves(t *testing.T, s Store) {
	d := newDevice("ann", 1)
	for _, name := range []string{"first", "second", ""} {
		d.ClientID = name
		found, _ := registerAs(t, s, d)
		if found.OfClient != nil {
			t.Errorf("%q found a device", name)
		}
		deviceIs(t, s, d)
	}
	other := newDevice("ann", 2)
	other.ClientID = "first" // free again
	found, _ := registerAs(t, s, other)
	same(t, "known", found, device.Known{})
	deviceIs(t, s, d)
}

func clientIDRace(t *testing.T, s Store) {
	const sessions = 20
	together(sessions, func(n int) {
		d := newDevice("ann", n)
		d.ClientID = "one phone"
		registerAs(t, s, d)
	})
	got, err := s.DevicesOf(t.Context(), owner("ann"))
	ok(t, "DevicesOf", err)
	if len(got) != 1 {
		t.Errorf("one installation has %d devices", len(got))
	}
}

func pruneUnseen(t *testing.T, s Store) {
	border := noon.Add(-270 * 24 * time.Hour)
	var want, stay []bell.Device
	for n, seen := range []time.Duration{-time.Microsecond, 0, time.Hour, -time.Hour} {
		d := doubted("ann", n)
		d.LastSeenAt = border.Add(seen)
		add(t, s, d)
		if seen < 0 {
			want = append(want, d)
		} else {
			stay = append(stay, d)
		}
	}
	operators := newDevice("ann", 9)
	operators.SessionID, operators.LastSeenAt = "", border.Add(-time.Hour)
	ok(t, "AddDevice", s.AddDevice(t.Context(), operators))

	slices.Reverse(want) // the longest unseen first
	got, err := s.PruneDevices(t.Context(), border, 10)
	ok(t, "PruneDevices", err)
	same(t, "removed", got, want)
	left, err := s.DevicesOf(t.Context(), owner("ann"))
	ok(t, "DevicesOf", err)
	same(t, "left", left, append(stay, operators))
}

func pruneBatches(t *testing.T, s Store) {
	for n := range 5 {
		add(t, s, newDevice("ann", n))
	}
	for _, batch := range []struct{ limit, want int }{{0, 0}, {-1, 0}, {2, 2}, {2, 2}, {2, 1}, {2, 0}} {
		got, err := s.PruneDevices(t.Context(), noon.Add(time.Hour), batch.limit)
		ok(t, "PruneDevices", err)
		if len(got) != batch.want {
			t.Errorf("%d devices of at most %d were removed, want %d", len(got), batch.limit, batch.want)
		}
	}
}

// claimOne claims the one delivery there is.
func claimOne(t *testing.T, s Store) bell.Ring {
	t.Helper()
	rings := claim(t, s, delivery.Claim{Owner: "reader", Now: noon, LeaseUntil: noon, TakeAll: true, Limit: 2})
	if len(rings) != 1 {
		t.Fatalf("%d rings, want 1", len(rings))
	}
	return rings[0]
}
