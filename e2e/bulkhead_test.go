package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

func numbered(i int) planet.SessionID {
	return planet.SessionID(fmt.Sprintf("00000000-0000-4000-8000-%012x", i))
}

// APNs hangs with more calls than its route has room for. Every other device of these calls
// rings, the callback is answered 200 as long as one device has room, and what had none is
// on record. Only a call for which there is no room at all is refused, and says so.
func TestAFullRouteDelaysNoOther(t *testing.T) {
	t.Parallel()
	const room, calls = 100, 110
	s := play(t, configured(func(c *config.Config) {
		c.Limits.DeliveriesInFlight = room
		c.ShutdownTimeout = 2 * time.Second // what hangs is not waited for
	}))
	s.phone("bob", sim.IOS, "iPhone")
	android, pc := s.phone("bob", sim.Android, "Android"), s.phone("bob", sim.Windows, "PC")
	s.phone("carol", sim.IOS, "carol's iPhone")
	if err := s.World.SetFault("apns-production", sim.Answer{Hang: true}, 0); err != nil {
		t.Fatal(err)
	}
	// Those that fill the room come at once, so that all is over before what hangs gives up.
	call := func(i int) {
		if a := s.callback(s.project(), "notify", notify(string(numbered(i)), "demo-service", "bob")); a.status != http.StatusOK {
			t.Errorf("call %d was answered %d %s, want 200: two of its devices have room", i, a.status, a.body)
		}
	}
	var filling sync.WaitGroup
	for i := 1; i <= room; i++ {
		filling.Go(func() { call(i) })
	}
	filling.Wait()
	for i := room + 1; i <= calls; i++ {
		call(i)
	}
	// What hangs gives up after some ten seconds, and makes room: so this comes first.
	a := s.callback(s.project(), "notify", notify(string(numbered(calls+1)), "demo-service", "carol"))
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "Too many calls") {
		t.Errorf("a call with no device that has room was answered %d %s, want 503 and why", a.status, a.body)
	}
	if n := s.metric(`planetbell_deliveries_dropped_total{cause="full"}`); n != calls-room+1 {
		t.Errorf("the metrics tell of %v deliveries without room, want %d", n, calls-room+1)
	}
	if d := deliveryBy(t, s.story(numbered(calls)), bell.APNsVoIP); d.State != bell.DeliveryFailed || d.Reason != "route_full" {
		t.Errorf("the delivery of call %d by APNs is %s (%q), want failed (route_full)", calls, d.State, d.Reason)
	}
	if d := deliveryBy(t, s.story(numbered(1)), bell.APNsVoIP); d.Reason == "route_full" {
		t.Errorf("the delivery of call 1 by APNs is %s (%q), and there was room", d.State, d.Reason)
	}
	s.rang(android, calls)
	s.rang(pc, calls)
	for _, channel := range []bell.Channel{bell.FCM, bell.LongPoll} {
		s.await(fmt.Sprintf("all deliveries by %s are accepted", channel), func() bool {
			return s.metric(fmt.Sprintf("planetbell_call_to_accept_seconds_count{channel=%q}", channel)) == calls
		})
	}
}

