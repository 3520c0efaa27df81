package device

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
)

func TestProofForgetsTheToken(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name    string
		kind    func(*bell.Device)
		outcome bell.Outcome
		since   time.Duration // DeadSince after the registration; 0: none
		then    func(*bell.Device)
		want    bool
	}{
		{"410 without a time", sure, unregistered, 0, unchanged, true},
		{"410 of a token registered before", sure, unregistered, time.Millisecond, unchanged, true},
		{"410 of a token registered since", sure, unregistered, -time.Millisecond, unchanged, false},
		{"410 of a guess", guessing, unregistered, 0, unchanged, true},
		{"410 of a suspended one", sure, unregistered, 0, func(d *bell.Device) { d.Strikes, d.SuspendedUntil = 1, time.Now() }, true},
		{"UNREGISTERED", android, gone, 0, unchanged, true},
		{"the token was replaced", sure, unregistered, 0, func(d *bell.Device) { d.PushToken += "00" }, false},
		{"the token was forgotten", sure, unregistered, 0, func(d *bell.Device) { d.PushToken = "" }, false},
		{"the channel was changed", sure, unregistered, 0, func(d *bell.Device) { d.Channel = bell.APNsAlert }, false},
		{"the same token was given again after the answer", android, gone, 0, func(d *bell.Device) { d.RegisteredAt = time.Now().Add(1) }, false},
		{"the same token was given again before the answer", android, gone, 0, func(d *bell.Device) { d.RegisteredAt = time.Now() }, true},
		{"what we sent was wrong", sure, bell.Outcome{Verdict: bell.Rejected, Reason: "MissingDeviceToken", Token: bell.TokenDrop, Alarm: bell.AlarmBug}, 0, unchanged, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				d := s.with(test.kind)
				attempted := d
				test.then(&d)
				s.store.devices[d.ID] = d
				if test.since != 0 {
					test.outcome.DeadSince = time.Now().Add(-day + test.since)
				}
				s.lesson(attempted, test.outcome, false)
				want := unchanged
				if test.want {
					want = forgottenFor(test.outcome.Reason)
				}
				s.is(d.ID, want, d)
				if got := s.metrics()["token_forgotten "+string(d.Channel)+" "+test.outcome.Reason] == 1; got != test.want {
					t.Errorf("metrics %v", s.metrics())
				}
				if got := s.said("a push token was forgotten") == 1; got != test.want {
					t.Errorf("the log does not fit: forgotten %t", test.want)
				}
			})
		})
	}
	// At the very moment of the registration: not after it.
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d := s.with(sure)
		o := unregistered
		o.DeadSince = d.RegisteredAt
		s.teach(d.ID, o)
		s.is(d.ID, forgottenFor("Unregistered"), d)
	})
}

// What is not about the token never touches a device, nor even the database.
func TestEverythingElseTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		s.healthy(sure, 100)
		for _, kind := range []func(*bell.Device){sure, guessing, explicit, android, func(d *bell.Device) { d.Channel, d.PushToken = bell.LongPoll, "" }} {
			d := s.with(kind)
			for _, verdict := range []bell.Verdict{
				bell.Deposited, bell.RetryNow, bell.RetryBackoff, bell.RetryConnect, bell.RetryThrottled, bell.RetryCredential, bell.Rejected,
			} {
				for _, alarm := range []bell.Alarm{bell.AlarmNone, bell.AlarmCount, bell.AlarmBug, bell.AlarmConfig, bell.AlarmPage} {
					s.teach(d.ID, bell.Outcome{Verdict: verdict, Reason: "x", Token: bell.TokenKeep, Alarm: alarm})
				}
			}
			s.is(d.ID, unchanged, d)
		}
		if s.store.amends != 0 || len(s.metrics()) != 0 || s.said("\n") != 0 {
			t.Errorf("%d amendments, metrics %v", s.store.amends, s.metrics())
		}
	})
}

// A write for each push would be too much: only the first one that is taken is news.
func TestAcceptedPushesAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		for _, test := range []struct {
			kind   func(*bell.Device)
			writes int
		}{{explicit, 1}, {guessing, 1}, {sure, 0}, {android, 0}} {
			d := s.with(test.kind)
			before, known := s.store.amends, known(test.kind)
			known(&d)
			reads := s.store.reads
			for range 5 {
				s.lesson(d, accepted, false)
			}
			if s.store.reads != reads {
				t.Error("the database was read for a push that was taken as ever")
			}
			d = s.row(d.ID)
			for range 5 {
				s.teach(d.ID, accepted)
			}
			if got := s.store.amends - before; got != test.writes {
				t.Errorf("%d amendments for 5 pushes, want %d", got, test.writes)
			}
			s.is(d.ID, func(d *bell.Device) {
				if apple(d.Channel) {
					d.APNsServerGuessed, d.APNsServerConfirmed = false, true
				}
			}, d)
		}
		// Old news: the row knows already.
		d := s.with(explicit)
		s.teach(d.ID, accepted)
		before := s.store.amends
		s.lesson(d, accepted, false)
		if s.store.amends != before {
			t.Error("what the row knew was written")
		}
	})
}

