package webpush

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
)

// answer is what a push service said, reduced to what decides: Apple says a reason, Mozilla a
// number, which stands here as errno_102; others say nothing that can be relied on.
type answer struct {
	status int
	reason string
}

// rule is what follows from an answer.
type rule struct {
	verdict bell.Verdict
	token   bell.TokenAction
	alarm   bell.Alarm
	detail  string
}

const (
	goneDetail  = "The browser has ended the subscription, or it has expired."
	vapidDetail = "The push service does not take the VAPID token: the key, vapid_subject or this machine's clock is wrong."
	otherDetail = "The push service does not take the VAPID key or token: the browser subscribed for another key, vapid_subject is wrong, or this machine's clock is."
	sentDetail  = "The push service does not take the message as it was sent."
	sickDetail  = "The push service has an internal error, or too much to do."
	bigDetail   = "The message is larger than the push service takes."
	manyDetail  = "Too many messages for the browser or the server."
)

var (
	gone      = rule{bell.Rejected, bell.TokenDrop, bell.AlarmCount, goneDetail}
	vapid     = rule{bell.Rejected, bell.TokenKeep, bell.AlarmPage, vapidDetail}
	otherKey  = rule{bell.Rejected, bell.TokenKeep, bell.AlarmConfig, otherDetail}
	sentWrong = rule{bell.Rejected, bell.TokenKeep, bell.AlarmBug, sentDetail}
	tooLarge  = rule{bell.Rejected, bell.TokenKeep, bell.AlarmBug, bigDetail}
	tooMany   = rule{bell.RetryThrottled, bell.TokenKeep, bell.AlarmCount, manyDetail}
	tooSlow   = rule{bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "The push service, or something on the way, waited too long for the whole request."}
	sick      = rule{bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, sickDetail}
	wrongPath = rule{bell.Rejected, bell.TokenKeep, bell.AlarmBug, "The push service does not know the path; that says nothing about the subscription."}
)

// rules is the one table of push services' answers. An answer that is not here is decided by
// its status ([byStatus]). A wrong VAPID key is never the subscription's fault: that stays. One
// browser that subscribed for another key is no reason to page anybody: what may be that is
// otherKey, and what can only be ours is vapid.
// https://developer.apple.com/documentation/usernotifications/sending-web-push-notifications-in-web-apps-and-browsers,
// https://mozilla-services.github.io/autopush-rs/errors.html
var rules = map[answer]rule{
	{400, "BadTtl"}:            sentWrong,
	{400, "BadUrgency"}:        sentWrong,
	{400, "BadWebPushTopic"}:   sentWrong,
	{400, "BadWebPushRequest"}: sentWrong,
	{400, "IdleTimeout"}:       {bell.RetryNow, bell.TokenKeep, bell.AlarmNone, "The push service ended a connection that was idle."},

	{400, "VapidPkHashMismatch"}:    otherKey, // Apple says which reasons there are, and not always with which status
	{401, "VapidPkHashMismatch"}:    otherKey,
	{403, "VapidPkHashMismatch"}:    otherKey,
	{400, "BadAuthorizationHeader"}: vapid,
	{401, "BadAuthorizationHeader"}: vapid,
	{403, "BadAuthorizationHeader"}: vapid,
	{400, "BadJwtToken"}:            vapid,
	{401, "BadJwtToken"}:            vapid,
	{403, "BadJwtToken"}:            vapid,
	{400, "BadVapidPublicKey"}:      vapid,
	{401, "BadVapidPublicKey"}:      vapid,
	{403, "BadVapidPublicKey"}:      vapid,
	{401, "errno_109"}:              otherKey,
	{403, "errno_109"}:              otherKey,

	{404, "BadPath"}:   wrongPath,
	{404, "errno_102"}: gone,
	{404, "errno_105"}: gone,
	{410, "errno_103"}: gone,
	{410, "errno_105"}: gone,
	{410, "errno_106"}: gone,

	{405, "MethodNotAllowed"}: sentWrong,
	{413, "PayloadTooLarge"}:  tooLarge,
	{413, "errno_104"}:        tooLarge,
	{429, "TooManyRequests"}:  tooMany,

	{500, "InternalServerError"}: sick,
	{503, "ServiceUnavailable"}:  sick,
	{503, "Shutdown"}:            {bell.RetryNow, bell.TokenKeep, bell.AlarmNone, "The push service is being restarted."},
	{503, "errno_201"}:           sick,
	{503, "errno_202"}:           {bell.RetryNow, bell.TokenKeep, bell.AlarmCount, "The push service was too busy for a moment."},
}

// byStatus decides answers that the table does not have.
func byStatus(status int) rule {
	switch {
	case status >= 200 && status < 300:
		return rule{bell.Accepted, bell.TokenKeep, bell.AlarmNone, "The push service took the message."}
	case status < 400:
		return rule{bell.Rejected, bell.TokenKeep, bell.AlarmConfig, "The push service answered with a redirect, which is not followed."}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return otherKey
	case status == http.StatusNotFound, status == http.StatusGone:
		return gone
	case status == http.StatusBadRequest, status == http.StatusMethodNotAllowed:
		return sentWrong
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case status == http.StatusRequestTimeout:
		return tooSlow
	case status == http.StatusTooManyRequests:
		return tooMany
	case status >= 500:
		return sick
	}
	return rule{bell.Rejected, bell.TokenKeep, bell.AlarmCount, "The push service gave an answer that planetbell does not know."}
}

// known are the reasons that are passed on. Others are not, so that no answer can carry a
// subscription into a log or a metric.
var known = func() map[string]bool {
	words := map[string]bool{}
	for a := range rules {
		words[a.reason] = true
	}
	return words
}()

// classify turns an answer into an outcome. body may hold anything.
func classify(status int, body []byte) bell.Outcome {
	if status >= 200 && status < 300 {
		r := byStatus(status)
		return bell.Outcome{Verdict: r.verdict, Status: status, Token: r.token, Detail: r.detail}
	}
	a := answer{status, parse(body)}
	r, ok := rules[a]
	if !ok {
		r = byStatus(status)
	}
	reason := a.reason
	if !known[reason] && !errno.MatchString(reason) {
		reason = "http_" + strconv.Itoa(status)
	}
	return bell.Outcome{Verdict: r.verdict, Reason: reason, Status: status, Token: r.token, Alarm: r.alarm, Detail: r.detail}
}

// errno is the form of Mozilla's numbers in a reason.
var errno = regexp.MustCompile(`^errno_[1-9][0-9]{2}$`)

// parse reads a push service's reason, if it gives one in a form that is known.
func parse(body []byte) string {
	var said struct {
		Reason json.RawMessage `json:"reason"` // Apple
		Errno  json.RawMessage `json:"errno"`  // Mozilla
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(said.Reason, &text) == nil && text != "" {
		return text
	}
	var number int
	if json.Unmarshal(said.Errno, &number) == nil && number != 0 {
		return "errno_" + strconv.Itoa(number)
	}
	return ""
}
