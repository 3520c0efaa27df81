package device

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

const alertToken = planet.Secret("a1e2700000000000" + testlog.Hex)

func shown(d *bell.Device) { d.AlertToken = alertToken }

// Proof against the token for alerts ends that token only; anything less ends nothing: the
// phone has to ring.
func TestWhatIsSaidOfAnAlertToken(t *testing.T) {
	bad := bell.Outcome{Verdict: bell.Rejected, Reason: "BadDeviceToken", Status: 400, Token: bell.TokenCheck}
	old := unregistered
	for name, test := range map[string]struct {
		outcome bell.Outcome
		since   time.Duration
		then    func(*bell.Device)
		want    bool
	}{
		"410":                            {unregistered, 0, unchanged, true},
		"410 of one given since":         {old, -time.Hour, unchanged, false},
		"410, given again after":         {unregistered, 0, func(d *bell.Device) { d.RegisteredAt = time.Now().Add(1) }, false},
		"410 of one that was replaced":   {unregistered, 0, func(d *bell.Device) { d.AlertToken += "00" }, false},
		"410 of one that is gone":        {unregistered, 0, func(d *bell.Device) { d.AlertToken = "" }, false},
		"a doubt":                        {bad, 0, unchanged, false},
		"taken":                          {accepted, 0, unchanged, false},
		"410, and VoIP is of a new kind": {unregistered, 0, func(d *bell.Device) { d.Channel = bell.APNsAlert }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				s.healthy(sure, 100)
				d := s.with(shown)
				attempted := d.Over(bell.APNsAlert)
				test.then(&d)
				s.store.devices[d.ID] = d
				o := test.outcome
				if test.since != 0 {
					o.DeadSince = d.RegisteredAt.Add(test.since)
				}
				s.lesson(attempted, o, true)
				want := unchanged
				if test.want {
					want = func(d *bell.Device) { d.AlertToken = "" }
				}
				s.is(d.ID, want, d)
				s.said("") // nothing in the log shows a token
			})
		})
	}
}

func TestAlertTokenIsChecked(t *testing.T) {
	address := Address{NotificationType: "apnsvoip", Token: "ab12ab12ab12ab12", AlertToken: "CD34CD34CD34CD34"}
	r, err := parseAddress(&bell.Project{}, address)
	if err != nil || r.alert != "cd34cd34cd34cd34" {
		t.Fatalf("%s, error %v", r.alert.Fingerprint(), err)
	}
	var d bell.Device
	r.apply(&d)
	if d.AlertToken != "cd34cd34cd34cd34" {
		t.Error("it is not kept")
	}
	for name, change := range map[string]func(*Address){
		"no hexadecimal": func(a *Address) { a.AlertToken = "token-of-somebody" },
		"too short":      func(a *Address) { a.AlertToken = "ab" },
		"for FCM":        func(a *Address) { a.NotificationType = "fcm" },
		"for alerts":     func(a *Address) { a.NotificationType = "apns" },
	} {
		a := address
		change(&a)
		if _, err := parseAddress(&bell.Project{}, a); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%s: error %v", name, err)
		}
	}
	address.AlertToken = ""
	if r, err = parseAddress(&bell.Project{}, address); err != nil {
		t.Fatal(err)
	}
	if r.apply(&d); d.AlertToken != "" {
		t.Error("a token that is not given any more is kept")
	}
}

// A device says with its polls whether it knows notices; it is written at once that it does,
// and with the next contact that it does not any more.
func TestPollingSaysWhetherItKnowsNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		id := identity("session", "bob")
		poll := func(notices bool) bell.Device {
			t.Helper()
			device, err := s.Polling(t.Context(), id, notices)
			if err != nil {
				t.Fatal(err)
			}
			return s.row(device)
		}
		for i, step := range []struct{ says, want bool }{{false, false}, {true, true}, {true, true}, {false, true}} {
			if got := poll(step.says); got.Notices != step.want {
				t.Errorf("poll %d: it knows notices: %t", i, got.Notices)
			}
		}
		<-time.After(2 * seenEvery)
		if got := poll(false); got.Notices {
			t.Error("at its next contact it still does")
		}
	})
}
