package natsbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/bustest"
	"github.com/planetbell/planetbell/planet"
)

// certificate makes a certificate for the loopback that vouches for itself, for servers
// and for clients, and its files.
func certificate(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err = tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pair, cert, key := certificate(t)
	own, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(own)
	f := form(t, serve(t, 0, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 30
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	}))
	for name, c := range map[string]struct {
		config  Config
		trouble string
	}{
		"both know each other": {Config{CAFile: cert, CertFile: cert, KeyFile: key}, ""},
		"an unknown server":    {Config{CertFile: cert, KeyFile: key}, "certificate"},
		"an unknown client":    {Config{CAFile: cert}, "tls"},
	} {
		f.Join = func(tb testing.TB, b bus.Config, addr string) bus.Bus {
			c.config.Config, c.config.URL = b, planet.Secret("tls://bus:"+password+"@"+addr)
			return join(tb, c.config)
		}
		m := bustest.Start(t, f, "a", f.Addr)
		m.Until(t, name, func() bool {
			s := m.State()
			return c.trouble == "" && s.Connected || c.trouble != "" && !s.Connected && strings.Contains(s.Trouble, c.trouble)
		})
	}
}
