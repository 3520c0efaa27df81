package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/verdict"
)

// Devices that were left out when the call came in, each for its own reason.
func TestWhyOfDevicesThatAreLeftOut(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, configured(func(c *config.Config) { c.Projects[0].AppTokenLifetime = 5 * time.Second }))
	s.leave(s.phone("ivy", sim.Windows, "ivy's PC"))
	s.phone("gil", sim.Web, "gil's page")
	s.phone("hal", sim.Web, "hal's page")

	s.says(s.ask("hal"), "never_said_how", "hal's CHROMEOS device had signed in, but never said how")
	s.World.FCM.Unregister(s.android("gil"))
	s.says(s.ask("gil"), "unregistered", "gil's ANDROID device", "UNREGISTERED")
	s.await("gil's push token is forgotten", func() bool { return s.reachable("gil") == 0 })
	sid := s.ask("gil")
	v := s.says(sid, "no_reachable_device", "None of the devices of gil could be reached")
	wantDevice(t, v, "never_said_how", "gil's CHROMEOS device")
	wantDevice(t, v, "forgotten", "gil's ANDROID device", "UNREGISTERED")

	// A hundred are rung, and show that APNs and the configuration are well: then a refusal is
	// the token's own fault.
	for range call.MaxDevices + 1 {
		s.iphone("fleet", false)
	}
	sid = s.ask("fleet")
	s.settled(sid)
	s.deviceSays(sid, "too_many_devices", "fleet's IOS device was left out", "more devices than are rung for one call")

	s.iphone("dan", true)
	for range 2 {
		sid = s.ask("dan")
		s.says(sid, "bad_device_token_everywhere", "Both of Apple's servers refused the token of dan's IOS device", "BadDeviceToken")
		s.settled(sid)
	}
	s.await("dan's iPhone is suspended", func() bool { return !s.devices("dan")[0].SuspendedUntil.IsZero() })
	s.says(s.ask("dan"), "suspended_and_refused", "dan's IOS device, suspended since", "BadDeviceToken", "no better one")
	s.iphone("dan", false)
	s.deviceSays(s.ask("dan"), "suspended", "dan's IOS device had been suspended since", "BadDeviceToken", "others were rung")

	s.await("ivy's sign-in has ended", func() bool { return s.reachable("ivy") == 0 })
	s.says(s.ask("ivy"), "sign_in_expired", "The sign-in of ivy's DESKTOPWIN device had ended at")
}

// Keys, subscriptions and push services of browsers, whatever browser.
func TestWhyOfVAPIDAndPushServices(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly)
	for user, profile := range map[string]sim.PushProfile{"ann": sim.PushApple, "ben": sim.PushFirefox} {
		s.phoneOf(sim.PhoneRequest{UserID: user, Kind: sim.Browser, Name: user + "'s page", PushProfile: profile})
	}
	for _, c := range []struct {
		user   string
		answer sim.Answer
		code   verdict.Code
		words  []string
	}{
		{"ann", says(http.StatusForbidden, "BadJwtToken"), "vapid_refused", []string{"refused our VAPID signature for ann's WEB device", "BadJwtToken"}},
		{"ben", says(http.StatusBadRequest, ""), "bad_request", []string{"ben's WEB device", "errno_110"}},
		{"ben", says(http.StatusTeapot, "999"), "refused_unknown", []string{"answered 418 for ben's WEB device"}},
	} {
		if err := s.World.SetFault("webpush", c.answer, 0); err != nil {
			t.Fatal(err)
		}
		s.says(s.ask(c.user), c.code, c.words...)
	}
	s.World.ClearFaults()

	s.stop()
	s.Config.Projects[0].WebPush.VAPIDPrivateKey = bell.NewVAPIDKey()
	s.start()
	s.says(s.ask("ann"), "vapid_key_changed", "VapidPkHashMismatch", "ann's WEB device", "another VAPID key")
	s.says(s.ask("ben"), "vapid_key_changed", "errno_109", "ben's WEB device")

	s.stop()
	s.Config.Projects[0].WebPush.Hosts = s.Config.Projects[0].WebPush.Hosts[1:] // the simulator's is the first
	s.start()
	s.says(s.ask("ann"), "push_service_not_allowed", "ann's WEB device names a push service that this server may not send to")
}
