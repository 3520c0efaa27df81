package bell

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/planet"
)

// The sender's key pair of RFC 8291 section 5.
const (
	rfcPrivate = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	rfcPublic  = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
)

func pemKey(t *testing.T, curve elliptic.Curve, kind string) planet.Secret {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(rfcPrivate)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if curve != elliptic.P256() {
		key, err = ecdsa.GenerateKey(curve, rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	var der []byte
	if kind == "EC PRIVATE KEY" {
		der, err = x509.MarshalECPrivateKey(key)
	} else {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return planet.Secret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestVAPIDKeys(t *testing.T) {
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	for name, text := range map[string]planet.Secret{
		"base64url":        rfcPrivate,
		"with a line end":  rfcPrivate + "\n",
		"padded":           rfcPrivate + "=",
		"the other letter": planet.Secret(strings.ReplaceAll(rfcPrivate, "-", "+") + "="),
		"PKCS#8":           pemKey(t, elliptic.P256(), "PRIVATE KEY"),
		"SEC 1":            pemKey(t, elliptic.P256(), "EC PRIVATE KEY"),
		"as openssl does":  planet.Secret(parameters) + pemKey(t, elliptic.P256(), "EC PRIVATE KEY"),
	} {
		key, err := ParseVAPIDKey(text)
		if err != nil || key.Public() != rfcPublic || key.Private() == nil {
			t.Errorf("%s: %q, error %v", name, key.Public(), err)
		}
	}
	for name, text := range map[string]planet.Secret{
		"nothing": "", "a word": "secret", "31 bytes": planet.Secret(rfcPrivate[:42]), "33 bytes": rfcPrivate + "AAA", "the public key": rfcPublic,
		"zero": planet.Secret(strings.Repeat("A", 43)), "more than the order": planet.Secret(strings.Repeat("_", 42) + "8"),
		"P-384": pemKey(t, elliptic.P384(), "PRIVATE KEY"), "a broken PEM": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"parameters only": planet.Secret(parameters), "half a PEM": "-----BEGIN PRIVATE KEY-----",
		"a line end inside": planet.Secret(rfcPrivate[:20] + "\n" + rfcPrivate[20:]),
	} {
		if key, err := ParseVAPIDKey(text); err == nil || key.Public() != "" {
			t.Errorf("%s is taken", name)
		} else if text != "" && strings.Contains(err.Error(), text.Reveal()) {
			t.Errorf("%s: the error repeats it", name)
		}
	}
	first, second := NewVAPIDKey(), NewVAPIDKey()
	if _, err := ParseVAPIDKey(first); err != nil || first == second {
		t.Errorf("a new key: error %v, random: %v", err, first != second)
	}
	if (VAPIDKey{}).Public() != "" {
		t.Error("no key has a public one")
	}
}

func TestVAPIDSubjects(t *testing.T) {
	for subject, want := range map[string]bool{
		"mailto:ops@example.com": true, "https://example.com/contact": true, "mailto:a.b+c@mail.example.co.kr": true, "https://example.com:8443": true,
		"": false, "ops@example.com": false, "mailto:": false, "mailto:ops": false, "mailto:@example.com": false, "mailto:ops@localhost": false,
		"mailto:ops@host": false, "mailto:mailto:ops@example.com": false, "mailto:<ops@example.com>": false, "mailto: ops@example.com": false,
		"mailto:ops@example.com ": false, "mailto:ops@example.com.": false, "mailto:ops@.example.com": false, "mailto:ops@a..b": false,
		"mailto:ops@sub.localhost": false, "mailto:ops@example.com?subject=x": false, "mailto:a@b@example.com": false,
		"http://example.com": false, "https://localhost": false, "https://localhost/x": false, "https://user@example.com": false, "https://": false,
		"https://example": false, "tel:+1": false, "mailto:ops@exämple.com": false, "mailto:" + strings.Repeat("a", 200) + "@example.com": false,
	} {
		if err := CheckVAPIDSubject(subject); (err == nil) != want {
			t.Errorf("%q: %v, want taken %v", subject, err, want)
		}
	}
}