func TestAPNsServerIsRepaired(t *testing.T) {
	for name, kind := range map[string]func(*bell.Device){"guessed": guessing, "explicit": explicit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				s.healthy(sure, 100)
				d := s.with(kind)
				attempted := d
				attempted.APNsServer = bell.APNsSandbox
				s.teach(d.ID, badDevice)
				if got := s.row(d.ID); got.Suspended(time.Now()) {
					t.Error("the device was suspended before the other server was asked")
				}
				s.lesson(attempted, accepted, true)
				known := func(d *bell.Device) {
					d.APNsServer, d.APNsServerGuessed, d.APNsServerConfirmed = bell.APNsSandbox, false, true
				}
				s.is(d.ID, known, d)
				if got := s.metrics()["apns_server_repaired sandbox"]; got != 1 || s.said("another APNs server") != 1 {
					t.Errorf("repaired %v times", got)
				}
				// It never flips again.
				before := s.store.amends
				for _, o := range []bell.Outcome{accepted, badDevice, notForTopic, unregistered} {
					s.lesson(d, o, false) // at production
				}
				if s.is(d.ID, known, d); s.store.amends != before {
					t.Error("a known server was written again")
				}
				// The client says the wrong one again, at each start: what is known stays.
				id := identity(d.SessionID, "bob")
				for _, server := range []string{"production", ""} {
					if _, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: d.PushToken, APNsServer: server}); err != nil {
						t.Fatal(err)
					}
					if got := s.row(d.ID); got.APNsServer != bell.APNsSandbox || got.APNsServerGuessed || !got.APNsServerConfirmed {
						t.Errorf("after saying %q: %+v", server, got)
					}
				}
				// Another token, or one of another kind, is another matter.
				for _, a := range []Address{
					{NotificationType: "apns", Token: d.PushToken},
					{NotificationType: "apns", Token: d.PushToken + "00"},
				} {
					if _, err := s.UpdateToken(t.Context(), id, a); err != nil {
						t.Fatal(err)
					}
					if got := s.row(d.ID); got.APNsServer != bell.APNsProduction || !got.APNsServerGuessed || got.APNsServerConfirmed {
						t.Errorf("another token: %+v", got)
					}
					s.teach(d.ID, accepted)
				}
			})
		})
	}
}

func TestGuessRefusedByBothServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d := s.with(guessing)
		s.teach(d.ID, badDevice)
		s.is(d.ID, unchanged, d)
		s.teachOther(d.ID, badDevice)
		s.is(d.ID, forgottenFor("BadDeviceToken"), d)
		if len(s.metrics()) != 1 || s.said("configuration") != 0 {
			t.Errorf("metrics %v", s.metrics())
		}

		// Not for the topic at the other server: perhaps the configuration's fault.
		d = s.with(guessing)
		s.teach(d.ID, badDevice)
		s.teachOther(d.ID, notForTopic)
		s.is(d.ID, unchanged, d)
		s.healthy(func(d *bell.Device) { sure(d); d.APNsServer = bell.APNsSandbox }, 100)
		s.teachOther(d.ID, notForTopic) // and now the token's
		if got := s.row(d.ID); got.Strikes != 1 || !got.Suspended(time.Now()) {
			t.Errorf("the device %+v", got)
		}
	})
}

// If hardly any guess comes out, the servers' URLs are wrong and not the tokens.
func TestGuessesThatAllFailAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		var kept int
		for range 60 {
			d := s.with(guessing)
			s.teach(d.ID, badDevice)
			s.teachOther(d.ID, badDevice)
			if s.row(d.ID).PushToken != "" {
				kept++
			}
		}
		if kept != 60-(minJudged-1) || s.said("the configuration must be wrong") != 1 {
			t.Errorf("%d of 60 were kept; said %d times", kept, s.said("the configuration must be wrong"))
		}
		<-time.After(shareMinutes * time.Minute)
		d := s.with(guessing)
		s.teachOther(d.ID, badDevice)
		s.is(d.ID, forgottenFor("BadDeviceToken"), d)
	})
}

