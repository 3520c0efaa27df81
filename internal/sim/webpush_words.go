package sim

import (
	"fmt"
	"net/http"
	"strconv"
)

// PushProfile is the push service of a browser. They differ in what they take and in the
// words of their refusals (docs/push-providers.md 6.3).
type PushProfile string

// The profiles.
const (
	PushChrome         PushProfile = "chrome"          // FCM; also Edge on Android, Opera, Samsung
	PushFirefox        PushProfile = "firefox"         // Mozilla's autopush
	PushFirefoxAndroid PushProfile = "firefox-android" // the same, with a bridge that holds 2744 bytes
	PushApple          PushProfile = "apple"           // Safari
	PushWNS            PushProfile = "wns"             // Edge on Windows
)

// PushProfiles returns all profiles; the first is the default.
func PushProfiles() []PushProfile {
	return []PushProfile{PushChrome, PushFirefox, PushFirefoxAndroid, PushApple, PushWNS}
}

// refused is what a push service does not like.
type refused string

const (
	refusedPath          refused = "path"
	refusedMethod        refused = "method"
	refusedTTL           refused = "ttl"
	refusedUrgency       refused = "urgency"
	refusedTopic         refused = "topic"
	refusedCoding        refused = "coding"        // headers of the content coding
	refusedSmall         refused = "too-small"     //
	refusedLarge         refused = "too-large"     //
	refusedAuthorization refused = "authorization" // the header
	refusedToken         refused = "token"         // the JWT
	refusedKey           refused = "key"           // k is no key
	refusedOtherKey      refused = "other-key"     // k is not the subscription's
	refusedGone          refused = "gone"          // the subscription has ended
	refusedContent       refused = "content"       // a browser could not read it, and would drop it
	refusedUnfit         refused = "unfit"         // the call test
	refusedScript        refused = "script"        // a script or a fault said so
)

// pushRefusal is a refusal, before a profile gives it words.
type pushRefusal struct {
	what refused
	why  string // for people; has no secret in it
}

func refusal(what refused, why string) *pushRefusal { return &pushRefusal{what, why} }

// pushWords are the answers to a refusal.
type pushWords struct {
	fcm, wns int
	mozilla  int // HTTP status
	errno    int
	apple    int // HTTP status
	reason   string
}

// refusals are the words of all services. Where a service has none, because it does not look
// or has the browser drop the message, its word for a bad request stands in.
var refusals = map[refused]pushWords{
	refusedPath:          {fcm: 404, wns: 404, mozilla: 404, errno: 102, apple: 404, reason: "BadPath"},
	refusedMethod:        {fcm: 405, wns: 405, mozilla: 405, apple: 405, reason: "MethodNotAllowed"},
	refusedTTL:           {fcm: 400, wns: 400, mozilla: 400, errno: 112, apple: 400, reason: "BadTtl"},
	refusedUrgency:       {fcm: 400, wns: 400, mozilla: 400, errno: 111, apple: 400, reason: "BadUrgency"},
	refusedTopic:         {fcm: 400, wns: 400, mozilla: 400, errno: 113, apple: 400, reason: "BadWebPushTopic"},
	refusedCoding:        {fcm: 400, wns: 400, mozilla: 400, errno: 110, apple: 400, reason: "BadWebPushRequest"},
	refusedSmall:         {fcm: 400, wns: 400, mozilla: 400, errno: 110, apple: 400, reason: "BadWebPushRequest"},
	refusedLarge:         {fcm: 413, wns: 413, mozilla: 413, errno: 104, apple: 413, reason: "PayloadTooLarge"},
	refusedAuthorization: {fcm: 401, wns: 401, mozilla: 401, errno: 109, apple: 403, reason: "BadAuthorizationHeader"},
	refusedToken:         {fcm: 403, wns: 401, mozilla: 401, errno: 109, apple: 403, reason: "BadJwtToken"},
	refusedKey:           {fcm: 403, wns: 401, mozilla: 401, errno: 109, apple: 403, reason: "BadVapidPublicKey"},
	refusedOtherKey:      {fcm: 403, wns: 403, mozilla: 401, errno: 109, apple: 403, reason: "VapidPkHashMismatch"},
	refusedGone:          {fcm: 410, wns: 404, mozilla: 410, errno: 106, apple: 410, reason: "Unregistered"},
	refusedContent:       {fcm: 400, wns: 400, mozilla: 400, errno: 110, apple: 400, reason: "BadWebPushRequest"},
	refusedUnfit:         {fcm: 400, wns: 400, mozilla: 400, errno: 111, apple: 400, reason: "BadWebPushRequest"},
}

// scripted are the words for a status that a script or a fault gave.
func scripted(status int) pushWords {
	w := pushWords{fcm: status, wns: status, mozilla: status, apple: status}
	switch status {
	case http.StatusBadRequest:
		w.errno, w.reason = 110, "BadWebPushRequest"
	case http.StatusUnauthorized, http.StatusForbidden:
		w.errno, w.reason = 109, "BadJwtToken"
	case http.StatusNotFound:
		w.errno, w.reason = 102, "BadPath"
	case http.StatusGone:
		w.errno, w.reason = 106, "Unregistered"
	case http.StatusRequestEntityTooLarge:
		w.errno, w.reason = 104, "PayloadTooLarge"
	case http.StatusTooManyRequests:
		w.errno, w.reason = 201, "TooManyRequests"
	case http.StatusInternalServerError:
		w.errno, w.reason = 999, "InternalServerError"
	case http.StatusServiceUnavailable:
		w.errno, w.reason = 201, "ServiceUnavailable"
	}
	return w
}

// replaced puts the reason of a script in the place of the service's.
func (w pushWords) replaced(reason string) pushWords {
	if reason == "" {
		return w
	}
	w.reason = reason
	if n, err := strconv.Atoi(reason); err == nil {
		w.errno = n
	}
	return w
}

// status returns the HTTP status for a profile.
func (w pushWords) status(p PushProfile) int {
	switch p {
	case PushFirefox, PushFirefoxAndroid:
		return w.mozilla
	case PushApple:
		return w.apple
	case PushWNS:
		return w.wns
	}
	return w.fcm
}

// answer writes the refusal in the words of a profile.
func (w pushWords) answer(rw http.ResponseWriter, p PushProfile, why string) {
	status := w.status(p)
	switch p {
	case PushFirefox, PushFirefoxAndroid:
		writeJSON(rw, status, map[string]any{
			"code": status, "errno": w.errno, "error": http.StatusText(status), "message": why,
		})
	case PushApple:
		writeJSON(rw, status, map[string]string{"reason": w.reason})
	case PushWNS:
		rw.Header().Set("X-Wns-Error-Description", why)
		rw.Header().Set("X-Wns-Status", "dropped")
		rw.WriteHeader(status)
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.WriteHeader(status)
		_, _ = fmt.Fprintln(rw, why)
	}
}
