package fcm_test

import (
	"context"
	"flag"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/fcm"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "write the golden files anew")

var pushToken = planet.Secret("f1:" + testlog.TextSecret("APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx") + strings.Repeat("x", 90))

// newGoogle starts the strict fake and makes a client of it, which change can alter.
func newGoogle(t *testing.T, o sim.FCMOptions, change func(*fcm.Config)) (*sim.FCM, *fcm.Client) {
	t.Helper()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatalf("authority: %v", err)
	}
	o.CA, o.Strict = ca, true
	fake, err := sim.NewFCM(o)
	if err != nil {
		t.Fatalf("fake: %v", err)
	}
	if err := fake.Start(); err != nil {
		t.Fatalf("start the fake: %v", err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	fake.Register(pushToken.Reveal(), nil)
	account, err := fake.ServiceAccountJSON()
	if err != nil {
		t.Fatalf("service account: %v", err)
	}
	cfg := fcm.Config{
		Name: "test", ServiceAccount: planet.Secret(account), BaseURL: fake.URL(), RootCAs: ca.Pool(), Log: testlog.New(t),
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	if change != nil {
		change(&cfg)
	}
	client, err := fcm.NewClient(cfg)
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(client.Close)
	return fake, client
}

func ringOnce(t *testing.T, c *fcm.Client, change func(*bell.Ring)) bell.Outcome {
	t.Helper()
	ring := pushtest.Ring(bell.FCM, pushToken)
	if change != nil {
		change(ring)
	}
	return c.Send(t.Context(), ring, delivery.Try{Number: 1, Now: time.Now()})
}

func mustAccept(t *testing.T, fake *sim.FCM, o bell.Outcome) {
	t.Helper()
	if o.Verdict != bell.Accepted {
		t.Fatalf("outcome %+v; the fake says %+v", o, fake.Rejections())
	}
}

// variable are the parts of a request that differ from run to run.
var variable = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`^Bearer \S+$`), "Bearer <access token>"},
	{regexp.MustCompile(`"app_sent_at":"\d{13}"`), `"app_sent_at":"<now in ms>"`},
	{regexp.MustCompile(`"app_expires_at":"\d{13}"`), `"app_expires_at":"<deadline in ms>"`},
	{regexp.MustCompile(`"ttl":"(40|3\d)s"`), `"ttl":"<what is left of the ring>s"`},
}

func mask(_, value string) string {
	for _, v := range variable {
		value = v.pattern.ReplaceAllString(value, v.instead)
	}
	return value
}

// TestGolden records the exact request that a strict FCM accepts.
func TestGolden(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{ProjectID: "bell-test"}, nil)
	if err := client.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := ringOnce(t, client, nil)
	mustAccept(t, fake, o)
	message := fake.Messages()[0]
	if o.ProviderID != message.Name {
		t.Errorf("name %q, want %q", o.ProviderID, message.Name)
	}
	pushtest.Golden(t, "fcm.txt", pushtest.Render("/v1/projects/bell-test/messages:send", message.Header, message.Body, mask), *update)
}

func TestFullPayload(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, nil)
	for _, size := range []int{0, 2000, 2500, 3000, 3500, 4095} {
		want := testlog.CCParam(1) + strings.Repeat("A", 1024)
		mustAccept(t, fake, ringOnce(t, client, func(r *bell.Ring) {
			r.Call.CCParam = planet.CCParam(want)
			r.Call.STID, r.Call.AppServerData = strings.Repeat("s", size), strings.Repeat("d", size)
		}))
		messages := fake.Messages()
		if messages[len(messages)-1].Data["cc_param"] != want {
			t.Errorf("with %d bytes of data cc_param is not there as it was", size)
		}
	}
	o := ringOnce(t, client, func(r *bell.Ring) { r.Call.CCParam = planet.CCParam(strings.Repeat("A", 4096)) })
	if o.Verdict != bell.Rejected || o.Reason != "PAYLOAD_TOO_LARGE" || o.Status != 0 {
		t.Errorf("a cc_param that cannot fit: %+v", o)
	}
}

