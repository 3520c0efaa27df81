package pushtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// issuer makes certificates of its own authority.
type issuer struct {
	key   *ecdsa.PrivateKey
	root  *x509.Certificate
	roots *x509.CertPool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, roots: x509.NewCertPool()}
	i.root = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	i.root = i.sign(t, i.root)
	i.roots.AddCert(i.root)
	return i
}

func (i *issuer) sign(t *testing.T, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, i.root, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// server makes a server's certificate for loopback, which change can spoil.
func (i *issuer) server(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "provider"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	leaf := i.sign(t, template)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: i.key, Leaf: leaf}
}

// testCertificates: a server whose certificate is not right gets no push, and somebody is
// told; once it is right the same sender works.
func (h Harness) testCertificates(t *testing.T) {
	for name, spoil := range map[string]func(*x509.Certificate){
		"expired":         func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"wrong host name": func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"api.push.example"} },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			var mu sync.Mutex
			current := i.server(t, spoil)
			server := newServer(t, h.orAside(h.Accept), func() *tls.Certificate {
				mu.Lock()
				defer mu.Unlock()
				return current
			})
			b := h.sender(t, Target{URL: server.URL, Roots: i.roots, Timeout: patience})
			o := b.ring(t, t.Context(), nil)
			mustBe(t, o, bell.RetryConnect)
			mustBeUnsent(t, o, true)
			if o.Reason != "tls" || o.Alarm != bell.AlarmPage || len(server.Requests()) != 0 {
				t.Errorf("reason %s, alarm %q, and the server got %d requests", o.Reason, o.Alarm, len(server.Requests()))
			}
			good := i.server(t, func(*x509.Certificate) {})
			mu.Lock()
			current = good
			mu.Unlock()
			b.recovers(t, "tls")
		})
	}
}

// recovers rings until it succeeds, with nothing but a reason or success before.
func (b *bench) recovers(t *testing.T, until ...string) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.After(3 * patience); ; {
		o := b.ring(t, t.Context(), nil)
		if o.Verdict == bell.Accepted {
			return
		}
		known := false
		for _, reason := range until {
			known = known || o.Reason == reason
		}
		if !known || o.Unsent == (o.Reason == "timeout") {
			t.Fatalf("on the way back: %s, unsent %v", o.Reason, o.Unsent)
		}
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("no push goes out: %s", o.Reason)
		}
	}
}

// testListensAgain: nobody listens, or whoever does says nothing; when the provider is
// back, the same sender works.
func (h Harness) testListensAgain(t *testing.T) {
	for name, silent := range map[string]bool{"refused": false, "stalled": true} {
		t.Run(name, func(t *testing.T) {
			listener := listen(t)
			address := listener.Addr().String()
			if !silent {
				_ = listener.Close()
			}
			i := newIssuer(t)
			good := i.server(t, func(*x509.Certificate) {})
			b := h.sender(t, Target{URL: "https://" + address, Roots: i.roots, Timeout: hurry})
			o := b.ring(t, t.Context(), nil)
			mustBe(t, o, bell.RetryConnect, bell.RetryBackoff, bell.RetryNow)
			mustBeUnsent(t, o, o.Verdict != bell.RetryNow)
			if silent { // what was accepted so far is cut, and what comes is served
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
				_ = listener.Close()
			}
			server := newServerAt(t, address, h.orAside(h.Accept), func() *tls.Certificate { return good })
			b.recovers(t, "dial", "tls", "no_stream", "oauth_timeout", "oauth_unavailable", "timeout")
			if len(server.Requests()) == 0 {
				t.Error("the server got no request")
			}
		})
	}
}

// orAside answers requests that are not pushes, too.
func (h Harness) orAside(push http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.Aside == nil || !h.Aside(w, r) {
			push(w, r)
		}
	}
}
