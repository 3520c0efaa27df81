package apns

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// The reasons of attempts that got no answer. They are ours, hence in lower case.
const (
	reasonTimeout   = "timeout"
	reasonOutrun    = "outrun"
	reasonCancelled = "cancelled"
	reasonDial      = transport.Dial
	reasonDNS       = transport.DNS
	reasonProxy     = transport.Proxy
	reasonTLS       = transport.TLS
	reasonNoStream  = "no_stream"
	reasonGoAway    = "goaway"
	reasonRefused   = "refused_stream"
	reasonReset     = "reset"
	reasonLost      = "connection_lost"
	reasonClosed    = "closed"
	reasonSigning   = "credential"
)

// silence is what follows from an attempt without an answer. Nothing is known of the token.
type silence struct {
	verdict bell.Verdict
	alarm   bell.Alarm
	unsent  bool // nothing of the request can have reached APNs
	detail  string
}

// transportRules is the one table of attempts without an answer. Error texts are never
// passed on: they may hold the URL, and with it the push token.
var transportRules = map[string]silence{
	reasonTimeout:   {bell.RetryNow, bell.AlarmCount, false, "APNs did not answer in time; whether the push went out is not known."},
	reasonOutrun:    {bell.RetryNow, bell.AlarmNone, false, "A second attempt over another connection was answered first."},
	reasonCancelled: {bell.RetryNow, bell.AlarmNone, false, "The attempt was called off; whether the push went out is not known."},
	reasonDial:      {bell.RetryConnect, bell.AlarmCount, true, "No connection to APNs: check outgoing TCP to port 443 of the APNs server."},
	reasonDNS:       {bell.RetryConnect, bell.AlarmCount, true, "The name of the APNs server does not resolve."},
	reasonProxy:     {bell.RetryConnect, bell.AlarmCount, true, "The proxy does not connect to APNs: check HTTPS_PROXY and NO_PROXY."},
	reasonTLS:       {bell.RetryConnect, bell.AlarmPage, true, "TLS with APNs fails: a missing root certificate, something that opens TLS on the way, no HTTP/2, or a push certificate that APNs refuses."},
	reasonNoStream:  {bell.RetryConnect, bell.AlarmCount, true, "All streams of all connections to APNs were in use until time was up."},
	reasonGoAway:    {bell.RetryConnect, bell.AlarmCount, false, "APNs ended the connection."},
	reasonRefused:   {bell.RetryConnect, bell.AlarmCount, true, "APNs refused the stream; the push did not go out."},
	reasonReset:     {bell.RetryConnect, bell.AlarmCount, false, "APNs broke the request off."},
	reasonLost:      {bell.RetryConnect, bell.AlarmCount, false, "The connection to APNs broke."},
	reasonClosed:    {bell.RetryConnect, bell.AlarmNone, false, "planetbell is stopping."},
	reasonSigning:   {bell.Rejected, bell.AlarmPage, true, "The provider token could not be signed: check the key."},
}

// unanswered turns a reason of the table into an outcome.
func unanswered(reason string) bell.Outcome {
	r := transportRules[reason]
	return bell.Outcome{Verdict: r.verdict, Reason: reason, Token: bell.TokenKeep, Alarm: r.alarm, Unsent: r.unsent, Detail: r.detail}
}

// unsent is the outcome of an attempt that ended before it had a stream.
func unsent(reason string) bell.Outcome {
	o := unanswered(reason)
	o.Unsent = true
	return o
}

// goAwayReason finds the reason in the debug data of a GOAWAY, as net/http prints it.
var goAwayReason = regexp.MustCompile(`\\"reason\\":\s*\\"([A-Z][A-Za-z]{1,39})\\"`)

// exchangeReason says why a request on a connection got no answer. For a GOAWAY it
// also returns APNs' reason, if it named one that the table knows.
func exchangeReason(err error) (reason, said string) {
	code, reset := transport.ResetCode(err)
	text := err.Error() // for comparison only
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonTimeout, ""
	case strings.Contains(text, "GOAWAY"):
		return reasonGoAway, goAwaySaid(text)
	case reset && code == transport.RefusedStream:
		return reasonRefused, ""
	case reset:
		return reasonReset, ""
	case transport.IsTLS(err):
		return reasonTLS, ""
	}
	return reasonLost, "" // end of file, reset, lost PING and the like
}

// goAwaySaid returns the reason that a GOAWAY named, if the table knows it.
func goAwaySaid(text string) string {
	match := goAwayReason.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	for known := range rules {
		if known.reason == match[1] {
			return match[1]
		}
	}
	return ""
}

// goAwayOutcome adds what APNs said to a GOAWAY: a BadCertificate must raise the same
// alarm here as in an answer.
func goAwayOutcome(said string) bell.Outcome {
	o := unanswered(reasonGoAway)
	for known, r := range rules {
		if said != "" && known.reason == said {
			o.Detail = "APNs ended the connection: " + said + "."
			o.Alarm = r.alarm
		}
	}
	return o
}

// dialReason says why a connection could not be made.
func dialReason(err error) string {
	if errors.Is(err, errNoHTTP2) {
		return reasonTLS
	}
	return cmp.Or(transport.Reason(err), reasonDial)
}

// errNoHTTP2 is what a handshake ends with when the server has no HTTP/2.
var errNoHTTP2 = errors.New("the server does not speak HTTP/2")
