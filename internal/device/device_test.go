package device

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("the disk is full")

// only returns the one device there is.
func (s *fakeStore) only(t *testing.T) bell.Device {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.devices) != 1 {
		t.Fatalf("%d devices, want 1", len(s.devices))
	}
	for _, d := range s.devices {
		return d
	}
	return bell.Device{}
}

func identity(session, user string) bell.Identity {
	project := &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc"}
	return bell.Identity{
		SessionID: session, Project: project, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Owner: bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: user}},
	}
}

var hexToken = planet.Secret(testlog.HexSecret(1, 64))

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newService(t)
		id := identity("s1", "bob")
		if _, err := s.Register(t.Context(), id, Description{AppType: "IOS", AppVersion: "1.0", AppID: "com.example"}); err != nil {
			t.Fatal(err)
		}
		want := bell.Device{
			Owner: id.Owner, Project: "acme", SessionID: "s1", AppType: "IOS", AppVersion: "1.0", AppID: "com.example",
			RegisteredAt: time.Now(), LastSeenAt: time.Now(),
		}
		first := store.only(t)
		if diff := cmp.Diff(want, first, cmpopts.IgnoreFields(bell.Device{}, "ID")); diff != "" || first.ID == "" {
			t.Error(diff)
		}
		address := Address{NotificationType: "apnsvoip", Token: hexToken, APNsServer: "production"}
		if _, err := s.UpdateToken(t.Context(), id, address); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		long := strings.Repeat("ä", 100)
		if _, err := s.Register(t.Context(), id, Description{AppVersion: long}); err != nil {
			t.Fatal(err)
		}
		want.ID, want.AppVersion, want.LastSeenAt = first.ID, long[:bell.MaxText], time.Now() // RegisteredAt is the token's
		want.Channel, want.PushToken, want.APNsServer = bell.APNsVoIP, hexToken, bell.APNsProduction
		if diff := cmp.Diff(want, store.only(t)); diff != "" {
			t.Errorf("registering again: %s", diff)
		}
	})
}