func TestStrikes(t *testing.T) {
	for name, test := range map[string]struct {
		kind    func(*bell.Device)
		outcome bell.Outcome
	}{
		"confirmed server":   {sure, badDevice},
		"another app's":      {sure, notForTopic},
		"guess, another's":   {guessing, notForTopic},
		"of another project": {android, mismatch},
		"no token":           {android, noToken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchool(t)
				d := s.with(test.kind)
				began := time.Now()
				for n, at := range []time.Duration{0, time.Second, 30 * time.Minute, time.Hour - 1} {
					<-time.After(time.Until(began.Add(at)))
					s.healthy(known(test.kind), 60)
					s.teach(d.ID, test.outcome)
					s.is(d.ID, func(d *bell.Device) {
						d.Strikes, d.StruckAt = n+1, began
						d.SuspendedUntil, d.SuspendedFor = time.Now().Add(30*time.Minute), test.outcome.Reason
					}, d)
				}
				<-time.After(1) // three strikes and more, over an hour
				s.teach(d.ID, test.outcome)
				s.is(d.ID, forgottenFor(test.outcome.Reason), d)
				want := map[string]float64{
					"token_suspended " + string(d.Channel) + " " + test.outcome.Reason: 4,
					"token_forgotten " + string(d.Channel) + " " + test.outcome.Reason: 1,
				}
				if diff := cmp.Diff(want, s.metrics()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// known is kind with its server known: what makes a route healthy.
func known(kind func(*bell.Device)) func(*bell.Device) {
	return func(d *bell.Device) {
		if kind(d); apple(d.Channel) {
			d.APNsServerGuessed, d.APNsServerConfirmed = false, true
		}
	}
}

// Three strikes over an hour are enough.
func TestThreeStrikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d := s.with(sure)
		for range 2 {
			s.healthy(sure, 60)
			s.teach(d.ID, badDevice)
			s.healthy(sure, 60)
			<-time.After(30 * time.Minute)
		}
		s.healthy(sure, 60)
		s.teach(d.ID, badDevice)
		s.is(d.ID, forgottenFor("BadDeviceToken"), d)
	})
}

// Two strikes are not three, however long ago the first was; and the third may be the first
// of a new row after the token was taken.
func TestStrikesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		s.healthy(sure, 100)
		d := s.with(sure)
		s.teach(d.ID, badDevice)
		<-time.After(24 * time.Hour)
		s.healthy(sure, 100)
		s.teach(d.ID, badDevice)
		if got := s.row(d.ID); got.Strikes != 2 || got.PushToken == "" {
			t.Errorf("after two strikes: %+v", got)
		}
		s.teach(d.ID, accepted)
		s.is(d.ID, unchanged, d)
		s.teach(d.ID, badDevice)
		if got := s.row(d.ID); got.Strikes != 1 || !got.StruckAt.Equal(time.Now()) {
			t.Errorf("after the token was taken: %+v", got)
		}
		notice, err := s.UpdateToken(t.Context(), identity(d.SessionID, "bob"), Address{NotificationType: "apnsvoip", Token: d.PushToken})
		if err != nil || notice != (Notice{Suspended: "BadDeviceToken"}) {
			t.Errorf("notice %+v, %v", notice, err)
		}
		s.is(d.ID, func(d *bell.Device) { d.RegisteredAt, d.LastSeenAt = time.Now(), time.Now() }, d)
	})
}

// The first refusal of a server that was never confirmed does not suspend, because the
// other server is asked at once; the next one does.
func TestExplicitServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		s.healthy(sure, 100)
		d := s.with(explicit)
		began := time.Now()
		s.teach(d.ID, badDevice)
		s.teachOther(d.ID, badDevice)
		s.is(d.ID, func(d *bell.Device) { d.Strikes, d.StruckAt = 1, began }, d)
		<-time.After(time.Minute)
		s.teach(d.ID, badDevice)
		s.is(d.ID, func(d *bell.Device) {
			d.Strikes, d.StruckAt, d.SuspendedFor, d.SuspendedUntil = 2, began, "BadDeviceToken", time.Now().Add(suspendFor)
		}, d)
		// Another app's token is no matter of servers.
		d = s.with(explicit)
		s.teach(d.ID, notForTopic)
		if got := s.row(d.ID); !got.Suspended(time.Now()) {
			t.Error("another app's token was not suspended")
		}
	})
}

// The row is judged as it is when it is written, not as it was when it was looked at.
func TestRegistrationDuringTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d := s.with(sure)
		s.store.meanwhile = func() {
			s.store.meanwhile = nil
			if _, err := s.UpdateToken(t.Context(), identity(d.SessionID, "bob"), Address{NotificationType: "apnsvoip", Token: d.PushToken + "00"}); err != nil {
				t.Error(err)
			}
		}
		s.teach(d.ID, unregistered)
		if got := s.row(d.ID); got.PushToken != d.PushToken+"00" || !got.ForgottenAt.IsZero() || len(s.metrics()) != 0 {
			t.Errorf("the new token was forgotten: %+v, %v", got, s.metrics())
		}
		s.store.meanwhile = func() { delete(s.store.devices, d.ID) }
		s.teach(d.ID, unregistered)
		s.lesson(d, unregistered, false) // gone before
		if s.said("level") != 0 {
			t.Error("a device that is gone was complained about")
		}
	})
}

func TestLessonThatIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		d := s.with(sure)
		s.store.fail = errDisk
		s.Learn(t.Context(), bell.Lesson{Device: d, Outcome: unregistered}) // without a time: now
		if s.said("was not written") != 1 || s.said(errDisk.Error()) != 1 || len(s.metrics()) != 0 {
			t.Errorf("metrics %v", s.metrics())
		}
		s.store.fail = nil
		s.is(d.ID, unchanged, d)
		s.Learn(t.Context(), bell.Lesson{Device: d, Outcome: unregistered})
		s.is(d.ID, forgottenFor("Unregistered"), d)
	})
}
