package call_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
)

// TestOneUserCannotFillTheServer: anybody may register for a user ID that is shared, as often
// as the limit per address allows. The call rings the devices that were seen last.
func TestOneUserCannotFillTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		const all = call.MaxDevices + 50
		x.store.devices[bob()] = nil
		for i := range all { // the first was seen last
			d := device(fmt.Sprintf("device-%03d", i), bell.FCM)
			d.LastSeenAt = time.Now().Add(-time.Duration(i) * time.Minute)
			x.store.devices[bob()] = append(x.store.devices[bob()], d)
		}
		got, err := x.Ring(t.Context(), x.acme, notify("s1"))
		if err != nil || got != (call.RingResult{Devices: call.MaxDevices, Skipped: 50}) {
			t.Errorf("Ring = %+v, %v; want %d devices and 50 skipped", got, err, call.MaxDevices)
		}
		rung := map[string]bool{}
		for _, r := range x.bells.started {
			rung[r.Device.ID] = true
		}
		if len(rung) != call.MaxDevices || !rung["device-000"] || rung[fmt.Sprintf("device-%03d", call.MaxDevices)] {
			t.Errorf("%d devices rang, and not those seen last", len(rung))
		}
	})
}

// A suspended device rings only if its user has no other that can be reached.
func TestSuspendedDevicesRingOnlyIfThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		phone := func(id string, change func(*bell.Device)) bell.Device {
			d := device(id, bell.FCM)
			change(&d)
			return d
		}
		well := phone("well", func(*bell.Device) {})
		suspended := phone("suspended", func(d *bell.Device) { d.SuspendedUntil = now.Add(time.Nanosecond) })
		too := phone("suspended too", func(d *bell.Device) { d.SuspendedUntil = now.Add(time.Hour) })
		past := phone("suspended until now", func(d *bell.Device) { d.SuspendedUntil = now })
		forgotten := phone("forgotten", func(d *bell.Device) { d.PushToken, d.ForgottenAt = "", now })
		polling := phone("polling", func(d *bell.Device) { d.Channel, d.PushToken, d.ExpiresAt = bell.LongPoll, "", now.Add(time.Hour) })
		for name, test := range map[string]struct{ devices, want []bell.Device }{
			"another is well":          {[]bell.Device{suspended, well}, []bell.Device{well}},
			"another polls":            {[]bell.Device{suspended, polling}, []bell.Device{polling}},
			"no other":                 {[]bell.Device{suspended}, []bell.Device{suspended}},
			"no other that is well":    {[]bell.Device{suspended, too}, []bell.Device{suspended, too}},
			"another is forgotten":     {[]bell.Device{suspended, forgotten}, []bell.Device{suspended}},
			"another's is over by now": {[]bell.Device{suspended, past}, []bell.Device{past}},
			"only a forgotten one":     {[]bell.Device{forgotten}, nil},
		} {
			x := newExchange(t, nil)
			x.store.devices[bob()] = test.devices
			if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
				t.Fatal(err)
			}
			var rung, want []string
			for _, r := range x.bells.started {
				rung = append(rung, r.Device.ID)
			}
			for _, d := range test.want {
				want = append(want, d.ID)
			}
			if !slices.Equal(rung, want) {
				t.Errorf("%s: %v rang, want %v", name, rung, want)
			}
		}
	})
}
