package app

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// A store method that is added must be looked at: either it changes no device's owner,
// address or being, or ledger.go has to tell package call of it.
func TestEveryWriteOfADeviceIsTold(t *testing.T) {
	told := []string{"ChangeDevice", "AddDevice", "RemoveDevice", "AmendDevice", "PruneDevices", "OpenSession"} // each tested below
	harmless := []string{
		"Device", "DeviceBySession", "DevicesOf", "Devices", "Session", "RestoreSession",
		"RecordAttempt", "ClaimDeliveries", "ExpireDeliveries", "RecordReceipt",
	}
	for _, store := range []reflect.Type{reflect.TypeFor[device.Store](), reflect.TypeFor[account.Store](), reflect.TypeFor[delivery.Store]()} {
		for m := range store.Methods() {
			if !slices.Contains(told, m.Name) && !slices.Contains(harmless, m.Name) {
				t.Errorf("%s.%s is new: does it write devices? Then let ledger.go tell package call of them", store, m.Name)
			}
		}
	}
}

// blind is a store that can be made to forget how to read devices.
type blind struct {
	*sqlite.Store
	is atomic.Bool
}

func (b *blind) DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	if b.is.Load() {
		return nil, bell.E(bell.Unavailable, "The disk is gone.", nil)
	}
	return b.Store.DevicesOf(ctx, owner)
}

// quiet are bells that only note which devices ring.
type quiet struct{ rung []string }

func (*quiet) Admit([]bell.Ring) error                       { return nil }
func (*quiet) Dismiss([]bell.Ring)                           {}
func (*quiet) Keep([]bell.Ring)                              {}
func (*quiet) Withdraw(planet.Environment, planet.SessionID) {}

func (q *quiet) Start(rings []bell.Ring) {
	for _, r := range rings {
		q.rung = append(q.rung, r.Device.ID)
	}
}

func (*quiet) Hold(_ *bell.Device, now, _ time.Time) (bell.DeliveryState, string, time.Time) {
	return bell.DeliverySending, "this", now
}

