package fcm

import (
	"context"
	"errors"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// The reasons of attempts that FCM did not answer. They are ours, hence in lower case.
const (
	reasonTimeout   = "timeout"
	reasonCancelled = "cancelled"
	reasonDial      = transport.Dial
	reasonDNS       = transport.DNS
	reasonProxy     = transport.Proxy
	reasonTLS       = transport.TLS
	reasonBusy      = "busy"
	reasonGoAway    = "goaway"
	reasonRefused   = "refused_stream"
	reasonReset     = "reset"
	reasonLost      = "connection_lost"
	reasonClosed    = "closed"

	reasonTokenLate        = "oauth_timeout"
	reasonTokenUnavailable = "oauth_unavailable"
	reasonInvalidGrant     = "oauth_invalid_grant"
	reasonTokenRefused     = "oauth_refused"
)

// silence is what follows from an attempt without an answer. Nothing is known of the token.
type silence struct {
	verdict bell.Verdict
	alarm   bell.Alarm
	unsent  bool // nothing of the message can have reached FCM
	detail  string
}

// transportRules is the one table of attempts without an answer. Error texts are never
// passed on: they may hold what a server or a proxy said.
var transportRules = map[string]silence{
	reasonTimeout:   {bell.RetryNow, bell.AlarmCount, false, "FCM did not answer in time; whether the message went out is not known."},
	reasonCancelled: {bell.RetryNow, bell.AlarmNone, false, "The attempt was called off; whether the message went out is not known."},
	reasonDial:      {bell.RetryConnect, bell.AlarmCount, true, "No connection to FCM: check outgoing TCP to port 443 of fcm.googleapis.com."},
	reasonDNS:       {bell.RetryConnect, bell.AlarmCount, true, "The name of the FCM server does not resolve."},
	reasonProxy:     {bell.RetryConnect, bell.AlarmCount, true, "The proxy does not connect to FCM: check HTTPS_PROXY and NO_PROXY."},
	reasonTLS:       {bell.RetryConnect, bell.AlarmPage, true, "TLS with Google fails: a missing root certificate, or something that opens TLS on the way."},
	reasonBusy:      {bell.RetryConnect, bell.AlarmCount, true, "Too many messages, at once or a second, until time was up: see fcm.messages_per_second."},
	reasonGoAway:    {bell.RetryConnect, bell.AlarmCount, false, "FCM ended the connection."},
	reasonRefused:   {bell.RetryConnect, bell.AlarmCount, true, "FCM refused the stream; the message did not go out."},
	reasonReset:     {bell.RetryConnect, bell.AlarmCount, false, "FCM broke the request off."},
	reasonLost:      {bell.RetryConnect, bell.AlarmCount, false, "The connection to FCM broke."},
	reasonClosed:    {bell.RetryConnect, bell.AlarmNone, false, "planetbell is stopping."},

	reasonTokenLate:        {bell.RetryBackoff, bell.AlarmCount, true, "Google's token server did not answer in time."},
	reasonTokenUnavailable: {bell.RetryBackoff, bell.AlarmConfig, true, "Google's token server is not reachable or unwell: check outgoing TCP to port 443 of oauth2.googleapis.com."},
	reasonInvalidGrant:     {bell.Rejected, bell.AlarmPage, true, "Google refuses the service account: its key was revoked, or this machine's clock is wrong."},
	reasonTokenRefused:     {bell.Rejected, bell.AlarmPage, true, "Google's token server refuses the service account."},
}

// unanswered turns a reason of the table into an outcome.
func unanswered(reason string) bell.Outcome {
	r := transportRules[reason]
	return bell.Outcome{Verdict: r.verdict, Reason: reason, Token: bell.TokenKeep, Alarm: r.alarm, Unsent: r.unsent, Detail: r.detail}
}

// exchangeReason says why a request got no answer. The transport has by then repeated
// by itself what is safe to repeat (a refused stream, a connection that was going away).
func exchangeReason(err error) string {
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
