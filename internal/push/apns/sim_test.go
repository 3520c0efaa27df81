package apns_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/apns"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "write the golden files anew")

const bundle = "com.example.bell"

var pushToken = planet.Secret(testlog.HexSecret(1, 64))

// apple is the strict fake with a key it trusts, and a client of it.
type apple struct {
	fake *sim.APNs
	ca   *sim.CA
	cfg  apns.Config
}

func newApple(t testing.TB, o sim.APNsOptions) *apple {
	t.Helper()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatalf("authority: %v", err)
	}
	o.CA, o.Strict, o.Environment = ca, true, sim.APNsSandbox
	fake := sim.NewAPNs(o)
	if err := fake.Start(); err != nil {
		t.Fatalf("start the fake: %v", err)
	}
	t.Cleanup(func() { _ = fake.Close() })

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("write a key: %v", err)
	}
	fake.TrustKey(sim.APNsKey{ID: "KEY1234567", TeamID: "TEAM123456", Public: &key.PublicKey})
	credential, err := apns.TokenCredential("TEAM123456", "KEY1234567", planet.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if err != nil {
		t.Fatalf("credential: %v", err)
	}
	fake.Register(pushToken.Reveal(), bundle+".voip", nil)
	fake.Register(pushToken.Reveal(), bundle, nil)
	return &apple{fake: fake, ca: ca, cfg: apns.Config{
		Name: "test", Server: bell.APNsSandbox, Credential: credential, BaseURL: fake.URL(), RootCAs: ca.Pool(),
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }, AttemptTimeout: 10 * time.Second,
	}}
}

func (a *apple) sender(t testing.TB, channel bell.Channel) delivery.Sender {
	t.Helper()
	client, err := apns.NewClient(a.cfg)
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(client.Close)
	if err := client.Warm(t.Context()); err != nil {
		t.Fatalf("warm: %v", err)
	}
	sender, err := client.Sender(bundle, channel)
	if err != nil {
		t.Fatalf("sender: %v", err)
	}
	return sender
}

func ringOnce(t testing.TB, s delivery.Sender, ring *bell.Ring) bell.Outcome {
	t.Helper()
	return s.Send(t.Context(), ring, delivery.Try{Number: 1, Now: time.Now()})
}

// mustAccept fails with the fake's explanation.
func (a *apple) mustAccept(t testing.TB, o bell.Outcome) {
	t.Helper()
	if o.Verdict != bell.Accepted {
		t.Fatalf("outcome %+v; the fake says %+v", o, a.fake.Rejections())
	}
}

// variable are the parts of a request that differ from run to run.
var variable = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`^bearer [\w-]+\.[\w-]+\.[\w-]{86}$`), "bearer <jwt>"},
	{regexp.MustCompile(`"app_sent_at":"\d{13}"`), `"app_sent_at":"<now in ms>"`},
	{regexp.MustCompile(`"app_expires_at":"\d{13}"`), `"app_expires_at":"<deadline in ms>"`},
}

func mask(name, value string) string {
	if seconds, err := strconv.ParseInt(value, 10, 64); name == "apns-expiration" && err == nil && seconds > 0 {
		left := time.Until(time.Unix(seconds, 0))
		if left > 30*time.Second && left <= 41*time.Second {
			return "<deadline>"
		}
	}
	for _, v := range variable {
		value = v.pattern.ReplaceAllString(value, v.instead)
	}
	return value
}

// TestGolden records the exact requests that a strict APNs accepts.
func TestGolden(t *testing.T) {
	for channel, name := range map[bell.Channel]string{bell.APNsVoIP: "apns_voip.txt", bell.APNsAlert: "apns_alert.txt"} {
		t.Run(name, func(t *testing.T) {
			a := newApple(t, sim.APNsOptions{})
			ring := pushtest.Ring(channel, pushToken)
			o := ringOnce(t, a.sender(t, channel), ring)
			a.mustAccept(t, o)
			if o.ProviderID != ring.Delivery.ID {
				t.Errorf("apns-id %s, want %s", o.ProviderID, ring.Delivery.ID)
			}
			push := a.fake.Pushes()[0]
			got := pushtest.Render("/3/device/"+push.Token, push.Header, push.Body, mask)
			pushtest.Golden(t, name, got, *update)
		})
	}
}

