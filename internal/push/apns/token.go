package apns

import (
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// The life of a provider token. APNs refuses one whose "iat" is an hour old, and on
// one connection a new one sooner than 20 minutes after the last.
// https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
const (
	tokenWindow   = 40 * time.Minute // nodes whose clock is in the same window send the same token
	tokenFloor    = 20 * time.Minute // no new token sooner, whatever happens
	tokenHold     = 21 * time.Minute // least time of use: the floor, and a minute for a slow network
	tokenLate     = 29 * time.Minute // into the window: a token of its start would get too old within tokenHold
	tokenFallback = 55 * time.Minute // the oldest token worth going back to
	clockSet      = time.Minute      // a wall clock that is so far from the monotonic one was set, or the machine slept
)

// providerToken is a signed token as it is sent.
type providerToken struct {
	text     string
	issuedAt time.Time     // "iat"; wall clock
	signedAt time.Time     // wall clock
	mintedAt time.Duration // monotonic clock: a clock that is set changes no age
	hold     time.Duration // how long it is used from mintedAt
}

// tokens mints provider tokens by age. Safe for concurrent use; Current takes a
// mutex for nanoseconds but once in 20 to 40 minutes, when it signs (some 30 µs).
//
// "iat" is the start of a 40-minute window of the clock and the signature is
// deterministic (RFC 6979), so every node makes the very same token without asking
// another. A process that starts late in a window takes a token of the window's
// middle, so that it can keep it for the 20 minutes that APNs asks for and none is
// ever older than 50; with the next window it is in step with the others.
type tokens struct {
	keyID, teamID string
	key           crypto.Signer        // an *ecdsa.PrivateKey
	now           func() time.Time     // wall clock
	mono          func() time.Duration // monotonic clock

	mu       sync.Mutex // guards what follows
	current  providerToken
	previous providerToken
}

func newTokens(c Credential, now func() time.Time) *tokens {
	start := now()
	return &tokens{
		keyID: c.keyID, teamID: c.teamID, key: c.key, now: now,
		mono: func() time.Duration { return now().Sub(start) },
	}
}

// Current returns the token to send now.
func (t *tokens) Current() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.text != "" && t.used(t.current) < t.current.hold {
		return t.current.text, nil
	}
	now := t.now()
	issuedAt, hold := window(now)
	return t.mint(issuedAt, now, hold)
}

// window chooses "iat" and how long a token that is minted at now is used.
func window(now time.Time) (issuedAt time.Time, hold time.Duration) {
	start := time.Unix(now.Unix()-now.Unix()%int64(tokenWindow/time.Second), 0)
	age := now.Sub(start)
	if age < tokenLate {
		return start, max(tokenWindow-age, tokenHold)
	}
	return start.Add(tokenWindow / 2), tokenHold
}

// Renew is told that APNs called a token expired. It reports whether another one will
// be sent from now on: because it was replaced already, or because it is old enough to
// be replaced, or because the clock was set since it was made. If none of it, the clocks
// disagree, and a new token would only add a 429. early says that the token was replaced
// sooner than APNs takes another on the same connection.
func (t *tokens) Renew(refused string) (another, early bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.text != refused {
		return true, false
	}
	now, used := t.now(), t.used(t.current)
	drift := now.Round(0).Sub(t.current.signedAt.Round(0)) - used
	early = used < tokenFloor
	if early && drift.Abs() < clockSet {
		return false, false
	}
	// Of the second, not of the window: the window's start is what was refused.
	_, err := t.mint(now.Truncate(time.Second), now, tokenWindow)
	return err == nil, early
}

// Return is told that APNs found a token too new, and goes back to the one before, if
// that is young enough. It reports whether another token will be sent from now on. It
// never mints.
func (t *tokens) Return(refused string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.text != refused {
		return true
	}
	left := tokenFallback - t.age(t.previous)
	if t.previous.text == "" || left <= 0 {
		return false
	}
	t.current, t.previous = t.previous, t.current
	t.current.hold = t.used(t.current) + left
	return true
}

// Age is how old the "iat" of the current token is; 0 before the first.
func (t *tokens) Age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.text == "" {
		return 0
	}
	return t.age(t.current)
}

// used is how long ago a token was made.
func (t *tokens) used(p providerToken) time.Duration { return t.mono() - p.mintedAt }

// age is how old a token's "iat" is, if the clock was right when it was made.
func (t *tokens) age(p providerToken) time.Duration {
	return p.signedAt.Sub(p.issuedAt) + t.used(p)
}

// mint makes the current token. t.mu is held.
func (t *tokens) mint(issuedAt, now time.Time, hold time.Duration) (string, error) {
	text, err := t.sign(issuedAt)
	if err != nil {
		return "", err
	}
	if text != t.current.text {
		t.previous = t.current
	}
	t.current = providerToken{text: text, issuedAt: issuedAt, signedAt: now, mintedAt: t.mono(), hold: hold}
	return text, nil
}

// sign writes the JWT (RFC 7519) with ES256 (RFC 7518 section 3.4: the signature is R
// and S, 32 bytes each). ecdsa.PrivateKey.Sign without a random source is
// deterministic, which the JWT library does not offer.
func (t *tokens) sign(issuedAt time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}{"ES256", t.keyID})
	if err != nil {
		return "", fmt.Errorf("write the header of the provider token: %w", err)
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		IssuedAt int64  `json:"iat"`
	}{t.teamID, issuedAt.Unix()})
	if err != nil {
		return "", fmt.Errorf("write the claims of the provider token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	der, err := t.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign the provider token: %w", err)
	}
	var signature struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &signature); err != nil {
		return "", fmt.Errorf("read the signature of the provider token: %w", err)
	}
	var raw [64]byte
	signature.R.FillBytes(raw[:32])
	signature.S.FillBytes(raw[32:])
	return text + "." + encode(raw[:]), nil
}
