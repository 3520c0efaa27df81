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

// maxAddresses bounds the memory of a limiter: about 200 bytes each, 4 MB at most.
const maxAddresses = 20_000

// limiter allows each client address a number of events per minute. It remembers a
// bounded number of addresses in two generations: when the younger one is full it
// becomes the older, and what was older and not seen since is forgotten. So an
// attacker with many addresses can make it forget, which costs a limit, not memory.
type limiter struct {
	perMinute int // negative: no limit

	mu             sync.Mutex // guards what follows
	younger, older map[netip.Addr]*rate.Limiter
}

func newLimiter(perMinute int) *limiter {
	return &limiter{perMinute: perMinute, younger: map[netip.Addr]*rate.Limiter{}}
}

// allow reports whether the address may do it once more, and counts it.
func (l *limiter) allow(address netip.Addr, now time.Time) bool {
	if l.perMinute < 0 {
		return true
	}
	return l.bucket(household(address)).AllowN(now, 1)
}

func (l *limiter) bucket(address netip.Addr) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.younger[address]; ok {
		return b
	}
	b, ok := l.older[address]
	if !ok {
		b = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
	}
	if len(l.younger) >= maxAddresses/2 {
		l.older, l.younger = l.younger, make(map[netip.Addr]*rate.Limiter)
	}
	l.younger[address] = b
	return b
}

// household is what a limit counts as one: an IPv4 address, or the /64 that an IPv6
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
