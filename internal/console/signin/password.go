package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
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

	// concurrentPasswords bounds the memory that sign-ins take: each takes what its hash says,
	// up to bell.MaxPasswordMemory.
	concurrentPasswords = 2
	// passwordWait is how long one may wait for its turn: a check takes a tenth of a second.
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

// dummyHash costs as much as the dearest of the users', and fits no password.
func dummyHash(users []User) bell.PasswordHash {
	dummy := recommended()
	dummy.Sum = random(32)
	cost := uint64(0)
	for _, u := range users {
		if c := uint64(u.Hash.Memory) * uint64(u.Hash.Passes); c > cost {
			cost = c
			dummy.Memory, dummy.Passes, dummy.Lanes = u.Hash.Memory, u.Hash.Passes, u.Hash.Lanes
		}
	}
	return dummy
}

// password returns the user with this name and password. For a name that nobody has the same
// work is done, so that the time says nothing about it. It fails with bell.Unauthorized, and
// with bell.Overload when too many sign in at once.
func (s *Service) password(ctx context.Context, name, password string) (*User, error) {
	user, known := s.users[name]
	hash := s.dummy
	if known {
		hash = user.Hash
	}
	ctx, cancel := context.WithTimeout(ctx, passwordWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, bell.E(bell.Overload, tooManyAtOnce, ctx.Err())
	}
	sum := s.derive(password, hash)
	<-s.slots
	fits := subtle.ConstantTimeCompare(sum, []byte(hash.Sum.Reveal())) == 1
	if !fits || !known || len(hash.Sum) == 0 {
		return nil, bell.E(bell.Unauthorized, wrongPassword, nil)
	}
	return user, nil
}
