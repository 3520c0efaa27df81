package clients

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// No app verifies the app token's signature: it has no key. Each decodes the parts by
// hand to learn when the token expires (docs/line-planet.md 6.6, "JWT requirements").

// threeParts splits a compact JWT.
func threeParts(token string) ([]string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the app token has %d parts, not 3", len(parts))
	}
	return parts, nil
}

// jwtPart decodes one part of a JWT to a JSON object.
func jwtPart(name, part string) (object, error) {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("the app token's %s is not base64url without padding", name)
	}
	o, err := parseObject(b)
	if err != nil {
		return nil, fmt.Errorf("the app token's %s %w", name, err)
	}
	return o, nil
}

// asciiPart is jwtPart for apps that break on characters outside ASCII.
func asciiPart(name, part string) (object, error) {
	o, err := jwtPart(name, part)
	if err != nil {
		return nil, err
	}
	b, _ := base64.RawURLEncoding.DecodeString(part)
	for _, c := range b {
		if c >= 0x80 {
			return nil, fmt.Errorf("the app token's %s is not ASCII", name)
		}
	}
	return o, nil
}

// expiry reads "exp", seconds since the epoch.
func expiry(claims object) (time.Time, error) {
	exp, err := claims.number("exp")
	if err != nil {
		return time.Time{}, fmt.Errorf("the app token's %w", err)
	}
	if exp <= 0 || exp > 1e11 {
		return time.Time{}, errors.New(`the app token's "exp" is not in seconds`)
	}
	return time.UnixMilli(int64(exp * 1000)), nil
}
