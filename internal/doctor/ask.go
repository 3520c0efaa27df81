package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/transport"
)

const (
	dialTime = 5 * time.Second // for a connection; what takes longer does not work for calls either
	askTime  = 8 * time.Second // for an answer: less than DefaultTime, so that silence is told as such
)

// caller asks one sort of server by HTTP. It follows no redirects.
type caller struct {
	*http.Client
	transport *http.Transport
}

// newCaller makes one. dial nil is the system's, then also by way of a configured proxy.
func newCaller(roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) *caller {
	t := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTime, MaxResponseHeaderBytes: 64 << 10,
	}
	if dial == nil {
		t.DialContext = (&net.Dialer{Timeout: dialTime}).DialContext
		t.Proxy, t.OnProxyConnectResponse, t.ForceAttemptHTTP2 = http.ProxyFromEnvironment, transport.RequireTunnel, true
	}
	return &caller{transport: t, Client: &http.Client{
		Transport: t, Timeout: askTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// newGuarded makes one that asks as the senders do to whom somebody else gives the address: not
// by way of a proxy, and at addresses that the policy allows only.
func newGuarded(roots *x509.CertPool, p egress.Policy) *caller {
	c := newCaller(roots, (&net.Dialer{Timeout: dialTime, Control: p.Control}).DialContext)
	c.transport.ForceAttemptHTTP2 = true
	return c
}

func (c *caller) close() { c.transport.CloseIdleConnections() }

// ask sends a request without a body. The error's text may hold the URL: only [why] may read it.
func (c *caller) ask(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "planetbell-doctor")
	for name, values := range header {
		r.Header[name] = values
	}
	return c.Do(r)
}

// why says in a few words why there was no answer, without the URL that the error holds.
func why(err error) string {
	switch reason := transport.Reason(err); {
	case errors.Is(err, egress.ErrNotPublic):
		return "it leads to an address that is not public"
	case reason == transport.DNS:
		return "its name does not resolve"
	case reason == transport.Proxy:
		return "the proxy of HTTPS_PROXY does not connect"
	case reason == transport.TLS:
		return "TLS fails: " + whyTLS(err)
	case late(err):
		return "it does not answer in time"
	case reason == transport.Dial:
		return "the connection is refused or goes nowhere"
	}
	return "the connection breaks, or what comes is not HTTP"
}

// late reports whether an answer was waited for until time was up.
func late(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func whyTLS(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return "its certificate is of an authority that is not known here, or its chain is incomplete"
	case errors.As(err, &host):
		return "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	}
	return "there is no agreement"
}

// hostOf is what may be told of a URL.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return u.Host
}

// shared is the address space of carriers (RFC 6598), which is not public either.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// reachable reports whether an address can be reached from elsewhere on the Internet.
func reachable(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// addresses resolves a host, which may be an address.
func (e *exam) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return e.o.Lookup(ctx, host)
}
