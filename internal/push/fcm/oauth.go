package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// scope is what the access token is for.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

const (
	grantType    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantLife    = time.Hour        // of the assertion; the most that Google takes
	clockLag     = 10 * time.Second // "iat" lies so far back, for clocks that run ahead
	fetchTimeout = 10 * time.Second
	unsaidLife   = 5 * time.Minute  // of a token whose answer does not say
	renewAt      = 0.78             // of a token's life; the rest is time to try again
	forceAtMost  = 10 * time.Second // between tokens that a 401 asks for
)

// accessToken is what Google gave.
type accessToken struct {
	text      string
	fetchedAt time.Time
	expiresAt time.Time
}

// fetchError says why there is no access token. reason is one of transportRules.
type fetchError struct {
	reason    string
	permanent bool // trying again inside a ring is of no use
	status    int  // of the token server's answer; 0 if there was none
}

func (e *fetchError) Error() string { return e.reason }

// accessTokens keeps one access token fresh. run is its only goroutine and the only
// one that fetches, so there is never more than one fetch; callers read, or wait for
// what run brings.
type accessTokens struct {
	fetch func(context.Context) (accessToken, *fetchError)
	log   *slog.Logger

	asked chan struct{} // a token of the run's own time is wanted at once

	mu       sync.Mutex // guards what follows
	current  accessToken
	failure  *fetchError   // of the last fetch
	forcedAt time.Time     // when a 401 last threw the token away
	changed  chan struct{} // closed and replaced after every fetch
}

func newAccessTokens(fetch func(context.Context) (accessToken, *fetchError), log *slog.Logger) *accessTokens {
	return &accessTokens{fetch: fetch, log: log, asked: make(chan struct{}, 1), changed: make(chan struct{})}
}

// run fetches a token at once and renews it until ctx ends. A failed renewal costs
// nothing while the old token lives.
func (a *accessTokens) run(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-a.asked:
		}
		fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
		token, failure := a.fetch(fetching)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.store(token, failure)
		if failure == nil {
			failures = 0
			next.Reset(time.Duration(renewAt * float64(token.expiresAt.Sub(token.fetchedAt))))
			continue
		}
		failures++
		next.Reset(fetchWait(failures, failure.permanent))
	}
}

// fetchWait is how long to wait after so many failures in a row: 1 s, 2 s, 4 s, 8 s,
// then 10 s, or a minute when nothing but a person can mend it; a fifth of it is
// chance.
func fetchWait(failures int, permanent bool) time.Duration {
	wait := min(time.Second<<min(failures-1, 6), 10*time.Second)
	if permanent {
		wait = min(time.Second<<min(failures-1, 6), time.Minute)
	}
	return wait - time.Duration(rand.Float64()*0.2*float64(wait))
}

func (a *accessTokens) store(token accessToken, failure *fetchError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failure == nil {
		a.current = token
	} else if a.failure == nil || a.failure.reason != failure.reason {
		a.log.Warn("no access token from Google", "reason", failure.reason, "detail", transportRules[failure.reason].detail,
			"old_token_valid_for", max(0, time.Until(a.current.expiresAt)).Round(time.Second))
	}
	a.failure = failure
	close(a.changed)
	a.changed = make(chan struct{})
}

// Current returns a valid token, waiting for it until ctx ends if need be. It fails at
// once when waiting is of no use.
func (a *accessTokens) Current(ctx context.Context) (string, *fetchError) {
	for {
		a.mu.Lock()
		token, failure, changed := a.current, a.failure, a.changed
		a.mu.Unlock()
		if token.text != "" && time.Now().Before(token.expiresAt) {
			return token.text, nil
		}
		if failure != nil && failure.permanent {
			return "", failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if failure == nil {
				failure = &fetchError{reason: reasonTokenLate}
			}
			return "", failure
		}
	}
}

// Refused is told that Google did not take a token, and asks for another, unless that
// was done a moment ago: a project that is refused whatever it sends must not ask
// Google for a token with every call.
func (a *accessTokens) Refused(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.text != text || (!a.forcedAt.IsZero() && time.Since(a.forcedAt) < forceAtMost) {
		return
	}
	a.forcedAt = time.Now()
	a.current = accessToken{}
	select {
	case a.asked <- struct{}{}:
	default:
	}
}

// Age is how old the current token is; 0 when there is none.
func (a *accessTokens) Age() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.text == "" {
		return 0
	}
	return time.Since(a.current.fetchedAt)
}

// grant asks Google for an access token, with an assertion of the service account that is
// signed now (RFC 7523). No text of the answer gets into the error.
func grant(ctx context.Context, transport http.RoundTripper, a account, now time.Time) (accessToken, *fetchError) {
	started := time.Now()
	issued := now.Add(-clockLag)
	assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": a.email, "scope": scope, "aud": a.tokenURL,
		"iat": issued.Unix(), "exp": issued.Add(grantLife).Unix(),
	})
	assertion.Header["kid"] = a.keyID
	signed, err := assertion.SignedString(a.key)
	if err != nil {
		return accessToken{}, &fetchError{reason: reasonTokenRefused, permanent: true}
	}
	form := url.Values{"grant_type": {grantType}, "assertion": {signed}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.tokenURL, strings.NewReader(form))
	if err != nil {
		return accessToken{}, &fetchError{reason: reasonTokenRefused, permanent: true}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "planetbell")
	response, err := transport.RoundTrip(request)
	if err != nil {
		reason := exchangeReason(err)
		if reason == reasonTLS {
			return accessToken{}, &fetchError{reason: reasonTLS, permanent: true}
		}
		return accessToken{}, &fetchError{reason: reasonTokenUnavailable}
	}
	body, err := readAnswer(response)
	if err != nil {
		return accessToken{}, &fetchError{reason: reasonTokenUnavailable}
	}
	return granted(response.StatusCode, body, started)
}

// granted reads the answer of the token endpoint (RFC 6749 section 5).
func granted(status int, body []byte, started time.Time) (accessToken, *fetchError) {
	var answer struct {
		Token     string  `json:"access_token"`
		ExpiresIn float64 `json:"expires_in"`
		Error     string  `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		answer.Token, answer.Error = "", ""
	}
	switch {
	case status == http.StatusOK && headerSafe(answer.Token):
		life := time.Duration(answer.ExpiresIn * float64(time.Second))
		if answer.ExpiresIn <= 0 || answer.ExpiresIn > 86400 {
			life = unsaidLife
		}
		return accessToken{text: answer.Token, fetchedAt: started, expiresAt: started.Add(life)}, nil
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusOK:
		return accessToken{}, &fetchError{reason: reasonTokenUnavailable, status: status}
	case answer.Error == "invalid_grant":
		return accessToken{}, &fetchError{reason: reasonInvalidGrant, permanent: true, status: status}
	}
	return accessToken{}, &fetchError{reason: reasonTokenRefused, permanent: true, status: status}
}

// headerSafe reports whether a token can be sent in a header.
func headerSafe(token string) bool {
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return token != "" && len(token) <= 8192
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// readAnswer reads and closes the body of an answer, at most 64 KiB of it.
func readAnswer(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return body, errors.Join(err, response.Body.Close())
}
