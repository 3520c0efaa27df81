package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxVAPIDLife is how far ahead the exp of a VAPID token may be (RFC 8292 section 2).
const maxVAPIDLife = 24 * time.Hour

// vapidCredentials are the parameters of an Authorization header.
type vapidCredentials struct {
	token  string
	public []byte // k, an uncompressed point of P-256
	key    *ecdsa.PublicKey
}

// parseVAPID reads "vapid t=<JWT>, k=<public key>" (RFC 8292 section 3).
func parseVAPID(h http.Header) (v vapidCredentials, refused *pushRefusal) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return v, refusal(refusedAuthorization, "there is not exactly one Authorization header")
	}
	scheme, list, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "vapid") {
		return v, refusal(refusedAuthorization, "the scheme of Authorization is not vapid")
	}
	parameters := map[string]string{}
	for _, p := range strings.Split(list, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if _, twice := parameters[name]; !ok || twice {
			return v, refusal(refusedAuthorization, "a parameter of Authorization has no value, or is there twice")
		}
		parameters[name] = value
	}
	if parameters["t"] == "" || parameters["k"] == "" {
		return v, refusal(refusedAuthorization, "Authorization lacks t or k")
	}
	v.token = parameters["t"]
	var err error
	if v.public, err = base64.RawURLEncoding.DecodeString(parameters["k"]); err != nil {
		return v, refusal(refusedKey, "k is not base64url without padding")
	}
	if v.key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), v.public); err != nil {
		return v, refusal(refusedKey, "k is not an uncompressed point of P-256")
	}
	return v, nil
}

// vapidClaims are what is read of the token's payload.
type vapidClaims struct {
	Aud json.RawMessage
	Exp *float64
	Sub *string
}

// check verifies the token: form, algorithm, signature, aud, exp, sub.
func (v vapidCredentials) check(origin string, now time.Time, anySub bool) *pushRefusal {
	parts := strings.Split(v.token, ".")
	if len(parts) != 3 {
		return refusal(refusedToken, "the token does not have three parts")
	}
	var header struct{ Alg, Typ string }
	var claims vapidClaims
	if err := decodeJWTPart(parts[0], &header); err != nil {
		return refusal(refusedToken, "the token's header "+err.Error())
	}
	if err := decodeJWTPart(parts[1], &claims); err != nil {
		return refusal(refusedToken, "the token's payload "+err.Error())
	}
	if header.Alg != "ES256" || !(header.Typ == "" || strings.EqualFold(header.Typ, "JWT")) {
		return refusal(refusedToken, "the token's alg is not ES256, or its typ is not JWT")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return refusal(refusedToken, "the token's signature is not 64 bytes R and S in base64url")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(v.key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return refusal(refusedToken, "the token's signature does not fit k")
	}
	return claims.check(origin, now, anySub)
}

// check holds the claims to RFC 8292 section 2.
func (c vapidClaims) check(origin string, now time.Time, anySub bool) *pushRefusal {
	var aud string
	switch err := json.Unmarshal(c.Aud, &aud); {
	case err != nil || aud == "":
		return refusal(refusedToken, "the token's aud is missing, or no text")
	case aud != origin:
		return refusal(refusedToken, "the token's aud is not the origin of the push service")
	case c.Exp == nil:
		return refusal(refusedToken, "the token's exp is missing")
	}
	switch {
	case *c.Exp <= float64(now.Unix()):
		return refusal(refusedToken, "the token's exp is over")
	case *c.Exp > float64(now.Add(maxVAPIDLife).Unix()):
		return refusal(refusedToken, "the token's exp is more than 24 hours ahead")
	}
	if anySub {
		return nil
	}
	if c.Sub == nil || !contact(*c.Sub) {
		return refusal(refusedToken, "the token's sub is no contact: want mailto: with a domain that can be reached, or https:")
	}
	return nil
}

// contact says whether a sub is one that Apple takes too: it refuses localhost, blanks, angle
// brackets, and reserved names.
func contact(sub string) bool {
	if strings.ContainsAny(sub, " \t<>\"") {
		return false
	}
	if address, ok := strings.CutPrefix(sub, "mailto:"); ok {
		local, domain, found := strings.Cut(address, "@")
		return found && local != "" && !strings.ContainsAny(local, ":/") && reachableName(domain)
	}
	u, err := url.Parse(sub)
	return err == nil && u.Scheme == "https" && reachableName(u.Hostname())
}

// reachableName says whether a domain has a dot, and is none of those that lead nowhere.
func reachableName(domain string) bool {
	labels := strings.Split(domain, ".")
	return len(labels) > 1 && !slices.Contains(labels, "") && !strings.ContainsAny(domain, "@/:") &&
		!slices.Contains([]string{"localhost", "invalid"}, labels[len(labels)-1])
}
