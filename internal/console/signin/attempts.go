package signin

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
)

// How often anybody may try to sign in: from one address ten times, and then once in six seconds;
// under one name, from wherever, a hundred times and then once in two seconds, so that nobody locks
// somebody else out from one address or two. Somebody who tries names or passwords gets nowhere at
// that pace; who types badly does not notice it. It does not hold for API tokens: they are too long
// to be guessed, and nobody may lock out whoever has the right one.
const (
	attemptRate  = rate.Limit(1.0 / 6)
	attemptBurst = 10
	nameRate     = rate.Limit(1.0 / 2)
	nameBurst    = 100
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

// allow counts an attempt from a network; name may be empty. It refuses with bell.TooMany. An address that has
// used up its attempts uses up none of a name's.
func (a *attempts) allow(now time.Time, network, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	allowed := limiterOf(a.addresses, network, attemptRate, attemptBurst).AllowN(now, 1)
	if allowed && name != "" {
		sum := sha256.Sum256([]byte(name)) // names may be long, or passwords in the wrong field
		allowed = limiterOf(a.names, string(sum[:]), nameRate, nameBurst).AllowN(now, 1)
	}
	if !allowed {
		return bell.E(bell.TooMany, tooManyAttempts, nil)
	}
	return nil
}

func limiterOf(cache *lru.Cache[string, *rate.Limiter], key string, pace rate.Limit, burst int) *rate.Limiter {
	if l, ok := cache.Get(key); ok {
		return l
	}
	l := rate.NewLimiter(pace, burst)
	cache.Add(key, l)
	return l
}

// allow counts an attempt of a request's sender.
func (s *Service) allow(r *http.Request, name string) error {
	return s.attempts.allow(s.Now(), network(s.Client(r)), name)
}

// network is the address that attempts are counted for: of IPv6 the /64, because one machine
// has as many addresses as it likes in it (RFC 4291 section 2.5.4).
func network(client netip.Addr) string {
	if client.Is6() {
		if p, err := client.Prefix(64); err == nil {
			return p.String()
		}
	}
	return client.String()
}

// Client is who asks: the peer, or, when the peer is one of TrustedProxies, the last address in
// X-Forwarded-For that is none of them. What stands left of that one anybody can write. It is the
// zero address for a peer without one.
func (s *Service) Client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		trusted := slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(client) })
		hop, err := netip.ParseAddr(strings.TrimSpace(text))
		if !trusted || err != nil {
			break // nothing left of a broken entry can be believed
		}
		client = hop.Unmap().WithZone("")
	}
	return client
}
