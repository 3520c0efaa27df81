package call_test

import (
	"fmt"
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
