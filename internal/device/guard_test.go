package device

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// A wrong topic makes all pushes fail: no device is touched, and the operator is told.
func TestWrongConfigurationTouchesNoDevice(t *testing.T) {
	for name, test := range map[string]struct {
		kind    func(*bell.Device)
		outcome bell.Outcome
		series  string
	}{
		"topic":   {sure, notForTopic, "token_config_alerts apns_voip acme/key DeviceTokenNotForTopic"},
		"server":  {explicit, badDevice, "token_config_alerts apns_voip acme/key BadDeviceToken"},
		"project": {android, mismatch, "token_config_alerts fcm acme/key SENDER_ID_MISMATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				var all []bell.Device
				for range 50 {
					all = append(all, s.with(test.kind))
				}
				const rounds = 3 // over more than an hour
				for range rounds {
					for _, d := range all {
						s.teach(d.ID, test.outcome)
					}
					<-time.After(45 * time.Minute)
				}
				for _, d := range all {
					s.is(d.ID, unchanged, d)
				}
				if s.store.amends != 0 {
					t.Errorf("%d amendments", s.store.amends)
				}
				got := s.metrics()
				if n := got[test.series]; n != rounds*50 || len(got) != 1 {
					t.Errorf("metrics %v", got)
				}
				if n := s.said("no device is touched"); n != rounds {
					t.Errorf("the operator was told %d times", n)
				}
			})
		})
	}
}

func TestTheOperatorIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d, other := s.with(sure), s.with(android)
		for range 180 {
			s.teach(d.ID, notForTopic)
			<-time.After(time.Second)
		}
		s.teach(other.ID, mismatch) // another route has its own minute
		if n, few := s.said("no device is touched"), s.said("too few pushes"); n != 4 || few != 2 {
			t.Errorf("told %d times, %d of them of too few pushes", n, few)
		}
	})
}

// The borders: 20 answers, and a tenth of them.
func TestShareOfRefusals(t *testing.T) {
	for _, test := range []struct {
		accepted, refused int // before the refusal that counts
		want              bool
	}{
		{18, 0, false}, // the 19th
		{19, 0, true},
		{9, 0, false}, // a tenth
		{89, 8, true}, // 9 of 98
		{90, 9, false},
		{91, 9, true}, // 10 of 101
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSchool(t)
			s.healthy(sure, test.accepted)
			d := s.with(sure)
			for range test.refused {
				s.shares.count(&bell.Lesson{Device: d, Credential: "acme/key", Outcome: notForTopic, At: time.Now()})
			}
			s.teach(d.ID, notForTopic)
			if got := s.row(d.ID).Strikes == 1; got != test.want {
				t.Errorf("%d accepted, %d refused: struck %t, want %t", test.accepted, test.refused, got, test.want)
			}
		})
	}
}

// Other routes, outages and what is older than 10 minutes prove nothing.
func TestWhatTheShareIsMadeOf(t *testing.T) {
	outage := bell.Outcome{Verdict: bell.RetryBackoff, Status: 503, Token: bell.TokenKeep}
	minute := shareMinutes * time.Minute
	for name, test := range map[string]struct {
		before func(*school)
		want   bool
	}{
		"this route":     {func(s *school) { s.healthy(sure, 100) }, true},
		"minutes ago":    {func(s *school) { s.healthy(sure, 100); <-time.After(minute - time.Minute) }, true},
		"long ago":       {func(s *school) { s.healthy(sure, 100); <-time.After(minute) }, false},
		"days ago":       {func(s *school) { s.healthy(sure, 100); <-time.After(100 * time.Hour) }, false},
		"another server": {func(s *school) { s.healthy(func(d *bell.Device) { sure(d); d.APNsServer = bell.APNsSandbox }, 100) }, false},
		"another channel": {func(s *school) {
			s.healthy(func(d *bell.Device) { sure(d); d.Channel = bell.APNsAlert }, 100)
		}, false},
		"another credential": {func(s *school) {
			d := s.with(sure)
			for range 100 {
				s.Learn(s.t.Context(), bell.Lesson{Device: d, Credential: "acme/other", Outcome: accepted, At: time.Now()})
			}
		}, false},
		"an outage": {func(s *school) {
			d := s.with(sure)
			for range 100 {
				s.teach(d.ID, outage)
			}
		}, false},
		"dead tokens": {func(s *school) {
			for range 30 { // they were known to this route
				s.teach(s.with(sure).ID, unregistered)
			}
		}, true},
		"guesses and second tries": {func(s *school) {
			s.healthy(sure, 30)
			for range 50 {
				s.teach(s.with(guessing).ID, badDevice)
				s.teachOther(s.with(func(d *bell.Device) { d.APNsServer = bell.APNsSandbox }).ID, badDevice)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				d := s.with(sure)
				test.before(s)
				s.teach(d.ID, notForTopic)
				if got := s.row(d.ID).Strikes == 1; got != test.want {
					t.Errorf("struck %t, want %t", got, test.want)
				}
			})
		})
	}
}

