package e2e

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// refused is a row whose refusal is final, says nothing about the device, and is not
// repeated.
func refused(status int, reason string, alarm bell.Alarm) row {
	return row{
		name: reason, says: ever(says(status, reason)), state: bell.DeliveryFailed, device: "kept", requests: 1,
		attempts: []try{{bell.APNsProduction, bell.Rejected, status, reason, alarm}},
	}
}

// ill is an attempt at APNs' production server that APNs answered and that is repeated.
func ill(verdict bell.Verdict, status int, reason string, alarm bell.Alarm) try {
	return try{bell.APNsProduction, verdict, status, reason, alarm}
}

// mute is an attempt at APNs' production server that got no answer.
func mute(verdict bell.Verdict, reason string) try {
	return try{bell.APNsProduction, verdict, 0, reason, bell.AlarmCount}
}

var (
	taken        = try{bell.APNsProduction, bell.Accepted, 200, "", bell.AlarmNone}
	takenSandbox = try{bell.APNsSandbox, bell.Accepted, 200, "", bell.AlarmNone}
	unknown      = try{bell.APNsProduction, bell.RetryOtherHost, 400, "BadDeviceToken", bell.AlarmCount}
	unknownThere = try{bell.APNsSandbox, bell.RetryOtherHost, 400, "BadDeviceToken", bell.AlarmCount}
)

const (
	accepted = bell.DeliveryAccepted
	failed   = bell.DeliveryFailed

	atProduction = "confirmed at production"
	atSandbox    = "confirmed at sandbox"
)

// gone is a 410 that says that the token is dead since a time after it was registered.
func gone(reason string, after time.Duration) sim.Answer {
	a := says(410, reason)
	a.Timestamp = registered.Add(after)
	return a
}