func TestUpdateTokenTakesEachClientsWords(t *testing.T) {
	fcm := planet.Secret(testlog.TextSecret("fcm:token_with-all.chars"))
	type reached struct {
		Channel bell.Channel
		Token   string
		Server  bell.APNsServer
		Guessed bool
		Expires bool
	}
	apns := func(c bell.Channel, s bell.APNsServer, guessed bool) reached {
		return reached{c, hexToken.Reveal(), s, guessed, false}
	}
	tests := []struct {
		kind   string
		token  planet.Secret
		server string
		want   reached
	}{
		{"apnsvoip", hexToken, "production", apns(bell.APNsVoIP, bell.APNsProduction, false)},
		{"APNSVOIP", planet.Secret(strings.ToUpper(hexToken.Reveal())), "Prod", apns(bell.APNsVoIP, bell.APNsProduction, false)},
		{"apnsvoip", hexToken, "development", apns(bell.APNsVoIP, bell.APNsSandbox, false)},
		{"apnsvoip", hexToken, "developmenet", apns(bell.APNsVoIP, bell.APNsSandbox, false)},
		{"apns", hexToken, "sandbox", apns(bell.APNsAlert, bell.APNsSandbox, false)},
		{"apns", hexToken, "dev", apns(bell.APNsAlert, bell.APNsSandbox, false)},
		{"apns", hexToken, "", apns(bell.APNsAlert, bell.APNsProduction, true)},
		{"fcm", fcm, "", reached{bell.FCM, fcm.Reveal(), "", false, false}},
		{"gcm", fcm, "production", reached{bell.FCM, fcm.Reveal(), "", false, false}},
		{"lp", "lp", "production", reached{bell.LongPoll, "", "", false, true}},
		{"LP", "bob-ad1f", "", reached{bell.LongPoll, "", "", false, true}},
	}
	for _, test := range tests {
		t.Run(test.kind+" "+test.server, func(t *testing.T) {
			s, store := newService(t)
			id := identity("s1", "bob") // never registered: the device is created
			// What was known before must not shine through.
			for _, a := range []Address{
				{NotificationType: "apns", Token: hexToken + "00"},
				{NotificationType: "lp"},
				{NotificationType: test.kind, Token: test.token, APNsServer: test.server, Description: Description{AppType: "X"}},
			} {
				if _, err := s.UpdateToken(t.Context(), id, a); err != nil {
					t.Fatal(err)
				}
			}
			d := store.only(t)
			got := reached{d.Channel, d.PushToken.Reveal(), d.APNsServer, d.APNsServerGuessed, d.ExpiresAt.Equal(id.ExpiresAt)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if !test.want.Expires && !d.ExpiresAt.IsZero() || d.AppType != "X" || d.SessionID != "s1" || !d.Reachable(time.Now()) {
				t.Errorf("device: %+v", d)
			}
		})
	}
}

func TestAddressesThatCannotBeOnes(t *testing.T) {
	hex := func(n int) planet.Secret { return planet.Secret(testlog.HexSecret(1, max(n, 20))[:n]) }
	tests := []struct {
		name, kind string
		token      planet.Secret
		server     string
		ok         bool
	}{
		{"unknown type", "carrier_pigeon", "x", "", false},
		{"empty type", "", "x", "", false},
		{"APNs, 15", "apns", hex(15), "", false},
		{"APNs, 16", "apns", hex(16), "", true},
		{"APNs, 17", "apns", hex(17), "", false},
		{"APNs, 200", "apnsvoip", hex(200), "", true},
		{"APNs, 202", "apnsvoip", hex(202), "", false},
		{"APNs, empty", "apnsvoip", "", "", false},
		{"APNs, not hexadecimal", "apnsvoip", hex(30) + "xy", "", false},
		{"APNs, a space", "apnsvoip", hex(31) + " ", "", false},
		{"APNs, as Data.description writes it", "apnsvoip", "<" + hex(62) + ">", "", false},
		{"APNs, unknown server", "apnsvoip", hexToken, "staging", false},
		{"FCM, empty", "fcm", "", "", false},
		{"FCM, one", "fcm", "x", "", true},
		{"FCM, 4096", "fcm", planet.Secret(strings.Repeat("x", 4096)), "", true},
		{"FCM, 4097", "fcm", planet.Secret(strings.Repeat("x", 4097)), "", false},
		{"FCM, a space", "fcm", planet.Secret(testlog.TextSecret("a b")), "", false},
		{"FCM, a line break", "gcm", planet.Secret(testlog.TextSecret("a\n")), "", false},
		{"FCM, not ASCII", "fcm", planet.Secret(testlog.TextSecret("ü")), "", false},
		{"FCM, not UTF-8", "fcm", planet.Secret(testlog.TextSecret("\xff")), "", false},
		{"long polling with anything", "lp", planet.Secret(strings.Repeat("\x00", 9000)), "staging", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, store := newService(t)
			_, err := s.UpdateToken(t.Context(), identity("s1", "bob"), Address{NotificationType: test.kind, Token: test.token, APNsServer: test.server})
			if test.ok != (err == nil) || !test.ok && (bell.KindOf(err) != bell.Invalid || store.writes != 0) {
				t.Fatalf("error %v, %d writes", err, store.writes)
			}
			if err != nil {
				testlog.Keep(t, "error", err.Error())
				if strings.Contains(err.Error(), testlog.Hex) || strings.Contains(err.Error(), testlog.Text) {
					t.Errorf("the error shows the token: %v", err)
				}
			}
		})
	}
}

