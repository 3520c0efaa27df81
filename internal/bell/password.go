package bell

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// Bounds of a password hash. The least are OWASP's for Argon2id (Password Storage Cheat Sheet,
// 2025): 19 MiB in two passes, or 46 MiB in one. The most keep one sign-in from taking the
// memory that calls need.
const (
	MaxPasswordMemory = 256 << 10 // KiB
	maxPasswordPasses = 16
	maxPasswordLanes  = 16

	minPasswordMemory = 19 << 10 // KiB, with two passes
	minMemoryAtOnce   = 46 << 10 // KiB, with one
	minPasswordSalt   = 16       // bytes (RFC 9106 section 3.1)
	minPasswordSum    = 16
	maxPasswordBytes  = 64
)

// PasswordHash is what is kept of a password: Argon2id (RFC 9106) with its parameters. It
// cannot be printed. The zero value fits no password.
type PasswordHash struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
	Salt   planet.Secret // bytes
	Sum    planet.Secret // bytes
}

var errNoPHC = errors.New("is not an Argon2id hash such as $argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>; make one with `planetbell admin hash-password`")

// ParsePasswordHash reads a PHC string of Argon2id, version 19. It refuses parameters that are
// too weak, and those that would take too much memory or time. Its errors are sentences without
// their end, and do not repeat the hash.
func ParsePasswordHash(text planet.Secret) (PasswordHash, error) {
	parts := strings.Split(text.Reveal(), "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return PasswordHash{}, errNoPHC
	}
	var h PasswordHash
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return PasswordHash{}, errNoPHC
	}
	var numbers [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(costs[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || digits[0] == '0' {
			return PasswordHash{}, errNoPHC
		}
		numbers[i] = uint32(n)
	}
	if err := passwordCosts(numbers[0], numbers[1], numbers[2]); err != nil {
		return PasswordHash{}, err
	}
	h.Memory, h.Passes, h.Lanes = numbers[0], numbers[1], uint8(numbers[2])
	for i, to := range []*planet.Secret{&h.Salt, &h.Sum} {
		raw, err := base64.RawStdEncoding.Strict().DecodeString(parts[4+i])
		if err != nil || strings.ContainsAny(parts[4+i], "\r\n") { // the decoder skips line ends
			return PasswordHash{}, errNoPHC
		}
		*to = planet.Secret(raw)
	}
	switch {
	case len(h.Salt) < minPasswordSalt || len(h.Salt) > maxPasswordBytes:
		return PasswordHash{}, fmt.Errorf("has a salt of %d bytes, want %d to %d; make one with `planetbell admin hash-password`", len(h.Salt), minPasswordSalt, maxPasswordBytes)
	case len(h.Sum) < minPasswordSum || len(h.Sum) > maxPasswordBytes:
		return PasswordHash{}, fmt.Errorf("has a hash of %d bytes, want %d to %d; make one with `planetbell admin hash-password`", len(h.Sum), minPasswordSum, maxPasswordBytes)
	}
	return h, nil
}

func passwordCosts(memory, passes, lanes uint32) error {
	switch {
	case passes < 1 || lanes < 1 || memory < minPasswordMemory || passes < 2 && memory < minMemoryAtOnce:
		return fmt.Errorf("is too weak (m=%d,t=%d): want m=%d,t=2 or m=%d,t=1 at least; make one with `planetbell admin hash-password`", memory, passes, minPasswordMemory, minMemoryAtOnce)
	case memory > MaxPasswordMemory || passes > maxPasswordPasses || lanes > maxPasswordLanes:
		return fmt.Errorf("costs too much (m=%d,t=%d,p=%d): want m=%d,t=%d,p=%d at most; make one with `planetbell admin hash-password`",
			memory, passes, lanes, MaxPasswordMemory, maxPasswordPasses, maxPasswordLanes)
	}
	return nil
}

// PHC writes the hash as ParsePasswordHash reads it.
func (h PasswordHash) PHC() planet.Secret {
	encode := func(s planet.Secret) string { return base64.RawStdEncoding.EncodeToString([]byte(s.Reveal())) }
	return planet.Secret(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.Memory, h.Passes, h.Lanes, encode(h.Salt), encode(h.Sum)))
}
