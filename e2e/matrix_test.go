package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// row is one row of a provider's table of errors, written down from
// docs/push-providers.md and not from the tables of the product: what the provider does,
// and what must have come of one call to bob's only device.
type row struct {
	name  string
	says  script     // in the place of the fake's own judgement
	token sim.Answer // of Google's token endpoint; its own judgement if zero
	fault *sim.Fault // of the device's server
	setup circumstance

	state    bell.DeliveryState
	device   string // see fate
	requests int    // that the fakes saw, over all servers
	attempts []try
}

// circumstance is what was before the call. The zero value is a device that is registered
// at APNs' production server, as its client said, and was never rung.
type circumstance struct {
	stranger bool          // no server knows the token
	sandbox  bool          // the token is the sandbox server's
	guessed  bool          // the client did not say which server it is
	rung     bool          // a push was taken for the token before
	fleet    bool          // thirty others were rung on the route and are well
	cold     bool          // the fault is there before the first connection
	later    time.Duration // by which the clocks of APNs and its client move on after the push before
	ring     time.Duration // in which attempts may start; the product's own if 0
	patience time.Duration // of one attempt at FCM; the product's own if 0
}

// try is one attempt as it must be recorded and counted.
type try struct {
	server  bell.APNsServer // empty for FCM
	verdict bell.Verdict
	status  int
	reason  string
	alarm   bell.Alarm
}

// script is what a provider says to the requests of a call, in their order.
type script struct {
	answers []sim.Answer
	ever    bool // the last one to all that follow
}

func once(a sim.Answer) script { return script{[]sim.Answer{a}, false} }
func ever(a sim.Answer) script { return script{[]sim.Answer{a}, true} }

// teller returns what tells the answers one by one.
func (s script) teller() func() *sim.Answer {
	var mu sync.Mutex
	next := 0
	return func() *sim.Answer {
		mu.Lock()
		defer mu.Unlock()
		i := next
		next++
		switch {
		case i < len(s.answers):
			return &s.answers[i]
		case s.ever:
			return &s.answers[len(s.answers)-1]
		}
		return nil
	}
}

// says is an answer in the provider's own form.
func says(status int, reason string) sim.Answer { return sim.Answer{Status: status, Reason: reason} }

// page is an answer of something between us and the provider.
func page(status int) sim.Answer { return *sim.HTMLAnswer(status) }

// headed adds a header.
func headed(a sim.Answer, name, value string) sim.Answer {
	a.Header = http.Header{name: {value}}
	return a
}

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

// fate is what became of a device, in words.
func fate(d bell.Device) string {
	switch {
	case d.PushToken == "":
		return "forgotten for " + d.ForgottenFor
	case !d.SuspendedUntil.IsZero():
		return fmt.Sprintf("suspended for %s, strike %d", d.SuspendedFor, d.Strikes)
	case d.Strikes > 0:
		return fmt.Sprintf("strike %d", d.Strikes)
	case d.APNsServerConfirmed:
		return "confirmed at " + string(d.APNsServer)
	}
	return "kept"
}

