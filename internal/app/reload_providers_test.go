package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// providers are senders to a pretend Apple and Google, whose credentials lie in files.
type providers struct {
	cfg     config.Config
	world   *sim.World
	senders *senders
}

var (
	iPhone  = planet.Secret(testlog.HexSecret(6, 64))
	android = planet.Secret("f1:" + testlog.TextSecret("APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx") + strings.Repeat("x", 90))
)

// newProviders starts them; change may alter the configuration.
func newProviders(t *testing.T, change func(c *config.Config, w *sim.World)) *providers {
	t.Helper()
	p := &providers{cfg: settings(t)}
	p.world = withProviders(t, &p.cfg)
	a, f := &p.cfg.Projects[0].APNs[0], &p.cfg.Projects[0].FCM
	a.KeyFile, f.ServiceAccountFile = write(t, []byte(a.Key)), write(t, []byte(f.ServiceAccount))
	a.Servers = []bell.APNsServer{bell.APNsSandbox}
	if change != nil {
		change(&p.cfg, p.world)
	}
	p.world.Sandbox.Register(iPhone.Reveal(), a.BundleID+".voip", nil)
	p.world.FCM.Register(android.Reveal(), nil)
	s, err := newSenders(p.cfg, testlog.New(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	p.senders = s
	s.Warm(t.Context())
	return p
}

// look looks at all credentials once.
func (p *providers) look(t *testing.T) {
	t.Helper()
	for _, w := range p.senders.watched {
		p.senders.look(t.Context(), w)
	}
}

// ring makes an attempt over the route of a channel.
func (p *providers) ring(t *testing.T, channel bell.Channel, number int) bell.Outcome {
	t.Helper()
	token := map[bell.Channel]planet.Secret{bell.APNsVoIP: iPhone, bell.FCM: android}[channel]
	ring := pushtest.Ring(channel, token)
	ring.Device.Project, ring.Delivery.ID = "main", fmt.Sprintf("0199d1c2-3f5e-7c1a-9b7e-%012x", number)
	route, reason := p.senders.Route(&ring.Device)
	if reason != "" {
		t.Errorf("no route: %s", reason)
		return bell.Outcome{}
	}
	return route.Sender.Send(t.Context(), ring, delivery.Try{Number: 1, Now: time.Now()})
}

// mustAccept makes an attempt that must succeed.
func (p *providers) mustAccept(t *testing.T, channel bell.Channel, number int) {
	t.Helper()
	if o := p.ring(t, channel, number); o.Verdict != bell.Accepted {
		t.Errorf("%s: %+v", channel, o)
	}
}

// underLoad rings all the time over a channel, by ten at once, while change happens.
func (p *providers) underLoad(t *testing.T, channel bell.Channel, change func()) {
	t.Helper()
	stop := make(chan struct{})
	rung := make(chan struct{}, 1)
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				p.mustAccept(t, channel, i*1_000_000+n)
				select {
				case rung <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 {
		<-rung
	}
	change()
	for range 20 {
		<-rung
	}
	close(stop)
	group.Wait()
}

func (p *providers) reloads(name, result string) float64 {
	return testutil.ToFloat64(p.senders.reloads.WithLabelValues(name, result))
}

// newAppleKey makes a .p8 and its public half.
func newAppleKey(t *testing.T) (p8 string, public *ecdsa.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), &key.PublicKey
}

func overwrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestANewKeyUnderLoad is row 6 of the matrix: an APNs key is replaced by one with another
// ID while pushes go out. None is lost, none is refused, and no connection sees both keys.
func TestANewKeyUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProviders(t, nil)
	p8, public := newAppleKey(t)
	old := p.cfg.Projects[0].APNs[0]
	p.world.Sandbox.TrustKey(sim.APNsKey{ID: "NEWKEY1234", TeamID: old.TeamID, Public: public})
	next := p.cfg
	next.Projects = []config.Project{p.cfg.Projects[0]}
	next.Projects[0].APNs = []config.APNs{old}
	a := &next.Projects[0].APNs[0]
	a.KeyID, a.KeyFile, a.Key = "NEWKEY1234", write(t, []byte(p8)), planet.Secret(p8)
	first := p.senders.clients[0]
	p.underLoad(t, bell.APNsVoIP, func() {
		for _, w := range p.senders.watched {
			w.Adopt(&next)
		}
		p.look(t)
	})
	if n := p.reloads("main/NEWKEY1234", "replaced"); n != 1 {
		t.Errorf("%v replacements are counted, want 1", n)
	}
	if r := p.world.Sandbox.Stats().Rejected; len(r) != 0 {
		t.Errorf("APNs refused %v", r)
	}
	pushes := p.world.Sandbox.Pushes()
	keys := map[int]map[string]bool{}
	for _, push := range pushes {
		if keys[push.Conn] == nil {
			keys[push.Conn] = map[string]bool{}
		}
		keys[push.Conn][keyOf(t, push)] = true
	}
	for conn, seen := range keys {
		if len(seen) != 1 {
			t.Errorf("connection %d saw the keys %v", conn, seen)
		}
	}
	if last := keyOf(t, pushes[len(pushes)-1]); last != "NEWKEY1234" {
		t.Errorf("the last push has the key %s", last)
	}
	// They are closed in the background, once nothing is under way on them.
	await(t, "the old connections are closed", func() bool { return first.Warm(t.Context()) != nil })
}

// keyOf reads the key ID of a push's provider token.
func keyOf(t *testing.T, push sim.APNsPush) string {
	t.Helper()
	part, _, _ := strings.Cut(strings.TrimPrefix(push.Header.Get("authorization"), "bearer "), ".")
	var header struct{ Kid string }
	if err := json.Unmarshal(base64URL(t, part), &header); err != nil {
		t.Errorf("a provider token's header: %v", err)
	}
	return header.Kid
}

// TestANewServiceAccountUnderLoad: the same for FCM.
func TestANewServiceAccountUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProviders(t, nil)
	f := p.cfg.Projects[0].FCM
	p.underLoad(t, bell.FCM, func() {
		overwrite(t, f.ServiceAccountFile, strings.Replace(f.ServiceAccount.Reveal(), "{", `{"universe_domain":"googleapis.com",`, 1))
		p.look(t)
	})
	if n := p.reloads("main", "replaced"); n != 1 {
		t.Errorf("%v replacements are counted, want 1", n)
	}
	if s := p.world.FCM.Stats(); s.TokenRequests != 2 || len(s.Rejected) != 0 {
		t.Errorf("Google saw %+v, want 2 token requests and nothing refused", s)
	}
}