// What rings from memory is what the database would say: nobody is rung on a device that
// was changed, was removed, or moved to somebody else since it was read.
func TestNothingThatChangedRingsFromMemory(t *testing.T) {
	bob := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
	eve := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: "eve"}}
	token := planet.Secret(testlog.HexSecret(1, 64))
	phone := bell.Device{ID: "phone", Owner: bob, Project: "acme", SessionID: "session", Channel: bell.FCM, PushToken: token}
	moved := bell.Device{ID: "other", Owner: eve, Project: "acme", SessionID: "hers", Channel: bell.FCM, PushToken: token}
	newToken := phone
	newToken.PushToken = planet.Secret(testlog.HexSecret(2, 64))
	given := func(d bell.Device) func(device.Known) (bell.Device, error) {
		return func(device.Known) (bell.Device, error) { return d, nil }
	}
	for name, test := range map[string]struct {
		change func(ctx context.Context, devices registry, accounts register) error
		rings  bool
	}{
		"nothing": {func(context.Context, registry, register) error { return nil }, true},
		"somebody else registers": {func(ctx context.Context, devices registry, _ register) error {
			d := moved
			d.PushToken = planet.Secret(testlog.HexSecret(3, 64))
			_, err := devices.ChangeDevice(ctx, device.Key{SessionID: "hers"}, given(d))
			return err
		}, true},
		"the device registers again": {func(ctx context.Context, devices registry, _ register) error {
			_, err := devices.ChangeDevice(ctx, device.Key{SessionID: "session"}, given(newToken))
			return err
		}, false},
		"the token moves": {func(ctx context.Context, devices registry, _ register) error {
			_, err := devices.ChangeDevice(ctx, device.Key{SessionID: "hers"}, given(moved))
			return err
		}, false},
		"the token is added for somebody else": {func(ctx context.Context, devices registry, _ register) error {
			return devices.AddDevice(ctx, moved)
		}, false},
		"the device moves": {func(ctx context.Context, devices registry, _ register) error {
			d := newToken
			d.Owner = eve
			_, err := devices.ChangeDevice(ctx, device.Key{SessionID: "session"}, given(d))
			return err
		}, false},
		"the device is removed": {func(ctx context.Context, devices registry, _ register) error {
			return devices.RemoveDevice(ctx, "phone")
		}, false},
		"the push token is forgotten": {func(ctx context.Context, devices registry, _ register) error {
			return devices.AmendDevice(ctx, "phone", func(d bell.Device) (bell.Device, bool) {
				d.PushToken = ""
				return d, true
			})
		}, false},
		"the push token is looked at": {func(ctx context.Context, devices registry, _ register) error {
			return devices.AmendDevice(ctx, "phone", func(d bell.Device) (bell.Device, bool) { return d, false })
		}, true},
		"the device is pruned": {func(ctx context.Context, devices registry, _ register) error {
			_, err := devices.PruneDevices(ctx, time.Now(), 10)
			return err
		}, false},
		"the user ID is taken over": {func(ctx context.Context, _ registry, accounts register) error {
			return accounts.OpenSession(ctx, bell.User{Owner: bob}, bell.Session{ID: "new", Owner: bob}, account.SessionRule{})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "test.db"), Log: testlog.New(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			acme := &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc", CallbackSecret: "a"}
			projects, err := bell.NewProjects([]*bell.Project{acme})
			if err != nil {
				t.Fatal(err)
			}
			eyes, rings := &blind{Store: store}, &quiet{}
			calls := call.New(call.Config{Store: eyes, Bells: rings, Projects: projects})
			devices, accounts := registry{eyes, calls, nil}, register{eyes, calls, nil}
			notify := func(sid planet.SessionID) error {
				rings.rung = nil
				_, err := calls.Ring(t.Context(), acme, planet.NotifyCallback{SessionID: sid, Callee: bob.User, Type: planet.AudioCall})
				return err
			}
			if err := devices.AddDevice(t.Context(), phone); err != nil {
				t.Fatal(err)
			}
			if err := notify("s1"); err != nil || !slices.Equal(rings.rung, []string{"phone"}) {
				t.Fatalf("rung %v, %v", rings.rung, err)
			}
			if err := test.change(t.Context(), devices, accounts); err != nil {
				t.Fatal(err)
			}
			eyes.is.Store(true)
			err = notify("s2")
			if rang := len(rings.rung) > 0; rang != test.rings || rang != (err == nil) {
				t.Errorf("rung %v, %v; want it to ring: %v", rings.rung, err, test.rings)
			}
		})
	}
}

// full is a store that can read but not record calls.
type full struct{ *sqlite.Store }

func (full) BeginCall(context.Context, bell.Call, []bell.Delivery, []planet.RawParam) (call.BeginResult, error) {
	return 0, bell.E(bell.Unavailable, "The disk is full.", nil)
}

// A device that has a call which is not recorded yet is told to say so again, not that it
// never had the call.
func TestReceiptOfACallThatWaitsIsAskedForAgain(t *testing.T) {
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "test.db"), Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	acme := &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc", CallbackSecret: "a"}
	projects, err := bell.NewProjects([]*bell.Project{acme})
	if err != nil {
		t.Fatal(err)
	}
	bob := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
	phone := bell.Device{ID: "phone", Owner: bob, Project: "acme", SessionID: "session", Channel: bell.LongPoll}
	if err := store.AddDevice(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	calls := call.New(call.Config{Store: full{store}, Bells: &quiet{}, Projects: projects})
	rung, err := calls.Ring(t.Context(), acme, planet.NotifyCallback{SessionID: "s1", Callee: bob.User, Type: planet.AudioCall})
	if err != nil || !rung.FromMemory || rung.Devices != 1 {
		t.Fatalf("rung %+v, %v", rung, err)
	}
	for sid, want := range map[planet.SessionID]bell.Kind{"s1": bell.Unavailable, "s2": bell.NotFound} {
		receipt := bell.Receipt{Environment: planet.Evaluation, SessionID: sid, DeviceID: "phone", At: time.Now()}
		if _, err := (ledger{store, calls}).RecordReceipt(t.Context(), receipt); bell.KindOf(err) != want {
			t.Errorf("the receipt of %s: %v, want %s", sid, err, want)
		}
	}
}
