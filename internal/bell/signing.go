package bell

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Bounds of a signing secret, in bytes, and the text before it (Standard Webhooks 1.0,
// "Signature scheme").
const (
	signingPrefix = "whsec_"
	minSigningKey = 24
	maxSigningKey = 64
)

// SigningKey signs what the customer's own systems are told, by the scheme v1 of Standard
// Webhooks: HMAC-SHA256. It cannot be printed. The zero value signs nothing that anybody
// could check.
type SigningKey struct{ key planet.Secret }

// ParseSigningKey reads "whsec_" and 24 to 64 bytes in base64. Its errors do not repeat the
// secret.
func ParseSigningKey(secret planet.Secret) (SigningKey, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), signingPrefix)
	if !ok {
		return SigningKey{}, errors.New("does not begin with whsec_; make one with `planetbell event secret`")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line ends
		return SigningKey{}, errors.New("is not base64 after whsec_; make one with `planetbell event secret`")
	}
	if len(key) < minSigningKey || len(key) > maxSigningKey {
		return SigningKey{}, fmt.Errorf("%d bytes after whsec_, want %d to %d; make one with `planetbell event secret`", len(key), minSigningKey, maxSigningKey)
	}
	return SigningKey{planet.Secret(key)}, nil
}

// NewSigningSecret makes a random secret of 32 bytes that ParseSigningKey takes.
func NewSigningSecret() planet.Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return planet.Secret(signingPrefix + base64.StdEncoding.EncodeToString(key))
}

// Sign returns one entry of the header webhook-signature: "v1," and the signature of
// "id.timestamp.body", the timestamp in Unix seconds. id must hold no dot.
func (k SigningKey) Sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(k.key.Reveal()))
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
