package delivery

import (
	"testing"
	"testing/synctest"

	"github.com/planetbell/planetbell/internal/bell"
)

// What was recorded for a device or by settings that have changed since is not sent.
func TestClaimedButNotSendable(t *testing.T) {
	for name, test := range map[string]struct {
		purpose bell.Purpose
		channel bell.Channel
		gone    bool // the device's push token
		off     bool // the project sends no such notice by this channel
		reason  string
	}{
		"call":                           {channel: bell.APNsVoIP, off: true}, // not asked of calls
		"call without a token":           {channel: bell.FCM, gone: true, reason: "no_token"},
		"call to be polled":              {channel: bell.LongPoll, gone: true},
		"notice without a token":         {bell.PurposeMissedCall, bell.APNsAlert, true, false, "no_token"},
		"missed call":                    {bell.PurposeMissedCall, bell.APNsAlert, false, false, ""},
		"missed call by VoIP":            {bell.PurposeMissedCall, bell.APNsVoIP, false, false, "channel_off"},
		"invitation by VoIP":             {bell.PurposeInvitation, bell.APNsVoIP, false, false, ""},
		"invitation by VoIP, not wanted": {bell.PurposeInvitation, bell.APNsVoIP, false, true, "channel_off"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) {
					if test.off {
						c.Tells = func(*bell.Call, bell.Channel) bool { return false }
					}
				})
				rings := b.rings(1, test.channel, "d")
				rings[0].Call.Purpose, rings[0].Delivery.LeaseOwner = test.purpose, "dead"
				if test.gone {
					rings[0].Device.PushToken = ""
				}
				b.store.add(rings...)
				end := b.run(t, true)
				synctest.Wait()
				got, sends := b.store.row("d/1"), len(b.times("d"))
				if test.reason == "" && sends != 1 || test.reason != "" && (sends != 0 || got.State != bell.DeliveryFailed || got.Reason != test.reason) {
					t.Errorf("%d attempts, %s %q, want reason %q", sends, got.State, got.Reason, test.reason)
				}
				end()
				b.finish(t)
			})
		})
	}
}
