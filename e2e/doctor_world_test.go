package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/doctor"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

const publicName = "calls.planetbell.example"

// signer is an authority, and between it and the servers another one, as the public ones have.
type signer struct {
	root, between *x509.Certificate
	key           *ecdsa.PrivateKey // of both
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{key: newECKey(t)}
	s.root = s.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true}, nil, s.key)
	s.between = s.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true}, s.root, s.key)
	return s
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// make signs a certificate, with the authority's key; by itself if by is nil.
func (s *signer) make(t *testing.T, c, by *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	c.KeyUsage = x509.KeyUsageDigitalSignature
	if c.IsCA {
		c.KeyUsage |= x509.KeyUsageCertSign
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-100 * 24 * time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(60 * 24 * time.Hour)
	}
	signed := s.key
	if by == nil {
		by, signed = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, signed)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// shows is what a server shows: a certificate for a name, with its chain or without.
func (s *signer) shows(t *testing.T, c *x509.Certificate, chain bool) tls.Certificate {
	t.Helper()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf := s.make(t, c, s.between, s.key)
	shown := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: s.key}
	if chain {
		shown.Certificate = append(shown.Certificate, s.between.Raw)
	}
	return shown
}

// clinic is a good set-up: a server, the simulator around it, and a proxy in front that ends TLS.
type clinic struct {
	*scene
	signer *signer
	front  string // address of the proxy
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{scene: play(t), signer: newSigner(t)}
	c.front = c.proxy(t, c.signer.shows(t, &x509.Certificate{DNSNames: []string{publicName}}, true), c.pass(t), 0)
	return c
}

// pass hands requests to the server.
func (c *clinic) pass(t *testing.T) http.Handler {
	t.Helper()
	to, err := url.Parse(c.App.PublicURL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport, proxy.ErrorLog = transport, log.New(io.Discard, "", 0)
	return proxy
}

// proxy serves over TLS, and returns where. limit bounds what comes before the body; 0 is a lot.
func (c *clinic) proxy(t *testing.T, shown tls.Certificate, handler http.Handler, limit int) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.MaxHeaderBytes = limit
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{shown}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// visit is one examination: a set-up that a case may break.
type visit struct {
	*clinic
	t   *testing.T
	cfg *config.Config
	o   *doctor.Options
}

func (v *visit) project() *config.Project { return &v.cfg.Projects[0] }

// leadTo makes the public name lead to another server.
func (v *visit) leadTo(address string) {
	v.o.DialPublic = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// showing makes the proxy show another certificate.
func (v *visit) showing(shown tls.Certificate) { v.leadTo(v.proxy(v.t, shown, v.pass(v.t), 0)) }

// behind puts something else behind the name.
func (v *visit) behind(handler http.HandlerFunc) {
	v.leadTo(v.proxy(v.t, v.signer.shows(v.t, &x509.Certificate{DNSNames: []string{publicName}}, true), handler, 0))
}

// screened puts a firewall in front that answers long queries itself.
func (v *visit) screened(status int) {
	pass := v.pass(v.t)
	v.behind(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > 2<<10 {
			w.WriteHeader(status)
			return
		}
		pass.ServeHTTP(w, r)
	})
}

// tokensAt makes the service account ask another server for its access token.
func (v *visit) tokensAt(address string) {
	v.t.Helper()
	var file map[string]any
	if err := json.Unmarshal([]byte(v.project().FCM.ServiceAccount.Reveal()), &file); err != nil {
		v.t.Fatal(err)
	}
	file["token_uri"] = address + "/token"
	text, err := json.Marshal(file)
	if err != nil {
		v.t.Fatal(err)
	}
	v.project().FCM.ServiceAccount = planet.Secret(text)
}

// tokensFrom makes it ask one that answers with a status.
func (v *visit) tokensFrom(status int) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	certificate, err := v.World.CA.Server()
	if err != nil {
		v.t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	v.t.Cleanup(server.Close)
	v.tokensAt(server.URL)
}

// key gives the project an APNs key of its own, which Apple knows as known says, unless it is nil.
func (v *visit) key(id string, known func(*sim.APNsKey)) {
	v.t.Helper()
	key := newECKey(v.t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		v.t.Fatal(err)
	}
	a := &v.project().APNs[0]
	a.KeyID, a.Key = id, planet.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if known == nil {
		return
	}
	k := sim.APNsKey{ID: id, TeamID: a.TeamID, Public: &key.PublicKey}
	known(&k)
	for _, server := range []*sim.APNs{v.World.Sandbox, v.World.Production} {
		server.TrustKey(k)
	}
}

// certificateOf gives the project a push certificate instead of its key.
func (v *visit) certificateOf(change func(*x509.Certificate)) {
	v.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "VoIP Services"}}
	change(c)
	leaf := v.signer.make(v.t, c, v.signer.root, v.signer.key)
	certificate, key, err := sim.CertificatePEM(tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: v.signer.key})
	if err != nil {
		v.t.Fatal(err)
	}
	a := &v.project().APNs[0]
	a.Key = ""
	a.CertificateFile, a.CertificateKeyFile = v.write("push.pem", certificate), v.write("push.key", key)
}

// account changes the text of the service account.
func (v *visit) account(pairs ...string) {
	v.t.Helper()
	before := v.project().FCM.ServiceAccount.Reveal()
	after := strings.NewReplacer(pairs...).Replace(before)
	if before == after {
		v.t.Fatal("the service account is as before")
	}
	v.project().FCM.ServiceAccount = planet.Secret(after)
}

func (v *visit) write(name string, text []byte) string {
	v.t.Helper()
	file := filepath.Join(v.t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return file
}

// visit makes a good set-up.
func (c *clinic) visit(t *testing.T) *visit {
	t.Helper()
	cfg := c.Config
	cfg.Public.Address = strings.TrimPrefix(c.App.PublicURL(), "http://")
	cfg.Admin.Address = strings.TrimPrefix(c.App.AdminURL(), "http://")
	cfg.Public.BaseURL = "https://" + publicName
	cfg.Projects = slices.Clone(cfg.Projects)
	cfg.Projects[0].APNs = slices.Clone(cfg.Projects[0].APNs)
	roots := x509.NewCertPool()
	roots.AddCert(c.signer.root)
	loaded := &config.Loaded{Config: cfg}
	v := &visit{clinic: c, t: t, cfg: &loaded.Config, o: &doctor.Options{
		Loaded: loaded, PublicRoots: roots,
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != publicName {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("203.0.113.10")}, nil
		},
		FileLimit: func() (uint64, error) { return 1 << 20, nil },
		Space:     func(string) (uint64, uint64, error) { return 50 << 30, 100 << 30, nil },
	}}
	v.leadTo(c.front)
	return v
}

// examine makes checks, holds their results to the rules for all, and returns what is wrong.
func (v *visit) examine(only ...string) (faults []string, results []doctor.Result) {
	v.t.Helper()
	v.o.Only = only
	// Of its own: the stage's time is over when other tests keep this one waiting.
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	results, err := doctor.Run(ctx, *v.o)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, r := range results {
		v.watch.keep("doctor", r.Subject+" "+r.Finding+" "+r.Fix)
		wrong := r.Level == doctor.Error || r.Level == doctor.Warning
		if wrong != (r.Fault != "") || wrong != (r.Fix != "") || r.Finding == "" || r.Name == "" {
			v.t.Errorf("incomplete: %+v", r)
		}
		if wrong {
			faults = append(faults, string(r.Level)+" "+r.Fault)
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults), results
}