// TestFullPayload: what does not fit is left out, and a strict APNs takes the rest.
func TestFullPayload(t *testing.T) {
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		a := newApple(t, sim.APNsOptions{})
		sender := a.sender(t, channel)
		for _, size := range []int{0, 2500, 3000, 3500, 3900, 4095} {
			ring := pushtest.Ring(channel, pushToken)
			ring.Call.CCParam = planet.CCParam(testlog.CCParam(1) + strings.Repeat("A", 1024))
			ring.Call.STID, ring.Call.AppServerData = strings.Repeat("s", size), strings.Repeat("d", size)
			a.mustAccept(t, ringOnce(t, sender, ring))
			pushes := a.fake.Pushes()
			if !strings.Contains(string(pushes[len(pushes)-1].Body), ring.Call.CCParam.Reveal()) {
				t.Errorf("%s with %d bytes of data: cc_param is not there as it was", channel, size)
			}
		}
		ring := pushtest.Ring(channel, pushToken)
		ring.Call.CCParam = planet.CCParam(strings.Repeat("A", 5200))
		if o := ringOnce(t, sender, ring); o.Verdict != bell.Rejected || o.Reason != "PayloadTooLarge" || o.Status != 0 {
			t.Errorf("a cc_param that cannot fit: %+v", o)
		}
	}
}

func TestDeadTokens(t *testing.T) {
	a := newApple(t, sim.APNsOptions{})
	sender := a.sender(t, bell.APNsVoIP)
	since := time.UnixMilli(1767225600000).UTC()
	a.fake.Unregister(pushToken.Reveal(), bundle+".voip", since)
	if o := ringOnce(t, sender, pushtest.Ring(bell.APNsVoIP, pushToken)); o.Reason != "Unregistered" || o.Token != bell.TokenDrop || !o.DeadSince.Equal(since) {
		t.Errorf("unregistered: %+v", o)
	}
	stranger := planet.Secret(testlog.HexSecret(2, 64))
	if o := ringOnce(t, sender, pushtest.Ring(bell.APNsVoIP, stranger)); o.Reason != "BadDeviceToken" || o.Token != bell.TokenCheck {
		t.Errorf("unknown token: %+v", o)
	}
}

// TestColdStart: a thousand calls at once open the configured connections, and none
// fails.
func TestColdStart(t *testing.T) {
	a := newApple(t, sim.APNsOptions{Streams: 50})
	sender := a.sender(t, bell.APNsVoIP)
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			ring := pushtest.Ring(bell.APNsVoIP, pushToken)
			ring.Delivery.ID = fmt.Sprintf("0199d1c2-3f5e-7c1a-9b7e-%012x", i)
			if o := ringOnce(t, sender, ring); o.Verdict != bell.Accepted {
				t.Errorf("outcome %+v", o)
			}
		})
	}
	wg.Wait()
	if _, err := a.fake.AwaitPushes(t.Context(), 1000); err != nil { // counted just after they are answered
		t.Error(err)
	}
	s := a.fake.Stats()
	if s.Connections != 2 || s.Surplus != 0 || s.Accepted != 1000 {
		t.Errorf("the fake saw %+v, want 2 connections, 1000 pushes and none held", s)
	}
}

