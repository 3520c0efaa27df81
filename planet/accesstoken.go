package planet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// The header of every token, in the order of LINE Planet's page.
	accessTokenHeader = `{"typ":"JWT","alg":"HS256"}`
	// How far back a token may be dated. Planet Cloud takes "short-lived" tokens
	// and does not say how short; one or two seconds are what skewed clocks need.
	maxSkew      = time.Minute
	maxAPISecret = 1024
)

// AccessTokenIssuer makes the tokens that a PlanetKit client needs to make a 1-to-1
// call or to join a group call. (The callee of a call needs none.) It is a value
// without state, for any number of goroutines.
//
// Issue one token per call, when the client asks, and keep it nowhere: its lifetime
// is short and not public. Take the user ID from the signed-in user, never from a
// request.
// Source: https://docs.lineplanet.me/getting-started/essentials/access-token
type AccessTokenIssuer struct {
	ServiceID string // of the users that get tokens
	APIKey    string // of this service, in the environment the client connects to
	APISecret Secret // of that key; used as the text it is, although it looks like hexadecimal

	// Skew is subtracted from the time of issue, up to a minute, for a Planet Cloud
	// that sees our clock in the future. Zero is right if the clock is.
	Skew time.Duration
}

// Validate returns nil if the issuer can issue tokens. The error holds no secret.
func (i AccessTokenIssuer) Validate() error {
	if err := ValidateServiceID(i.ServiceID); err != nil {
		return err
	}
	if err := ValidateAPIKey(i.APIKey); err != nil {
		return err
	}
	secret := i.APISecret.Reveal()
	switch {
	case secret == "":
		return errors.New("the API secret is empty; copy it from the LINE Planet Console")
	case len(secret) > maxAPISecret:
		return fmt.Errorf("the API secret has %d bytes; LINE Planet's have 64", len(secret))
	case !printable(secret):
		return errors.New("the API secret holds a space, a line break or another character that cannot be in one; copy it again")
	case i.Skew < 0 || i.Skew > maxSkew:
		return fmt.Errorf("the skew is %v; it can be 0 to %v", i.Skew, maxSkew)
	}
	return nil
}

// accessTokenClaims are all claims of a token, in the order of LINE Planet's page.
// There must be no other: not even "exp".
type accessTokenClaims struct {
	ServiceID string `json:"sub"`
	UserID    string `json:"uid"`
	APIKey    string `json:"iss"`
	IssuedAt  int64  `json:"iat"` // Unix seconds
}

// Issue returns a token for the user, dated at minus the skew. It fails if the issuer
// or the user ID is not valid, or if there is no date.
func (i AccessTokenIssuer) Issue(userID string, at time.Time) (Secret, error) {
	if err := i.Validate(); err != nil {
		return "", fmt.Errorf("issue access token: %w", err)
	}
	if err := ValidateUserID(userID); err != nil {
		return "", fmt.Errorf("issue access token: %w", err)
	}
	issuedAt := at.Add(-i.Skew).Unix()
	if issuedAt <= 0 {
		return "", errors.New("issue access token: the time of issue is not set")
	}
	claims, err := json.Marshal(accessTokenClaims{i.ServiceID, userID, i.APIKey, issuedAt})
	if err != nil {
		return "", fmt.Errorf("issue access token: encode claims: %w", err)
	}
	// By hand, because the library sorts the header's keys.
	signed := base64.RawURLEncoding.EncodeToString([]byte(accessTokenHeader)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
	signature, err := jwt.SigningMethodHS256.Sign(signed, []byte(i.APISecret.Reveal()))
	if err != nil {
		return "", fmt.Errorf("issue access token: sign: %w", err)
	}
	return Secret(signed + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}
