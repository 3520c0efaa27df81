package sim

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"time"
)

// Rules of provider tokens: docs/push-providers.md 1.3.
const (
	maxTokenAge   = time.Hour
	minTokenSwap  = 20 * time.Minute // between two tokens on one connection
	tokenCacheCap = 256
)

// providerToken is a verified ES256 provider token.
type providerToken struct {
	keyID, teamID string
	issuedAt      time.Time
}

// tokenCache remembers verified provider tokens, because a signature is checked for
// every push and costs more than the rest of the request.
type tokenCache struct {
	mu sync.Mutex
	m  map[string]*providerToken
}

func newTokenCache() *tokenCache { return &tokenCache{m: map[string]*providerToken{}} }

func (c *tokenCache) find(jwt string) *providerToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[jwt]
}

// keep stores a token; a full cache starts anew.
func (c *tokenCache) keep(jwt string, t *providerToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= tokenCacheCap {
		clear(c.m)
	}
	c.m[jwt] = t
}

func (c *tokenCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
}

// checkProvider verifies the provider token itself: form, key, signature, team, age,
// environment.
func (a *APNs) checkProvider(p *apnsRequest) *verdict {
	if p.cert != nil {
		return nil // the header is ignored on a certificate connection
	}
	jwt, ok := strings.CutPrefix(p.Header.Get("authorization"), "bearer ")
	if !ok {
		return forbidden("MissingProviderToken", "authorization does not begin with \"bearer \"")
	}
	t := a.verified.find(jwt)
	if t == nil {
		var err error
		if t, err = a.verify(jwt); err != nil {
			return forbidden("InvalidProviderToken", err.Error())
		}
		a.verified.keep(jwt, t)
	}
	a.mu.Lock()
	p.key, p.provider = a.keys[t.keyID], t
	a.mu.Unlock()
	switch age := p.now.Sub(t.issuedAt); {
	case age > maxTokenAge:
		return forbidden("ExpiredProviderToken", "the provider token is older than an hour")
	case age < -maxTokenAge:
		return forbidden("InvalidProviderToken", "the provider token is issued more than an hour ahead")
	}
	if p.key.Environment != "" && p.key.Environment != a.o.Environment {
		return forbidden("BadEnvironmentKeyIdInToken", "the key is of the other environment")
	}
	return nil
}

// verify checks form, signature and team of a provider token.
func (a *APNs) verify(jwt string) (*providerToken, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, errors.New("the provider token does not have three parts")
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Iat *int64
	}
	if err := decodeJWTPart(parts[0], &header); err != nil {
		return nil, errors.New("the provider token's header " + err.Error())
	}
	if err := decodeJWTPart(parts[1], &claims); err != nil {
		return nil, errors.New("the provider token's payload " + err.Error())
	}
	a.mu.Lock()
	key, known := a.keys[header.Kid]
	a.mu.Unlock()
	switch {
	case header.Alg != "ES256":
		return nil, errors.New("the provider token's alg is not ES256")
	case !known:
		return nil, errors.New("the provider token's kid is unknown")
	case claims.Iss != key.TeamID:
		return nil, errors.New("the provider token's iss is not the key's team")
	case claims.Iat == nil:
		return nil, errors.New("the provider token's iat is missing")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return nil, errors.New("the provider token's signature is not 64 bytes R and S in base64url")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key.Public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, errors.New("the provider token's signature does not fit the key")
	}
	return &providerToken{keyID: header.Kid, teamID: claims.Iss, issuedAt: time.Unix(*claims.Iat, 0)}, nil
}

// checkConnection holds the provider token against what the connection has seen, and
// opens the connection for more streams.
func (a *APNs) checkConnection(p *apnsRequest) *verdict {
	if p.cert != nil {
		return nil
	}
	c, jwt := p.conn, strings.TrimPrefix(p.Header.Get("authorization"), "bearer ")
	c.mu.Lock()
	switch {
	case c.key == "":
		c.key, c.team = p.provider.keyID, p.provider.teamID
	case c.team != p.provider.teamID:
		c.mu.Unlock()
		return forbidden("InvalidProviderToken", "the connection belongs to another team")
	case c.key != p.provider.keyID:
		c.mu.Unlock()
		return forbidden("UnrelatedKeyIdInToken", "the connection began with another key")
	}
	if c.jwt != "" && c.jwt != jwt && p.now.Sub(c.jwtFrom) < minTokenSwap {
		c.mu.Unlock()
		return &verdict{
			status: 429, reason: "TooManyProviderTokenUpdates",
			why: "the connection got another provider token less than 20 minutes ago",
		}
	}
	if c.jwt != jwt {
		c.jwt, c.jwtFrom = jwt, p.now
	}
	c.mu.Unlock()
	if c.wire != nil {
		c.wire.warm()
	}
	return nil
}

// decodeJWTPart decodes one part of a compact JWT.
func decodeJWTPart(part string, to any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return errors.New("is not base64url without padding")
	}
	if err := json.Unmarshal(b, to); err != nil {
		return errors.New("is not the expected JSON object")
	}
	return nil
}
