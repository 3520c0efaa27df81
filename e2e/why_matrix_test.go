package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/verdict"
)

// whys are the verdicts on a device, by the reason for which it was not reached.
var whys = map[verdict.Code]string{
	"apns_key_refused":            "InvalidProviderToken MissingProviderToken UnrelatedKeyIdInToken Forbidden TooManyProviderTokenUpdates",
	"apns_token_expired":          "ExpiredProviderToken",
	"apns_key_other_environment":  "BadEnvironmentKeyIdInToken BadEnvironmentKeyInToken BadCertificateEnvironment",
	"certificate_refused":         "BadCertificate",
	"wrong_topic":                 "DeviceTokenNotForTopic TopicDisallowed BadTopic MissingTopic",
	"bad_request":                 "BadCollapseId BadExpirationDate BadMessageId BadPriority DuplicateHeaders InvalidPushType PayloadEmpty BadPath MethodNotAllowed INVALID_ARGUMENT",
	"bad_token_format":            "MissingDeviceToken",
	"bad_device_token_everywhere": "BadDeviceToken",
	"unregistered":                "Unregistered ExpiredToken UNREGISTERED",
	"payload_too_large":           "PayloadTooLarge PAYLOAD_TOO_LARGE http_413",
	"throttled_device":            "TooManyRequests",
	"throttled_project":           "QUOTA_EXCEEDED RESOURCE_EXHAUSTED http_429",
	"provider_down":               "InternalServerError ServiceUnavailable Shutdown INTERNAL UNAVAILABLE IdleTimeout",
	"provider_down_status":        "http_500 http_502 http_503 http_520",
	"google_key_revoked":          "oauth_invalid_grant oauth_refused",
	"google_token_refused":        "UNAUTHENTICATED",
	"google_permission_denied":    "PERMISSION_DENIED",
	"google_project_unknown":      "NOT_FOUND",
	"third_party_credential":      "THIRD_PARTY_AUTH_ERROR APNS_AUTH_ERROR",
	"sender_id_mismatch":          "SENDER_ID_MISMATCH",
	"token_server_down":           "oauth_timeout oauth_unavailable",
	"provider_unreachable":        "dial",
	"provider_silent":             "timeout",
	"provider_tls":                "tls",
	"connection_broken":           "goaway refused_stream reset connection_lost",
	"refused_unknown":             "unknown_reason",
	"middlebox":                   "http_400 http_401 http_403 http_404 http_410 http_418",
}

// why wants the verdict on the row's only device to name what the simulator did.
func (r row) why(t *testing.T, record call.Record) {
	t.Helper()
	in := verdict.Input{Call: record.Call, Now: time.Now()}
	d := record.Deliveries[0]
	in.Deliveries = []verdict.Delivery{{Delivery: d.Delivery, Device: d.Device, Attempts: d.Attempts, Receipt: d.Receipt}}
	v := verdict.Of(in)
	got := v.Devices[0]
	var want []verdict.Code
	last := r.attempts[len(r.attempts)-1]
	if r.state == bell.DeliveryAccepted {
		want = []verdict.Code{"told", "told_late", "told_late_at_first", "wrong_apns_server_repaired"}
	}
	for code, reasons := range whys {
		if r.state != bell.DeliveryAccepted && strings.Contains(" "+reasons+" ", " "+last.reason+" ") {
			want = append(want, code)
		}
	}
	switch {
	case last.reason == "INVALID_ARGUMENT" && last.alarm == bell.AlarmCount: // about the token
		want = []verdict.Code{"bad_token_format"}
	case last.reason == "BadDeviceToken" && len(d.Attempts) == 1:
		want = []verdict.Code{"bad_device_token"}
	case last.status >= 500 && last.reason == "unknown_reason":
		want = []verdict.Code{"provider_down_status"}
	}
	for _, code := range want {
		if got.Code == code {
			meet(code)
			said := got.Sentence.English
			if r.state != bell.DeliveryAccepted && !strings.Contains(said, last.reason) && (last.status == 0 || !strings.Contains(said, strconv.Itoa(last.status))) {
				t.Errorf("%s says %q, which names neither %q nor %d", got.Code, said, last.reason, last.status)
			}
			return
		}
	}
	t.Errorf("the verdict is %s (%s), want one of %q for %q", got.Code, got.Sentence.English, want, last.reason)
}
