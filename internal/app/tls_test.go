package app

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
)

// files is a certificate on disk that is renewed by hand.
type files struct {
	t         *testing.T
	ca        *sim.CA
	cert, key string
	stamp     time.Time
}

func newFiles(t *testing.T) *files {
	t.Helper()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &files{t: t, ca: ca, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), stamp: time.Unix(1_700_000_000, 0)}
	f.renew()
	return f
}

// renew writes a fresh pair, of a later time, and returns its leaf.
func (f *files) renew() *x509.Certificate {
	f.t.Helper()
	pair, err := f.ca.Server()
	if err != nil {
		f.t.Fatal(err)
	}
	cert, key, err := sim.CertificatePEM(pair)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(f.key, key)
	f.write(f.cert, cert)
	return pair.Leaf
}

func (f *files) write(path string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.stamp = f.stamp.Add(time.Second)
	if err := os.Chtimes(path, f.stamp, f.stamp); err != nil {
		f.t.Fatal(err)
	}
}

func TestARenewedCertificateIsTakenUp(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	now := time.Unix(1_800_000_000, 0)
	var log strings.Builder
	c := &certificateFiles{cert: f.cert, key: f.key, now: func() time.Time { return now }, log: logInto(t, &log)}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	first := c.current().Leaf
	steps := []struct {
		what   string
		change func() *x509.Certificate // nil result: the one before stays
		wait   time.Duration
		log    string
	}{
		{"nothing changed", func() *x509.Certificate { return nil }, 2 * lookEvery, ""},
		{"renewed, not looked yet", func() *x509.Certificate { f.renew(); return nil }, lookEvery / 2, ""},
		{"renewed", f.renew, lookEvery, "a renewed certificate is in use"},
		{"broken", func() *x509.Certificate { f.write(f.cert, []byte("half a fi")); return nil }, lookEvery, "cannot be used"},
		{"removed", func() *x509.Certificate { _ = os.Remove(f.cert); return nil }, lookEvery, "cannot be used"},
		{"repaired", f.renew, lookEvery, "a renewed certificate is in use"},
	}
	want := first
	for _, s := range steps {
		if leaf := s.change(); leaf != nil {
			want = leaf
		}
		now = now.Add(s.wait)
		log.Reset()
		if got := c.current().Leaf; !got.Equal(want) {
			t.Errorf("%s: certificate %x is in use, want %x", s.what, got.SerialNumber, want.SerialNumber)
		}
		if s.log == "" != (log.Len() == 0) || !strings.Contains(log.String(), s.log) {
			t.Errorf("%s: the log says %q, want %q", s.what, log.String(), s.log)
		}
	}
}

func TestFileTLSRefusesWhatDoesNotLoad(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	other := newFiles(t)
	for _, c := range []struct{ what, cert, key, names string }{
		{"no certificate", f.cert + ".missing", f.key, "cert.pem.missing"},
		{"no key", f.cert, f.key + ".missing", "key.pem.missing"},
		{"another's key", f.cert, other.key, other.key},
		{"a key as certificate", f.key, f.key, f.key},
	} {
		_, err := fileTLS(c.cert, c.key, testlog.New(t))
		if err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v, want an error that names %s", c.what, err, c.names)
			continue
		}
		testlog.Keep(t, c.what, err.Error())
		if strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: the error shows the key", c.what)
		}
	}
}

func TestFileTLSServesTheCertificate(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	want := f.renew()
	c, err := adminTLS(config.AdminTLS{CertificateFile: f.cert, KeyFile: f.key}, testlog.New(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	if err != nil || !got.Leaf.Equal(want) {
		t.Errorf("the certificate in use is not the one in the files: %v", err)
	}
	if c.MinVersion != tls.VersionTLS12 || !slices.Equal(c.NextProtos, []string{"h2", "http/1.1"}) {
		t.Errorf("TLS from %x with %v, want 1.2 at least with h2 and http/1.1", c.MinVersion, c.NextProtos)
	}
}

func TestPlainHTTPHasNoTLS(t *testing.T) {
	t.Parallel()
	public, err := publicTLS(config.PublicTLS{}, testlog.New(t))
	if err != nil || public != nil {
		t.Errorf("public: %v, %v; want none", public, err)
	}
	admin, err := adminTLS(config.AdminTLS{}, testlog.New(t))
	if err != nil || admin != nil {
		t.Errorf("admin: %v, %v; want none", admin, err)
	}
}

// ACME answers challenges by TLS-ALPN, for the configured names only. The authority is
// not asked for anything here: both refusals come before it would be.
func TestACME(t *testing.T) {
	t.Parallel()
	c, err := publicTLS(config.PublicTLS{ACME: config.ACME{
		Domains: []string{"calls.example.com"}, CacheDir: t.TempDir(), Email: "op@example.com",
		DirectoryURL: "https://127.0.0.1:1/directory",
	}}, testlog.New(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"h2", "http/1.1", acme.ALPNProto}; !slices.Equal(c.NextProtos, want) || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("TLS from %x with %v, want 1.2 at least with %v", c.MinVersion, c.NextProtos, want)
	}
	hello := func(name string, protocols ...string) error {
		_, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}})
		return err
	}
	if err := hello("evil.example.com", "h2"); err == nil || !strings.Contains(err.Error(), "not configured") {
		t.Errorf("a foreign name: %v, want that it is not configured", err)
	}
	if err := hello("calls.example.com", acme.ALPNProto); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a challenge that nobody asked for: %v, want that there is no token for it", err)
	}
}
