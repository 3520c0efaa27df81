package app

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// browsers is a project with a push service, which takes what is signed with the key that it
// saw at subscribe.
type browsers struct {
	cfg      config.Config
	senders  *senders
	service  *httptest.Server
	accepts  atomic.Value // the public key
	requests atomic.Int32
	logs     *bytes.Buffer
}

func newBrowsers(t *testing.T) *browsers {
	t.Helper()
	b := &browsers{cfg: settings(t), logs: new(bytes.Buffer)}
	b.service = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		if !strings.HasSuffix(r.Header.Get("Authorization"), "k="+b.accepts.Load().(string)) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
	b.service.EnableHTTP2 = true
	b.service.StartTLS()
	t.Cleanup(b.service.Close)
	u, err := url.Parse(b.service.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.CAFile = write(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.service.Certificate().Raw}))
	key := bell.NewVAPIDKey()
	b.cfg.Projects[0].WebPush = config.WebPush{
		VAPIDPrivateKey: key, VAPIDPrivateKeyFile: write(t, []byte(key.Reveal())), VAPIDSubject: "mailto:ops@example.com",
		Hosts: []string{u.Host, "*.push.example.com"}, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	b.accepts.Store(publicOf(t, key))
	b.senders, err = newSenders(b.cfg, logInto(t, b.logs), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.senders.Close)
	return b
}

func publicOf(t *testing.T, key planet.Secret) string {
	t.Helper()
	k, err := bell.ParseVAPIDKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// device is a browser that subscribed at the push service.
func (b *browsers) device(t *testing.T) bell.Device {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()) + ".AAAAAAAAAAAAAAAAAAAAAA"
	return bell.Device{
		Project: "main", Channel: bell.WebPush, PushToken: planet.Secret(b.service.URL + "/" + testlog.TextSecret("subscription")), PushKeys: planet.Secret(keys),
	}
}

// ring makes an attempt over the route to a browser.
func (b *browsers) ring(t *testing.T) bell.Outcome {
	t.Helper()
	ring := pushtest.Ring(bell.WebPush, "")
	ring.Device = b.device(t)
	route, reason := b.senders.Route(&ring.Device)
	if reason != "" {
		t.Fatalf("no route: %s", reason)
	}
	return route.Sender.Send(t.Context(), ring, delivery.Try{Number: 1, Now: time.Now()})
}

func (b *browsers) key(t *testing.T) string {
	t.Helper()
	key, err := b.senders.WebPushKey(bell.Identity{Project: &bell.Project{Name: "main"}})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRouteToBrowsers(t *testing.T) {
	t.Parallel()
	b := newBrowsers(t)
	u, err := url.Parse(b.service.URL)
	if err != nil {
		t.Fatal(err)
	}
	for endpoint, want := range map[string]string{
		b.service.URL + "/x": u.Host, "https://a.push.example.com/x": "*.push.example.com", "https://b.push.example.com/x": "*.push.example.com",
	} {
		route, reason := b.senders.Route(&bell.Device{Project: "main", Channel: bell.WebPush, PushToken: planet.Secret(endpoint)})
		if key := (delivery.RouteKey{Credential: "main", Channel: bell.WebPush, Server: want}); reason != "" || route.Key != key {
			t.Errorf("%s: %+v, %q", endpoint, route.Key, reason)
		}
	}
	for endpoint, want := range map[string]string{"https://evil.example/x": "push_service_not_allowed", "": "push_service_not_allowed"} {
		if route, reason := b.senders.Route(&bell.Device{Project: "main", Channel: bell.WebPush, PushToken: planet.Secret(endpoint)}); reason != want || route.Sender != nil {
			t.Errorf("%s: %q", endpoint, reason)
		}
	}
	without := &senders{projects: map[string]projectSenders{"main": {}}}
	if _, reason := without.Route(&bell.Device{Project: "main", Channel: bell.WebPush}); reason != "no_vapid_key" {
		t.Errorf("without a key: %q", reason)
	}
	if _, err := without.WebPushKey(bell.Identity{Project: &bell.Project{Name: "main"}}); bell.KindOf(err) != bell.NotFound {
		t.Errorf("the key of a project without: %v", err)
	}
	project := b.cfg.Projects[0].Domain()
	if got := b.senders.Channels(project); !slices.Equal(got, []bell.Channel{bell.LongPoll, bell.WebPush}) {
		t.Errorf("channels %v", got)
	}
	if len(project.PushHosts) != 2 || len(settings(t).Projects[0].Domain().PushHosts) != 0 {
		t.Error("subscriptions may name other push services than are configured")
	}
}

// TestAVAPIDKeyIsReplaced: pages are told the new one at once. The push service refuses who
// subscribed for the old one, which is an alarm, and never a reason to drop a subscription.
func TestAVAPIDKeyIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBrowsers(t)
	if o := b.ring(t); o.Verdict != bell.Accepted {
		t.Fatalf("%+v", o)
	}
	old := b.key(t)
	look := func() {
		for _, w := range b.senders.watched {
			b.senders.look(t.Context(), w)
		}
	}
	file := b.cfg.Projects[0].WebPush.VAPIDPrivateKeyFile
	overwrite(t, file, testlog.TextSecret("no key"))
	look()
	if b.key(t) != old || b.ring(t).Verdict != bell.Accepted {
		t.Error("a file that is no key is taken")
	}
	next := bell.NewVAPIDKey()
	overwrite(t, file, next.Reveal()+"\n")
	look()
	if b.key(t) != publicOf(t, next) || !strings.Contains(b.logs.String(), "subscribes anew") {
		t.Errorf("the key is %s; log:\n%s", b.key(t), b.logs)
	}
	if o := b.ring(t); o.Verdict != bell.Rejected || o.Status != 403 || o.Token != bell.TokenKeep || o.Alarm != bell.AlarmConfig {
		t.Errorf("a browser of the old key: %+v", o)
	}
	b.accepts.Store(publicOf(t, next))
	if o := b.ring(t); o.Verdict != bell.Accepted {
		t.Errorf("a browser of the new key: %+v", o)
	}
	again := b.cfg
	again.Projects = slices.Clone(b.cfg.Projects)
	again.Projects[0].WebPush.VAPIDSubject = "https://example.com/contact"
	for _, w := range b.senders.watched {
		w.Adopt(&again)
	}
	look()
	replaced, failed := b.senders.reloads.WithLabelValues("main/web_push", "replaced"), b.senders.reloads.WithLabelValues("main/web_push", "failed")
	if testutil.ToFloat64(replaced) != 2 || testutil.ToFloat64(failed) != 1 {
		t.Errorf("%v were replaced and %v failed", testutil.ToFloat64(replaced), testutil.ToFloat64(failed))
	}
	for _, secret := range []string{next.Reveal(), testlog.Text} {
		if strings.Contains(b.logs.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
}

// TestAWrongVAPIDKeyStopsTheStart.
func TestAWrongVAPIDKeyStopsTheStart(t *testing.T) {
	t.Parallel()
	for says, w := range map[string]config.WebPush{
		"vapid_private_key": {VAPIDPrivateKey: "x", VAPIDSubject: "mailto:ops@example.com", Hosts: []string{"push.example.com"}},
		"vapid_subject":     {VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@localhost", Hosts: []string{"push.example.com"}},
		"push service":      {VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@example.com"},
	} {
		cfg := settings(t)
		cfg.Projects[0].WebPush = w
		if _, err := newSenders(cfg, testlog.New(t), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
