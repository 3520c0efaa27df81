package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// faulty is a row in which the first request breaks, or all if count is 0.
func faulty(name string, fault sim.Fault, state bell.DeliveryState, device string, requests int, attempts ...try) row {
	return row{name: name, fault: &fault, state: state, device: device, requests: requests, attempts: attempts}
}

// fourOf is as often as any push is sent.
func fourOf(t try) []try { return []try{t, t, t, t} }

// apnsBroken are more rows of 7.3: TLS, what never gets well, and an end that APNs gives a
// reason for.
func apnsBroken() []row {
	production := func(verdict bell.Verdict, reason string, alarm bell.Alarm) try {
		return try{bell.APNsProduction, verdict, 0, reason, alarm}
	}
	reset := production(bell.RetryConnect, "reset", bell.AlarmCount)
	rows := []row{
		faulty("GOAWAY for a revoked certificate", sim.Fault{Kind: sim.FaultGoAwayClose, Count: 1, Reason: "BadCertificate"},
			accepted, atProduction, 2, production(bell.RetryConnect, "goaway", bell.AlarmPage), taken),
		faulty("every stream breaks", sim.Fault{Kind: sim.FaultStreamError}, failed, "kept", 4, fourOf(reset)...),
		faulty("never an answer", sim.Fault{Kind: sim.FaultHang}, failed, "kept", 4, fourOf(production(bell.RetryNow, "timeout", bell.AlarmCount))...),
	}
	for name, kind := range map[string]sim.FaultKind{"a certificate that has expired": sim.FaultExpired, "a certificate of another host": sim.FaultWrongHost} {
		r := faulty(name, sim.Fault{Kind: kind}, failed, "kept", 0, fourOf(production(bell.RetryConnect, "tls", bell.AlarmPage))...)
		r.setup = circumstance{cold: true, ring: 3 * time.Second} // after 0, 0, 250 ms and 1 s; the next would be too late
		rows = append(rows, r)
	}
	return rows
}

// fcmBroken are the same for FCM.
func fcmBroken() []row {
	reset := try{"", bell.RetryConnect, 0, "reset", bell.AlarmCount}
	silent := faulty("never an answer", sim.Fault{Kind: sim.FaultHang}, failed, "kept", 4, fourOf(try{"", bell.RetryNow, 0, "timeout", bell.AlarmCount})...)
	silent.setup.patience = time.Second
	expired := faulty("a certificate that has expired", sim.Fault{Kind: sim.FaultExpired}, failed, "kept", 0,
		fourOf(try{"", bell.RetryConnect, 0, "tls", bell.AlarmPage})...)
	expired.setup = circumstance{cold: true, ring: 3 * time.Second}
	return []row{
		faulty("every stream breaks", sim.Fault{Kind: sim.FaultStreamError}, failed, "kept", 4, fourOf(reset)...), silent, expired,
	}
}

func TestMatrixWhatStaysBroken(t *testing.T) {
	t.Parallel()
	store := matrixStore(t)
	for provider, table := range map[string][]row{"APNs": apnsBroken(), "FCM": fcmBroken()} {
		with := map[string]func(*matrix, circumstance) func(){"APNs": (*matrix).withAPNs, "FCM": (*matrix).withFCM}[provider]
		for _, r := range table {
			t.Run(provider+" "+r.name, func(t *testing.T) {
				t.Parallel()
				r.play(t, store, with)
			})
		}
	}
}

// Whatever is sent again, APNs is told that it is the same push; and a provider token that
// it finds too old or too new is replaced by the right one.
func TestMatrixWhatAPNsIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		later time.Duration
		say   sim.Answer
		third int  // whose provider token the last request has: that of request 1, or a new one if 0
		same  bool // the first two have the same
	}{
		{"unwell", time.Second, says(503, "ServiceUnavailable"), 1, true},
		{"too old", 25 * time.Minute, says(403, "ExpiredProviderToken"), 0, true},
		{"too new", 40 * time.Minute, says(429, "TooManyProviderTokenUpdates"), 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMatrix(t, matrixStore(t))
			m.withAPNs(circumstance{later: c.later})()
			m.add("bob", circumstance{})
			var mu sync.Mutex
			var requests []http.Header
			m.apple[bell.APNsProduction].Script(func(q sim.APNsRequest) *sim.Answer {
				mu.Lock()
				defer mu.Unlock()
				if requests = append(requests, q.Header); len(requests) == 2 {
					return &c.say
				}
				return nil
			})
			m.ring("bob", 0)
			m.clock.Advance(c.later)
			record := m.ring("bob", 0)
			mu.Lock()
			defer mu.Unlock()
			if got := record.Deliveries[0].Delivery; got.State != accepted || len(requests) != 3 {
				t.Fatalf("the delivery is %s after %d requests in all, want accepted after 3", got.State, len(requests))
			}
			token := func(i int) string { return requests[i-1].Get("Authorization") }
			if token(1) == token(2) != c.same || (c.third == 1) != (token(3) == token(1)) || c.third == 0 && token(3) == token(2) {
				t.Errorf("the provider tokens: the second is the first's: %t; the third is: %t", token(1) == token(2), token(1) == token(3))
			}
			for _, i := range []int{2, 3} {
				if got := requests[i-1].Get("Apns-Id"); got != record.Deliveries[0].Delivery.ID {
					t.Errorf("request %d has the apns-id %s, want the delivery's", i, got)
				}
			}
		})
	}
}

// The second refusal by both of Apple's servers suspends a token whose server the client
// named; the first did not, because the other server might have taken it.
func TestMatrixATokenOfNobodyIsSuspended(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, matrixStore(t))
	m.withAPNs(circumstance{})()
	d := m.add("bob", circumstance{stranger: true})
	for range 30 {
		m.add("fleet", circumstance{})
	}
	m.ring("fleet", 0)
	for i, want := range []string{"strike 1", "suspended for BadDeviceToken, strike 2"} {
		seen := m.seen()
		m.ring("bob", 0)
		now, err := m.store.Device(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, n := fate(now), m.seen()-seen; got != want || n != 2 {
			t.Errorf("after call %d and %d requests the device is %s, want %s after 2", i+1, n, got, want)
		}
	}
}
