package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/store/sqlite"
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
	r.why(t, record)
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
