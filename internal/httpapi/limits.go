package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds the memory of a limiter: about 200 bytes each, 4 MB at most.
const maxKeys = 20_000

// limiter allows each key (a client's household, or a user) a number of events per
// minute. It remembers a bounded number of keys in two generations: when the younger
// one is full it becomes the older, and what was older and not seen since is forgotten.
// So an attacker with many addresses can make it forget, which costs a limit, not memory.
type limiter[K comparable] struct {
	perMinute int // negative: no limit

	mu             sync.Mutex // guards what follows
	younger, older map[K]*rate.Limiter
}

func newLimiter[K comparable](perMinute int) *limiter[K] {
	return &limiter[K]{perMinute: perMinute, younger: map[K]*rate.Limiter{}}
}

// allow reports whether the key may do it once more, and counts it.
func (l *limiter[K]) allow(key K, now time.Time) bool { return l.allowN(key, 1, now) }

// allowN is allow for n at once: all of them or none. n above the limit never is.
func (l *limiter[K]) allowN(key K, n int, now time.Time) bool {
	if l.perMinute < 0 {
		return true
	}
	return l.bucket(key).AllowN(now, n)
}

func (l *limiter[K]) bucket(key K) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.younger[key]; ok {
		return b
	}
	b, ok := l.older[key]
	if !ok {
		b = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
	}
	if len(l.younger) >= maxKeys/2 {
		l.older, l.younger = l.younger, make(map[K]*rate.Limiter)
	}
	l.younger[key] = b
	return b
}

// household is what a limit by address counts as one: an IPv4 address, or the /64 that an IPv6
// client can choose its addresses from.
func household(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return address
}

// peerAddress is the other end of the connection; the zero address when it has none
// that can be read, as on a Unix socket.
func peerAddress(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// clientAddress is who asks: the peer, or, when the peer is a trusted proxy, the last
// address in X-Forwarded-For that is not one. What stands left of that one anybody can
// write.
func (a *api) clientAddress(r *http.Request) netip.Addr {
	client := peerAddress(r)
	if !a.trusts(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return client // nothing left of a broken entry can be believed
		}
		client = hop.Unmap().WithZone("")
		if !a.trusts(client) {
			return client
		}
	}
	return client
}

func (a *api) trusts(peer netip.Addr) bool { return contains(a.config.TrustedProxies, peer) }

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// seconds is a duration as HTTP headers want it.
func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
