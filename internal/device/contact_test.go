package device

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestDeviceIsToldOnItsNextContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		id := identity("s1", "bob")
		register := func(want Notice) {
			t.Helper()
			if got, err := s.Register(t.Context(), id, Description{}); err != nil || got != want {
				t.Errorf("register: notice %+v, %v; want %+v", got, err, want)
			}
		}
		update := func(token planet.Secret, want Notice) {
			t.Helper()
			got, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: token, APNsServer: "production"})
			if err != nil || got != want {
				t.Errorf("update: notice %+v, %v; want %+v", got, err, want)
			}
		}
		register(Notice{})
		update(hexToken, Notice{})
		device := s.store.only(t).ID
		s.teach(device, unregistered)
		register(Notice{Removed: "Unregistered"})
		register(Notice{Removed: "Unregistered"}) // until it gives a token
		update(hexToken+"00", Notice{Removed: "Unregistered"})
		register(Notice{})
		if d := s.store.only(t); !d.ForgottenAt.IsZero() || d.ForgottenFor != "" || !d.Reachable(time.Now()) {
			t.Errorf("after a new token: %+v", d)
		}
		s.healthy(sure, 100)
		s.teach(device, notForTopic)
		register(Notice{Suspended: "DeviceTokenNotForTopic"})
		<-time.After(suspendFor)
		register(Notice{}) // over
		s.healthy(sure, 100)
		s.teach(device, notForTopic)
		update(hexToken+"00", Notice{Suspended: "DeviceTokenNotForTopic"})
		register(Notice{})
	})
}

// A device whose push token was forgotten and that polls can be reached by polling.
func TestForgottenDevicePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		id := identity("s1", "bob")
		if _, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: hexToken}); err != nil {
			t.Fatal(err)
		}
		device := s.store.only(t).ID
		s.teach(device, unregistered)
		if got, err := s.Polling(t.Context(), id, false); err != nil || got != device {
			t.Errorf("Polling = %s, %v", got, err)
		}
		d := s.store.only(t)
		if d.Channel != bell.LongPoll || !d.Reachable(time.Now()) || !d.ExpiresAt.Equal(id.ExpiresAt) {
			t.Errorf("the device polls and cannot be reached: %+v", d)
		}
		if notice, err := s.Register(t.Context(), id, Description{}); err != nil || notice.Removed != "Unregistered" {
			t.Errorf("notice %+v, %v", notice, err)
		}
		if notice, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "lp"}); err != nil || notice.Removed == "" || !s.store.only(t).ForgottenAt.IsZero() {
			t.Errorf("notice %+v, %v", notice, err)
		}
	})
}

func TestDeviceIDs(t *testing.T) {
	for id, ok := range map[string]bool{
		"": true, "x": true, "6F9619FF-8B86-D011-B42D-00CF4FC964FF": true, "a b~!": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "a\n": false, "\x7f": false, "ä": false, "\xff": false, "\x00": false,
	} {
		s, store := newService(t)
		said := Description{DeviceID: id}
		_, register := s.Register(t.Context(), identity("s1", "bob"), said)
		_, update := s.UpdateToken(t.Context(), identity("s2", "bob"), Address{Description: said, NotificationType: "lp"})
		for _, err := range []error{register, update} {
			if ok != (err == nil) || !ok && (bell.KindOf(err) != bell.Invalid || !strings.Contains(err.Error(), "deviceId") || store.writes != 0) {
				t.Errorf("%q: %v, %d writes", id, err, store.writes)
			}
		}
	}
}

// The same installation in a new session is the same device: a changed token replaces the
// old one.
func TestInstallationKeepsItsDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newService(t)
		said := Description{AppType: "IOS", AppVersion: "1", AppID: "com.example", DeviceID: "phone"}
		address := func(said Description, token planet.Secret) Address {
			return Address{Description: said, NotificationType: "apnsvoip", Token: token}
		}
		if _, err := s.UpdateToken(t.Context(), identity("s1", "bob"), address(said, hexToken)); err != nil {
			t.Fatal(err)
		}
		first := store.only(t)
		<-time.After(time.Hour)
		second := identity("s2", "bob")
		second.Project = &bell.Project{Name: "acme-2", Environment: planet.Evaluation, ServiceID: "svc"}
		if _, err := s.Register(t.Context(), second, Description{AppVersion: "2", DeviceID: "phone"}); err != nil {
			t.Fatal(err)
		}
		want := first // it rings on while its new token is under way
		want.SessionID, want.Project, want.AppVersion, want.LastSeenAt = "s2", "acme-2", "2", time.Now()
		if got := store.only(t); got != want {
			t.Errorf("in a new session: %+v", got)
		}
		if _, err := s.UpdateToken(t.Context(), second, address(said, hexToken+"00")); err != nil {
			t.Fatal(err)
		}
		if got := store.only(t); got.ID != first.ID || got.PushToken != hexToken+"00" {
			t.Errorf("with a new token: %+v", got)
		}
		// Without an ID it is another one; with it the two become one, whose token is the new
		// session's.
		third := identity("s3", "bob")
		if _, err := s.UpdateToken(t.Context(), third, address(Description{AppType: "MAC"}, hexToken+"22")); err != nil {
			t.Fatal(err)
		}
		if len(store.devices) != 2 {
			t.Errorf("%d devices, want 2", len(store.devices))
		}
		if _, err := s.Register(t.Context(), third, Description{DeviceID: "phone"}); err != nil {
			t.Fatal(err)
		}
		if got := store.only(t); got.ID != first.ID || got.PushToken != hexToken+"22" || got.SessionID != "s3" || got.AppType != "MAC" || got.ClientID != "phone" {
			t.Errorf("after it said who it is: %+v", got)
		}
		// A session that has not said how it is reached takes over how the device was.
		fourth := identity("s4", "bob")
		for _, said := range []Description{{AppType: "TV"}, {DeviceID: "phone"}} {
			if _, err := s.Register(t.Context(), fourth, said); err != nil {
				t.Fatal(err)
			}
		}
		if got := store.only(t); got.ID != first.ID || got.PushToken != hexToken+"22" || got.SessionID != "s4" || got.AppType != "TV" {
			t.Errorf("after it said who it is: %+v", got)
		}
	})
}

func TestPollingInstallationKeepsItsDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newService(t)
		said := Address{Description: Description{DeviceID: "desk"}, NotificationType: "lp"}
		if _, err := s.UpdateToken(t.Context(), identity("s1", "bob"), said); err != nil {
			t.Fatal(err)
		}
		first := store.only(t)
		<-time.After(30 * time.Minute)
		second := identity("s2", "bob")
		if _, err := s.Register(t.Context(), second, Description{DeviceID: "desk"}); err != nil {
			t.Fatal(err)
		}
		polls, err := s.Polling(t.Context(), second, false)
		if got := store.only(t); err != nil || polls != first.ID || !got.ExpiresAt.Equal(second.ExpiresAt) {
			t.Errorf("polls as %s, %v: %+v", polls, err, got)
		}
	})
}

// IDs can be guessed: another user's device is never touched by one.
func TestDeviceIDOfAnotherUser(t *testing.T) {
	s, store := newService(t)
	bobs := Address{Description: Description{DeviceID: "phone"}, NotificationType: "apnsvoip", Token: hexToken}
	if _, err := s.UpdateToken(t.Context(), identity("s1", "bob"), bobs); err != nil {
		t.Fatal(err)
	}
	before := store.only(t)
	eves := Address{Description: Description{DeviceID: "phone"}, NotificationType: "fcm", Token: planet.Secret(testlog.TextSecret("eve"))}
	notice, err := s.UpdateToken(t.Context(), identity("s2", "eve"), eves)
	if err != nil || notice != (Notice{}) || len(store.devices) != 2 || store.devices[before.ID] != before {
		t.Errorf("%d devices, notice %+v, %v; bob's is now %+v", len(store.devices), notice, err, store.devices[before.ID])
	}
}

func TestRunForgetsWhoMakesNoContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		s.ForgetUnseen = 24 * time.Hour
		seen := func(ago time.Duration) func(*bell.Device) {
			return func(d *bell.Device) { d.LastSeenAt = time.Now().Add(-ago) }
		}
		for range 2*pruneBatch + 1 {
			s.with(seen(25 * time.Hour))
		}
		operators := s.with(func(d *bell.Device) { seen(1000 * time.Hour)(d); d.SessionID = "" })
		soon := s.with(seen(24*time.Hour - 2*time.Minute))
		now := s.with(seen(0))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		count := func(want, prunes int) {
			t.Helper()
			synctest.Wait()
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			if len(s.store.devices) != want || s.store.prunes != prunes {
				t.Errorf("%d devices after %d batches, want %d after %d", len(s.store.devices), s.store.prunes, want, prunes)
			}
		}
		<-time.After(firstPrune - 1)
		count(2*pruneBatch+4, 0)
		<-time.After(1)
		count(3, 3)
		<-time.After(pruneEvery - 1)
		count(3, 3)
		<-time.After(1)
		count(2, 4)
		for id, want := range map[string]bool{operators.ID: true, soon.ID: false, now.ID: true} {
			if _, err := s.store.Device(t.Context(), id); (err == nil) != want {
				t.Errorf("device %s is kept: %t", id, !want)
			}
		}
		if got := s.metrics()["token_forgotten apns_voip unseen"]; got != 2*pruneBatch+2 {
			t.Errorf("%v were counted", got)
		}
		s.store.mu.Lock()
		s.store.fail = errDisk
		s.store.mu.Unlock()
		<-time.After(pruneEvery)
		count(2, 5)
		if s.said("could not be removed") != 1 {
			t.Error("a failure was not reported")
		}
		<-time.After(pruneEvery)
		count(2, 6) // it goes on
		stop()
		<-done
	})
	if s := New(Config{Store: &fakeStore{}}); s.ForgetUnseen != 270*24*time.Hour {
		t.Errorf("devices are kept for %v", s.ForgetUnseen)
	}
}
