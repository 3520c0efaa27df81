package fcm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
)

// The reasons of attempts that FCM did not answer. They are ours, hence in lower case.
const (
	reasonTimeout   = "timeout"
	reasonCancelled = "cancelled"
	reasonDial      = "dial"
	reasonDNS       = "dns"
	reasonProxy     = "proxy"
	reasonTLS       = "tls"
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
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonTimeout
	case isTLS(err):
		return reasonTLS
	case errors.Is(err, errProxyRefused), errors.As(err, &op) && op.Op == "proxyconnect":
		return reasonProxy
	case errors.As(err, &dns):
		return reasonDNS
	case errors.As(err, &op) && op.Op == "dial":
		return reasonDial
	case strings.Contains(err.Error(), "GOAWAY"): // net/http does not export the type
		return reasonGoAway
	}
	return reasonLost
}

// errProxyRefused is what dialling ends with when the proxy opens no tunnel.
var errProxyRefused = errors.New("the proxy refuses to connect")

func isTLS(err error) bool {
	var op *net.OpError // "remote error" and "local error" are alerts; crypto/tls exports no type for them
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return (errors.As(err, &op) && strings.HasSuffix(op.Op, " error")) || errors.As(err, &record) || errors.As(err, &verification) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}
