package bell

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

const keyBytes = 32 // of a P-256 private key

// VAPIDKey is a project's key pair for Web Push (RFC 8292). The zero value is no key.
type VAPIDKey struct{ private *ecdsa.PrivateKey }

const wrongVAPIDKey = "is not a P-256 private key, its 32 bytes in base64url or PEM; make one with `planetbell init`, or openssl ecparam -name prime256v1 -genkey -noout"

// ParseVAPIDKey reads a P-256 private key: 32 bytes in base64 (either alphabet, padded or not),
// or PEM (PKCS#8 or SEC 1). Its errors do not repeat the key.
func ParseVAPIDKey(secret planet.Secret) (VAPIDKey, error) {
	text := strings.TrimSpace(secret.Reveal())
	if strings.HasPrefix(text, "-----BEGIN") {
		return parseVAPIDPEM([]byte(text))
	}
	raw, err := decodeBase64(text)
	if err != nil || len(raw) != keyBytes {
		return VAPIDKey{}, errors.New(wrongVAPIDKey)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return VAPIDKey{}, errors.New(wrongVAPIDKey)
	}
	return VAPIDKey{key}, nil
}

func parseVAPIDPEM(text []byte) (VAPIDKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var parsed any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		default: // "EC PARAMETERS", as openssl writes before the key
			continue
		}
		if key, ok := parsed.(*ecdsa.PrivateKey); err == nil && ok && key.Curve == elliptic.P256() {
			return VAPIDKey{key}, nil
		}
		break
	}
	return VAPIDKey{}, errors.New(wrongVAPIDKey)
}

// NewVAPIDKey makes a random private key that ParseVAPIDKey takes: 32 bytes in base64url.
func NewVAPIDKey() planet.Secret {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil { // rand.Reader never fails
		panic("no random numbers")
	}
	return planet.Secret(base64.RawURLEncoding.EncodeToString(key.Bytes()))
}

// Private signs; nil of no key. It must not be changed.
func (k VAPIDKey) Private() *ecdsa.PrivateKey { return k.private }

// Public is the public key as browsers want it for applicationServerKey: 65 bytes, the
// uncompressed point, in base64url without padding. Empty of no key.
func (k VAPIDKey) Public() string {
	if k.private == nil {
		return ""
	}
	point, err := k.private.PublicKey.Bytes()
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(point)
}

const wrongSubject = "must be mailto: and an address with a domain such as mailto:ops@example.com, or an https URL; push services refuse spaces, angle brackets and localhost"

// CheckVAPIDSubject says what is wrong with the contact that push services are told. Apple
// answers 403 BadJwtToken to one that it does not like (docs/push-providers.md 3.2).
func CheckVAPIDSubject(subject string) error {
	wrong := errors.New(wrongSubject)
	if subject == "" || len(subject) > 200 || strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
		return wrong
	}
	if address, ok := strings.CutPrefix(subject, "mailto:"); ok {
		user, domain, ok := strings.Cut(address, "@")
		if !ok || user == "" || strings.ContainsAny(user, ":?#,") || strings.ContainsAny(domain, "@:/?#") || !dotted(domain) {
			return wrong
		}
		return nil
	}
	u, err := url.Parse(subject)
	if err != nil || u.Scheme != "https" || u.User != nil || !dotted(u.Hostname()) {
		return wrong
	}
	return nil
}

// dotted reports whether a host is a name with a dot inside, and not of this machine.
func dotted(host string) bool {
	host = strings.ToLower(host)
	return strings.Contains(strings.Trim(host, "."), ".") && !strings.HasPrefix(host, ".") && !strings.HasSuffix(host, ".") &&
		!strings.HasSuffix(host, ".localhost") && !strings.Contains(host, "..")
}

// decodeBase64 takes either alphabet, with or without padding, and nothing else: browsers and
// libraries differ.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	if strings.ContainsAny(text, "\r\n") { // the decoder skips line ends
		return nil, errors.New("line ends in base64")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}
