package egress

import (
	"net/netip"
	"testing"
)

func TestPolicy(t *testing.T) {
	private := Policy{Private: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00::/8")}}
	for address, want := range map[string]struct{ public, private bool }{
		"8.8.8.8": {true, true}, "2606:4700::1111": {true, true}, "::ffff:8.8.8.8": {true, true}, "64:ff9b::808:808": {true, true},
		"10.1.2.3": {false, true}, "::ffff:10.1.2.3": {false, true}, "127.0.0.1": {false, true}, "fd00::1": {false, true}, "64:ff9b::a01:203": {false, true},
		"127.0.0.2": {}, "::1": {}, "::ffff:127.0.0.2": {}, "::127.0.0.2": {}, "64:ff9b::7f00:2": {}, "0.0.0.0": {}, "::": {}, "0.1.2.3": {},
		"192.168.1.1": {}, "172.16.0.1": {}, "169.254.169.254": {}, "100.64.0.1": {}, "fe80::1": {}, "fe80::1%eth0": {}, "fc00::1": {},
		"224.0.0.1": {}, "ff02::1": {}, "255.255.255.255": {}, "240.0.0.1": {}, "198.18.0.1": {}, "192.0.0.8": {}, "192.0.2.1": {},
		"2002:7f00:1::": {}, "2001:0:4136:e378::1": {}, "2001:db8::1": {}, "fec0::1": {}, "64:ff9b:1::1": {}, "100::1": {},
	} {
		addr := netip.MustParseAddr(address)
		if got := (Policy{}).Allows(addr); got != want.public {
			t.Errorf("%s: allowed %v by default, want %v", address, got, want.public)
		}
		if got := private.Allows(addr); got != want.private {
			t.Errorf("%s: allowed %v with private ranges, want %v", address, got, want.private)
		}
	}
	if (Policy{}).Allows(netip.Addr{}) {
		t.Error("no address at all is allowed")
	}
}

// TestControl sees addresses as net.Dialer gives them.
func TestControl(t *testing.T) {
	for address, want := range map[string]error{
		"8.8.8.8:443": nil, "[2606:4700::1111]:443": nil,
		"127.0.0.1:443": ErrNotPublic, "[::1]:443": ErrNotPublic, "[::ffff:10.0.0.1]:443": ErrNotPublic,
		"[fe80::1%eth0]:443": ErrNotPublic, "push.example.com:443": ErrNotPublic, "": ErrNotPublic,
	} {
		if err := (Policy{}).Control("tcp", address, nil); err != want {
			t.Errorf("%q: %v, want %v", address, err, want)
		}
	}
}
