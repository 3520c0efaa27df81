package fcm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
)

// answer is what FCM said, reduced to what decides.
type answer struct {
	status int
	code   string // FcmError.errorCode, or the envelope's status without one
	fcm    bool   // the code is from an FcmError detail
}

// rule is what follows from an answer.
type rule struct {
	verdict bell.Verdict
	token   bell.TokenAction
	alarm   bell.Alarm
	detail  string
}

const (
	badToken    = "INVALID_ARGUMENT/token"   // not FCM's word: an INVALID_ARGUMENT about the token
	badPayload  = "INVALID_ARGUMENT/payload" // and one about the rest of the request
	plainDetail = "FCM does not take the message."
)

// rules is the one table of FCM's answers. An answer that is not here is decided by
// its status ([byStatus]).
// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
var rules = map[answer]rule{
	{400, badToken, true}:                                          {bell.Rejected, bell.TokenCheck, bell.AlarmCount, "FCM says that this is not a registration token."},
	{400, badPayload, true}:                                        {bell.Rejected, bell.TokenKeep, bell.AlarmBug, plainDetail},
	{400, badPayload, false}:                                       {bell.Rejected, bell.TokenKeep, bell.AlarmBug, plainDetail},
	{401, "UNAUTHENTICATED", false}:                                {bell.RetryCredential, bell.TokenKeep, bell.AlarmConfig, "Google does not take the access token; the next attempt uses a new one."},
	{401, "THIRD_PARTY_AUTH_ERROR", true}:                          {bell.Rejected, bell.TokenKeep, bell.AlarmConfig, "The APNs or web push credential in the Firebase project is wrong."},
	{401, "APNS_AUTH_ERROR", true}:                                 {bell.Rejected, bell.TokenKeep, bell.AlarmConfig, "The APNs or web push credential in the Firebase project is wrong."}, // an older name
	{403, "SENDER_ID_MISMATCH", true}:                              {bell.Rejected, bell.TokenCheck, bell.AlarmConfig, "The token belongs to another Firebase project."},
	{403, "PERMISSION_DENIED", false}:                              {bell.Rejected, bell.TokenKeep, bell.AlarmPage, "The service account may not send: enable the FCM API and give it cloudmessaging.messages.create."},
	{404, "UNREGISTERED", true}:                                    {bell.Rejected, bell.TokenDrop, bell.AlarmCount, "The app is no longer on the device, or its token has expired."},
	{404, "NOT_FOUND", false}:                                      {bell.Rejected, bell.TokenKeep, bell.AlarmPage, "FCM does not know the project, or the URL is wrong."},
	{429, "QUOTA_EXCEEDED", true}:                                  {bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, "Too many messages for the project or the device."},
	{429, "RESOURCE_EXHAUSTED", false}:                             {bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, "Too many messages for the project or the device."},
	{500, "INTERNAL", true}:                                        {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, "FCM has an internal error."},
	{500, "INTERNAL", false}:                                       {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, "FCM has an internal error."},
	{503, "UNAVAILABLE", true}:                                     {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, "FCM is unavailable."},
	{503, "UNAVAILABLE", false}:                                    {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, "FCM is unavailable."},
	{http.StatusOK, "", false}:                                     {bell.Accepted, bell.TokenKeep, bell.AlarmNone, "FCM took the message."},
	{http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", false}: {bell.Rejected, bell.TokenKeep, bell.AlarmBug, "The notification is larger than FCM takes (4096 bytes)."}, // our own finding
}

// byStatus decides answers that the table does not have.
func byStatus(status int) rule {
	switch {
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge:
		return rule{bell.Rejected, bell.TokenKeep, bell.AlarmBug, ""}
	case status == http.StatusUnauthorized:
		return rule{bell.RetryCredential, bell.TokenKeep, bell.AlarmConfig, ""}
	case status == http.StatusForbidden, status == http.StatusNotFound:
		return rule{bell.Rejected, bell.TokenKeep, bell.AlarmPage, ""}
	case status == http.StatusTooManyRequests:
		return rule{bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, ""}
	case status >= 500:
		return rule{bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, ""}
	}
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmCount, ""}
}

// envelope is google.rpc.Status in the error format 2, as far as it decides. Details
// are read one by one, so that one of an unexpected form spoils nothing.
type envelope struct {
	Error struct {
		Status  string            `json:"status"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	} `json:"error"`
}

// word is what FCM's codes look like. Nothing else is passed on, so that no answer can
// carry a token into a log or a metric.
var word = regexp.MustCompile(`^[A-Z]+(_[A-Z]+){0,5}$`)

// messageName is what FCM calls a message that it took.
var messageName = regexp.MustCompile(`^projects/[a-z0-9:.-]{1,100}/messages/[A-Za-z0-9:%_.-]{1,90}$`)

// classify turns an answer into an outcome. body may hold anything.
func classify(status int, body []byte) bell.Outcome {
	a := answer{status: status}
	if status == http.StatusOK {
		r := rules[a]
		return bell.Outcome{Verdict: r.verdict, Status: status, Token: r.token, ProviderID: acceptedAs(body), Detail: r.detail}
	}
	reason := ""
	a.code, a.fcm, reason = parse(body)
	if r, known := rules[a]; known {
		return bell.Outcome{Verdict: r.verdict, Reason: reason, Status: status, Token: r.token, Alarm: r.alarm, Detail: r.detail}
	}
	r := byStatus(status)
	o := bell.Outcome{Verdict: r.verdict, Reason: "http_" + strconv.Itoa(status), Status: status, Token: r.token, Alarm: r.alarm}
	o.Detail = fmt.Sprintf("Something answered %d, but not in FCM's format: a proxy, or a wrong URL.", status)
	if len(reason) <= 40 && word.MatchString(reason) {
		o.Reason = "unknown_reason"
		o.Detail = fmt.Sprintf("FCM answered %d with a code that planetbell does not know there: %s.", status, reason)
	}
	return o
}

// parse reads an error. code is for the table, reason is FCM's word.
func parse(body []byte) (code string, fcm bool, reason string) {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return "", false, ""
	}
	code = e.Error.Status
	violations := false
	for _, raw := range e.Error.Details {
		var d struct {
			Type string `json:"@type"`
			Code string `json:"errorCode"`
		}
		if json.Unmarshal(raw, &d) != nil {
			continue
		}
		switch {
		case strings.HasSuffix(d.Type, "FcmError") && d.Code != "":
			code, fcm = d.Code, true
		case strings.HasSuffix(d.Type, "BadRequest"):
			violations = true
		}
	}
	reason = code
	if code == "INVALID_ARGUMENT" {
		// Two errors look alike: a token that is none, and a message that is wrong. To take
		// the second for the first would throw away working devices.
		code = badPayload
		if fcm && !violations && strings.Contains(e.Error.Message, "registration token") {
			code = badToken
		}
	}
	return code, fcm, reason
}

// acceptedAs returns FCM's name of an accepted message, or nothing.
func acceptedAs(body []byte) string {
	var accepted struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &accepted) != nil || !messageName.MatchString(accepted.Name) {
		return ""
	}
	return accepted.Name
}
