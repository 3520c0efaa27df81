package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// minSigningKey is what HS256 asks for (RFC 7518 section 3.2).
	minSigningKey = 32
	// maxAppToken bounds what is parsed; our own tokens have about 500 bytes.
	maxAppToken = 4096

	tokenIssuer   = "planetbell"
	tokenAudience = "planetbell-app"
)

// appTokens signs and checks app tokens: JWTs that all four official clients can
// read (numbers in seconds, "aud" a string, ASCII only).
type appTokens struct {
	key    []byte
	now    func() time.Time
	parser *jwt.Parser
}

// newAppTokens derives the key from the configured one, so that the same text used
// elsewhere by mistake does not make tokens of this kind.
func newAppTokens(key planet.Secret, now func() time.Time) appTokens {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte("planetbell app token v1"))
	return appTokens{key: mac.Sum(nil), now: now, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithIssuer(tokenIssuer),
		jwt.WithAudience(tokenAudience), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)}
}

// appClaims are an app token's contents. The types are chosen for the strictest
// client: LINE's Apple demo fails on an array in "aud" and on fractions.
type appClaims struct {
	Issuer      string `json:"iss"`
	Subject     string `json:"sub"`
	UserID      string `json:"uid"`
	Audience    string `json:"aud"`
	ID          string `json:"jti"`
	IssuedAt    int64  `json:"iat"`
	ExpiresAt   int64  `json:"exp"`
	Project     string `json:"prj"`
	Environment string `json:"env"`
	ServiceID   string `json:"svc"`
}

func (t appTokens) sign(s bell.Session) (planet.Secret, error) {
	claims := appClaims{
		Issuer: tokenIssuer, Audience: tokenAudience, ID: s.ID,
		Subject: s.Owner.User.UserID, UserID: s.Owner.User.UserID,
		IssuedAt: s.IssuedAt.Unix(), ExpiresAt: s.ExpiresAt.Unix(),
		Project: s.Project, Environment: string(s.Owner.Environment), ServiceID: s.Owner.User.ServiceID,
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("sign an app token: %w", err)
	}
	return planet.Secret(text), nil
}

var errTokenShape = errors.New("not an app token of this server")

// verify returns the session that a token stands for. The errors hold no part of it.
func (t appTokens) verify(token planet.Secret) (bell.Session, error) {
	if len(token) == 0 || len(token) > maxAppToken {
		return bell.Session{}, errTokenShape
	}
	var c appClaims
	if _, err := t.parser.ParseWithClaims(token.Reveal(), &c, func(*jwt.Token) (any, error) { return t.key, nil }); err != nil {
		for _, known := range []error{jwt.ErrTokenExpired, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenInvalidClaims} {
			if errors.Is(err, known) {
				return bell.Session{}, known
			}
		}
		return bell.Session{}, errTokenShape
	}
	if c.ID == "" || c.UserID == "" || c.ServiceID == "" {
		return bell.Session{}, errTokenShape
	}
	return bell.Session{
		ID: c.ID, Project: c.Project,
		Owner: bell.Owner{
			Environment: planet.Environment(c.Environment),
			User:        planet.UserRef{ServiceID: c.ServiceID, UserID: c.UserID},
		},
		IssuedAt: time.Unix(c.IssuedAt, 0), ExpiresAt: time.Unix(c.ExpiresAt, 0),
	}, nil
}

// The methods of jwt.Claims.

func (c appClaims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.ExpiresAt), nil }
func (c appClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.IssuedAt), nil }
func (c appClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c appClaims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c appClaims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c appClaims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Audience}, nil }

func date(seconds int64) *jwt.NumericDate {
	if seconds == 0 {
		return nil
	}
	return jwt.NewNumericDate(time.Unix(seconds, 0))
}
