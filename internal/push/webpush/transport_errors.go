package webpush

import (
	"context"
	"errors"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// The reasons of attempts that no push service answered. They are ours, hence in lower case.
const (
	reasonTimeout   = "timeout"
	reasonCancelled = "cancelled"
	reasonDial      = transport.Dial
	reasonDNS       = transport.DNS
	reasonTLS       = transport.TLS
	reasonAddress   = "address"
	reasonBusy      = "busy"
	reasonGoAway    = "goaway"
	reasonRefused   = "refused_stream"
	reasonReset     = "reset"
	reasonLost      = "connection_lost"
	reasonClosed    = "closed"

	reasonHost     = "push_service_not_allowed"
	reasonKeys     = "bad_subscription"
	reasonTooLarge = "too_large"
	reasonSign     = "vapid_signature"
)

// silence is what follows from an attempt without an answer. Nothing is known of the
// subscription.
type silence struct {
	verdict bell.Verdict
	alarm   bell.Alarm
	unsent  bool // nothing of the message can have reached the push service
	detail  string
}

// transportRules is the one table of attempts without an answer. Error texts are never passed
// on: they may hold the endpoint, or what a server said.
var transportRules = map[string]silence{
	reasonTimeout:   {bell.RetryNow, bell.AlarmCount, false, "The push service did not answer in time; whether the message went out is not known."},
	reasonCancelled: {bell.RetryNow, bell.AlarmNone, false, "The attempt was called off; whether the message went out is not known."},
	reasonDial:      {bell.RetryConnect, bell.AlarmCount, true, "No connection to the push service: check outgoing TCP to port 443. No proxy is used for browsers."},
	reasonDNS:       {bell.RetryConnect, bell.AlarmCount, true, "The name of the push service does not resolve."},
	reasonTLS:       {bell.RetryConnect, bell.AlarmPage, true, "TLS with the push service fails: a missing root certificate, or something that opens TLS on the way."},
	reasonAddress:   {bell.Rejected, bell.AlarmConfig, true, "The push service's name leads to an address that is not public, and web_push.allow_private does not name it."},
	reasonBusy:      {bell.RetryConnect, bell.AlarmCount, true, "Too many messages to this push service at once, until time was up."},
	reasonGoAway:    {bell.RetryConnect, bell.AlarmCount, false, "The push service ended the connection."},
	reasonRefused:   {bell.RetryConnect, bell.AlarmCount, true, "The push service refused the stream; the message did not go out."},
	reasonReset:     {bell.RetryConnect, bell.AlarmCount, false, "The push service broke the request off."},
	reasonLost:      {bell.RetryConnect, bell.AlarmCount, false, "The connection to the push service broke."},
	reasonClosed:    {bell.RetryConnect, bell.AlarmNone, false, "planetbell is stopping."},

	reasonHost:     {bell.Rejected, bell.AlarmConfig, true, "The subscription names a push service that web_push.hosts does not have."},
	reasonKeys:     {bell.Rejected, bell.AlarmConfig, true, "The subscription's keys are not usable; the page has to send it again."},
	reasonTooLarge: {bell.Rejected, bell.AlarmBug, true, "The notification is larger than fits into a message of 2048 bytes."},
	reasonSign:     {bell.Rejected, bell.AlarmPage, true, "The VAPID key does not sign."},
}

// unanswered turns a reason of the table into an outcome.
func unanswered(reason string) bell.Outcome {
	r := transportRules[reason]
	return bell.Outcome{Verdict: r.verdict, Reason: reason, Token: bell.TokenKeep, Alarm: r.alarm, Unsent: r.unsent, Detail: r.detail}
}

// brokenReason says why an answer broke off after its status. The request is out by then: of
// reasons that say it is not, none fits.
func brokenReason(err error) string {
	if _, reset := transport.ResetCode(err); reset {
		return reasonReset
	}
	return reasonLost
}

// exchangeReason says why a request got no answer. The transport has by then repeated by
// itself what is safe to repeat (a refused stream, a connection that was going away).
func exchangeReason(err error) string {
	if errors.Is(err, egress.ErrNotPublic) {
		return reasonAddress
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return reasonTimeout
	}
	if reason := transport.Reason(err); reason != "" {
		return reason
	}
	if strings.Contains(err.Error(), "GOAWAY") { // net/http does not export the type
		return reasonGoAway
	}
	switch code, reset := transport.ResetCode(err); {
	case !reset:
		return reasonLost
	case code == transport.RefusedStream:
		return reasonRefused
	}
	return reasonReset
}
