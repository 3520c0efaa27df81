package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/egress"
)

const (
	dialTimeout = 5 * time.Second
	// maxHeader and maxBody bound what is read of an answer, in bytes. Nothing is done with
	// the body; a short one is read so that the connection can be used again.
	maxHeader = 16 << 10
	maxBody   = 4 << 10
)

// NewTransport makes the connections to endpoints, to addresses that the policy allows
// (Standard Webhooks 1.0, "Operational considerations"). roots may be nil: the system's. No proxy
// of the environment is used: the address could not be checked behind it.
func NewTransport(p egress.Policy, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: p.Control}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 3 * time.Second, WriteByteTimeout: 5 * time.Second},
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		MaxIdleConnsPerHost: DefaultConcurrency, IdleConnTimeout: time.Minute,
	}
}