// play plays one row and compares all that can be seen of it.
func (r row) play(t *testing.T, store *sqlite.Store, with func(*matrix, circumstance) func()) {
	m := newMatrix(t, store)
	connect := with(m, r.setup)
	if r.setup.cold {
		m.misbehave(r)
	}
	connect()
	d := m.add("bob", r.setup)
	if r.setup.fleet {
		for range 30 {
			m.add("fleet", circumstance{})
		}
		m.ring("fleet", 0)
	}
	if r.setup.rung {
		m.ring("bob", 0)
	}
	if m.clock != nil {
		m.clock.Advance(r.setup.later)
	}
	if !r.setup.cold {
		m.misbehave(r)
	}
	seen, counted := m.seen(), m.attempted()
	record := m.ring("bob", r.setup.ring)
	r.compare(m, record)
	if n := m.seen() - seen; n != r.requests {
		t.Errorf("the provider saw %d requests, want %d", n, r.requests)
	}
	r.compareMetrics(m, counted)
	now, err := m.store.Device(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := fate(now); got != r.device {
		t.Errorf("the device is %s, want %s", got, r.device)
	}
}

// misbehave makes the providers do what the row says.
func (m *matrix) misbehave(r row) {
	m.t.Helper()
	tell := r.says.teller()
	for _, fake := range m.apple {
		fake.Script(func(sim.APNsRequest) *sim.Answer { return tell() })
	}
	var faults *sim.Faults
	if m.google != nil {
		faults = m.google.Faults()
		m.google.Script(func(sim.FCMRequest) *sim.Answer { return tell() })
		m.google.ScriptToken(func(sim.TokenRequest) *sim.Answer { return &r.token })
	} else {
		faults = m.apple[bell.APNsProduction].Faults()
	}
	if r.fault != nil {
		if err := faults.Add(*r.fault); err != nil {
			m.t.Fatal(err)
		}
	}
}

// compare compares the record.
func (r row) compare(m *matrix, record call.Record) {
	m.t.Helper()
	if len(record.Deliveries) != 1 {
		m.t.Fatalf("%d deliveries, want 1", len(record.Deliveries))
	}
	got := record.Deliveries[0]
	last := r.attempts[len(r.attempts)-1]
	if got.Delivery.State != r.state || got.Delivery.Reason != last.reason || got.Delivery.Attempts != len(r.attempts) {
		m.t.Errorf("the delivery is %s (%q) after %d attempts, want %s (%q) after %d",
			got.Delivery.State, got.Delivery.Reason, got.Delivery.Attempts, r.state, last.reason, len(r.attempts))
	}
	var want, have []string
	for i, a := range r.attempts {
		want = append(want, fmt.Sprintf("%d %s %d %q %s", i+1, a.verdict, a.status, a.reason, a.alarm))
	}
	for _, a := range got.Attempts {
		have = append(have, fmt.Sprintf("%d %s %d %q %s", a.Number, a.Outcome.Verdict, a.Outcome.Status, a.Outcome.Reason, a.Outcome.Alarm))
		if a.Outcome.Detail == "" {
			m.t.Errorf("attempt %d has no sentence for people", a.Number)
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		m.t.Errorf("the attempts differ (- want, + got):\n%s", diff)
	}
}

// compareMetrics compares what was counted since before.
func (r row) compareMetrics(m *matrix, before map[string]float64) {
	m.t.Helper()
	channel := bell.FCM
	if m.apple != nil {
		channel = bell.APNsVoIP
	}
	want := maps.Clone(before)
	for i, a := range r.attempts {
		number := strconv.Itoa(i + 1)
		if i >= 3 {
			number = "4+"
		}
		want[fmt.Sprintf("attempt=%s channel=%s credential=%s reason=%s server=%s verdict=%s",
			number, channel, matrixRoute, a.reason, a.server, a.verdict)]++
	}
	if diff := cmp.Diff(want, m.attempted()); diff != "" {
		m.t.Errorf("planetbell_push_attempts_total differs (- want, + got):\n%s", diff)
	}
}

// allRefused calls somebody with thirty devices, all of which are refused with a reason that
// a misconfiguration explains: no device changes, and the operator is told.
func (m *matrix) allRefused(server bell.APNsServer, status int, reason string) {
	m.t.Helper()
	for range 30 {
		m.add("bob", circumstance{})
	}
	for _, d := range m.ring("bob", 0).Deliveries {
		if len(d.Attempts) != 1 || d.Delivery.State != bell.DeliveryFailed || d.Delivery.Reason != reason || d.Attempts[0].Outcome.Status != status {
			m.t.Errorf("a delivery is %s (%q) after %d attempts, want failed (%q) after 1", d.Delivery.State, d.Delivery.Reason, len(d.Attempts), reason)
		}
		if got := fate(d.Device); got != "kept" {
			m.t.Errorf("a device is %s, want kept", got)
		}
	}
	if n := m.seen(); n != 30 {
		m.t.Errorf("the provider saw %d requests, want 30", n)
	}
	channel := map[bool]bell.Channel{true: bell.APNsVoIP, false: bell.FCM}[m.apple != nil]
	want := map[string]float64{fmt.Sprintf("attempt=1 channel=%s credential=%s reason=%s server=%s verdict=%s",
		channel, matrixRoute, reason, server, bell.Rejected): 30}
	if diff := cmp.Diff(want, m.attempted()); diff != "" {
		m.t.Errorf("planetbell_push_attempts_total differs (- want, + got):\n%s", diff)
	}
	alerts := 0.0
	for _, n := range m.counted("planetbell_token_config_alerts_total") {
		alerts += n
	}
	if alerts != 30 {
		m.t.Errorf("%v refusals are counted as a matter of the configuration, want 30", alerts)
	}
}
