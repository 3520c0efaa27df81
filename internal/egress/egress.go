// Package egress says where the server may connect to when somebody else chose the address: an
// endpoint of events, or the push service that a browser named. Whoever can set an address, or
// the DNS name in it, must not be able to reach what lies behind our firewall (server-side
// request forgery).
package egress

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// Policy says which addresses may be connected to. The zero value allows public ones only.
type Policy struct {
	Private []netip.Prefix // ranges that are allowed although they are not public, also loopback
}

// special are ranges that netip has no predicate for and that do not lead to a public
// server, or that carry another address inside (IANA special-purpose registries; RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// nat64 are addresses that carry an IPv4 address, which is what they lead to (RFC 6052).
// Networks without IPv4 have no others for it.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Allows reports whether an address may be connected to.
func (p Policy) Allows(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	contains := func(r netip.Prefix) bool { return r.Contains(address) }
	switch {
	case !address.IsValid():
		return false
	case slices.ContainsFunc(p.Private, contains):
		return true
	case nat64.Contains(address):
		bytes := address.As16()
		return p.Allows(netip.AddrFrom4([4]byte(bytes[12:])))
	}
	return address.IsGlobalUnicast() && !address.IsPrivate() && !slices.ContainsFunc(special, contains)
}

// ErrNotPublic is why Control refuses an address. Its text does not name it.
var ErrNotPublic = errors.New("the address is not public, and the configuration does not allow it")

// Control is a net.Dialer's Control: it refuses a connection, with ErrNotPublic, before it is
// made. It sees the address that the name was resolved to, so that no name, notation or answer
// of DNS that changes gets around it.
func (p Policy) Control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !p.Allows(to.Addr()) {
		return ErrNotPublic
	}
	return nil
}
