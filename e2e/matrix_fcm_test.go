package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// rpc is an error of Google without FCM's detail: status is google.rpc's word.
func rpc(code int, status string, details ...any) sim.Answer {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{ // always encodes
		"code": code, "message": "scripted", "status": status, "details": details,
	}})
	return sim.Answer{Status: code, Body: string(body), ContentType: "application/json; charset=UTF-8"}
}

// violation is the detail of an error about our own message.
var violation = map[string]any{
	"@type":           "type.googleapis.com/google.rpc.BadRequest",
	"fieldViolations": []any{map[string]any{"field": "message.android.ttl", "description": "scripted"}},
}

// google is an attempt that FCM answered.
func google(verdict bell.Verdict, status int, reason string, alarm bell.Alarm) try {
	return try{"", verdict, status, reason, alarm}
}

// lost is an attempt that FCM did not answer.
func lost(verdict bell.Verdict, reason string, alarm bell.Alarm) try {
	return try{"", verdict, 0, reason, alarm}
}

var had = try{"", bell.Accepted, 200, "", bell.AlarmNone}

// denied is a row whose refusal is final, says nothing about the device, and is not
// repeated.
func denied(name string, a sim.Answer, reason string, alarm bell.Alarm) row {
	return row{
		name: name, says: ever(a), state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.Rejected, a.Status, reason, alarm)},
	}
}

// fourTimes is an answer of an unwell FCM that does not get better.
func fourTimes(name string, a sim.Answer, reason string) row {
	t := google(bell.RetryBackoff, a.Status, reason, bell.AlarmCount)
	return row{name: name + ", again and again", says: ever(a), state: failed, device: "kept", requests: 4, attempts: []try{t, t, t, t}}
}

// recovers is an answer that the next attempt does not get.
func recovers(name string, a sim.Answer, verdict bell.Verdict, reason string, alarm bell.Alarm) row {
	return row{
		name: name, says: once(a), state: accepted, device: "kept", requests: 2,
		attempts: []try{google(verdict, a.Status, reason, alarm), had},
	}
}

