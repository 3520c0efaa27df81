package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"regexp"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/planetbell/planetbell/planet"
)

var appleID = regexp.MustCompile(`^[A-Z0-9]{10}$`)

// bundleID allows what Apple does: letters, digits, hyphens and dots. The topic of VoIP
// pushes is made from it.
var bundleID = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)

func (c *checker) apns(a *APNs, at string) {
	switch {
	case !bundleID.MatchString(a.BundleID):
		c.wrong(at+".bundle_id", quote(a.BundleID)+", want the app's bundle ID, such as com.example.calls.")
	case strings.HasSuffix(a.BundleID, ".voip"):
		c.wrong(at+".bundle_id", "ends in .voip; give the app's bundle ID, the topic is made from it.")
	}
	if len(a.Servers) == 0 {
		c.wrong(at+".servers", "is empty, want production, sandbox or both.")
	}
	c.serverURL(at+".production_url", a.ProductionURL)
	c.serverURL(at+".sandbox_url", a.SandboxURL)
	ways := 0
	for _, used := range []bool{a.Key != "", a.CertificateFile != "" || a.CertificateKeyFile != "", a.P12File != ""} {
		if used {
			ways++
		}
	}
	switch {
	case ways == 0 && !c.has(at+".key") && !c.has(at+".key_file"):
		c.wrong(at, "has no credential; set key_file with team_id and key_id, or certificate_file with certificate_key_file, or p12_file.")
	case ways > 1:
		c.wrong(at, "has several credentials; keep one of key, certificate_file, p12_file.")
	case a.Key != "":
		c.apnsKey(a, at)
	case a.P12File != "":
		c.p12(a, at)
	case ways == 1:
		c.keyPairNamed(at+".certificate_file", at+".certificate_key_file", a.CertificateFile, a.CertificateKeyFile)
	}
}

// apnsKey: Apple's .p8 is PKCS#8 with an EC key on P-256 (docs/push-providers.md 1.3).
func (c *checker) apnsKey(a *APNs, at string) {
	if !appleID.MatchString(a.TeamID) {
		c.wrong(at+".team_id", quote(a.TeamID)+", want the 10 characters of the Apple developer team.")
	}
	if !appleID.MatchString(a.KeyID) {
		c.wrong(at+".key_id", quote(a.KeyID)+", want the 10 characters from the key's page, also in its file name AuthKey_<key_id>.p8.")
	}
	block, _ := pem.Decode([]byte(a.Key.Reveal()))
	if block == nil {
		c.wrong(at+".key", "is not PEM; want the whole .p8 file with its BEGIN and END lines.")
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ec, isEC := key.(*ecdsa.PrivateKey)
	if err != nil || !isEC || ec.Curve != elliptic.P256() {
		c.wrong(at+".key", "is not an APNs key (PKCS#8, EC P-256); download the .p8 again from Apple's developer pages.")
	}
}

func (c *checker) p12(a *APNs, at string) {
	content, err := readFile(a.P12File)
	if err != nil {
		c.wrong(at+".p12_file", a.P12File+": "+fileSentence(err))
		return
	}
	_, certificate, _, err := pkcs12.DecodeChain(content, a.P12Password.Reveal())
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		c.wrong(at+".p12_password", "does not open "+a.P12File+".")
	case err != nil:
		c.wrong(at+".p12_file", a.P12File+": is not a PKCS#12 file with a certificate and its key.")
	default:
		c.expiry(at+".p12_file", certificate)
	}
	c.private(at+".p12_file", a.P12File)
}

// keyPair checks certificate_file and key_file of a section, both or neither.
func (c *checker) keyPair(section, certificate, key string) {
	if certificate != "" || key != "" {
		c.keyPairNamed(section+".certificate_file", section+".key_file", certificate, key)
	}
}

func (c *checker) keyPairNamed(certificateAt, keyAt, certificateFile, keyFile string) {
	certificatePEM, ok := c.fileOfPair(certificateAt, certificateFile, keyAt)
	keyPEM, keyOK := c.fileOfPair(keyAt, keyFile, certificateAt)
	if !ok || !keyOK {
		return
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		// The package's texts name PEM blocks and mismatches, never the key.
		c.wrong(certificateAt, certificateFile+" with "+keyFile+": "+strings.TrimPrefix(err.Error(), "tls: ")+".")
		return
	}
	c.expiry(certificateAt, pair.Leaf)
	c.private(keyAt, keyFile)
}

func (c *checker) fileOfPair(path, name, other string) ([]byte, bool) {
	if name == "" {
		c.wrong(path, "is missing; it goes with "+other+".")
		return nil, false
	}
	content, err := readFile(name)
	if err != nil {
		c.wrong(path, name+": "+fileSentence(err))
		return nil, false
	}
	return content, true
}

func (c *checker) expiry(path string, certificate *x509.Certificate) {
	if certificate != nil && c.now.After(certificate.NotAfter) {
		c.warn(path, "the certificate expired on "+certificate.NotAfter.UTC().Format("2006-01-02")+"; the other side will refuse it.")
	}
}

// certificates checks a PEM bundle.
func (c *checker) certificates(path, name string) {
	content, err := readFile(name)
	if err != nil {
		c.wrong(path, name+": "+fileSentence(err))
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content) {
		c.wrong(path, name+": holds no PEM certificate.")
	}
}

// serviceAccount is what is needed of Google's file (docs/push-providers.md 2.2).
type serviceAccount struct {
	Type        string        `json:"type"`
	ProjectID   string        `json:"project_id"`
	ClientEmail string        `json:"client_email"`
	PrivateKey  planet.Secret `json:"private_key"`
	TokenURI    string        `json:"token_uri"`
}

func (c *checker) fcm(f *FCM, at string) {
	if !f.Enabled() {
		return
	}
	c.serverURL(at+".base_url", f.BaseURL)
	path := at + ".service_account"
	var account serviceAccount
	if err := json.Unmarshal([]byte(f.ServiceAccount.Reveal()), &account); err != nil {
		c.wrong(path, "is not JSON; want the whole service account file from the Firebase console.")
		return
	}
	if account.Type != "service_account" {
		c.wrong(path, "is not a service account; in the Firebase console make one under Project settings, Service accounts.")
		return
	}
	for _, field := range []struct{ name, value string }{
		{"project_id", account.ProjectID},
		{"client_email", account.ClientEmail},
		{"private_key", account.PrivateKey.Reveal()},
		{"token_uri", account.TokenURI},
	} {
		if field.value == "" {
			c.wrong(path, "has no "+field.name+"; download the file again from the Firebase console.")
			return
		}
	}
	block, _ := pem.Decode([]byte(account.PrivateKey.Reveal()))
	if block == nil {
		c.wrong(path, "private_key is not PEM; download the file again from the Firebase console.")
		return
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil || !isRSA(key) {
		c.wrong(path, "private_key is not an RSA key (PKCS#8); download the file again from the Firebase console.")
	}
	c.serverURL(path, account.TokenURI)
}

func isRSA(key any) bool {
	_, ok := key.(*rsa.PrivateKey)
	return ok
}
