package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// expires is when the stub certificates end.
var expires = time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pkcs8(key crypto.Signer) string {
	der := must(x509.MarshalPKCS8PrivateKey(key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newECKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

func newCertificate(key *ecdsa.PrivateKey) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stub"},
		NotBefore: expires.AddDate(-20, 0, 0), NotAfter: expires,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return must(x509.ParseCertificate(der))
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// account is a service account file. The changes replace fields; nil takes one away.
func account(privateKey string, changes map[string]any) string {
	fields := map[string]any{
		"type": "service_account", "project_id": "stub", "private_key_id": testlog.TextSecret("key-id"),
		"private_key": privateKey, "client_email": "stub@example.com", "token_uri": "https://oauth2.example.com/token",
	}
	for k, v := range changes {
		fields[k] = v
	}
	return string(must(json.Marshal(fields)))
}

// stubs writes the credential files that config.example.yaml names, and some broken
// ones, to the folder keys.
func stubs(t *testing.T) {
	t.Helper()
	for name, content := range stubFiles() {
		write(t, "keys/"+name, content)
	}
}

// stubFiles makes the files once: an RSA key takes its time.
var stubFiles = sync.OnceValue(func() map[string]string {
	p8, other := newECKey(elliptic.P256()), newECKey(elliptic.P256())
	certificate, rsaPEM := newCertificate(p8), pkcs8(must(rsa.GenerateKey(rand.Reader, 2048)))
	return map[string]string{
		"AuthKey_ABC123DEFG.p8": pkcs8(p8),
		"p384.p8":               pkcs8(newECKey(elliptic.P384())),
		"notpem.p8":             testlog.TextSecret("not-pem"),
		"voip.pem":              pemOf(certificate),
		"voip-key.pem":          pkcs8(p8),
		"other-key.pem":         pkcs8(other),
		"voip.p12":              string(must(pkcs12.Modern.Encode(p8, certificate, nil, "changeit"))),
		"broken.p12":            testlog.TextSecret("no-p12"),
		"firebase.json":         account(rsaPEM, nil),
		"notjson.json":          testlog.TextSecret("no-json"),
		"user.json":             account(rsaPEM, map[string]any{"type": "authorized_user"}),
		"noproject.json":        account(rsaPEM, map[string]any{"project_id": nil}),
		"keynopem.json":         account(testlog.TextSecret("no-pem"), nil),
		"keynorsa.json":         account(pkcs8(p8), nil),
		"httptoken.json":        account(rsaPEM, map[string]any{"token_uri": "http://oauth2.example.com/"}),
		"vapid.key":             bell.NewVAPIDKey().Reveal() + "\n",
		"empty":                 "\n",
	}
})