// TestRotationUnderLoad: over two hours of the clock, with many senders at once, APNs
// finds no token too old and none too new.
func TestRotationUnderLoad(t *testing.T) {
	clock := sim.NewManualClock(time.Unix(1767225600, 0).Add(31 * time.Minute))
	a := newApple(t, sim.APNsOptions{Clock: clock})
	a.cfg.Clock = clock.Now
	sender := a.sender(t, bell.APNsVoIP)
	for range 120 {
		clock.Advance(time.Minute)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ring := pushtest.Ring(bell.APNsVoIP, pushToken)
				ring.Delivery.ID = fmt.Sprintf("0199d1c2-3f5e-7c1a-9b7e-%012x", i)
				a.mustBeAccepted(t, sender.Send(t.Context(), ring, delivery.Try{Number: 1}))
			})
		}
		wg.Wait()
	}
}

// mustBeAccepted is mustAccept for other goroutines than the test's.
func (a *apple) mustBeAccepted(t testing.TB, o bell.Outcome) {
	t.Helper()
	if o.Verdict != bell.Accepted {
		t.Errorf("outcome %+v", o)
	}
}

// TestWrongClock: APNs' clock is two hours ahead of ours. One token is tried, and the
// operator is told about the clock.
func TestWrongClock(t *testing.T) {
	clock := sim.NewManualClock(time.Now().Add(2 * time.Hour))
	a := newApple(t, sim.APNsOptions{Clock: clock})
	o := ringOnce(t, a.sender(t, bell.APNsVoIP), pushtest.Ring(bell.APNsVoIP, pushToken))
	if o.Reason != "ExpiredProviderToken" || o.Verdict != bell.Rejected || o.Alarm != bell.AlarmPage || !strings.Contains(o.Detail, "clock") {
		t.Errorf("outcome %+v", o)
	}
}

func TestCertificate(t *testing.T) {
	a := newApple(t, sim.APNsOptions{})
	pair, err := a.ca.Push(bundle+".voip", bundle+".complication")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := sim.CertificatePEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	if a.cfg.Credential, err = apns.CertificateCredential(certificate, planet.Secret(key)); err != nil {
		t.Fatal(err)
	}
	sender := a.sender(t, bell.APNsVoIP)
	a.mustAccept(t, ringOnce(t, sender, pushtest.Ring(bell.APNsVoIP, pushToken)))
	if h := a.fake.Pushes()[0].Header; h.Get("Authorization") != "" {
		t.Error("a push with a certificate carries an authorization")
	}

	client, err := apns.NewClient(a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.NotAfter().IsZero() {
		t.Error("the certificate's end is not known")
	}
	_, err = client.Sender(bundle, bell.APNsAlert)
	if bell.KindOf(err) != bell.Invalid || !strings.Contains(err.Error(), bundle+".complication") {
		t.Errorf("a topic that the certificate is not for: %v", err)
	}
}

// TestProxy: the way out is a proxy, and the proxy sees no more than the address.
func TestProxy(t *testing.T) {
	a := newApple(t, sim.APNsOptions{})
	var mu sync.Mutex
	var tunnels []string
	refuse := false
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tunnels = append(tunnels, r.Method+" "+r.Host)
		no := refuse
		mu.Unlock()
		if no {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		tunnel(t, w, r.Host)
	}))
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.cfg.Proxy, a.cfg.Connections = http.ProxyURL(proxyURL), 1
	a.mustAccept(t, ringOnce(t, a.sender(t, bell.APNsVoIP), pushtest.Ring(bell.APNsVoIP, pushToken)))
	if want := "CONNECT " + strings.TrimPrefix(a.fake.URL(), "https://"); len(tunnels) != 1 || tunnels[0] != want {
		t.Errorf("the proxy was asked for %v, want %s", tunnels, want)
	}
	mu.Lock()
	refuse = true
	mu.Unlock()
	a.cfg.AttemptTimeout = 300 * time.Millisecond
	client, err := apns.NewClient(a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sender, err := client.Sender(bundle, bell.APNsVoIP)
	if err != nil {
		t.Fatal(err)
	}
	if o := ringOnce(t, sender, pushtest.Ring(bell.APNsVoIP, pushToken)); o.Reason != "proxy" || o.Verdict != bell.RetryConnect {
		t.Errorf("the proxy refuses: %+v", o)
	}
}
