package apns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// Apple's servers; port 443.
const (
	productionURL = "https://api.push.apple.com"
	sandboxURL    = "https://api.sandbox.push.apple.com"
)

// Config is what a [Client] needs. Zero values of the optional fields are the
// defaults that their comments name.
type Config struct {
	Name       string          // of the credential, for metrics and logs; the operator's word, no secret
	Server     bell.APNsServer // which of the two environments
	Credential Credential

	BaseURL        string                                // https URL without a path; Apple's for Server
	RootCAs        *x509.CertPool                        // who may vouch for APNs; the system's
	Proxy          func(*http.Request) (*url.URL, error) // http.ProxyFromEnvironment: HTTPS_PROXY, NO_PROXY
	Connections    int                                   // 2, a primary and a spare; 1 to 20
	MaxInFlight    int                                   // requests at once per connection, if the server allows as many; 500
	AttemptTimeout time.Duration                         // from Send to the answer; 3 s
	VoIPExpiration time.Duration                         // how long APNs may try to deliver a VoIP push; 0, once; at most 15 s

	Clock   func() time.Time // time.Now
	Log     *slog.Logger     // nowhere
	Metrics *Metrics         // none
}

// Client holds the connections of one credential to one APNs server. Safe for
// concurrent use. Close it when done.
type Client struct {
	name       string
	server     bell.APNsServer
	credential Credential
	base       url.URL
	pool       *pool
	tokens     *tokens // nil with a certificate
	timeout    time.Duration
	expiration time.Duration
	now        func() time.Time
	metrics    *Metrics
}

// NewClient checks the configuration and begins to dial. It does not wait for the
// connections; [Client.Warm] does. The error is of kind bell.Invalid.
func NewClient(cfg Config) (*Client, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = map[bell.APNsServer]string{bell.APNsProduction: productionURL, bell.APNsSandbox: sandboxURL}[cfg.Server]
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	base, err := baseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	log := cfg.Log.With("component", "apns", "via", cfg.Name, "server", string(cfg.Server))
	c := &Client{
		name: cfg.Name, server: cfg.Server, credential: cfg.Credential, base: base,
		timeout: cfg.AttemptTimeout, expiration: cfg.VoIPExpiration, now: cfg.Clock, metrics: cfg.Metrics,
	}
	if cfg.Credential.key != nil {
		c.tokens = newTokens(cfg.Credential, cfg.Clock)
	}
	port := base.Port()
	if port == "" {
		port = "443"
	}
	address := net.JoinHostPort(base.Hostname(), port)
	c.pool = newPool(newTransport(cfg, base.Hostname()), address, cfg.Connections, cfg.MaxInFlight, log)
	c.metrics.add(c)
	if left := c.NotAfter().Sub(c.now()); !c.NotAfter().IsZero() && left < 30*24*time.Hour {
		log.Warn("the push certificate expires soon or has expired: make a new one in the developer account", "not_after", c.NotAfter())
	}
	return c, nil
}

// complete fills in defaults and refuses what cannot work.
func (cfg *Config) complete() error {
	switch {
	case cfg.Server != bell.APNsProduction && cfg.Server != bell.APNsSandbox:
		return bell.E(bell.Invalid, fmt.Sprintf("the APNs server must be %s or %s", bell.APNsProduction, bell.APNsSandbox), nil)
	case cfg.Credential.empty():
		return bell.E(bell.Invalid, "an APNs client needs a credential: a token key or a push certificate", nil)
	case cfg.VoIPExpiration < 0 || cfg.VoIPExpiration > 15*time.Second:
		return bell.E(bell.Invalid, "the expiration of VoIP pushes must be 0 to 15 seconds: a later ring would be for a call that is over", nil)
	case cfg.Connections < 0 || cfg.Connections > 20:
		return bell.E(bell.Invalid, "the number of APNs connections must be 1 to 20", nil)
	case cfg.MaxInFlight < 0 || cfg.AttemptTimeout < 0:
		return bell.E(bell.Invalid, "limits of an APNs client must not be negative", nil)
	}
	if cfg.Proxy == nil {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	if cfg.Connections == 0 {
		cfg.Connections = 2
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 500
	}
	if cfg.AttemptTimeout == 0 {
		cfg.AttemptTimeout = 3 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return nil
}

// baseURL reads the server's URL. It must be https, because APNs is, and bare, because
// a path or a query would be lost.
func baseURL(text string) (url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return url.URL{}, bell.E(bell.Invalid, "the URL of APNs must look like https://api.push.apple.com, with a port if need be and nothing else", nil)
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// newTransport makes what dials. It keeps no connections itself.
func newTransport(cfg Config, host string) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	config := &tls.Config{
		RootCAs:          cfg.RootCAs,
		MinVersion:       tls.VersionTLS12,
		VerifyConnection: requireHTTP2(host),
	}
	if cfg.Credential.certificate != nil {
		config.Certificates = []tls.Certificate{*cfg.Credential.certificate}
	}
	return &http.Transport{
		Proxy:                  cfg.Proxy,
		OnProxyConnectResponse: transport.RequireTunnel,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true, // APNs does not compress; the header would only cost
		MaxResponseHeaderBytes: 16 << 10,
		Protocols:              &protocols,
		HTTP2:                  transport.Pings(),
	}
}

// requireHTTP2 refuses a server that did not agree on HTTP/2. A proxy that is reached
// by TLS itself goes through the same handshake code and need not have it.
func requireHTTP2(host string) func(tls.ConnectionState) error {
	name := strings.TrimSuffix(host, ".")
	if net.ParseIP(host) != nil {
		name = "" // addresses are not sent as a server name
	}
	return func(s tls.ConnectionState) error {
		if s.ServerName == name && s.NegotiatedProtocol != "h2" {
			return errNoHTTP2
		}
		return nil
	}
}

// Warm waits until the connections were dialled for the first time, at most until ctx
// ends, and fails when there is none. The client works on a failure too: it goes on
// dialling.
func (c *Client) Warm(ctx context.Context) error {
	if err := c.pool.warm(ctx); err != nil {
		return bell.E(bell.Unavailable, fmt.Sprintf("there is no connection to APNs (%s): %s", c.base.Host, transportRules[err.Error()].detail), nil)
	}
	return nil
}

// NotAfter is when the push certificate expires; zero with a token key.
func (c *Client) NotAfter() time.Time { return c.credential.notAfter }

// Close ends the connections and waits for everything the client started. What is
// being sent is broken off, so let package delivery stop first.
func (c *Client) Close() {
	c.pool.close()
	c.metrics.remove(c)
}
