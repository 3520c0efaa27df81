package e2e

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
)

// certificate writes a certificate for loopback and its key.
func certificate(t *testing.T, ca *sim.CA) (certFile, keyFile string) {
	t.Helper()
	pair, err := ca.Server()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := sim.CertificatePEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// The server speaks HTTPS itself, in both versions of HTTP, and calls ring through it:
// LINE's Apple app connects to port 443 and nothing else.
func TestCallsRingOverHTTPS(t *testing.T) {
	t.Parallel()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := certificate(t, ca)
	s := play(t,
		simulated(func(o *sim.WorldOptions) { o.CA = ca }),
		configured(func(c *config.Config) {
			c.Public.TLS.CertificateFile, c.Public.TLS.KeyFile = certFile, keyFile
		}))
	iphone, mac := s.phone("bob", sim.IOS, "iPhone"), s.phone("bob", sim.MacOS, "Mac")
	c := s.call("alice", "bob", sim.Plan{})
	for _, p := range []*sim.Phone{iphone, mac} {
		s.rang(p, 1)
	}
	c.Hangup()
	if r := s.over(c); len(r.Events) == 0 || !r.Events[0].OK() {
		t.Error("the end of the call was not taken")
	}

	for _, version := range []struct {
		h2    bool
		major int
	}{{true, 2}, {false, 1}} {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()},
			ForceAttemptHTTP2: version.h2,
		}
		resp, err := (&http.Client{Transport: transport}).Do(s.request(http.MethodGet, s.App.PublicURL()+"/openapi.yaml", ""))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != version.major {
			t.Errorf("answered %d by %s, want 200 by HTTP/%d", resp.StatusCode, resp.Proto, version.major)
		}
	}
}