// TestAKeyFileIsReplaced: what is in the file counts, and a file that is wrong leaves the
// old key in use; the log says nothing of what was in it.
func TestAKeyFileIsReplaced(t *testing.T) {
	t.Parallel()
	p := newProviders(t, nil)
	a := p.cfg.Projects[0].APNs[0]
	for _, wrong := range []string{"", testlog.TextSecret("no key"), read(t, p.cfg.Projects[0].FCM.ServiceAccountFile)} {
		overwrite(t, a.KeyFile, wrong)
		p.look(t)
		p.mustAccept(t, bell.APNsVoIP, 1)
	}
	if err := os.Remove(a.KeyFile); err != nil {
		t.Fatal(err)
	}
	p.look(t)
	p.mustAccept(t, bell.APNsVoIP, 2)
	if failed, replaced := p.reloads("main/"+a.KeyID, "failed"), p.reloads("main/"+a.KeyID, "replaced"); failed != 3 || replaced != 0 {
		t.Errorf("%v failures and %v replacements are counted, want 3 (two wrong in the same way) and 0", failed, replaced)
	}
	p8, public := newAppleKey(t)
	overwrite(t, a.KeyFile, p8)
	p.world.Sandbox.TrustKey(sim.APNsKey{ID: a.KeyID, TeamID: a.TeamID, Public: public})
	p.look(t)
	p.mustAccept(t, bell.APNsVoIP, 3)
}

// TestAServiceAccountOfAnotherProject would reach no device.
func TestAServiceAccountOfAnotherProject(t *testing.T) {
	t.Parallel()
	p := newProviders(t, nil)
	f := p.cfg.Projects[0].FCM
	overwrite(t, f.ServiceAccountFile, strings.Replace(f.ServiceAccount.Reveal(), `"project_id":"`, `"project_id":"other-`, 1))
	if read(t, f.ServiceAccountFile) == f.ServiceAccount.Reveal() {
		overwrite(t, f.ServiceAccountFile, strings.Replace(f.ServiceAccount.Reveal(), `"project_id": "`, `"project_id": "other-`, 1))
	}
	p.look(t)
	p.mustAccept(t, bell.FCM, 1)
	if n := p.reloads("main", "failed"); n != 1 {
		t.Errorf("%v failures are counted, want 1", n)
	}
}

