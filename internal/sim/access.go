package sim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// ErrAccessToken is SERVICE_ACCESS_TOKEN_ERROR (1501): Planet Cloud refuses the caller's
// access token (docs/line-planet.md 2).
var ErrAccessToken = errors.New("SERVICE_ACCESS_TOKEN_ERROR")

// accessWindow is how old a token may be, and how far ahead. The real figure is not
// public; tokens are made for one call.
const accessWindow = 5 * time.Minute

// checkAccess verifies an access token: HS256 with the secret's text, exactly the four
// documented claims, the caller's identity, the age.
func (p Project) checkAccess(token planet.Secret, caller planet.UserRef, now time.Time) error {
	if token == "" || p.APISecret == "" {
		return nil
	}
	fail := func(why string) error { return fmt.Errorf("%w: %s", ErrAccessToken, why) }
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return fail("the token does not have three parts")
	}
	var header struct{ Alg, Typ string }
	if err := decodeJWTPart(parts[0], &header); err != nil || header.Alg != "HS256" || header.Typ != "JWT" {
		return fail("the header is not alg HS256, typ JWT")
	}
	mac := hmac.New(sha256.New, []byte(p.APISecret.Reveal()))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(sig, mac.Sum(nil)) {
		return fail("the signature does not fit the API secret")
	}
	var raw map[string]json.RawMessage
	var claims struct {
		Sub, UID, Iss string
		Iat           int64
	}
	if decodeJWTPart(parts[1], &raw) != nil || decodeJWTPart(parts[1], &claims) != nil {
		return fail("the payload is not a JSON object of the documented types")
	}
	for name := range raw {
		if !slices.Contains([]string{"sub", "uid", "iss", "iat"}, name) {
			return fail("the payload has a claim beside sub, uid, iss and iat")
		}
	}
	age := now.Sub(time.Unix(claims.Iat, 0))
	switch {
	case claims.Iss != p.APIKey:
		return fail("iss is not the API key")
	case claims.Sub != caller.ServiceID || claims.UID != caller.UserID:
		return fail("sub and uid are not the caller's")
	case age > accessWindow || age < -accessWindow:
		return fail("iat is not the present time in seconds")
	}
	return nil
}
