package webpush

import (
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// tokenLife is how long a token is valid: 24 hours are the most (RFC 8292 section 2).
	tokenLife = 12 * time.Hour
	// renewAfter is when the next one is made. Apple asks for no more than one an hour, and
	// services keep what they have verified.
	renewAfter = 6 * time.Hour
	// clockSlack is how far the clock may be set back before a token is made anew: a service
	// refuses one that is valid for more than a day.
	clockSlack = time.Hour
	// maxOrigins bounds how many tokens are kept. Origins are those of the push services that
	// the operator allows; one allowed domain can have many hosts.
	maxOrigins = 1000
)

// tokens are the VAPID tokens of a key, one for each push service's origin. Whoever needs one
// that is not there makes it while others wait, so that it is made once.
type tokens struct {
	key     bell.VAPIDKey
	subject string

	mu   sync.Mutex // guards what follows
	made map[string]token
}

type token struct {
	header string    // the whole Authorization
	at     time.Time // when it was made, by the wall clock: a service compares with its own
}

func newTokens(key bell.VAPIDKey, subject string) *tokens {
	return &tokens{key: key, subject: subject, made: map[string]token{}}
}

// authorization returns the Authorization header for an origin (RFC 8292 section 3).
func (t *tokens) authorization(origin string, now time.Time) (string, error) {
	now = now.Round(0) // the machine may have slept, which the monotonic clock does not count
	t.mu.Lock()
	defer t.mu.Unlock()
	if have, ok := t.made[origin]; ok && now.Before(have.at.Add(renewAfter)) && now.After(have.at.Add(-clockSlack)) {
		return have.header, nil
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": origin, "exp": now.Add(tokenLife).Unix(), "sub": t.subject,
	}).SignedString(t.key.Private())
	if err != nil {
		return "", fmt.Errorf("sign a VAPID token: %w", err)
	}
	next := token{header: "vapid t=" + signed + ", k=" + t.key.Public(), at: now}
	if _, ok := t.made[origin]; !ok && len(t.made) >= maxOrigins {
		t.dropOldest()
	}
	t.made[origin] = next
	return next.header, nil
}

// dropOldest makes room. The caller holds t.mu.
func (t *tokens) dropOldest() {
	var oldest string
	for origin, have := range t.made {
		if oldest == "" || have.at.Before(t.made[oldest].at) {
			oldest = origin
		}
	}
	delete(t.made, oldest)
}

// age is that of the oldest token in use; 0 when there is none.
func (t *tokens) age(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest time.Duration
	for _, have := range t.made {
		oldest = max(oldest, now.Round(0).Sub(have.at))
	}
	return oldest
}

// originOf is the origin of an endpoint (RFC 6454 section 6.1): scheme, host, and the port if
// it is not the usual one. Endpoints are kept in lower case and without the usual port.
func originOf(endpoint *url.URL) string { return endpoint.Scheme + "://" + endpoint.Host }