// TestARevokedServiceAccount: a new account that Google refuses does not take the place of
// one that works.
func TestARevokedServiceAccount(t *testing.T) {
	t.Parallel()
	p := newProviders(t, nil)
	f := p.cfg.Projects[0].FCM
	p.mustAccept(t, bell.FCM, 1)
	p.world.FCM.Revoke(true)
	overwrite(t, f.ServiceAccountFile, f.ServiceAccount.Reveal()+" \n")
	p.look(t)
	if n := p.reloads("main", "replaced") + p.reloads("main", "failed"); n != 0 {
		t.Errorf("white space is taken for a change")
	}
	overwrite(t, f.ServiceAccountFile, strings.Replace(f.ServiceAccount.Reveal(), "{", `{"universe_domain":"googleapis.com",`, 1))
	p.look(t)
	p.mustAccept(t, bell.FCM, 2)
	if n := p.reloads("main", "failed"); n != 1 {
		t.Errorf("%v failures are counted, want 1", n)
	}
	p.world.FCM.Revoke(false)
	p.look(t)
	p.mustAccept(t, bell.FCM, 3)
	if n := p.reloads("main", "replaced"); n != 1 {
		t.Errorf("%v replacements are counted, want 1", n)
	}
}

// TestACertificateIsReplaced, as PEM and as PKCS#12. One that is good for less than the
// old one is refused.
func TestACertificateIsReplaced(t *testing.T) {
	t.Parallel()
	for name, pkcs := range map[string]bool{"PEM": false, "PKCS#12": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certFile, keyFile, p12File := write(t, nil), write(t, nil), write(t, nil)
			passwordFile := write(t, []byte("unset"))
			renew := func(w *sim.World, topics ...string) {
				pair, err := w.CA.Push(topics...)
				if err != nil {
					t.Fatal(err)
				}
				cert, key, err := sim.CertificatePEM(pair)
				if err != nil {
					t.Fatal(err)
				}
				password := testlog.TextSecret(fmt.Sprint("p12 ", topics))
				p12, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, nil, password)
				if err != nil {
					t.Fatal(err)
				}
				overwrite(t, certFile, string(cert))
				overwrite(t, keyFile, string(key))
				overwrite(t, p12File, string(p12))
				overwrite(t, passwordFile, password)
			}
			const bundle = "com.example.planetbell"
			p := newProviders(t, func(c *config.Config, w *sim.World) {
				renew(w, bundle, bundle+".voip")
				a := &c.Projects[0].APNs[0]
				a.Key, a.KeyFile = "", ""
				if pkcs {
					a.P12File, a.P12PasswordFile, a.P12Password = p12File, passwordFile, planet.Secret(read(t, passwordFile))
				} else {
					a.CertificateFile, a.CertificateKeyFile = certFile, keyFile
				}
			})
			p.mustAccept(t, bell.APNsVoIP, 1)
			renew(p.world, bundle) // alerts only
			p.look(t)
			p.mustAccept(t, bell.APNsVoIP, 2)
			if n := p.reloads("main/"+bundle, "failed"); n != 1 {
				t.Errorf("%v failures are counted, want 1", n)
			}
			before := p.world.Sandbox.Stats().Connections
			renew(p.world, bundle, bundle+".voip", bundle+".complication")
			p.look(t)
			p.mustAccept(t, bell.APNsVoIP, 3)
			if n := p.reloads("main/"+bundle, "replaced"); n != 1 || p.world.Sandbox.Stats().Connections == before {
				t.Errorf("%v replacements are counted, want 1 and new connections", n)
			}
		})
	}
}

// TestEntriesOfOneKeyAreReplacedTogether: two apps of a team share the key's connections
// after the change as before it.
func TestEntriesOfOneKeyAreReplacedTogether(t *testing.T) {
	t.Parallel()
	p := newProviders(t, func(c *config.Config, _ *sim.World) {
		second := c.Projects[0].APNs[0]
		second.BundleID = "com.example.second"
		c.Projects[0].APNs = append(c.Projects[0].APNs, second)
	})
	before := len(p.senders.clients)
	a := p.cfg.Projects[0].APNs[0]
	p8, public := newAppleKey(t)
	overwrite(t, a.KeyFile, p8)
	p.world.Sandbox.TrustKey(sim.APNsKey{ID: a.KeyID, TeamID: a.TeamID, Public: public})
	p.look(t)
	p.senders.behind.Wait()
	if n := len(p.senders.clients); n != before {
		t.Errorf("%d clients, want %d as before", n, before)
	}
	p.mustAccept(t, bell.APNsVoIP, 1)
	if n := p.reloads("main/"+a.KeyID, "replaced"); n != 1 {
		t.Errorf("%v replacements are counted, want 1", n)
	}
	// A configuration in which the entry stands for another app is not taken over.
	other := p.cfg
	other.Projects = []config.Project{{Name: "main", APNs: []config.APNs{{BundleID: "com.example.other", KeyID: "X"}}}}
	for _, w := range p.senders.watched {
		w.Adopt(&other)
	}
	p.look(t)
	p.mustAccept(t, bell.APNsVoIP, 2)
}

func base64URL(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Errorf("a provider token: %v", err)
	}
	return b
}