// pemOf is a private key that no provider knows.
func pemOf(t *testing.T, key any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// breakCredentials gives the second project keys that neither Apple nor Google knows.
func breakCredentials(t *testing.T) func(*config.Config) {
	return func(c *config.Config) {
		manyProjects(c)
		p := &c.Projects[1]
		p.APNs = slices.Clone(p.APNs)
		apple, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		p.APNs[0].Key = planet.Secret(pemOf(t, apple, err))
		var account map[string]any
		if err := json.Unmarshal([]byte(p.FCM.ServiceAccount.Reveal()), &account); err != nil {
			t.Fatal(err)
		}
		google, err := rsa.GenerateKey(rand.Reader, 2048)
		account["private_key"] = pemOf(t, google, err)
		text, err := json.Marshal(account)
		if err != nil {
			t.Fatal(err)
		}
		p.FCM.ServiceAccount = planet.Secret(text)
	}
}

// One project's credentials are wrong. Every call of the project beside it rings with its
// first attempt, and its devices stay as they are.
func TestAWrongCredentialTouchesNoOtherProject(t *testing.T) {
	t.Parallel()
	const calls = 30
	s := play(t, configured(breakCredentials(t)))
	iphone, android := s.phone("bob", sim.IOS, "iPhone"), s.phone("bob", sim.Android, "Android")
	broken := &s.Config.Projects[1]
	s.phoneIn(broken, "eve")
	eve, err := sim.NewPhone(sim.Android, sim.PhoneOptions{
		Name: "eve's Android", BaseURL: s.App.PublicURL(), APIKey: broken.ClientKey.Reveal(),
		User: planet.UserRef{ServiceID: broken.ServiceID, UserID: "eve"}, DisplayName: "eve",
		Client: s.watch.client, FCM: s.World.FCM,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eve.Close)
	if err := eve.Start(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.await("both of eve's phones can ring", func() bool { return s.reachable("eve") == 2 })

	for i := 1; i <= calls; i++ {
		if a := s.callback(broken, "notify", notify(string(numbered(2*i)), "other-service", "eve")); a.status != http.StatusOK {
			t.Fatalf("call %d of the broken project was answered %d", i, a.status)
		}
		if a := s.callback(s.project(), "notify", notify(string(numbered(2*i+1)), "demo-service", "bob")); a.status != http.StatusOK {
			t.Fatalf("call %d of the healthy project was answered %d", i, a.status)
		}
		s.rang(iphone, i)
		s.rang(android, i)
	}
	for i := 1; i <= calls; i++ {
		for _, d := range s.settled(numbered(2*i + 1)).Deliveries {
			if d.State != bell.DeliveryAccepted || len(d.Attempts) != 1 {
				t.Errorf("the healthy project's call %d by %s is %s after %q, want accepted at once", i, d.Channel, d.State, reasons(d))
			}
		}
	}
	s.await("an attempt of the broken project is recorded by either channel", func() bool {
		story := s.story(numbered(2))
		return len(deliveryBy(t, story, bell.APNsVoIP).Attempts) > 0 && len(deliveryBy(t, story, bell.FCM).Attempts) > 0
	})
	for user, n := range map[string]int{"bob": 2, "eve": 2} { // a wrong key proves nothing of a device
		if got := s.reachable(user); got != n {
			t.Errorf("%d devices of %s can ring, want %d", got, user, n)
		}
	}
}

// A breaker is of one credential: that of a project whose APNs answers 503 opens, skips none
// of its own first attempts, and leaves that of the project beside it shut.
func TestABreakerIsOfOneCredential(t *testing.T) {
	t.Parallel()
	const calls = 30
	s := play(t, configured(manyProjects), configured(func(c *config.Config) {
		c.ShutdownTimeout = 2 * time.Second
		p := &c.Projects[1]
		p.APNs = slices.Clone(p.APNs)
		p.APNs[0].ProductionURL = p.APNs[0].SandboxURL // a server of its own, to break
		p.APNs[0].Servers = []bell.APNsServer{bell.APNsProduction}
	}))
	iphone, other := s.phone("bob", sim.IOS, "iPhone"), &s.Config.Projects[1]
	s.phoneIn(other, "eve")
	if err := s.World.SetFault("apns-sandbox", sim.Answer{Status: http.StatusServiceUnavailable, Reason: "ServiceUnavailable"}, 0); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= calls; i++ {
		s.callback(other, "notify", notify(string(numbered(2*i)), "other-service", "eve"))
		s.callback(s.project(), "notify", notify(string(numbered(2*i+1)), "demo-service", "bob"))
		s.rang(iphone, i)
	}
	open := func(credential string) float64 {
		return s.metric(`planetbell_circuit_open{channel="apns_voip",credential="` + credential + "/")
	}
	s.await("the breaker of the broken route opens", func() bool { return open("other") == 1 })
	for i := 1; i <= calls; i++ {
		s.await("a first attempt of every call on the broken route is recorded", func() bool {
			return len(deliveryBy(t, s.story(numbered(2*i)), bell.APNsVoIP).Attempts) > 0
		})
	}
	if open("demo") != 0 {
		t.Error("the healthy project's breaker is open")
	}
	if s.reachable("eve") != 1 {
		t.Error("a device was forgotten because APNs was unwell")
	}
}
