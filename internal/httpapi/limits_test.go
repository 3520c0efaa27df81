package httpapi

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestLimiterRefillsOverAMinute(t *testing.T) {
	l := newLimiter[netip.Addr](6)
	now := time.Unix(1_700_000_000, 0)
	client := netip.MustParseAddr("198.51.100.1")
	count := func() (n int) {
		for range 20 {
			if l.allow(household(client), now) {
				n++
			}
		}
		return n
	}
	if n := count(); n != 6 {
		t.Errorf("%d at once, want 6", n)
	}
	now = now.Add(10 * time.Second)
	if n := count(); n != 1 {
		t.Errorf("%d after 10 s, want 1", n)
	}
	now = now.Add(time.Hour)
	if n := count(); n != 6 {
		t.Errorf("%d after an hour, want 6", n)
	}
	if !l.allow(household(netip.MustParseAddr("198.51.100.2")), now) {
		t.Error("one client's limit is another's")
	}
}

func TestLimiterCountsHouseholds(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"198.51.100.1", "::ffff:198.51.100.1", true},
		{"198.51.100.1", "198.51.100.2", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	}
	for _, test := range tests {
		l := newLimiter[netip.Addr](1)
		now := time.Unix(1_700_000_000, 0)
		l.allow(household(netip.MustParseAddr(test.a)), now)
		if same := !l.allow(household(netip.MustParseAddr(test.b)), now); same != test.same {
			t.Errorf("%s and %s counted as one: %v", test.a, test.b, same)
		}
	}
	l := newLimiter[netip.Addr](1)
	if !l.allow(household(netip.Addr{}), time.Unix(1_700_000_000, 0)) || l.allow(household(netip.Addr{}), time.Unix(1_700_000_000, 0)) {
		t.Error("clients without an address are not counted as one")
	}
}

// TestLimiterIsBounded: many addresses cost no more memory than some, and a busy one
// is remembered meanwhile.
func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter[netip.Addr](1)
	now := time.Unix(1_700_000_000, 0)
	busy := netip.MustParseAddr("198.51.100.1")
	l.allow(household(busy), now)
	for i := range uint32(3 * maxKeys) {
		var bytes [4]byte
		binary.BigEndian.PutUint32(bytes[:], 0x0A000000+i)
		l.allow(household(netip.AddrFrom4(bytes)), now)
		if i%1000 == 0 && l.allow(household(busy), now) {
			t.Fatalf("the busy address was forgotten after %d others", i)
		}
	}
	if n := len(l.younger) + len(l.older); n > maxKeys {
		t.Errorf("%d addresses remembered, want at most %d", n, maxKeys)
	}
}

func TestLimiterCanBeOff(t *testing.T) {
	l := newLimiter[netip.Addr](-1)
	for range 1000 {
		if !l.allow(household(netip.MustParseAddr("198.51.100.1")), time.Unix(1_700_000_000, 0)) {
			t.Fatal("refused although there is no limit")
		}
	}
}
