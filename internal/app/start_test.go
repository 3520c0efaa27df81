package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// settings is a configuration with one project that nothing but polling reaches.
func settings(t *testing.T) config.Config {
	t.Helper()
	c := config.Default()
	c.DataDir = t.TempDir()
	c.Database.Path = filepath.Join(c.DataDir, "planetbell.db")
	c.Public.Address, c.Admin.Address = "127.0.0.1:0", "127.0.0.1:0"
	c.Admin.Token = planet.Secret(testlog.HexSecret(1, 64))
	c.AppTokens.SigningKey = planet.Secret(testlog.HexSecret(2, 64))
	p := config.DefaultProject()
	p.Name, p.ServiceID, p.APIKey = "main", "service", "api-key"
	p.APISecret = planet.Secret(testlog.HexSecret(3, 64))
	p.ClientKey = planet.Secret(testlog.HexSecret(4, 32))
	p.CallbackSecret = planet.Secret(testlog.HexSecret(5, 40))
	c.Projects = []config.Project{p}
	return c
}

// withProviders adds credentials of a pretend Apple and Google.
func withProviders(t *testing.T, c *config.Config) *sim.World {
	t.Helper()
	w, err := sim.NewWorld(sim.WorldOptions{Dir: c.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
	})
	s := w.Settings()
	c.CAFile = s.CAFile
	a := config.DefaultAPNs()
	a.BundleID, a.TeamID, a.KeyID = s.BundleID, s.APNsTeamID, s.APNsKeyID
	a.ProductionURL, a.SandboxURL = s.APNsProductionURL, s.APNsSandboxURL
	a.Servers = []bell.APNsServer{bell.APNsProduction, bell.APNsSandbox}
	a.Key = planet.Secret(read(t, s.APNsKeyFile))
	c.Projects[0].APNs = []config.APNs{a}
	c.Projects[0].FCM.BaseURL = s.FCMURL
	c.Projects[0].FCM.ServiceAccount = planet.Secret(read(t, s.ServiceAccountFile))
	return w
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// stop runs a server that is told to stop at once.
func stop(t *testing.T, a *App) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// Whatever cannot work stops the start, with a sentence that says where and what, and
// leaves nothing open: the corrected configuration starts right after.
func TestWhatStopsTheStart(t *testing.T) {
	t.Parallel()
	free := settings(t)
	withProviders(t, &free)
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ca.Push("com.example.foreign", "com.example.foreign.voip")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := sim.CertificatePEM(foreign)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, rubbish := write(t, cert), write(t, key), write(t, []byte(testlog.TextSecret("rubbish")))
	apns := func(c *config.Config) *config.APNs { return &c.Projects[0].APNs[0] }
	for _, c := range []struct {
		what   string
		change func(c *config.Config)
		says   []string
	}{
		{"an APNs key that is none", func(c *config.Config) { apns(c).Key = planet.Secret(testlog.TextSecret("p8")) }, []string{"project main", "apns[0] (com.example.planetbell)", ".p8"}},
		{"a key ID that is none", func(c *config.Config) { apns(c).KeyID = "short" }, []string{"apns[0]", "key_id"}},
		{"a missing certificate", func(c *config.Config) { apns(c).Key, apns(c).CertificateFile = "", rubbish+".missing" }, []string{"apns[0]", "certificate_file", "no such file"}},
		{"a missing certificate key", func(c *config.Config) {
			apns(c).Key, apns(c).CertificateFile, apns(c).CertificateKeyFile = "", certFile, rubbish+".missing"
		}, []string{"certificate_key_file", "no such file"}},
		{"a certificate that is none", func(c *config.Config) {
			apns(c).Key, apns(c).CertificateFile, apns(c).CertificateKeyFile = "", rubbish, rubbish
		}, []string{"certificate and its key do not load"}},
		{"another app's certificate", func(c *config.Config) {
			apns(c).Key, apns(c).CertificateFile, apns(c).CertificateKeyFile = "", certFile, keyFile
		}, []string{"not for the topic com.example.planetbell.voip"}},
		{"a missing PKCS#12 file", func(c *config.Config) { apns(c).Key, apns(c).P12File = "", rubbish+".missing" }, []string{"p12_file"}},
		{"a PKCS#12 file that is none", func(c *config.Config) { apns(c).Key, apns(c).P12File = "", rubbish }, []string{".p12 file does not open"}},
		{"an APNs URL that is none", func(c *config.Config) { apns(c).ProductionURL = "http://plain.example.com" }, []string{"apns[0]", "https"}},
		{"a service account that is none", func(c *config.Config) { c.Projects[0].FCM.ServiceAccount = planet.Secret(testlog.TextSecret("fcm")) }, []string{"project main", "fcm"}},
		{"a missing CA file", func(c *config.Config) { c.CAFile = rubbish + ".missing" }, []string{"ca_file", "no such file"}},
		{"a CA file without certificate", func(c *config.Config) { c.CAFile = rubbish }, []string{"ca_file", "no certificate in PEM form"}},
		{"two projects of one name", func(c *config.Config) { c.Projects = append(c.Projects, c.Projects[0]) }, []string{`named "main"`, "same callback secret"}},
		{"a short signing key", func(c *config.Config) { c.AppTokens.SigningKey = "5ec2e75ec2e7" }, []string{"igning key"}},
		{"a missing public certificate", func(c *config.Config) { c.Public.TLS.CertificateFile = rubbish + ".missing" }, []string{"public listener", "certificate"}},
		{"a missing admin certificate", func(c *config.Config) { c.Admin.TLS.CertificateFile = rubbish + ".missing" }, []string{"admin listener", "certificate"}},
		{"an address that is none", func(c *config.Config) { c.Public.Address = "127.0.0.1:http-or-so" }, []string{"public.address"}},
		{"a database that cannot be", func(c *config.Config) { c.Database.Path = filepath.Join(rubbish, "db") }, []string{"database"}},
	} {
		bad := free
		bad.Projects = slices.Clone(free.Projects)
		bad.Projects[0].APNs = slices.Clone(free.Projects[0].APNs)
		c.change(&bad)
		a, err := New(t.Context(), bad, testlog.New(t), "test")
		if err == nil {
			t.Errorf("%s: the server starts", c.what)
			stop(t, a)
			continue
		}
		testlog.Keep(t, c.what, err.Error())
		for _, words := range c.says {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%s: the error does not say %q: %v", c.what, words, err)
			}
		}
		if strings.Contains(err.Error(), testlog.Text) || strings.Contains(err.Error(), testlog.Hex) {
			t.Errorf("%s: the error shows a secret", c.what)
		}
	}
	a, err := New(t.Context(), free, testlog.New(t), "test")
	if err != nil {
		t.Fatalf("after all that, the right configuration does not start: %v", err)
	}
	stop(t, a)
}

func TestAPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for setting, change := range map[string]func(*config.Config){
		"public.address": func(c *config.Config) { c.Public.Address = taken.Addr().String() },
		"admin.address":  func(c *config.Config) { c.Admin.Address = taken.Addr().String() },
	} {
		c := settings(t)
		change(&c)
		_, err := New(t.Context(), c, testlog.New(t), "test")
		if want := setting + ": " + taken.Addr().String() + " is in use"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", setting, err, want)
		}
	}
}

// An embedded database belongs to one process.
func TestADatabaseInUse(t *testing.T) {
	t.Parallel()
	c := settings(t)
	first, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(t.Context(), c, testlog.New(t), "test")
	if err == nil {
		t.Error("two servers have one database open")
		stop(t, second)
	} else if !strings.Contains(err.Error(), "open the database") {
		t.Errorf("the error does not say what is in use: %v", err)
	}
	stop(t, first)
}

// Apps of one team that share a key share its connections; a certificate has its own.
func TestWhoSharesConnections(t *testing.T) {
	t.Parallel()
	c := settings(t)
	w := withProviders(t, &c)
	pair, err := w.CA.Push("com.example.certified", "com.example.certified.voip")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := sim.CertificatePEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := write(t, cert), write(t, key)
	change := func(f func(*config.APNs)) config.APNs {
		a := c.Projects[0].APNs[0]
		f(&a)
		return a
	}
	certified := change(func(a *config.APNs) {
		a.BundleID, a.Key, a.CertificateFile, a.CertificateKeyFile = "com.example.certified", "", certFile, keyFile
	})
	for _, x := range []struct {
		what    string
		entries []config.APNs
		clients int // one for each key or certificate and server, and FCM's
	}{
		{"one app", c.Projects[0].APNs, 2 + 1},
		{"two apps with one key", []config.APNs{c.Projects[0].APNs[0], change(func(a *config.APNs) { a.BundleID = "com.example.second" })}, 2 + 1},
		{"two keys", []config.APNs{c.Projects[0].APNs[0], change(func(a *config.APNs) { a.BundleID, a.KeyID = "com.example.second", "SIMKEY0002" })}, 4 + 1},
		{"another expiration", []config.APNs{c.Projects[0].APNs[0], change(func(a *config.APNs) { a.BundleID, a.VoIPExpiration = "com.example.second", 1e9 })}, 4 + 1},
		{"a key and a certificate", []config.APNs{c.Projects[0].APNs[0], certified}, 4 + 1},
		{"the same certificate twice", []config.APNs{certified, certified}, 4 + 1},
	} {
		cfg := c
		cfg.Projects = slices.Clone(c.Projects)
		cfg.Projects[0].APNs = x.entries
		s, err := newSenders(cfg, testlog.New(t), prometheus.NewRegistry())
		if err != nil {
			t.Errorf("%s: %v", x.what, err)
			continue
		}
		if len(s.clients) != x.clients {
			t.Errorf("%s: %d clients, want %d", x.what, len(s.clients), x.clients)
		}
		s.Close()
	}
}

