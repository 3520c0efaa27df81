package serverapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/planet"
)

// The limits that a client keeps unless its [Config] says otherwise.
const (
	// DefaultRate is how many requests a second leave: LINE Planet takes up to 100 operations
	// a second, and does not say whether per key or per service.
	DefaultRate = 80
	// MaxRate is LINE Planet's limit.
	MaxRate = 100
	// DefaultTimeout ends a try without an answer.
	DefaultTimeout = 10 * time.Second
	// burst is how many may leave at once. With DefaultRate at most 90 leave in any second.
	burst = 10
)

// Config configures [New]. ServiceID, APIKey, APISecret, and one of Environment and BaseURL
// are needed.
type Config struct {
	// Environment chooses LINE Planet's base URL unless BaseURL is given.
	Environment planet.Environment
	// BaseURL is where the Server API is, without a path of ours: for a proxy or a simulator.
	// It is https; http is for addresses of this machine only, because the secret travels.
	BaseURL string
	// ServiceID is taken where a room, a caller or a callee names no service.
	ServiceID string
	// APIKey and APISecret are the pair of the LINE Planet Console, of this environment and
	// service. The secret is used as the text that it is.
	APIKey    string
	APISecret planet.Secret

	// Limiter paces the requests; nil makes one of DefaultRate. Clients that use the same API
	// key share one, made with [NewLimiter]: LINE Planet counts them together.
	Limiter *rate.Limiter
	// Timeout ends one try without an answer; 0 is DefaultTimeout.
	Timeout time.Duration
	// Transport sends the requests; nil is a copy of http.DefaultTransport. It must not repeat
	// requests that may have been carried out; http.Transport does not.
	Transport http.RoundTripper
}

// NewLimiter returns a limiter for all clients of one API key. perSecond is from 1 to
// [MaxRate]; anything else is [DefaultRate].
func NewLimiter(perSecond int) *rate.Limiter {
	if perSecond < 1 || perSecond > MaxRate {
		perSecond = DefaultRate
	}
	// What is saved up and what comes in a second stay within LINE Planet's limit.
	return rate.NewLimiter(rate.Limit(perSecond), max(1, min(burst, MaxRate-perSecond)))
}

// Client sends requests to LINE Planet's Server API. It is safe for concurrent use.
type Client struct {
	base      string // without a slash at its end
	serviceID string
	auth      *planet.Secret      // the Authorization header; a pointer is not followed by fmt
	hide      func(string) string // takes the secret out of a text; fmt does not look into it
	limiter   *rate.Limiter
	timeout   time.Duration
	http      *http.Client
}

// New returns a client, or says what is wrong with the configuration. It sends nothing.
func New(c Config) (*Client, error) {
	base, err := baseURL(c)
	if err != nil {
		return nil, fmt.Errorf("serverapi: %w", err)
	}
	if err := errors.Join(validateServiceID(c.ServiceID), planet.ValidateAPIKey(c.APIKey)); err != nil {
		return nil, fmt.Errorf("serverapi: %w", err)
	}
	if c.APISecret == "" {
		return nil, errors.New("serverapi: the API secret is empty; the LINE Planet Console shows it beside the API key")
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("serverapi: the timeout %v is negative; 0 is %v", c.Timeout, DefaultTimeout)
	}
	auth := planet.Secret(basic(c.APIKey, c.APISecret))
	client := &Client{
		base: base, serviceID: c.ServiceID, auth: &auth, hide: hiding(c.APISecret, auth),
		limiter: c.Limiter, timeout: c.Timeout,
		http: &http.Client{
			Transport: c.Transport,
			// A redirect would carry the credential elsewhere, or turn a POST into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if client.limiter == nil {
		client.limiter = NewLimiter(DefaultRate)
	}
	if client.timeout == 0 {
		client.timeout = DefaultTimeout
	}
	if c.Transport == nil {
		client.http.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return client, nil
}

// Close closes the idle connections of the transport. Requests under way go on, and the client
// can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CheckBaseURL returns nil if text can be a [Config.BaseURL].
func CheckBaseURL(text string) error {
	_, err := baseURL(Config{BaseURL: text})
	return err
}

// baseURL returns the base URL of the configuration.
func baseURL(c Config) (string, error) {
	if c.BaseURL == "" {
		if base := c.Environment.APIBaseURL(); base != "" {
			return base, nil
		}
		return "", fmt.Errorf("give the environment, %q or %q, or the base URL of the Server API", planet.Evaluation, planet.Real)
	}
	// The URL is not repeated in errors: somebody may have put a password into it.
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		return "", errors.New("the base URL of the Server API is no URL; it is like https://host")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("the base URL of the Server API is not like https://host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("the base URL of the Server API has a user, a query or a fragment; leave them out")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", errors.New("the base URL of the Server API is http; the API secret travels only over https, or within this machine")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// String names the client without its secret.
func (c *Client) String() string { return "serverapi.Client(" + c.base + ", " + c.serviceID + ")" }
