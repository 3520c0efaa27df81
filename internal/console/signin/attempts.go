package signin

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
)

// How often anybody may try to sign in: ten times, and then once in six seconds, from one
// address and under one name each. Somebody who tries names or passwords gets nowhere at that
// pace; who types badly does not notice it. It does not hold for API tokens: they are too long
// to be guessed, and nobody may lock out whoever has the right one.
const (
	attemptRate  = rate.Limit(1.0 / 6)
	attemptBurst = 10
	// attemptsKept is how many addresses, and how many names, are remembered; the rest is as
	// good as new. What they could then try is bounded by concurrentPasswords.
	attemptsKept = 10_000
)

// attempts counts sign-ins.
type attempts struct {
	mu        sync.Mutex // makes finding and adding a limiter one step
	addresses *lru.Cache[string, *rate.Limiter]
	names     *lru.Cache[string, *rate.Limiter]
}

func newAttempts() *attempts {
	cache := func() *lru.Cache[string, *rate.Limiter] {
		c, err := lru.New[string, *rate.Limiter](attemptsKept)
		if err != nil {
			panic(err) // the size is positive
		}
		return c
	}
	return &attempts{addresses: cache(), names: cache()}
}

// allow counts an attempt; name may be empty. It refuses with bell.TooMany. An address that has
// used up its attempts uses up none of a name's.
func (a *attempts) allow(now time.Time, r *http.Request, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	allowed := limiterOf(a.addresses, network(r.RemoteAddr)).AllowN(now, 1)
	if allowed && name != "" {
		sum := sha256.Sum256([]byte(name)) // names may be long, or passwords in the wrong field
		allowed = limiterOf(a.names, string(sum[:])).AllowN(now, 1)
	}
	if !allowed {
		return bell.E(bell.TooMany, "Too many attempts to sign in; wait a minute.", nil)
	}
	return nil
}

func limiterOf(cache *lru.Cache[string, *rate.Limiter], key string) *rate.Limiter {
	if l, ok := cache.Get(key); ok {
		return l
	}
	l := rate.NewLimiter(attemptRate, attemptBurst)
	cache.Add(key, l)
	return l
}

// network is the address that attempts are counted for: of IPv6 the /64, because one machine
// has as many addresses as it likes in it (RFC 4291 section 2.5.4).
func network(remote string) string {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	addr := peer.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