// A certificate that is good for VoIP only makes an app that is rung by VoIP only.
func TestACertificateForOneChannel(t *testing.T) {
	t.Parallel()
	c := settings(t)
	w := withProviders(t, &c)
	pair, err := w.CA.Push("com.example.planetbell.voip")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := sim.CertificatePEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	a := &c.Projects[0].APNs[0]
	a.Key, a.CertificateFile, a.CertificateKeyFile = "", write(t, cert), write(t, key)
	s, err := newSenders(c, testlog.New(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	channels := s.Channels(&bell.Project{Name: "main"})
	if want := []bell.Channel{bell.LongPoll, bell.APNsVoIP, bell.FCM}; !slices.Equal(channels, want) {
		t.Errorf("the project's channels are %v, want %v", channels, want)
	}
	_, reason := s.Route(&bell.Device{Project: "main", Channel: bell.APNsAlert, APNsServer: bell.APNsProduction})
	if reason != "no_apns_alert_credential_for_production" {
		t.Errorf("an alert is refused with %q", reason)
	}
}

// A listener that breaks ends the server with an error, and everything is closed.
func TestABrokenListenerEndsTheServer(t *testing.T) {
	t.Parallel()
	c := settings(t)
	a, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.publicListener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "closed network connection") {
		t.Errorf("the server ended with %v, want the listener's error", err)
	}
	again, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatalf("the database was not closed: %v", err)
	}
	stop(t, again)
}

// The probe says whether calls are taken.
func TestReadiness(t *testing.T) {
	t.Parallel()
	ready := &signal{words: "msg=ready", heard: make(chan struct{})}
	a, err := New(t.Context(), settings(t), logInto(t, ready), "test")
	if err != nil {
		t.Fatal(err)
	}
	if s := a.readiness(t.Context()); s == "" {
		t.Error("the server is ready before it runs")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-ready.heard
	for path, want := range map[string]string{"/readyz": "ready\n", "/livez": "ok\n"} {
		if got := get(t, a.AdminURL()+path); got != want {
			t.Errorf("%s says %q, want %q", path, got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
	if s := a.readiness(t.Context()); s == "" {
		t.Error("the server is ready after its end")
	}
}

// signal tells when the log has said some words.
type signal struct {
	words string
	once  sync.Once
	heard chan struct{}
}

func (s *signal) Write(line []byte) (int, error) {
	if strings.Contains(string(line), s.words) {
		s.once.Do(func() { close(s.heard) })
	}
	return len(line), nil
}

// get fetches a page on a connection of its own.
func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		secure bool
		scheme string
	}{{true, "https://127.0.0.1:"}, {false, "http://127.0.0.1:"}} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if got := urlOf(l, c.secure); !strings.HasPrefix(got, c.scheme) || strings.HasSuffix(got, ":0") {
			t.Errorf("the URL is %s, want %s and the port", got, c.scheme)
		}
		_ = l.Close()
	}
	for base, want := range map[string][]string{"": nil, "https://calls.example.com/x": {"calls.example.com"}, "::": nil} {
		if got := hostsOf(&config.Config{Public: config.Public{BaseURL: base}}); !slices.Equal(got, want) {
			t.Errorf("the hosts of %q are %v, want %v", base, got, want)
		}
	}
}
