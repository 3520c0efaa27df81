// Package transport holds what the connections to all push providers have in common: how
// they are watched, how a proxy is used, and why one could not be made.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Why a connection could not be made: reasons of attempts, hence in lower case. Texts of
// errors are never passed on, because they may hold a URL, or what a proxy said.
const (
	Dial  = "dial"
	DNS   = "dns"
	Proxy = "proxy"
	TLS   = "tls"
)

// errProxyRefused is what dialling ends with when the proxy opens no tunnel.
var errProxyRefused = errors.New("the proxy refuses to connect")

// RequireTunnel is an http.Transport's OnProxyConnectResponse. It gives a proxy's refusal an
// error of its own; net/http's is a bare text.
func RequireTunnel(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return errProxyRefused
	}
	return nil
}

// Pings is how a connection is watched. Without pings one that was cut silently is found
// when the kernel gives up, after some 15 minutes; and pings are not sent while a write
// hangs.
func Pings() *http.HTTP2Config {
	return &http.HTTP2Config{
		SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second, WriteByteTimeout: 5 * time.Second,
	}
}

// Reason says why a connection could not be made: Dial, DNS, Proxy or TLS. It is empty for
// an error that is not known to be about that.
func Reason(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case IsTLS(err):
		return TLS
	case errors.Is(err, errProxyRefused), errors.As(err, &op) && op.Op == "proxyconnect":
		return Proxy
	case errors.As(err, &dns):
		return DNS
	case errors.As(err, &op) && op.Op == "dial":
		return Dial
	}
	return ""
}

// RefusedStream is the HTTP/2 error code (RFC 9113 section 7) that promises that nothing
// was done.
const RefusedStream uint32 = 7

// ResetCode returns the HTTP/2 error code with which a server broke a request off, and
// whether it did.
func ResetCode(err error) (code uint32, reset bool) {
	var stream streamError
	if !errors.As(err, &stream) {
		return 0, false
	}
	return stream.Code, true
}

// streamError has the form of the HTTP/2 stream error that net/http does not export;
// errors.As fills it field by field.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error makes streamError a target of errors.As.
func (e streamError) Error() string { return "HTTP/2 stream error" }

// IsAlert reports whether TLS failed because the other side says so. In TLS 1.3 that can
// come when a request was already sent; every other TLS error comes before.
func IsAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// IsTLS reports whether an error is about a handshake or a certificate, ours too: TLS 1.3
// tells a refused client certificate with the first read.
func IsTLS(err error) bool {
	var op *net.OpError // "remote error" and "local error" are alerts; crypto/tls exports no type for them
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &op) && strings.HasSuffix(op.Op, " error") || errors.As(err, &record) ||
		errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// maxRetryAfter bounds what a Retry-After may ask for; no ring waits so long.
const maxRetryAfter = time.Hour

// RetryAfter reads a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date. At most
// an hour; 0 when there is none that makes sense.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
