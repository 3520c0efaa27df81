package signin

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// cost is what the time of a derivation depends on.
type cost struct {
	memory, passes uint32
	lanes          uint8
}

// Whose name it is, and whether anybody has it, cannot be told by the time: for every name the same
// is derived, though users' hashes have different costs.
func TestEveryNameTakesAsLong(t *testing.T) {
	dear := cheap("a password of bob")
	dear.Memory, dear.Passes = 128, 2
	dear.Sum = planet.Secret(derive("a password of bob", dear))
	other := cheap("a password of eve")
	w := newWorld(t, func(c *Config) {
		c.Users = append(c.Users, User{Name: "bob", Hash: dear, Role: bell.Viewer}, User{Name: "eve", Hash: other, Role: bell.Viewer}, User{Name: "none"})
	})
	for name, password := range map[string]string{"alice": alicePassword, "bob": "a password of bob", "eve": "a password of eve"} {
		if u, err := w.password(t.Context(), name, password); err != nil || u.Name != name {
			t.Errorf("%s does not get in: %v", name, err)
		}
	}
	var costs map[cost]int
	w.derive = func(_ string, h bell.PasswordHash) []byte {
		costs[cost{h.Memory, h.Passes, h.Lanes}]++
		return make([]byte, len(h.Sum))
	}
	for _, name := range []string{"alice", "bob", "eve", "mallory", "none", ""} {
		costs = map[cost]int{}
		if _, err := w.password(t.Context(), name, "a password of somebody"); bell.KindOf(err) != bell.Unauthorized {
			t.Errorf("%s: %v", name, err)
		}
		if len(costs) != 2 || costs[cost{64, 1, 1}] != 1 || costs[cost{128, 2, 1}] != 1 {
			t.Errorf("%q takes %v", name, costs)
		}
	}
	// Even who could guess a dummy is nobody, and nobody else.
	w.derive = func(_ string, h bell.PasswordHash) []byte {
		if h == dear || h == other || h == aliceHash() {
			return make([]byte, len(h.Sum))
		}
		return []byte(h.Sum.Reveal())
	}
	for _, name := range []string{"alice", "bob", "mallory", "none"} {
		if u, err := w.password(t.Context(), name, "x"); u != nil || err == nil {
			t.Errorf("a dummy lets %s in", name)
		}
	}
}