// fcmAnswers are the rows of 2.3.
var fcmAnswers = []row{
	{name: "200", state: accepted, device: "kept", requests: 1, attempts: []try{had}},

	// Two 400s look alike: a token that is none, and a message that is wrong.
	{
		name: "INVALID_ARGUMENT about the token, alone", setup: circumstance{stranger: true}, state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.Rejected, 400, "INVALID_ARGUMENT", bell.AlarmCount)},
	},
	{
		name: "INVALID_ARGUMENT about the token, among many that are well", setup: circumstance{stranger: true, fleet: true},
		state: failed, device: "suspended for INVALID_ARGUMENT, strike 1", requests: 1,
		attempts: []try{google(bell.Rejected, 400, "INVALID_ARGUMENT", bell.AlarmCount)},
	},
	{
		name: "INVALID_ARGUMENT about the message", setup: circumstance{fleet: true}, says: ever(rpc(400, "INVALID_ARGUMENT", violation)),
		state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.Rejected, 400, "INVALID_ARGUMENT", bell.AlarmBug)},
	},
	{
		name: "INVALID_ARGUMENT of FCM about something else", setup: circumstance{fleet: true}, says: ever(says(400, "INVALID_ARGUMENT")),
		state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.Rejected, 400, "INVALID_ARGUMENT", bell.AlarmBug)},
	},

	recovers("UNAUTHENTICATED", says(401, "UNAUTHENTICATED"), bell.RetryCredential, "UNAUTHENTICATED", bell.AlarmConfig),
	{
		name: "UNAUTHENTICATED, again and again", says: ever(says(401, "UNAUTHENTICATED")), state: failed, device: "kept", requests: 2,
		attempts: []try{
			google(bell.RetryCredential, 401, "UNAUTHENTICATED", bell.AlarmConfig),
			google(bell.RetryCredential, 401, "UNAUTHENTICATED", bell.AlarmConfig),
		},
	},
	denied("THIRD_PARTY_AUTH_ERROR", says(401, "THIRD_PARTY_AUTH_ERROR"), "THIRD_PARTY_AUTH_ERROR", bell.AlarmConfig),
	denied("APNS_AUTH_ERROR", says(401, "APNS_AUTH_ERROR"), "APNS_AUTH_ERROR", bell.AlarmConfig),

	denied("SENDER_ID_MISMATCH alone", says(403, "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH", bell.AlarmConfig),
	{
		name: "SENDER_ID_MISMATCH among many that are well", setup: circumstance{fleet: true}, says: ever(says(403, "SENDER_ID_MISMATCH")),
		state: failed, device: "suspended for SENDER_ID_MISMATCH, strike 1", requests: 1,
		attempts: []try{google(bell.Rejected, 403, "SENDER_ID_MISMATCH", bell.AlarmConfig)},
	},
	denied("PERMISSION_DENIED", rpc(403, "PERMISSION_DENIED"), "PERMISSION_DENIED", bell.AlarmPage),

	{
		name: "UNREGISTERED", says: ever(says(404, "UNREGISTERED")), state: failed, device: "forgotten for UNREGISTERED", requests: 1,
		attempts: []try{google(bell.Rejected, 404, "UNREGISTERED", bell.AlarmCount)},
	},
	denied("NOT_FOUND without FCM's detail", rpc(404, "NOT_FOUND"), "NOT_FOUND", bell.AlarmPage),
	denied("a page of 404", page(404), "http_404", bell.AlarmPage),
	denied("a page of 413", page(413), "http_413", bell.AlarmBug),

	// Only the wait that FCM names helps.
	recovers("QUOTA_EXCEEDED with a wait that fits", headed(says(429, "QUOTA_EXCEEDED"), "Retry-After", "1"),
		bell.RetryThrottled, "QUOTA_EXCEEDED", bell.AlarmCount),
	{
		name: "QUOTA_EXCEEDED with a wait that does not fit", says: ever(headed(says(429, "QUOTA_EXCEEDED"), "Retry-After", "60")),
		state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.RetryThrottled, 429, "QUOTA_EXCEEDED", bell.AlarmCount)},
	},
	{
		name: "QUOTA_EXCEEDED without a wait", says: ever(says(429, "QUOTA_EXCEEDED")), state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.RetryThrottled, 429, "QUOTA_EXCEEDED", bell.AlarmCount)},
	},
	{
		name: "RESOURCE_EXHAUSTED without FCM's detail", says: ever(rpc(429, "RESOURCE_EXHAUSTED")), state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.RetryThrottled, 429, "RESOURCE_EXHAUSTED", bell.AlarmCount)},
	},

	recovers("INTERNAL", says(500, "INTERNAL"), bell.RetryBackoff, "INTERNAL", bell.AlarmCount),
	fourTimes("INTERNAL", says(500, "INTERNAL"), "INTERNAL"),
	recovers("UNAVAILABLE", says(503, "UNAVAILABLE"), bell.RetryBackoff, "UNAVAILABLE", bell.AlarmCount),
	fourTimes("UNAVAILABLE", says(503, "UNAVAILABLE"), "UNAVAILABLE"),
	recovers("UNAVAILABLE with a wait in seconds", headed(says(503, "UNAVAILABLE"), "Retry-After", "1"),
		bell.RetryBackoff, "UNAVAILABLE", bell.AlarmCount),
	{
		name: "UNAVAILABLE with a wait as a date", fault: &sim.Fault{Kind: sim.FaultUnavailable, Count: 1, RetryDate: 2 * time.Second},
		state: accepted, device: "kept", requests: 2,
		attempts: []try{google(bell.RetryBackoff, 503, "UNAVAILABLE", bell.AlarmCount), had},
	},
	// A wait beyond the ring is as good as none: the phone should ring now.
	recovers("UNAVAILABLE with a wait that does not fit", headed(says(503, "UNAVAILABLE"), "Retry-After", "600"),
		bell.RetryBackoff, "UNAVAILABLE", bell.AlarmCount),

	// Everything else goes by its status.
	denied("UNSPECIFIED_ERROR of 400", says(400, "UNSPECIFIED_ERROR"), "unknown_reason", bell.AlarmBug),
	denied("UNSPECIFIED_ERROR of 403", says(403, "UNSPECIFIED_ERROR"), "unknown_reason", bell.AlarmPage),
	denied("a page of 418", page(418), "http_418", bell.AlarmCount),
	recovers("UNSPECIFIED_ERROR of 500", says(500, "UNSPECIFIED_ERROR"), bell.RetryBackoff, "unknown_reason", bell.AlarmCount),
	recovers("a page of 502", page(502), bell.RetryBackoff, "http_502", bell.AlarmCount),
	recovers("a page of 401", page(401), bell.RetryCredential, "http_401", bell.AlarmConfig),
	{
		name: "a page of 429", says: ever(page(429)), state: failed, device: "kept", requests: 1,
		attempts: []try{google(bell.RetryThrottled, 429, "http_429", bell.AlarmCount)},
	},
}

