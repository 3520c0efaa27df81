package call

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
)

func TestWhatSpokeAgainstDevices(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	devices := []bell.Device{
		{ID: "well", Channel: bell.FCM, PushToken: "t", LastSeenAt: at(-1)},
		{ID: "forgotten", AppType: "IOS", Channel: bell.APNsVoIP, ForgottenAt: at(-60), ForgottenFor: "Unregistered", LastSeenAt: at(-2)},
		{ID: "mute", LastSeenAt: at(-3)},
		{ID: "expired", Channel: bell.LongPoll, ExpiresAt: at(-5), LastSeenAt: at(-4)},
		{ID: "suspended", Channel: bell.FCM, PushToken: "t", StruckAt: at(-9), SuspendedUntil: at(9), SuspendedFor: "SENDER_ID_MISMATCH", LastSeenAt: at(-5)},
		{ID: "bare", Channel: bell.FCM, LastSeenAt: at(-6)},
	}
	want := []bell.DeviceNote{
		{DeviceID: "forgotten", AppType: "IOS", Channel: bell.APNsVoIP, Why: bell.NoteForgotten, Reason: "Unregistered", Since: at(-60)},
		{DeviceID: "mute", Why: bell.NoteNoChannel},
		{DeviceID: "expired", Channel: bell.LongPoll, Why: bell.NoteExpired, Since: at(-5)},
		{DeviceID: "suspended", Channel: bell.FCM, Why: bell.NoteSuspended, Reason: "SENDER_ID_MISMATCH", Since: at(-9)},
		{DeviceID: "bare", Channel: bell.FCM, Why: bell.NoteNoChannel},
	}
	chosen, _ := choose(devices, now)
	got := noted(devices, chosen, now)
	if diff := cmp.Diff(want, got.Devices); diff != "" || got.More != 0 {
		t.Errorf("noted (- want, + got), and %d more:\n%s", got.More, diff)
	}

	chosen, _ = choose(devices[4:5], now) // there is no better one
	if got := noted(devices[4:5], chosen, now).Devices; len(got) != 1 || !got[0].Rung || got[0].Why != bell.NoteSuspended {
		t.Errorf("the only device, suspended, is noted as %+v", got)
	}
}

func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var devices []bell.Device
	for i := range MaxDevices + 30 {
		devices = append(devices, bell.Device{ID: fmt.Sprint(i), Channel: bell.FCM, PushToken: "t", LastSeenAt: now.Add(time.Duration(i) * time.Second)})
	}
	chosen, skipped := choose(devices, now)
	got := noted(devices, chosen, now)
	if skipped != 30 || len(got.Devices) != bell.MaxDeviceNotes || got.More != 10 {
		t.Errorf("%d skipped: %d notes and %d more", skipped, len(got.Devices), got.More)
	}
	if n := got.Devices[0]; n.Why != bell.NoteTooMany || n.DeviceID != "29" {
		t.Errorf("the first note is %+v", n)
	}
}

// A call that all of its callee's devices ring for pays nothing for notes.
func TestNothingToNoteCostsNothing(t *testing.T) { // not parallel: it counts allocations
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	devices := []bell.Device{{ID: "a", Channel: bell.FCM, PushToken: "t"}, {ID: "b", AppType: "IOS", Channel: bell.APNsVoIP, PushToken: "t"}}
	chosen, _ := choose(devices, now)
	if n := testing.AllocsPerRun(10, func() { noted(devices, chosen, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A device's readiness and the note of a call, which a verdict is made of, say the same, and a
// device that can be reached is one that only a suspension speaks against.
func TestReadinessAndNotesAgree(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	says := map[bell.NoteWhy]Readiness{
		"": ReadyNow, bell.NoteForgotten: NotForgotten, bell.NoteNoChannel: NotAddressed,
		bell.NoteExpired: NotExpired, bell.NoteSuspended: ReadyAtLast,
	}
	for _, channel := range []bell.Channel{"", bell.LongPoll, bell.FCM} {
		for bits := range 16 {
			d := bell.Device{ID: "d", Channel: channel}
			if bits&1 != 0 {
				d.PushToken = "t"
			}
			if bits&2 != 0 {
				d.ForgottenAt = now.Add(-time.Hour)
			}
			if bits&4 != 0 {
				d.ExpiresAt = now
			}
			if bits&8 != 0 {
				d.SuspendedUntil = now.Add(time.Hour)
			}
			n, _ := d.Note(now)
			got := Ready([]bell.Device{d}, now, func(*bell.Device) string { return "" })[0].Readiness
			if got != says[n.Why] || d.Reachable(now) != got.Rings() {
				t.Errorf("%q, bits %b: the note says %q, readiness %q, reachable %t", channel, bits, n.Why, got, d.Reachable(now))
			}
		}
	}
}
