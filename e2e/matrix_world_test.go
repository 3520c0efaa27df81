package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/push/apns"
	"github.com/planetbell/planetbell/internal/push/fcm"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// credentials are shared by all rows: to make them takes longer than a row.
var credentials = sync.OnceValue(func() (made struct {
	ca     *sim.CA
	apple  *ecdsa.PrivateKey
	google *rsa.PrivateKey
	err    error
},
) {
	if made.ca, made.err = sim.NewCA(); made.err != nil {
		return made
	}
	if made.apple, made.err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); made.err != nil {
		return made
	}
	made.google, made.err = rsa.GenerateKey(rand.Reader, 2048)
	return made
})

const (
	matrixBundle = "com.example.bell"
	matrixRoute  = "acme"
)

// matrix is the product's own way from a Notify to the providers, without its HTTP: call
// service, engine, registry of devices and senders over a database, before fakes.
type matrix struct {
	t        *testing.T
	store    *sqlite.Store
	devices  *device.Service
	project  *bell.Project
	projects *bell.Projects
	registry *prometheus.Registry
	metrics  *delivery.Metrics
	senders  map[delivery.RouteKey]delivery.Sender
	clock    *sim.ManualClock // of APNs and its client; nil is the machine's
	apple    map[bell.APNsServer]*sim.APNs
	google   *sim.FCM
}

// matrixStore is the database of all rows of a table: to make one takes longer than a row.
func matrixStore(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "bell.db"), Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newMatrix(t *testing.T, store *sqlite.Store) *matrix {
	t.Helper()
	m := &matrix{
		t: t, store: store, registry: prometheus.NewRegistry(), senders: map[delivery.RouteKey]delivery.Sender{},
		project: &bell.Project{Name: matrixRoute, Environment: planet.Evaluation, ServiceID: "service", EnvironmentLabel: "evaluation"},
	}
	var err error
	if m.projects, err = bell.NewProjects([]*bell.Project{m.project}); err != nil {
		t.Fatal(err)
	}
	m.metrics = delivery.NewMetrics(m.registry)
	m.devices = device.New(device.Config{Store: store, Log: testlog.New(t), Metrics: device.NewMetrics(m.registry)})
	return m
}

// Route implements delivery.Router.
func (m *matrix) Route(d *bell.Device) (delivery.Route, string) {
	key := delivery.RouteKey{Credential: matrixRoute, Channel: d.Channel, Server: string(d.APNsServer)}
	if m.senders[key] == nil {
		return delivery.Route{}, "no_credential"
	}
	return delivery.Route{Key: key, Sender: m.senders[key]}, ""
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// withAPNs starts both of Apple's servers. connect makes the clients.
func (m *matrix) withAPNs(c circumstance) (connect func()) {
	m.t.Helper()
	var clock sim.Clock
	now := time.Now
	if c.later != 0 {
		// APNs' clients renew their tokens by windows of the clock: this is a minute into one.
		m.clock = sim.NewManualClock(time.Unix(1767225600, 0).Add(time.Minute))
		clock, now = m.clock, m.clock.Now
	}
	made := credentials()
	if made.err != nil {
		m.t.Fatal(made.err)
	}
	m.apple = map[bell.APNsServer]*sim.APNs{}
	for server, environment := range map[bell.APNsServer]sim.APNsEnvironment{bell.APNsProduction: sim.APNsProduction, bell.APNsSandbox: sim.APNsSandbox} {
		fake := sim.NewAPNs(sim.APNsOptions{Environment: environment, CA: made.ca, Strict: true, Clock: clock})
		if err := fake.Start(); err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() { _ = fake.Close() })
		fake.TrustKey(sim.APNsKey{ID: "KEY1234567", TeamID: "TEAM123456", Public: &made.apple.PublicKey})
		m.apple[server] = fake
	}
	return func() {
		der, err := x509.MarshalPKCS8PrivateKey(made.apple)
		if err != nil {
			m.t.Fatal(err)
		}
		credential, err := apns.TokenCredential("TEAM123456", "KEY1234567", planet.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		if err != nil {
			m.t.Fatal(err)
		}
		for server, fake := range m.apple {
			client, err := apns.NewClient(apns.Config{
				Name: matrixRoute, Server: server, Credential: credential, BaseURL: fake.URL(), RootCAs: made.ca.Pool(),
				Proxy: noProxy, Clock: now, Log: testlog.New(m.t),
			})
			if err != nil {
				m.t.Fatal(err)
			}
			m.t.Cleanup(client.Close)
			sender, err := client.Sender(matrixBundle, bell.APNsVoIP)
			if err != nil {
				m.t.Fatal(err)
			}
			m.warm(client, c)
			m.senders[delivery.RouteKey{Credential: matrixRoute, Channel: bell.APNsVoIP, Server: string(server)}] = sender
		}
	}
}

// withFCM starts Google's servers. connect makes the client.
func (m *matrix) withFCM(c circumstance) (connect func()) {
	m.t.Helper()
	made := credentials()
	if made.err != nil {
		m.t.Fatal(made.err)
	}
	fake, err := sim.NewFCM(sim.FCMOptions{CA: made.ca, Key: made.google, Strict: true})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := fake.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = fake.Close() })
	m.google = fake
	return func() {
		account, err := fake.ServiceAccountJSON()
		if err != nil {
			m.t.Fatal(err)
		}
		client, err := fcm.NewClient(fcm.Config{
			Name: matrixRoute, ServiceAccount: planet.Secret(account), BaseURL: fake.URL(), RootCAs: made.ca.Pool(),
			Proxy: noProxy, AttemptTimeout: c.patience, Log: testlog.New(m.t),
		})
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(client.Close)
		m.warm(client, c)
		m.senders[delivery.RouteKey{Credential: matrixRoute, Channel: bell.FCM}] = client
	}
}

