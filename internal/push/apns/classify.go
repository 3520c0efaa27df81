package apns

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// answer is what APNs said, reduced to what decides: the status and the reason.
type answer struct {
	status int
	reason string
}

// rule is what follows from an answer.
type rule struct {
	verdict bell.Verdict
	token   bell.TokenAction
	alarm   bell.Alarm
	redial  bool // this connection is of no more use: leave it and dial another
	detail  string
}

// rules is the one table of APNs' answers. An answer that is not here is decided by
// its status class ([rule.byStatus]): Apple has added reasons three times since 2021.
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
var rules = map[answer]rule{
	{200, ""}: {bell.Accepted, bell.TokenKeep, bell.AlarmNone, false, "APNs took the push."},

	{400, "BadCollapseId"}:          bug("The apns-collapse-id is longer than 64 bytes."),
	{400, "BadDeviceToken"}:         {bell.RetryOtherHost, bell.TokenCheck, bell.AlarmCount, false, "APNs does not know the token: it is malformed or belongs to the other APNs environment."},
	{400, "BadExpirationDate"}:      bug("APNs does not take the apns-expiration."),
	{400, "BadMessageId"}:           bug("The apns-id is not a lower-case UUID."),
	{400, "BadPriority"}:            bug("APNs does not take the apns-priority."),
	{400, "BadTopic"}:               configuration("The topic is malformed: check the bundle ID."),
	{400, "DeviceTokenNotForTopic"}: {bell.Rejected, bell.TokenCheck, bell.AlarmConfig, false, "The token is another app's, or the topic is wrong: check the bundle ID, and whether the token is of the right kind (VoIP or alert)."},
	{400, "DuplicateHeaders"}:       bug("A header was sent twice."),
	{400, "IdleTimeout"}:            {bell.RetryNow, bell.TokenKeep, bell.AlarmNone, true, "APNs gave the connection up because it was idle."},
	{400, "InvalidPushType"}:        bug("APNs does not take the apns-push-type."),
	{400, "MissingDeviceToken"}:     {bell.Rejected, bell.TokenDrop, bell.AlarmBug, false, "The device has no push token."},
	{400, "MissingTopic"}:           configuration("The topic is missing: check the bundle ID."),
	{400, "PayloadEmpty"}:           bug("The push had no payload."),
	{400, "TopicDisallowed"}:        configuration("The credential may not push to this app: check the bundle ID, and the topics of the key or certificate."),

	{403, "BadCertificate"}:             page(true, "The push certificate is invalid or revoked."),
	{403, "BadCertificateEnvironment"}:  configuration("The push certificate is for the other APNs environment."),
	{403, "ExpiredProviderToken"}:       {bell.RetryCredential, bell.TokenKeep, bell.AlarmConfig, false, "APNs finds the provider token too old; a new one is sent from now on."},
	{403, "Forbidden"}:                  page(false, "APNs forbids this push to this credential."),
	{403, "InvalidProviderToken"}:       page(false, "APNs does not accept the provider token: check team ID, key ID and key."),
	{403, "MissingProviderToken"}:       bug("The push carried neither provider token nor certificate."),
	{403, "UnrelatedKeyIdInToken"}:      {bell.RetryCredential, bell.TokenKeep, bell.AlarmConfig, true, "The connection was begun with another key: a new one is used from now on."},
	{403, "BadEnvironmentKeyIdInToken"}: page(false, "The key is for the other APNs environment."),
	{403, "BadEnvironmentKeyInToken"}:   page(false, "The key is for the other APNs environment."), // an older spelling

	{404, "BadPath"}:          bug("APNs does not know the request's path."),
	{405, "MethodNotAllowed"}: bug("APNs wants POST."),

	{410, "ExpiredToken"}: {bell.Rejected, bell.TokenDrop, bell.AlarmCount, false, "The token has expired."},
	{410, "Unregistered"}: {bell.Rejected, bell.TokenDrop, bell.AlarmCount, false, "The app is no longer on the device, or takes no pushes there."},

	{413, "PayloadTooLarge"}: bug("The payload is larger than APNs takes (4096 bytes, 5120 for VoIP)."),

	{429, "TooManyProviderTokenUpdates"}: {bell.RetryCredential, bell.TokenKeep, bell.AlarmConfig, false, "The provider token was changed too soon; the one before is sent from now on."},
	{429, "TooManyRequests"}:             {bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, false, "Too many pushes to this device in a short time."},

	{500, "InternalServerError"}: {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, false, "APNs has an internal error."},
	{503, "ServiceUnavailable"}:  {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, false, "APNs is unavailable."},
	{503, "Shutdown"}:            {bell.RetryNow, bell.TokenKeep, bell.AlarmNone, true, "This APNs server is shutting down; the next attempt goes to another."},
}

func bug(detail string) rule {
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmBug, false, detail}
}

func configuration(detail string) rule {
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmConfig, false, detail}
}

func page(redial bool, detail string) rule {
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmPage, redial, detail}
}

// byStatus decides answers that the table does not have: an unknown reason, or the
// page of something between us and APNs.
func byStatus(status int) rule {
	switch {
	case status == http.StatusOK:
		return rules[answer{200, ""}]
	case status == http.StatusTooManyRequests:
		return rule{bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, false, ""}
	case status == http.StatusGone: // 410 is about the token whatever its reason is called
		return rule{bell.Rejected, bell.TokenDrop, bell.AlarmCount, false, ""}
	case status >= 500:
		return rule{bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, false, ""}
	}
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmCount, false, ""}
}

// errorBody is the JSON of an answer that is not 200.
type errorBody struct {
	Reason    string          `json:"reason"`
	Timestamp json.RawMessage `json:"timestamp"` // milliseconds since 1970, on a 410
}

// word is what a reason of APNs looks like. Nothing else is passed on, so that no
// answer can carry a token into a log or a metric.
var word = regexp.MustCompile(`^[A-Z][A-Za-z]{1,39}$`)

// classify turns an answer into an outcome. body may hold anything.
func classify(status int, body []byte) (bell.Outcome, rule) {
	var parsed errorBody
	if status != http.StatusOK && json.Unmarshal(body, &parsed) != nil {
		parsed = errorBody{} // HTML of a proxy, or half an answer
	}
	o := bell.Outcome{Status: status, Reason: parsed.Reason}
	r, known := rules[answer{status, parsed.Reason}]
	if !known {
		r = byStatus(status)
		o.Reason = "http_" + strconv.Itoa(status)
		switch {
		case word.MatchString(parsed.Reason):
			o.Reason = "unknown_reason"
			r.detail = fmt.Sprintf("APNs answered %d with a reason that planetbell does not know: %s.", status, parsed.Reason)
		default:
			r.detail = fmt.Sprintf("Something answered %d, but not in APNs' format: a proxy, or a wrong URL.", status)
		}
		if status == http.StatusGone && o.Reason != "unknown_reason" {
			r.token = bell.TokenKeep // not APNs' word, so no proof
		}
	}
	if r.token == bell.TokenDrop {
		o.DeadSince = deadSince(parsed.Timestamp)
	}
	o.Verdict, o.Token, o.Alarm, o.Detail = r.verdict, r.token, r.alarm, r.detail
	return o, r
}

// deadSince reads the timestamp of a 410. Zero when there is none, or none that can be
// meant.
func deadSince(raw json.RawMessage) time.Time {
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	const year2100 = 4102444800000
	if err != nil || ms <= 0 || ms >= year2100 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