// apnsRefusals are the rows of 1.6 that end a delivery at once, and the device with it or not.
var apnsRefusals = []row{
	refused(400, "BadCollapseId", bell.AlarmBug),
	refused(400, "BadExpirationDate", bell.AlarmBug),
	refused(400, "BadMessageId", bell.AlarmBug),
	refused(400, "BadPriority", bell.AlarmBug),
	refused(400, "BadTopic", bell.AlarmConfig),
	refused(400, "DuplicateHeaders", bell.AlarmBug),
	refused(400, "InvalidPushType", bell.AlarmBug),
	// The device has a token, or nothing had been sent: the mistake is ours, and the row stays.
	refused(400, "MissingDeviceToken", bell.AlarmBug),
	refused(400, "MissingTopic", bell.AlarmConfig),
	refused(400, "PayloadEmpty", bell.AlarmBug),
	refused(400, "TopicDisallowed", bell.AlarmConfig),
	refused(403, "BadCertificate", bell.AlarmPage),
	refused(403, "BadCertificateEnvironment", bell.AlarmConfig),
	refused(403, "Forbidden", bell.AlarmPage),
	refused(403, "InvalidProviderToken", bell.AlarmPage),
	refused(403, "MissingProviderToken", bell.AlarmBug),
	refused(403, "BadEnvironmentKeyIdInToken", bell.AlarmPage),
	refused(403, "BadEnvironmentKeyInToken", bell.AlarmPage),
	refused(404, "BadPath", bell.AlarmBug),
	refused(405, "MethodNotAllowed", bell.AlarmBug),
	refused(413, "PayloadTooLarge", bell.AlarmBug),

	// 1.7: a token is dead only if it was not given again since.
	{
		name: "Unregistered after the registration", says: ever(gone("Unregistered", time.Minute)),
		state: failed, device: "forgotten for Unregistered", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "Unregistered", bell.AlarmCount)},
	},
	{
		name: "Unregistered at the registration", says: ever(gone("Unregistered", 0)),
		state: failed, device: "forgotten for Unregistered", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "Unregistered", bell.AlarmCount)},
	},
	{
		name: "Unregistered before the registration", says: ever(gone("Unregistered", -time.Minute)),
		state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "Unregistered", bell.AlarmCount)},
	},
	{
		name: "Unregistered without a time", says: ever(says(410, "Unregistered")),
		state: failed, device: "forgotten for Unregistered", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "Unregistered", bell.AlarmCount)},
	},
	{
		name: "ExpiredToken after the registration", says: ever(gone("ExpiredToken", time.Minute)),
		state: failed, device: "forgotten for ExpiredToken", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "ExpiredToken", bell.AlarmCount)},
	},
	{
		name: "ExpiredToken before the registration", says: ever(gone("ExpiredToken", -time.Minute)),
		state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "ExpiredToken", bell.AlarmCount)},
	},

	// What only a misconfiguration or only a token can have caused, 7.5.
	{
		name: "DeviceTokenNotForTopic alone", says: ever(says(400, "DeviceTokenNotForTopic")),
		state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 400, "DeviceTokenNotForTopic", bell.AlarmConfig)},
	},
	{
		name: "DeviceTokenNotForTopic among many that are well", setup: circumstance{fleet: true}, says: ever(says(400, "DeviceTokenNotForTopic")),
		state: failed, device: "suspended for DeviceTokenNotForTopic, strike 1", requests: 1,
		attempts: []try{ill(bell.Rejected, 400, "DeviceTokenNotForTopic", bell.AlarmConfig)},
	},
	{
		name: "BadDeviceToken, guessed and the other's", setup: circumstance{guessed: true, sandbox: true},
		state: accepted, device: atSandbox, requests: 2, attempts: []try{unknown, takenSandbox},
	},
	{
		name: "BadDeviceToken, guessed and nobody's", setup: circumstance{guessed: true, stranger: true},
		state: failed, device: "forgotten for BadDeviceToken", requests: 2, attempts: []try{unknown, unknownThere},
	},
	{
		name: "BadDeviceToken, named and the other's", setup: circumstance{sandbox: true, fleet: true},
		state: accepted, device: atSandbox, requests: 2, attempts: []try{unknown, takenSandbox},
	},
	{
		name: "BadDeviceToken, named and nobody's", setup: circumstance{stranger: true},
		state: failed, device: "kept", requests: 2, attempts: []try{unknown, unknownThere},
	},
	{
		name: "BadDeviceToken, named and nobody's, among many that are well", setup: circumstance{stranger: true, fleet: true},
		state: failed, device: "strike 1", requests: 2, attempts: []try{unknown, unknownThere},
	},
	{
		name: "BadDeviceToken, confirmed", setup: circumstance{rung: true}, says: ever(says(400, "BadDeviceToken")),
		state: failed, device: atProduction, requests: 1, attempts: []try{unknown},
	},
	{
		name: "BadDeviceToken, confirmed, among many that are well", setup: circumstance{rung: true, fleet: true}, says: ever(says(400, "BadDeviceToken")),
		state: failed, device: "suspended for BadDeviceToken, strike 1", requests: 1, attempts: []try{unknown},
	},

	// What the table does not have goes by its status.
	{
		name: "an unknown reason of 400", says: ever(says(400, "NewIn2027")), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 400, "http_400", bell.AlarmCount)},
	},
	{
		name: "an unknown word of 403", says: ever(says(403, "NewNextYear")), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 403, "unknown_reason", bell.AlarmCount)},
	},
	{
		name: "a page of 404", says: ever(page(404)), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 404, "http_404", bell.AlarmCount)},
	},
	{
		name: "a page of 410", says: ever(page(410)), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 410, "http_410", bell.AlarmCount)},
	},
	{
		name: "a page of 418", says: ever(page(418)), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 418, "http_418", bell.AlarmCount)},
	},
}

