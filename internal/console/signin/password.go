package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"slices"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// MinPassword and MaxPassword bound a password, in bytes (NIST SP 800-63B-4 section 3.1.1.2
	// wants 15 characters of a password that is alone).
	MinPassword = 15
	MaxPassword = 1024

	// concurrentPasswords bounds the memory that sign-ins take: each takes what the largest hash
	// says, up to bell.MaxPasswordMemory.
	concurrentPasswords = 2
	// passwordWait is how long one may wait for its turn: a check takes a tenth of a second for each
	// cost that there is.
	passwordWait = 5 * time.Second
)

// recommended is a hash without its sum, with a new salt and the second parameters that RFC 9106
// section 4 recommends.
func recommended() bell.PasswordHash {
	return bell.PasswordHash{Memory: 64 << 10, Passes: 3, Lanes: 4, Salt: random(16)}
}

// HashPassword makes a hash with the second parameters that RFC 9106 section 4 recommends: 64
// MiB, three passes, four lanes. It fails with bell.Invalid if the password is too short or too
// long.
func HashPassword(password planet.Secret) (bell.PasswordHash, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return bell.PasswordHash{}, bell.E(bell.Invalid, "The password: want 15 to 1024 characters; some words that do not belong together are good.", nil)
	}
	h := recommended()
	h.Sum = planet.Secret(make([]byte, 32)) // as long as it will be
	h.Sum = planet.Secret(derive(password.Reveal(), h))
	return h, nil
}

func random(n int) planet.Secret {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return planet.Secret(b)
}

func derive(password string, h bell.PasswordHash) []byte {
	return argon2.IDKey([]byte(password), []byte(h.Salt.Reveal()), h.Passes, h.Memory, h.Lanes, uint32(len(h.Sum)))
}

// dummies are hashes that fit no password: one of each cost that the users' hashes have, or of the
// recommended one if there are none.
func dummies(users []User) []bell.PasswordHash {
	var all []bell.PasswordHash
	for i := range users {
		h := &users[i].Hash
		if h.Sum == "" || slices.ContainsFunc(all, func(d bell.PasswordHash) bool { return sameCost(&d, h) }) {
			continue
		}
		all = append(all, bell.PasswordHash{Memory: h.Memory, Passes: h.Passes, Lanes: h.Lanes, Salt: random(16), Sum: random(32)})
	}
	if all == nil {
		dummy := recommended()
		dummy.Sum = random(32)
		all = append(all, dummy)
	}
	return all
}

// sameCost leaves out how long salt and sum are: that is nothing beside the rest.
func sameCost(a, b *bell.PasswordHash) bool {
	return a.Memory == b.Memory && a.Passes == b.Passes && a.Lanes == b.Lanes
}

// password returns the user with this name and password. For every name the same work is done, a
// derivation of each cost that there is, so that the time says nothing about a name: neither
// whether somebody has it nor, where hashes differ, who. It fails with bell.Unauthorized, and with
// bell.Overload when too many sign in at once.
func (s *Service) password(ctx context.Context, name, password string) (*User, error) {
	user, known := s.users[name]
	ctx, cancel := context.WithTimeout(ctx, passwordWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, bell.E(bell.Overload, tooManyAtOnce, ctx.Err())
	}
	defer func() { <-s.slots }()
	fits := false
	for _, hash := range s.dummies {
		own := known && user.Hash.Sum != "" && sameCost(&user.Hash, &hash)
		if own {
			hash = user.Hash
		}
		same := subtle.ConstantTimeCompare(s.derive(password, hash), []byte(hash.Sum.Reveal())) == 1
		fits = fits || own && same
	}
	if !fits {
		return nil, bell.E(bell.Unauthorized, wrongPassword, nil)
	}
	return user, nil
}
