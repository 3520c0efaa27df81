package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

// CA is a certificate authority for one simulator: whoever trusts it trusts the fakes
// and nothing else. It is safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// validity is how long certificates of a [CA] are valid, from an hour ago on.
const validity = 30 * 24 * time.Hour

// NewCA makes a fresh authority with its own key.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the test authority's key: %w", err)
	}
	t := template("planetbell simulator CA")
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign the test authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the test authority back: %w", err)
	}
	return &CA{cert: cert, key: key, pem: pemBlock("CERTIFICATE", der)}, nil
}

// PEM returns the authority's certificate.
func (c *CA) PEM() []byte { return c.pem }

// WriteFile writes the authority's certificate as PEM, readable by all: it is no secret.
func (c *CA) WriteFile(path string) error {
	if err := os.WriteFile(path, c.pem, 0o644); err != nil {
		return fmt.Errorf("write the test authority: %w", err)
	}
	return nil
}

// Pool returns a pool with nothing but the authority.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// Client returns an HTTP client of its own transport that trusts only the authority.
// The caller closes its idle connections.
func (c *CA) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Pool()},
		ForceAttemptHTTP2: true,
	}}
}

// Server returns a certificate for localhost, 127.0.0.1 and ::1.
func (c *CA) Server() (tls.Certificate, error) {
	return c.serve(template("localhost"), "localhost", net.IPv4(127, 0, 0, 1), net.IPv6loopback)
}

// expired returns a certificate like Server's whose time is over.
func (c *CA) expired() (tls.Certificate, error) {
	t := template("localhost")
	t.NotBefore, t.NotAfter = t.NotBefore.Add(-validity), t.NotBefore
	return c.serve(t, "localhost", net.IPv4(127, 0, 0, 1), net.IPv6loopback)
}

// elsewhere returns a certificate of a host that no fake is.
func (c *CA) elsewhere() (tls.Certificate, error) {
	return c.serve(template("elsewhere"), "elsewhere.invalid")
}

func (c *CA) serve(t *x509.Certificate, name string, ips ...net.IP) (tls.Certificate, error) {
	t.DNSNames, t.IPAddresses = []string{name}, ips
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return c.issue(t)
}

// oidAPNsTopics is the extension of Apple's push certificates that lists the topics
// (docs/push-providers.md 1.4). Its value is a sequence of a string and a sequence of words
// for each topic.
var oidAPNsTopics = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}

// Push returns a client certificate like Apple's "VoIP Services" certificate, valid for
// the topics. The fakes read the topics from it.
func (c *CA) Push(topics ...string) (tls.Certificate, error) {
	var list []any
	for _, topic := range topics {
		list = append(list, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(topic)}, []string{"app"})
	}
	var body []byte
	for _, v := range list {
		b, err := asn1.Marshal(v)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("encode push certificate topics: %w", err)
		}
		body = append(body, b...)
	}
	value, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("encode push certificate topics: %w", err)
	}
	t := template("VoIP Services: simulator")
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	t.ExtraExtensions = []pkix.Extension{{Id: oidAPNsTopics, Value: value}}
	return c.issue(t)
}

// topicsOf reads the topics of a push certificate. ok is false when it lists none.
func topicsOf(cert *x509.Certificate) (topics []string, ok bool) {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidAPNsTopics) {
			continue
		}
		var seq []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &seq); err != nil {
			return nil, false
		}
		for _, v := range seq {
			if v.Tag == asn1.TagUTF8String {
				topics = append(topics, string(v.Bytes))
			}
		}
	}
	return topics, len(topics) > 0
}

// issue signs a certificate with a fresh key.
func (c *CA) issue(t *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key for %q: %w", t.Subject.CommonName, err)
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign %q: %w", t.Subject.CommonName, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read %q back: %w", t.Subject.CommonName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// CertificatePEM returns a certificate of a [CA] with its key as PEM text, to be
// written where a configuration wants files.
func CertificatePEM(c tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode certificate key: %w", err)
	}
	for _, b := range c.Certificate {
		cert = append(cert, pemBlock("CERTIFICATE", b)...)
	}
	return cert, pemBlock("PRIVATE KEY", der), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// template returns what all certificates share.
func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("sim: the machine has no randomness: " + err.Error()) // rand.Reader never fails
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
	}
}