// apnsRetries are the rows of 1.6 that are worth another attempt inside the ring.
var apnsRetries = []row{
	{
		name: "200", state: accepted, device: atProduction, requests: 1, attempts: []try{taken},
	},
	{
		name: "IdleTimeout", says: once(says(400, "IdleTimeout")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryNow, 400, "IdleTimeout", bell.AlarmNone), taken},
	},
	{
		// Clock skew: a new token would only add a 429.
		name: "ExpiredProviderToken of a young token", says: ever(says(403, "ExpiredProviderToken")), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 403, "ExpiredProviderToken", bell.AlarmPage)},
	},
	{
		name: "ExpiredProviderToken past the floor", setup: circumstance{rung: true, later: 25 * time.Minute},
		says: once(says(403, "ExpiredProviderToken")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryCredential, 403, "ExpiredProviderToken", bell.AlarmConfig), taken},
	},
	{
		name: "ExpiredProviderToken past the floor, again and again", setup: circumstance{rung: true, later: 25 * time.Minute},
		says: ever(says(403, "ExpiredProviderToken")), state: failed, device: atProduction, requests: 2,
		attempts: []try{
			ill(bell.RetryCredential, 403, "ExpiredProviderToken", bell.AlarmConfig),
			ill(bell.Rejected, 403, "ExpiredProviderToken", bell.AlarmPage),
		},
	},
	{
		name: "UnrelatedKeyIdInToken", says: once(says(403, "UnrelatedKeyIdInToken")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryCredential, 403, "UnrelatedKeyIdInToken", bell.AlarmConfig), taken},
	},
	{
		name: "UnrelatedKeyIdInToken, again and again", says: ever(says(403, "UnrelatedKeyIdInToken")), state: failed, device: "kept", requests: 2,
		attempts: []try{
			ill(bell.RetryCredential, 403, "UnrelatedKeyIdInToken", bell.AlarmConfig),
			ill(bell.RetryCredential, 403, "UnrelatedKeyIdInToken", bell.AlarmConfig),
		},
	},
	{
		// There is no token before the first, and none may be made.
		name: "TooManyProviderTokenUpdates of the first token", says: ever(says(429, "TooManyProviderTokenUpdates")), state: failed, device: "kept", requests: 1,
		attempts: []try{ill(bell.Rejected, 429, "TooManyProviderTokenUpdates", bell.AlarmPage)},
	},
	{
		name: "TooManyProviderTokenUpdates", setup: circumstance{rung: true, later: 40 * time.Minute},
		says: once(says(429, "TooManyProviderTokenUpdates")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryCredential, 429, "TooManyProviderTokenUpdates", bell.AlarmConfig), taken},
	},
	{
		name: "TooManyRequests", says: once(says(429, "TooManyRequests")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryThrottled, 429, "TooManyRequests", bell.AlarmCount), taken},
	},
	{
		name: "TooManyRequests, again and again", says: ever(says(429, "TooManyRequests")), state: failed, device: "kept", requests: 2,
		attempts: []try{
			ill(bell.RetryThrottled, 429, "TooManyRequests", bell.AlarmCount),
			ill(bell.RetryThrottled, 429, "TooManyRequests", bell.AlarmCount),
		},
	},
	{
		name: "InternalServerError", says: once(says(500, "InternalServerError")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryBackoff, 500, "InternalServerError", bell.AlarmCount), taken},
	},
	{
		name: "InternalServerError, again and again", says: ever(says(500, "InternalServerError")), state: failed, device: "kept", requests: 3,
		attempts: thrice(ill(bell.RetryBackoff, 500, "InternalServerError", bell.AlarmCount)),
	},
	{
		name: "ServiceUnavailable", says: once(says(503, "ServiceUnavailable")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryBackoff, 503, "ServiceUnavailable", bell.AlarmCount), taken},
	},
	{
		name: "ServiceUnavailable, again and again", says: ever(says(503, "ServiceUnavailable")), state: failed, device: "kept", requests: 3,
		attempts: thrice(ill(bell.RetryBackoff, 503, "ServiceUnavailable", bell.AlarmCount)),
	},
	{
		name: "Shutdown", says: once(says(503, "Shutdown")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryNow, 503, "Shutdown", bell.AlarmNone), taken},
	},
	{
		name: "Shutdown with a GOAWAY", fault: &sim.Fault{Kind: sim.FaultShutdown, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryNow, 503, "Shutdown", bell.AlarmNone), taken},
	},
	{
		name: "an unknown word of 500", says: once(says(500, "NewNextYear")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryBackoff, 500, "unknown_reason", bell.AlarmCount), taken},
	},
	{
		name: "an unknown word of 429", says: once(says(429, "NewNextYear")), state: accepted, device: atProduction, requests: 2,
		attempts: []try{ill(bell.RetryThrottled, 429, "unknown_reason", bell.AlarmCount), taken},
	},
	{
		name: "a page of 520", says: ever(page(520)), state: failed, device: "kept", requests: 3,
		attempts: thrice(ill(bell.RetryBackoff, 520, "http_520", bell.AlarmCount)),
	},
}