// fcmFailures are the rows of 7.3 in which FCM, or Google's token server, does not answer
// with a verdict.
var fcmFailures = []row{
	{
		name: "dial refused", setup: circumstance{cold: true, ring: 3 * time.Second}, fault: &sim.Fault{Kind: sim.FaultRefuse},
		state: failed, device: "kept", requests: 0,
		// At once, at once over the other connection, after 250 ms, after 1 s; the next would be too late.
		attempts: append(thrice(lost(bell.RetryConnect, "dial", bell.AlarmCount)), lost(bell.RetryConnect, "dial", bell.AlarmCount)),
	},
	{
		name: "TCP reset", fault: &sim.Fault{Kind: sim.FaultReset, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{lost(bell.RetryConnect, "connection_lost", bell.AlarmCount), had},
	},
	{
		name: "close", fault: &sim.Fault{Kind: sim.FaultClose, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{lost(bell.RetryConnect, "connection_lost", bell.AlarmCount), had},
	},
	{
		// net/http repeats by itself what cannot have had an effect.
		name: "GOAWAY before the request", fault: &sim.Fault{Kind: sim.FaultGoAwayRefuse, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{had},
	},
	{
		name: "GOAWAY and an answer", fault: &sim.Fault{Kind: sim.FaultGoAwayAnswer, Count: 1}, state: accepted, device: "kept", requests: 1,
		attempts: []try{had},
	},
	{
		name: "GOAWAY and the end", fault: &sim.Fault{Kind: sim.FaultGoAwayClose, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{lost(bell.RetryConnect, "goaway", bell.AlarmCount), had},
	},
	{
		name: "refused stream", fault: &sim.Fault{Kind: sim.FaultRefusedStream, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{had},
	},
	{
		name: "stream error", fault: &sim.Fault{Kind: sim.FaultStreamError, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{lost(bell.RetryConnect, "reset", bell.AlarmCount), had},
	},
	{
		name: "no answer", setup: circumstance{patience: 3 * time.Second}, fault: &sim.Fault{Kind: sim.FaultHang, Count: 1}, state: accepted, device: "kept", requests: 2,
		attempts: []try{lost(bell.RetryNow, "timeout", bell.AlarmCount), had},
	},
	{
		name: "a revoked service account", setup: circumstance{cold: true}, token: says(400, "invalid_grant"),
		state: failed, device: "kept", requests: 0,
		attempts: []try{lost(bell.Rejected, "oauth_invalid_grant", bell.AlarmPage)},
	},
}

func TestMatrixFCM(t *testing.T) {
	t.Parallel()
	store := matrixStore(t)
	for _, table := range [][]row{fcmAnswers, fcmFailures} {
		for _, r := range table {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.play(t, store, (*matrix).withFCM)
			})
		}
	}
}

// A 401 is repeated with another access token, which is asked for once.
func TestMatrixAnotherAccessToken(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, matrixStore(t))
	m.withFCM(circumstance{})()
	m.add("bob", circumstance{})
	asked := m.google.Stats().TokenRequests
	m.google.ForgetAccessTokens()
	record := m.ring("bob", 0)
	if d := record.Deliveries[0]; d.Delivery.State != accepted || len(d.Attempts) != 2 || d.Attempts[0].Outcome.Status != 401 {
		t.Errorf("the delivery is %s after %+v, want accepted after a 401", d.Delivery.State, d.Attempts)
	}
	if n := m.google.Stats().TokenRequests - asked; n != 1 {
		t.Errorf("%d access tokens were asked for, want 1", n)
	}
}

// The key of another Firebase project makes FCM refuse every token: nothing is held against
// any device.
func TestMatrixAWrongFirebaseProjectTouchesNoDevice(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, matrixStore(t))
	m.withFCM(circumstance{})()
	m.misbehave(row{says: ever(says(403, "SENDER_ID_MISMATCH"))})
	m.allRefused("", 403, "SENDER_ID_MISMATCH")
}
