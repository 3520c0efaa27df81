package device

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// The browser's keys of RFC 8291 section 5.
const browserKeys = `{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}`

func subscription(endpoint string) planet.Secret {
	return planet.Secret(fmt.Sprintf(`{"endpoint":%q,"keys":%s}`, endpoint, browserKeys))
}

// online is an identity whose project has Web Push.
func online(t *testing.T, session, user string) bell.Identity {
	t.Helper()
	h, err := bell.ParsePushHost("*.push.example.com")
	if err != nil {
		t.Fatal(err)
	}
	id := identity(session, user)
	project := *id.Project
	project.PushHosts = bell.PushHosts{h}
	id.Project = &project
	return id
}

func TestBrowsersRegister(t *testing.T) {
	endpoint := "https://a.push.example.com/" + testlog.TextSecret("subscription")
	for _, kind := range []string{"webpush", "web_push", "WebPush"} {
		s, store := newService(t)
		if _, err := s.UpdateToken(t.Context(), online(t, "s1", "bob"), Address{NotificationType: kind, Token: subscription("HTTPS://A.push.example.com:443" + strings.TrimPrefix(endpoint, "https://a.push.example.com"))}); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		d := store.only(t)
		if d.Channel != bell.WebPush || d.PushToken.Reveal() != endpoint || d.PushKeys == "" || !d.Reachable(time.Now()) || !d.ExpiresAt.IsZero() || !BySubscription(kind) {
			t.Errorf("%s: by %s, token %s", kind, d.Channel, d.PushToken.Fingerprint())
		}
		if d.PushToken.Fingerprint() != planet.Secret(endpoint).Fingerprint() {
			t.Error("what stands for it in public is not of the endpoint")
		}
		// Another way to be reached leaves nothing of it.
		if _, err := s.UpdateToken(t.Context(), online(t, "s1", "bob"), Address{NotificationType: "fcm", Token: "x"}); err != nil {
			t.Fatal(err)
		}
		if d := store.only(t); d.PushKeys != "" {
			t.Error("the keys stay")
		}
	}
	if BySubscription("fcm") || BySubscription("") {
		t.Error("other kinds have subscriptions")
	}
}

// A browser that another user signs in with rings for that user only, whatever it says of its keys.
func TestABrowserMoves(t *testing.T) {
	s, store := newService(t)
	endpoint := "https://a.push.example.com/" + testlog.TextSecret("subscription")
	for session, user := range map[string]string{"s1": "bob"} {
		if _, err := s.UpdateToken(t.Context(), online(t, session, user), Address{NotificationType: "webpush", Token: subscription(endpoint)}); err != nil {
			t.Fatal(err)
		}
	}
	again := strings.Replace(subscription(endpoint).Reveal(), "BTBZMqHH6r4Tts7J_aSIgg", "AAAAAAAAAAAAAAAAAAAAAA", 1)
	if _, err := s.UpdateToken(t.Context(), online(t, "s2", "eve"), Address{NotificationType: "webpush", Token: planet.Secret(again)}); err != nil {
		t.Fatal(err)
	}
	if d := store.only(t); d.Owner.User.UserID != "eve" || !strings.HasSuffix(d.PushKeys.Reveal(), ".AAAAAAAAAAAAAAAAAAAAAA") {
		t.Errorf("the browser is %s's", d.Owner.User)
	}
}

func TestBrowsersThatAreRefused(t *testing.T) {
	s, store := newService(t)
	good := subscription("https://a.push.example.com/x")
	for name, test := range map[string]struct {
		id    bell.Identity
		token planet.Secret
		says  string
	}{
		"no Web Push":  {identity("s1", "bob"), good, "no Web Push"},
		"unknown host": {online(t, "s1", "bob"), subscription("https://evil.example/x"), "web_push.hosts"},
		"http":         {online(t, "s1", "bob"), subscription("http://a.push.example.com/x"), "https"},
		"no token":     {online(t, "s1", "bob"), "", "subscription"},
		"a word":       {online(t, "s1", "bob"), planet.Secret(testlog.TextSecret("token")), "JSON"},
	} {
		_, err := s.UpdateToken(t.Context(), test.id, Address{NotificationType: "webpush", Token: test.token})
		if bell.KindOf(err) != bell.Invalid || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "notification") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(store.devices) != 0 {
		t.Errorf("%d devices", len(store.devices))
	}
	id := online(t, "s1", "bob")
	d, err := s.Add(t.Context(), id.Project, NewDevice{UserID: "bob", Channel: bell.WebPush, PushToken: good})
	if err != nil || d.PushToken != "https://a.push.example.com/x" || d.PushKeys == "" {
		t.Errorf("an operator's: %v, error %v", d, err)
	}
}

// A subscription that has ended is forgotten, keys and all; one whose VAPID key is refused stays.
func TestWhatPushServicesSay(t *testing.T) {
	browser := func(d *bell.Device) {
		d.Channel, d.APNsServer, d.PushToken, d.PushKeys = bell.WebPush, "", planet.Secret("https://a.push.example.com/"+testlog.TextSecret(d.ID)), "keys"
	}
	for reason, test := range map[string]struct {
		outcome bell.Outcome
		want    func(*bell.Device)
	}{
		"http_410": {bell.Outcome{Verdict: bell.Rejected, Reason: "http_410", Status: 410, Token: bell.TokenDrop, Alarm: bell.AlarmCount}, nil},
		"BadPath":  {bell.Outcome{Verdict: bell.Rejected, Reason: "BadPath", Status: 404, Token: bell.TokenKeep, Alarm: bell.AlarmBug}, unchanged},
		"http_403": {bell.Outcome{Verdict: bell.Rejected, Reason: "http_403", Status: 403, Token: bell.TokenKeep, Alarm: bell.AlarmConfig}, unchanged},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSchool(t)
			d := s.with(browser)
			for range 50 { // however often
				s.lesson(d, test.outcome, false)
			}
			want := test.want
			if want == nil {
				want = func(d *bell.Device) {
					d.PushToken, d.PushKeys, d.ForgottenAt, d.ForgottenFor = "", "", time.Now(), reason
				}
			}
			s.is(d.ID, want, d)
		})
	}
}