// A configuration that turns wrong while all is well costs a few suspensions until it is
// noticed; they are lifted.
func TestSuspensionsOfAWrongConfigurationAreLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		s.healthy(sure, 1000)

		var all []bell.Device
		suspensions := 0
		for range 200 {
			d := s.with(sure)
			s.teach(d.ID, notForTopic)
			if all = append(all, d); s.row(d.ID).Strikes > 0 {
				suspensions++
			}
		}
		synctest.Wait()
		if suspensions < 50 || suspensions > 120 {
			t.Errorf("%d devices were suspended before it was noticed; the test proves little", suspensions)
		}
		for _, d := range all {
			s.is(d.ID, unchanged, d)
		}
		if s.said("no longer held responsible") == 0 {
			t.Error("nobody was told")
		}
		stop()
		running.Wait()
		// What was taken, replaced or removed meanwhile is left alone.
		s.shares.lifted = []strikeOf{{device: "gone"}, {device: all[0].ID, token: "another"}}
		<-time.After(time.Hour)
		s.healthy(sure, 1000)
		s.teach(all[0].ID, notForTopic)
		struck := s.row(all[0].ID)
		s.lift(t.Context())
		s.is(all[0].ID, unchanged, struck)
		s.shares.lifted = []strikeOf{{device: all[0].ID}}
		s.store.fail = errDisk
		s.lift(t.Context())
		if s.said("was not lifted") != 1 {
			t.Error("a suspension that stays was not reported")
		}
	})
}

func TestSharesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShares()
		lesson := func(n int) *bell.Lesson {
			return &bell.Lesson{
				Device: bell.Device{ID: "d", Channel: bell.FCM, PushToken: "t"}, Credential: strconv.Itoa(n), Outcome: accepted, At: time.Now(),
			}
		}
		for n := range 2 * maxRoutes {
			s.count(lesson(n))
			s.remember(lesson(n))
			s.suspect(lesson(n))
		}
		for range 100 {
			if s.count(lesson(maxRoutes + 1)).strikes {
				t.Fatal("a route that is not counted is trusted")
			}
		}
		if len(s.routes) != maxRoutes {
			t.Errorf("%d routes", len(s.routes))
		}
		for range 2 * maxStruck {
			s.remember(lesson(1))
		}
		if n := len(s.routes[routeOf(lesson(1))].struck); n != maxStruck {
			t.Errorf("%d strikes are remembered", n)
		}
		<-time.After(shareMinutes*time.Minute + time.Second)
		s.remember(lesson(1))
		if n := len(s.routes[routeOf(lesson(1))].struck); n != 1 {
			t.Errorf("%d strikes are remembered, most of them old", n)
		}
		for range 30 {
			s.count(lesson(maxRoutes + 1)) // in the place of those of which nothing was heard
		}
		if !s.count(lesson(maxRoutes+1)).strikes || len(s.routes) > maxRoutes {
			t.Errorf("%d routes", len(s.routes))
		}
		// A clock that is set back.
		back := lesson(maxRoutes + 1)
		back.At = back.At.Add(-time.Hour)
		if !s.count(back).strikes {
			t.Error("the share was lost")
		}
	})
}

func TestReasonsInMetricsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		for _, reason := range []string{"x", "not \xff UTF-8", "unknown_reason"} {
			o := unregistered
			o.Reason = reason
			s.teach(s.with(sure).ID, o)
		}
		got := s.metrics()
		if got["token_forgotten apns_voip other"] != 2 || got["token_forgotten apns_voip unknown_reason"] != 1 || len(got) != 2 {
			t.Errorf("metrics %v", got)
		}
	})
}
