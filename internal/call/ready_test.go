package call_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
)

func TestReady(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	good := bell.Device{ID: "good", Channel: bell.FCM, PushToken: "token"}
	suspended := bell.Device{ID: "suspended", Channel: bell.APNsVoIP, PushToken: "token", SuspendedUntil: now.Add(time.Hour), SuspendedFor: "BadDeviceToken"}
	forgotten := bell.Device{ID: "forgotten", Channel: bell.FCM, ForgottenAt: now.Add(-time.Hour), ForgottenFor: "UNREGISTERED"}
	silent := bell.Device{ID: "silent"}
	expired := bell.Device{ID: "expired", Channel: bell.LongPoll, ExpiresAt: now}
	stranded := bell.Device{ID: "stranded", Channel: bell.APNsAlert, PushToken: "token"}
	route := func(d *bell.Device) string {
		if d.ID == "stranded" {
			return "no_apns_credential"
		}
		return ""
	}
	for _, test := range []struct {
		name    string
		devices []bell.Device
		want    []call.Readiness
		reason  string // of the first
	}{
		{"one", []bell.Device{good}, []call.Readiness{call.ReadyNow}, ""},
		{"none", nil, nil, ""},
		{"suspended beside another", []bell.Device{suspended, good}, []call.Readiness{call.NotSuspended, call.ReadyNow}, "BadDeviceToken"},
		{"suspended alone", []bell.Device{suspended, forgotten}, []call.Readiness{call.ReadyAtLast, call.NotForgotten}, "BadDeviceToken"},
		{
			"what cannot",
			[]bell.Device{forgotten, silent, expired, stranded},
			[]call.Readiness{call.NotForgotten, call.NotAddressed, call.NotExpired, call.NotRouted},
			"UNREGISTERED",
		},
		{"no route", []bell.Device{stranded}, []call.Readiness{call.NotRouted}, "no_apns_credential"},
	} {
		got := call.Ready(test.devices, now, route)
		if len(got) != len(test.want) {
			t.Fatalf("%s: %d of %d devices", test.name, len(got), len(test.want))
		}
		for i, want := range test.want {
			if got[i].Readiness != want || i == 0 && got[i].Reason != test.reason {
				t.Errorf("%s: device %d is %s (%s), want %s", test.name, i, got[i].Readiness, got[i].Reason, want)
			}
		}
	}
	var many []bell.Device
	for n := range call.MaxDevices + 1 {
		d := good
		d.ID, d.LastSeenAt = fmt.Sprint(n), now.Add(time.Duration(n)*time.Second)
		many = append(many, d)
	}
	if got := call.Ready(many, now, route); got[0].Readiness != call.NotAmongMany || !got[1].Readiness.Rings() {
		t.Errorf("of too many devices the longest unseen is %s, the next %s", got[0].Readiness, got[1].Readiness)
	}
}
