package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pauses follow one another when an endpoint does not take an event (the schedule that
// Standard Webhooks 1.0 recommends). After the last, the event is given up.
var pauses = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// jitter is by how much, at most, a pause is longer: what failed together must not come
	// back together.
	jitter = 0.1
	// openFor is how long an event is open at most: somewhat longer than the whole schedule.
	openFor = 84 * time.Hour
	// maxRetryAfter bounds what a receiver may ask for.
	maxRetryAfter = 24 * time.Hour
)

// next is the pause after a number of failed tries, from 1; false: give up.
func next(failed int) (time.Duration, bool) {
	if failed < 1 || failed > len(pauses) {
		return 0, false
	}
	pause := pauses[failed-1]
	return pause + time.Duration(float64(pause)*jitter*rand.Float64()), true
}

// retryAfter reads the header of an answer (RFC 9110 section 10.2.3); 0 when it is absent
// or makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