func TestSharedPhoneMovesToItsNewUser(t *testing.T) {
	s, store := newService(t)
	for _, id := range []bell.Identity{identity("s1", "alice"), identity("s2", "bob")} {
		if _, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: hexToken}); err != nil {
			t.Fatal(err)
		}
	}
	if d := store.only(t); d.Owner.User.UserID != "bob" || d.SessionID != "s2" {
		t.Errorf("device: %+v", d)
	}
}

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newService(t)
		id := identity("s1", "bob")
		poll := func() string {
			t.Helper()
			device, err := s.Polling(t.Context(), id, false)
			if err != nil {
				t.Fatal(err)
			}
			return device
		}
		device := poll()
		want := bell.Device{
			ID: device, Owner: id.Owner, Project: "acme", SessionID: "s1", Channel: bell.LongPoll,
			RegisteredAt: time.Now(), LastSeenAt: time.Now(), ExpiresAt: id.ExpiresAt,
		}
		if diff := cmp.Diff(want, store.only(t)); diff != "" {
			t.Error(diff)
		}
		for _, step := range []struct {
			pause  time.Duration
			writes int
		}{{25 * time.Second, 1}, {seenEvery - 25*time.Second - 1, 1}, {1, 2}, {25 * time.Second, 2}} {
			<-time.After(step.pause)
			if got := poll(); got != device || store.writes != step.writes {
				t.Errorf("device %s, %d writes, want %d", got, store.writes, step.writes)
			}
		}
		if d := store.only(t); !d.Reachable(id.ExpiresAt.Add(-1)) || d.Reachable(id.ExpiresAt) {
			t.Errorf("a polling device ends with its app token: %+v", d)
		}
		if _, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: hexToken}); err != nil {
			t.Fatal(err)
		}
		<-time.After(seenEvery)
		if got, d := poll(), store.only(t); got != device || d.Channel != bell.APNsVoIP || !d.ExpiresAt.IsZero() || !d.LastSeenAt.Equal(time.Now()) {
			t.Errorf("a poll changed the way to a device with a push channel: %+v", d)
		}
	})
}

// LINE's Apple demo sends all three at once.
func TestRegisterUpdateAndPollAtOnce(t *testing.T) {
	for range 50 {
		s, store := newService(t)
		id := identity("s1", "bob")
		polled := make([]string, 4)
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := s.Register(t.Context(), id, Description{AppType: "IOS"}); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			if _, err := s.UpdateToken(t.Context(), id, Address{NotificationType: "apnsvoip", Token: hexToken}); err != nil {
				t.Error(err)
			}
		})
		for i := range polled {
			work.Go(func() {
				var err error
				if polled[i], err = s.Polling(t.Context(), id, false); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		d := store.only(t)
		if d.Channel != bell.APNsVoIP || d.AppType != "IOS" || !d.ExpiresAt.IsZero() {
			t.Fatalf("device: %+v", d)
		}
		for _, device := range polled {
			if device != d.ID {
				t.Fatalf("polls of %v, device %s", polled, d.ID)
			}
		}
	}
}

func TestAddListRemove(t *testing.T) {
	s, store := newService(t)
	project := identity("", "").Project
	d, err := s.Add(t.Context(), project, NewDevice{UserID: "bob", Channel: bell.APNsVoIP, PushToken: hexToken, APNsServer: "dev", AppType: "IOS", AppID: "com.example"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, store.only(t)); diff != "" || d.SessionID != "" || d.APNsServer != bell.APNsSandbox || d.Owner != identity("", "bob").Owner || d.AppID != "com.example" {
		t.Errorf("%+v %s", d, diff)
	}
	filter := Filter{UserID: "bob"}
	if page, err := s.List(t.Context(), filter, "x", 3); err != nil || len(page) != 3 || store.page != filter {
		t.Errorf("page %v, error %v", page, err)
	}
	if err := s.Remove(t.Context(), d.ID); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), d.ID); !errors.Is(err, bell.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	for name, n := range map[string]NewDevice{
		"no user":         {Channel: bell.FCM, PushToken: "x"},
		"impossible user": {UserID: "b b", Channel: bell.FCM, PushToken: "x"},
		"long polling":    {UserID: "bob", Channel: bell.LongPoll},
		"no channel":      {UserID: "bob", PushToken: "x"},
		"no token":        {UserID: "bob", Channel: bell.FCM},
		"wrong server":    {UserID: "bob", Channel: bell.APNsAlert, PushToken: hexToken, APNsServer: "moon"},
	} {
		if _, err := s.Add(t.Context(), project, n); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStoreFailuresAreReported(t *testing.T) {
	s, store := newService(t)
	store.fail = errDisk
	id := identity("s1", "bob")
	_, polling := s.Polling(t.Context(), id, false)
	_, add := s.Add(t.Context(), id.Project, NewDevice{UserID: "bob", Channel: bell.FCM, PushToken: "x"})
	_, register := s.Register(t.Context(), id, Description{})
	_, update := s.UpdateToken(t.Context(), id, Address{NotificationType: "lp"})
	for name, err := range map[string]error{"register": register, "polling": polling, "add": add, "update": update} {
		if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "svc/bob") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