func thrice(t try) []try { return []try{t, t, t} }

// apnsFailures are the rows of 7.3 in which APNs does not answer.
var apnsFailures = []row{
	{
		// The attempt waits in line while the connections are dialled again and again.
		name: "dial refused", setup: circumstance{cold: true, ring: 2 * time.Second}, fault: &sim.Fault{Kind: sim.FaultRefuse},
		state: bell.DeliveryExpired, device: "kept", requests: 0, attempts: []try{mute(bell.RetryConnect, "dial")},
	},
	{
		name: "dial refused for a moment", setup: circumstance{cold: true}, fault: &sim.Fault{Kind: sim.FaultRefuse, For: time.Second},
		state: accepted, device: atProduction, requests: 1, attempts: []try{taken},
	},
	{
		name: "TCP reset", fault: &sim.Fault{Kind: sim.FaultReset, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "connection_lost"), taken},
	},
	{
		name: "close", fault: &sim.Fault{Kind: sim.FaultClose, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "connection_lost"), taken},
	},
	{
		name: "GOAWAY before the request", fault: &sim.Fault{Kind: sim.FaultGoAwayRefuse, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "goaway"), taken},
	},
	{
		name: "GOAWAY and an answer", fault: &sim.Fault{Kind: sim.FaultGoAwayAnswer, Count: 1}, state: accepted, device: atProduction, requests: 1,
		attempts: []try{taken},
	},
	{
		name: "GOAWAY and the end", fault: &sim.Fault{Kind: sim.FaultGoAwayClose, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "goaway"), taken},
	},
	{
		name: "refused stream", fault: &sim.Fault{Kind: sim.FaultRefusedStream, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "refused_stream"), taken},
	},
	{
		name: "stream error", fault: &sim.Fault{Kind: sim.FaultStreamError, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryConnect, "reset"), taken},
	},
	{
		name: "no answer", fault: &sim.Fault{Kind: sim.FaultHang, Count: 1}, state: accepted, device: atProduction, requests: 2,
		attempts: []try{mute(bell.RetryNow, "timeout"), taken},
	},
}

func TestMatrixAPNs(t *testing.T) {
	t.Parallel()
	store := matrixStore(t)
	for _, table := range [][]row{apnsRefusals, apnsRetries, apnsFailures} {
		for _, r := range table {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.play(t, store, (*matrix).withAPNs)
			})
		}
	}
}

// A wrong bundle ID makes APNs refuse every token: nothing is held against any device.
func TestMatrixAWrongTopicTouchesNoDevice(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, matrixStore(t))
	m.withAPNs(circumstance{})()
	m.misbehave(row{says: ever(says(400, "DeviceTokenNotForTopic"))})
	m.allRefused(bell.APNsProduction, 400, "DeviceTokenNotForTopic")
}
