package serverapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// The retry policy of docs/line-planet.md 7.1.
const (
	maxRetries = 3
	firstPause = 500 * time.Millisecond // doubled each time; half of it is random
	// maxPause is the longest Retry-After that is waited for. With a longer one the request
	// ends at once, and Error.RetryAfter tells the time.
	maxPause = time.Minute
	// maxAnswer is how much of an answer is read; those known have a few hundred bytes.
	maxAnswer = 64 << 10
)

var errTry = errors.New("LINE Planet did not answer in time")

// request is one request, for all its tries.
type request struct {
	operation   string // "kick out"
	method      string
	path        string // encoded, with its query
	body        []byte
	contentType string
	v2          bool // answers are JSON, and have to be asked for
	room        bool // 404 means the room
	// repeatable says that carrying it out twice does no harm, so that a lost answer is no
	// reason to give up.
	repeatable bool
}

// answer is a whole answer.
type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

// send sends the request until it is answered with 2xx, may not be repeated, or has been
// repeated often enough.
func (c *Client) send(ctx context.Context, r request) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, c.noTurn(ctx, r, attempt-1, err)
		}
		got, err := c.try(ctx, r)
		if err == nil && got.status >= 200 && got.status < 300 {
			return got.body, nil
		}
		failure := c.failure(r, got, err)
		failure.Attempts = attempt
		if ctx.Err() != nil || attempt > maxRetries || !mayRepeat(r, failure) {
			return nil, failure
		}
		pause := max(failure.RetryAfter, backoff(attempt))
		if deadline, ok := ctx.Deadline(); failure.RetryAfter > maxPause || ok && time.Until(deadline) <= pause {
			return nil, failure // what is known is worth more than "context deadline exceeded"
		}
		if sleep(ctx, pause) != nil {
			return nil, failure
		}
	}
}

// mayRepeat is the one place that decides a repeat.
func mayRepeat(r request, e *Error) bool {
	switch {
	case !e.Retryable:
		return false
	case e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable:
		return true // refused, so not carried out
	case e.Status != 0:
		return false
	}
	return r.repeatable || !e.MaybeExecuted
}

// backoff returns the pause after an attempt, counted from 1.
func backoff(attempt int) time.Duration {
	d := firstPause << (attempt - 1)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try sends the request once.
func (c *Client) try(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTry)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", c.auth.Reveal())
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.v2 {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, inTime(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := answer{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && got.status < 300 {
		return got, inTime(ctx, err)
	}
	return got, nil // an error's status says enough
}

// inTime returns the error, or what ended the try before it.
func inTime(ctx context.Context, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, which names users
	}
	if errors.Is(context.Cause(ctx), errTry) {
		return fmt.Errorf("%w: %w", errTry, context.DeadlineExceeded)
	}
	return err
}

// unsent reports whether the error came before anything was sent: no connection could be
// made. It must not be true for anything else: the request is repeated then.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// basic returns the Authorization header: the secret as text, never decoded.
func basic(key string, secret planet.Secret) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"+secret.Reveal()))
}

// hiding returns what takes the secret out of a text that an answer brought.
func hiding(secret, auth planet.Secret) func(string) string {
	return strings.NewReplacer(
		secret.Reveal(), secret.String(),
		strings.TrimPrefix(auth.Reveal(), "Basic "), auth.String(),
	).Replace
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