func (m *matrix) warm(client interface{ Warm(context.Context) error }, c circumstance) {
	m.t.Helper()
	if err := client.Warm(m.t.Context()); err != nil && !c.cold {
		m.t.Fatalf("warm up: %v", err)
	}
}

// registered is when all devices gave their push tokens.
var registered = time.Now().Add(-24 * time.Hour).Truncate(time.Second)

// serial tells calls and push tokens of all rows apart.
var serial atomic.Int64

// add gives a user a device, which its provider knows unless c says otherwise.
func (m *matrix) add(user string, c circumstance) bell.Device {
	m.t.Helper()
	token := testlog.HexSecret(int(serial.Add(1)), 64)
	d := bell.Device{
		ID: bell.NewID(), Owner: m.owner(user), Project: matrixRoute, Channel: bell.FCM,
		PushToken: planet.Secret(token), RegisteredAt: registered, LastSeenAt: registered,
	}
	if m.apple != nil {
		d.Channel, d.APNsServer, d.APNsServerGuessed = bell.APNsVoIP, bell.APNsProduction, c.guessed
	}
	switch {
	case c.stranger:
	case m.google != nil:
		m.google.Register(token, nil)
	case c.sandbox:
		m.apple[bell.APNsSandbox].Register(token, matrixBundle+".voip", nil)
	default:
		m.apple[bell.APNsProduction].Register(token, matrixBundle+".voip", nil)
	}
	if err := m.store.AddDevice(m.t.Context(), d); err != nil {
		m.t.Fatal(err)
	}
	return d
}

// owner is a user of this row.
func (m *matrix) owner(user string) bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "service", UserID: user + " of " + m.t.Name()}}
}

// ring calls a user and returns what is on record when all of it is over. Each call has an
// engine of its own, so that no guard remembers an earlier one; what is known of devices
// stays. Jitter is nothing, and no slow answer is hedged.
func (m *matrix) ring(user string, window time.Duration) call.Record {
	m.t.Helper()
	engine := delivery.New(delivery.Config{
		Store: m.store, Router: m, Registry: m.devices, Owner: "matrix", Log: testlog.New(m.t), Metrics: m.metrics,
		HedgeAfter: -1, Random: func() float64 { return 0 },
	})
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	c := call.Config{Store: m.store, Bells: engine, Projects: m.projects, Log: testlog.New(m.t)}
	if window > 0 {
		c.RingTime = window + call.DefaultSafety
	}
	calls := call.New(c)
	number := int(serial.Add(1))
	sid := planet.SessionID("session-" + strconv.Itoa(number))
	_, err := calls.Ring(ctx, m.project, planet.NotifyCallback{
		SessionID: sid, Caller: m.owner("alice").User, Callee: m.owner(user).User, Type: planet.AudioCall,
		CCParam: planet.CCParam(testlog.CCParam(number)),
	})
	if err != nil {
		m.t.Fatalf("call %s: %v", user, err)
	}
	engine.Stop(ctx) // finishes what it has begun
	calls.Stop(ctx)
	record, err := m.store.Call(ctx, planet.Evaluation, sid)
	if err != nil {
		m.t.Fatal(err)
	}
	return record
}

// silent are the faults that break a request off before the fake counts it.
var silent = []sim.FaultKind{
	sim.FaultReset, sim.FaultClose, sim.FaultGoAwayRefuse, sim.FaultGoAwayClose, sim.FaultRefusedStream, sim.FaultStreamError,
}

// seen is how many requests have reached the fakes.
func (m *matrix) seen() int {
	n := uint64(0)
	faults := []*sim.Faults{}
	for _, fake := range m.apple {
		n += fake.Stats().Requests
		faults = append(faults, fake.Faults())
	}
	if m.google != nil {
		n += m.google.Stats().Sends
		faults = append(faults, m.google.Faults())
	}
	for _, f := range faults {
		for _, kind := range silent {
			n += f.Struck()[kind]
		}
	}
	return int(n)
}

// attempted is planetbell_push_attempts_total by its labels.
func (m *matrix) attempted() map[string]float64 {
	m.t.Helper()
	return m.counted("planetbell_push_attempts_total")
}

// counted is a metric by its labels, without what is zero.
func (m *matrix) counted(name string) map[string]float64 {
	m.t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() { // by name
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			if v := series.GetCounter().GetValue(); v != 0 {
				all[strings.Join(labels, " ")] = v
			}
		}
	}
	return all
}
