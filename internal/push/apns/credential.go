package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Credential is what planetbell proves itself with to APNs: a token signing key or a
// push certificate. Make one with [TokenCredential], [CertificateCredential] or
// [P12Credential]. It is read-only and holds no text of a secret.
type Credential struct {
	teamID string
	keyID  string
	key    *ecdsa.PrivateKey // nil for a certificate

	certificate *tls.Certificate // nil for a key
	topics      []string         // that the certificate may push; empty: it does not say
	notAfter    time.Time
}

// appleID is the form of team and key IDs: ten capital letters and digits.
var appleID = regexp.MustCompile(`^[A-Z0-9]{10}$`)

// TokenCredential reads a token signing key: p8 is the text of the .p8 file that
// Apple gives out once (PKCS#8 in PEM, EC P-256). Both IDs have ten characters. The
// error is of kind bell.Invalid and says what to change, without the key's text.
func TokenCredential(teamID, keyID string, p8 planet.Secret) (Credential, error) {
	if !appleID.MatchString(teamID) {
		return Credential{}, bell.E(bell.Invalid, "team_id must be the 10 capital letters and digits of the Apple developer team (Membership page of the developer account)", nil)
	}
	if !appleID.MatchString(keyID) {
		return Credential{}, bell.E(bell.Invalid, "key_id must be the 10 capital letters and digits of the APNs key (Keys page of the developer account; also in the .p8 file's name)", nil)
	}
	block, _ := pem.Decode([]byte(p8.Reveal()))
	if block == nil {
		return Credential{}, bell.E(bell.Invalid, "key is not a .p8 file: it must begin with -----BEGIN PRIVATE KEY-----", nil)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Credential{}, bell.E(bell.Invalid, "key is not a PKCS#8 private key; use the .p8 file as Apple gave it", nil)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return Credential{}, bell.E(bell.Invalid, "key is not an EC P-256 key; APNs keys are", nil)
	}
	return Credential{teamID: teamID, keyID: keyID, key: key}, nil
}

// CertificateCredential reads a push certificate and its private key, both PEM (they
// may be one file). The error is of kind bell.Invalid.
func CertificateCredential(certificate []byte, key planet.Secret) (Credential, error) {
	pair, err := tls.X509KeyPair(certificate, []byte(key.Reveal()))
	if err != nil {
		return Credential{}, bell.E(bell.Invalid, "the push certificate and its key do not load: both must be PEM, unencrypted, and belong together", nil)
	}
	return certificateCredential(pair)
}

// P12Credential reads a push certificate with its key as Keychain Access exports
// them. The password may be empty. The error is of kind bell.Invalid.
func P12Credential(data []byte, password planet.Secret) (Credential, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(data, password.Reveal())
	if err != nil {
		return Credential{}, bell.E(bell.Invalid, "the .p12 file does not open: wrong password, or not an export of one certificate with its private key", nil)
	}
	pair := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return certificateCredential(pair)
}

func certificateCredential(pair tls.Certificate) (Credential, error) {
	leaf := pair.Leaf
	if leaf == nil {
		return Credential{}, bell.E(bell.Invalid, "the push certificate's file holds no certificate", nil)
	}
	return Credential{certificate: &pair, topics: certificateTopics(leaf), notAfter: leaf.NotAfter}, nil
}

// NotAfter is when the certificate expires; zero for a token key, which does not.
func (c Credential) NotAfter() time.Time { return c.notAfter }

// Topics are what the certificate may push. Empty for a token key, and for a
// certificate that does not say.
func (c Credential) Topics() []string { return slices.Clone(c.topics) }

// empty reports whether the Credential was never filled.
func (c Credential) empty() bool { return c.key == nil && c.certificate == nil }

// checkTopic refuses a topic that APNs would refuse for certain, with the topics
// that would work.
func (c Credential) checkTopic(topic string) error {
	if len(c.topics) == 0 || slices.Contains(c.topics, topic) {
		return nil
	}
	return bell.E(bell.Invalid, fmt.Sprintf("the push certificate is not for the topic %s; it is for %s", topic, strings.Join(c.topics, ", ")), nil)
}

// Apple's certificate extensions. The first lists all topics of a certificate, the
// second marks a VoIP certificate; the bundle ID of an older certificate is in the
// subject's user ID.
var (
	oidTopics = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}
	oidVoIP   = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 4}
	oidUserID = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
)

// voipSuffix makes a bundle ID the topic of VoIP pushes.
const voipSuffix = ".voip"

// certificateTopics reads what a push certificate may push; nil when it does not say.
func certificateTopics(leaf *x509.Certificate) []string {
	var topics []string
	add := func(found ...string) {
		for _, topic := range found {
			if topic != "" && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	voip := false
	for _, e := range leaf.Extensions {
		switch {
		case e.Id.Equal(oidTopics):
			add(topicStrings(e.Value)...)
		case e.Id.Equal(oidVoIP):
			voip = true
			add(topicStrings(e.Value)...)
		}
	}
	if len(topics) > 0 {
		return topics
	}
	for _, name := range leaf.Subject.Names {
		if id, ok := name.Value.(string); ok && name.Type.Equal(oidUserID) {
			if voip && !strings.HasSuffix(id, voipSuffix) {
				id += voipSuffix
			}
			add(id)
		}
	}
	return topics
}

// topicStrings returns the texts of an extension: of the value itself, or of the
// sequence that it is. In Apple's list each topic is followed by a sequence that says
// what it is for ("app", "voip"), which is skipped. A value of another form says
// nothing.
func topicStrings(der []byte) []string {
	var value asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &value); err != nil || len(rest) > 0 {
		return nil
	}
	if !value.IsCompound {
		return topicString(value)
	}
	var topics []string
	for rest := value.Bytes; len(rest) > 0; {
		var item asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &item); err != nil {
			return topics
		}
		topics = append(topics, topicString(item)...)
	}
	return topics
}

func topicString(v asn1.RawValue) []string {
	if v.Class != asn1.ClassUniversal || v.IsCompound || (v.Tag != asn1.TagUTF8String && v.Tag != asn1.TagPrintableString && v.Tag != asn1.TagIA5String) {
		return nil
	}
	return []string{string(v.Bytes)}
}
