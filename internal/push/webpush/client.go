package webpush

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// Config is what a [Client] needs. Zero values of the optional fields are the defaults that
// their comments name.
type Config struct {
	Name    string         // of the credential, for metrics and logs; the operator's word, no secret
	Key     bell.VAPIDKey  // signs
	Subject string         // whom a push service may write to (bell.CheckVAPIDSubject)
	Hosts   bell.PushHosts // the push services that subscriptions may name; at least one

	Egress         egress.Policy  // the addresses that they may have; public ones
	Resolver       *net.Resolver  // of their names; the system's
	RootCAs        *x509.CertPool // who may vouch for them; the system's
	Connections    int            // to one host, of the first choice and as many spare; 4
	MaxInFlight    int            // messages at once to one of Hosts; 500
	AttemptTimeout time.Duration  // from Send to the answer; 5 s

	Clock   func() time.Time // time.Now
	Log     *slog.Logger     // nowhere
	Metrics *Metrics         // none
}

// Client is one project's way to browsers. It is a delivery.Sender, safe for concurrent use.
// Close it when done.
type Client struct {
	name    string
	hosts   bell.PushHosts
	timeout time.Duration
	now     func() time.Time
	log     *slog.Logger
	metrics *Metrics
	tokens  *tokens

	transports [2]*http.Transport       // the first choice, and the spare: they share no connection
	conns      transport.Conns          // of both
	slots      map[string]chan struct{} // by push service; one per message under way

	ctx    context.Context // ends with Close: what is being sent
	cancel context.CancelFunc
}

// NewClient checks the configuration. It connects to nobody: which push services there are,
// browsers say. The error is of kind bell.Invalid.
func NewClient(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by Close
	c := &Client{
		name: cfg.Name, hosts: cfg.Hosts, timeout: cfg.AttemptTimeout, now: cfg.Clock, metrics: cfg.Metrics,
		tokens: newTokens(cfg.Key, cfg.Subject), slots: map[string]chan struct{}{}, ctx: ctx, cancel: cancel,
		log: cfg.Log.With("component", "webpush", "via", cfg.Name),
	}
	for _, h := range cfg.Hosts {
		c.slots[h.String()] = make(chan struct{}, cfg.MaxInFlight)
	}
	for i := range c.transports {
		c.transports[i] = c.newTransport(cfg)
	}
	c.metrics.add(c)
	return c, nil
}

// complete fills in defaults and refuses what cannot work.
func (cfg *Config) complete() error {
	if cfg.Connections < 0 || cfg.Connections > 20 || cfg.MaxInFlight < 0 || cfg.AttemptTimeout < 0 {
		return bell.E(bell.Invalid, "limits of a Web Push client must not be negative, and connections at most 20", nil)
	}
	if cfg.Key.Public() == "" {
		return bell.E(bell.Invalid, "there is no VAPID key", nil)
	}
	if err := bell.CheckVAPIDSubject(cfg.Subject); err != nil {
		return bell.E(bell.Invalid, "vapid_subject: "+err.Error(), nil)
	}
	if len(cfg.Hosts) == 0 {
		return bell.E(bell.Invalid, "there is no push service that subscriptions may name", nil)
	}
	if cfg.Connections == 0 {
		cfg.Connections = 4
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 500
	}
	if cfg.AttemptTimeout == 0 {
		cfg.AttemptTimeout = 5 * time.Second
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

// newTransport makes one of the two ways to push services. It uses no proxy: behind one, the
// address that a name leads to could not be checked. MaxConnsPerHost bounds the dialling of a
// cold start only: with HTTP/2 the transport opens more when the server's streams are all
// taken, up to what the slots allow.
func (c *Client) newTransport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second, Resolver: cfg.Resolver, Control: cfg.Egress.Control}
	return &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err // as it is: net/http looks at its type
			}
			return c.conns.Add(conn), nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        cfg.Connections,
		MaxIdleConnsPerHost:    cfg.Connections,
		MaxIdleConns:           200, // one allowed domain can have many hosts
		IdleConnTimeout:        5 * time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
		HTTP2:                  transport.Pings(),
	}
}

// Key is the public VAPID key in base64url.
func (c *Client) Key() string { return c.tokens.key.Public() }

// Warm does nothing: there is nobody to connect to before a browser names one.
func (c *Client) Warm(context.Context) error { return nil }

// Close breaks off what is being sent, and ends all connections.
func (c *Client) Close() {
	c.cancel()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
	c.conns.Close() // also those that a request broken off keeps from being idle
	c.metrics.remove(c)
}
