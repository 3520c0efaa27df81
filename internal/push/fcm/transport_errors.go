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
	reasonLost      = "connection_lost"
	reasonClosed    = "closed"

	reasonTokenLate        = "oauth_timeout"
	reasonTokenUnavailable = "oauth_unavailable"
	reasonInvalidGrant     = "oauth_invalid_grant"
	reasonTokenRefused     = "oauth_refused"
)

// transportRules is the one table of attempts without an answer. Error texts are never
// passed on: they may hold what a server or a proxy said.
var transportRules = map[string]rule{
	reasonTimeout:   {bell.RetryNow, bell.TokenKeep, bell.AlarmCount, "FCM did not answer in time; whether the message went out is not known."},
	reasonCancelled: {bell.RetryNow, bell.TokenKeep, bell.AlarmNone, "The attempt was called off; whether the message went out is not known."},
	reasonDial:      {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "No connection to FCM: check outgoing TCP to port 443 of fcm.googleapis.com."},
	reasonDNS:       {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "The name of the FCM server does not resolve."},
	reasonProxy:     {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "The proxy does not connect to FCM: check HTTPS_PROXY and NO_PROXY."},
	reasonTLS:       {bell.RetryConnect, bell.TokenKeep, bell.AlarmPage, "TLS with Google fails: a missing root certificate, or something that opens TLS on the way."},
	reasonBusy:      {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "Too many messages were under way until time was up."},
	reasonGoAway:    {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "FCM ended the connection."},
	reasonLost:      {bell.RetryConnect, bell.TokenKeep, bell.AlarmCount, "The connection to FCM broke."},
	reasonClosed:    {bell.RetryConnect, bell.TokenKeep, bell.AlarmNone, "planetbell is stopping."},

	reasonTokenLate:        {bell.RetryBackoff, bell.TokenKeep, bell.AlarmCount, "Google's token server did not answer in time."},
	reasonTokenUnavailable: {bell.RetryBackoff, bell.TokenKeep, bell.AlarmConfig, "Google's token server is not reachable or unwell: check outgoing TCP to port 443 of oauth2.googleapis.com."},
	reasonInvalidGrant:     {bell.Rejected, bell.TokenKeep, bell.AlarmPage, "Google refuses the service account: its key was revoked, or this machine's clock is wrong."},
	reasonTokenRefused:     {bell.Rejected, bell.TokenKeep, bell.AlarmPage, "Google's token server refuses the service account."},
}

// unanswered turns a reason of the table into an outcome.
func unanswered(reason string) bell.Outcome {
	r := transportRules[reason]
	return bell.Outcome{Verdict: r.verdict, Reason: reason, Token: r.token, Alarm: r.alarm, Detail: r.detail}
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
	return reasonLost
}
