package fcm

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
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/transport"
	"github.com/planetbell/planetbell/planet"
)

// Config is what a [Client] needs. Zero values of the optional fields are the
// defaults that their comments name.
type Config struct {
	Name           string        // of the credential, for metrics and logs; the operator's word, no secret
	ServiceAccount planet.Secret // the text of the service account's JSON file

	BaseURL        string                                // https URL without a path; https://fcm.googleapis.com
	RootCAs        *x509.CertPool                        // who may vouch for Google; the system's
	Proxy          func(*http.Request) (*url.URL, error) // http.ProxyFromEnvironment: HTTPS_PROXY, NO_PROXY
	Connections    int                                   // that may be dialled at once, of the first choice and as many spare; 2
	MaxInFlight    int                                   // messages at once; 500, which at 50 ms an answer is Google's default quota of 10,000 a second
	AttemptTimeout time.Duration                         // from Send to the answer; 10 s, Google's least
	PerSecond      int                                   // messages a second, and as many at once after a pause; 10,000, Google's default quota of 600,000 a minute

	Clock   func() time.Time // time.Now; for the message's life, not for the access token
	Log     *slog.Logger     // nowhere
	Metrics *Metrics         // none
}

// Client is one Firebase project. It is a delivery.Sender, safe for concurrent use.
// Close it when done.
type Client struct {
	name    string
	account account
	sendURL url.URL
	timeout time.Duration
	now     func() time.Time
	log     *slog.Logger
	metrics *Metrics

	transports [2]*http.Transport // the first choice, and the spare: they share no connection
	conns      transport.Conns    // of both
	slots      chan struct{}      // one per message under way
	pace       *rate.Limiter      // of messages
	tokens     *accessTokens

	ctx    context.Context // ends with Close: the token's renewal, and what is being sent
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewClient checks the configuration and begins to fetch an access token. It does not
// wait for it; [Client.Warm] does. The error is of kind bell.Invalid.
func NewClient(cfg Config) (*Client, error) {
	a, err := readAccount(cfg.ServiceAccount)
	if err != nil {
		return nil, err
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	send, err := sendURL(cfg.BaseURL, a)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by Close, which also waits
	c := &Client{
		name: cfg.Name, account: a, timeout: cfg.AttemptTimeout, now: cfg.Clock, metrics: cfg.Metrics,
		sendURL: send,
		slots:   make(chan struct{}, cfg.MaxInFlight), pace: rate.NewLimiter(rate.Limit(cfg.PerSecond), cfg.PerSecond), ctx: ctx, cancel: cancel,
		log: cfg.Log.With("component", "fcm", "via", cfg.Name),
	}
	for i := range c.transports {
		c.transports[i] = c.newTransport(cfg)
	}
	c.tokens = newAccessTokens(func(ctx context.Context) (accessToken, *fetchError) {
		return grant(ctx, c.transports[0], a, time.Now())
	}, c.log)
	c.wg.Go(func() { c.tokens.run(ctx) })
	c.metrics.add(c)
	return c, nil
}

// sendURL is where the messages of a project go.
func sendURL(baseURL string, a account) (url.URL, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Scheme != "https" || base.Hostname() == "" || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil {
		return url.URL{}, bell.E(bell.Invalid, "the URL of FCM must look like https://fcm.googleapis.com, with a port if need be and nothing else", nil)
	}
	return url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/v1/projects/" + a.project + "/messages:send"}, nil
}

// complete fills in defaults and refuses what cannot work.
func (cfg *Config) complete() error {
	if cfg.Connections < 0 || cfg.Connections > 20 || cfg.MaxInFlight < 0 || cfg.AttemptTimeout < 0 || cfg.PerSecond < 0 {
		return bell.E(bell.Invalid, "limits of an FCM client must not be negative, and connections at most 20", nil)
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = "https://fcm.googleapis.com"
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
		cfg.AttemptTimeout = 10 * time.Second
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 10_000
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

// newTransport makes one of the two ways to Google. MaxConnsPerHost bounds the dialling
// of a cold start only: with HTTP/2 the transport opens more when the server's streams
// are all taken (100 before it said how many it allows), up to what the slots allow.
func (c *Client) newTransport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  cfg.Proxy,
		OnProxyConnectResponse: transport.RequireTunnel,
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
		IdleConnTimeout:        10 * time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
		HTTP2:                  transport.Pings(),
	}
}

// Warm waits for the first access token, at most until ctx ends, and fails when there
// is none. The client works on a failure too: it goes on asking.
func (c *Client) Warm(ctx context.Context) error {
	if _, failure := c.tokens.Current(ctx); failure != nil {
		return bell.E(bell.Unavailable, fmt.Sprintf("there is no access token for FCM (project %s): %s", c.account.project, transportRules[failure.reason].detail), nil)
	}
	return nil
}

// Project is the Firebase project.
func (c *Client) Project() string { return c.account.project }

// Close breaks off what is being sent, and waits for everything the client started.
func (c *Client) Close() {
	c.cancel()
	c.wg.Wait()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
	c.conns.Close() // also those that a request broken off keeps from being idle
	c.metrics.remove(c)
}