// TestTTL: a message never outlives the ring.
func TestTTL(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, nil)
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{
		59900 * time.Millisecond: 59 * time.Second, time.Second: time.Second, 900 * time.Millisecond: 0, -time.Second: 0,
	} {
		ring := pushtest.Ring(bell.FCM, pushToken)
		ring.Delivery.Deadline = now.Add(left)
		mustAccept(t, fake, client.Send(t.Context(), ring, delivery.Try{Number: 1, Now: now}))
		messages := fake.Messages()
		if ttl := messages[len(messages)-1].TTL; ttl == nil || *ttl != want {
			t.Errorf("with %v left the ttl is %v, want %v", left, ttl, want)
		}
	}
}

func TestDeadTokens(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, nil)
	fake.Unregister(pushToken.Reveal())
	if o := ringOnce(t, client, nil); o.Reason != "UNREGISTERED" || o.Token != bell.TokenDrop {
		t.Errorf("unregistered: %+v", o)
	}
	fake.RegisterForeign(pushToken.Reveal())
	if o := ringOnce(t, client, nil); o.Reason != "SENDER_ID_MISMATCH" || o.Token != bell.TokenCheck {
		t.Errorf("of another project: %+v", o)
	}
	if o := ringOnce(t, client, func(r *bell.Ring) { r.Device.PushToken = "no token" }); o.Reason != "INVALID_ARGUMENT" || o.Token != bell.TokenCheck {
		t.Errorf("no token at all: %+v", o)
	}
}

// TestOneAccessToken: many cold senders share one fetch.
func TestOneAccessToken(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, nil)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if o := ringOnce(t, client, nil); o.Verdict != bell.Accepted {
				t.Errorf("outcome %+v", o)
			}
		})
	}
	wg.Wait()
	if s := fake.Stats(); s.TokenRequests != 1 {
		t.Errorf("%d access tokens were fetched, want 1", s.TokenRequests)
	}
}

// TestForgottenAccessToken: after a 401 the next attempt has a fresh token.
func TestForgottenAccessToken(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, nil)
	mustAccept(t, fake, ringOnce(t, client, nil))
	fake.ForgetAccessTokens()
	if o := ringOnce(t, client, nil); o.Verdict != bell.RetryCredential {
		t.Fatalf("outcome %+v", o)
	}
	mustAccept(t, fake, ringOnce(t, client, nil))
	if s := fake.Stats(); s.TokenRequests != 2 {
		t.Errorf("%d access tokens were fetched, want 2", s.TokenRequests)
	}
	// Once more, at once: no second token, however often Google says 401.
	fake.ForgetAccessTokens()
	for range 20 {
		if o := ringOnce(t, client, nil); o.Verdict != bell.RetryCredential {
			t.Fatalf("outcome %+v", o)
		}
	}
	if s := fake.Stats(); s.TokenRequests != 2 {
		t.Errorf("%d access tokens were fetched in a storm of 401, want 2", s.TokenRequests)
	}
}

func TestRevokedKey(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{}, func(cfg *fcm.Config) { cfg.AttemptTimeout = 5 * time.Second })
	mustAccept(t, fake, ringOnce(t, client, nil))
	fake.Revoke(true)
	mustAccept(t, fake, ringOnce(t, client, nil)) // what was issued stays valid
	fake.ForgetAccessTokens()
	if o := ringOnce(t, client, nil); o.Verdict != bell.RetryCredential {
		t.Errorf("refused token: %+v", o)
	}
	if o := ringOnce(t, client, nil); o.Verdict != bell.Rejected || o.Reason != "oauth_invalid_grant" || o.Alarm != bell.AlarmPage {
		t.Errorf("revoked key: %+v", o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := client.Warm(ctx); bell.KindOf(err) != bell.Unavailable || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("warm: %v", err)
	}
}
