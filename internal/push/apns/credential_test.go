package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var notAfter = time.Date(2036, 5, 1, 12, 0, 0, 0, time.UTC)

// certificate makes a push certificate as Apple does, with an extension for each of
// extra and the bundle ID in the subject.
func certificate(t testing.TB, userID string, extra ...pkix.Extension) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: notAfter,
		Subject:         pkix.Name{CommonName: "VoIP Services: " + userID, ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidUserID, Value: userID}}},
		ExtraExtensions: extra,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("read a certificate: %v", err)
	}
	return leaf, key
}

// topicList is Apple's list: each topic, and a sequence that says what it is for.
func topicList(t testing.TB, topics ...string) pkix.Extension {
	t.Helper()
	var items []asn1.RawValue
	for _, topic := range topics {
		kind, err := asn1.Marshal([]asn1.RawValue{{Tag: asn1.TagUTF8String, Bytes: []byte("app")}})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(topic)}, asn1.RawValue{FullBytes: kind})
	}
	der, err := asn1.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidTopics, Value: der}
}

func pemCertificate(leaf *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
}

func TestTokenCredentialRefuses(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := p8(t, newKey(t))
	for name, c := range map[string]struct {
		team, key string
		p8        planet.Secret
		want      string
	}{
		"team":     {"team", "KEY1234567", good, "team_id"},
		"key ID":   {"TEAM123456", "", good, "key_id"},
		"no PEM":   {"TEAM123456", "KEY1234567", planet.Secret(testlog.TextSecret("key")), "BEGIN PRIVATE KEY"},
		"no PKCS8": {"TEAM123456", "KEY1234567", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PKCS#8"},
		"RSA":      {"TEAM123456", "KEY1234567", p8(t, rsaKey), "P-256"},
		"P-384":    {"TEAM123456", "KEY1234567", p8(t, p384), "P-256"},
	} {
		_, err := TokenCredential(c.team, c.key, c.p8)
		if !errors.Is(err, bell.Invalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), testlog.Text) {
			t.Errorf("%s: error %v, want one about %s", name, err, c.want)
		}
		if err != nil {
			testlog.Keep(t, name, err.Error())
		}
	}
}

func TestCertificateTopics(t *testing.T) {
	null := []byte{5, 0}
	text, err := asn1.MarshalWithParams(bundle+".voip", "utf8")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		extra []pkix.Extension
		want  []string
	}{
		"list":                 {[]pkix.Extension{topicList(t, bundle, bundle+".voip", bundle)}, []string{bundle, bundle + ".voip"}},
		"VoIP with topic":      {[]pkix.Extension{{Id: oidVoIP, Value: text}}, []string{bundle + ".voip"}},
		"VoIP without topic":   {[]pkix.Extension{{Id: oidVoIP, Value: null}}, []string{bundle + ".voip"}},
		"subject only":         {nil, []string{bundle}},
		"list that is garbage": {[]pkix.Extension{{Id: oidTopics, Value: []byte{0x30, 0x05, 0x0c}}}, []string{bundle}},
		"list with garbage":    {[]pkix.Extension{{Id: oidTopics, Value: []byte{0x30, 0x04, 0x0c, 0x01, 'a', 0x0c}}}, []string{"a"}},
	} {
		leaf, _ := certificate(t, bundle, c.extra...)
		if diff := cmp.Diff(c.want, certificateTopics(leaf)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCertificateCredentials(t *testing.T) {
	leaf, key := certificate(t, bundle, topicList(t, bundle+".voip"))
	fromPEM, err := CertificateCredential(pemCertificate(leaf), p8(t, key))
	if err != nil {
		t.Fatalf("PEM: %v", err)
	}
	password := testlog.TextSecret("p12")
	p12, err := pkcs12.Modern.Encode(key, leaf, []*x509.Certificate{leaf}, password)
	if err != nil {
		t.Fatal(err)
	}
	fromP12, err := P12Credential(p12, planet.Secret(password))
	if err != nil {
		t.Fatalf("PKCS#12: %v", err)
	}
	for name, c := range map[string]Credential{"PEM": fromPEM, "PKCS#12": fromP12} {
		if !c.NotAfter().Equal(notAfter) {
			t.Errorf("%s: expires %v, want %v", name, c.NotAfter(), notAfter)
		}
		if diff := cmp.Diff([]string{bundle + ".voip"}, c.Topics()); diff != "" {
			t.Errorf("%s: topics (-want +got):\n%s", name, diff)
		}
	}
	other := p8(t, newKey(t))
	_, wrongKey := CertificateCredential(pemCertificate(leaf), other)
	_, wrongPassword := P12Credential(p12, planet.Secret(testlog.TextSecret("wrong")))
	for name, err := range map[string]error{"wrong key": wrongKey, "wrong password": wrongPassword} {
		if !errors.Is(err, bell.Invalid) || strings.Contains(err.Error(), testlog.Text) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzTopicStrings(f *testing.F) {
	f.Add(topicList(f, bundle, bundle+".voip").Value)
	f.Add([]byte{5, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, topic := range topicStrings(der) {
			if len(topic) > len(der) {
				t.Errorf("a topic of %d bytes from %d bytes", len(topic), len(der))
			}
		}
	})
}
