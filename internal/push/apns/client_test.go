package apns

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestConfigRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no server":       func(c *Config) { c.Server = "" },
		"no credential":   func(c *Config) { c.Credential = Credential{} },
		"expiration":      func(c *Config) { c.VoIPExpiration = 16 * time.Second },
		"connections":     func(c *Config) { c.Connections = 21 },
		"in flight":       func(c *Config) { c.MaxInFlight = -1 },
		"attempt timeout": func(c *Config) { c.AttemptTimeout = -1 },
		"http":            func(c *Config) { c.BaseURL = "http://api.push.apple.com" },
		"path":            func(c *Config) { c.BaseURL = "https://api.push.apple.com/3/device" },
		"query":           func(c *Config) { c.BaseURL = "https://api.push.apple.com?x" },
		"no URL":          func(c *Config) { c.BaseURL = "https://[" },
	} {
		cfg := Config{Server: bell.APNsProduction, Credential: tokenCredential(t), Proxy: noProxy}
		change(&cfg)
		if c, err := NewClient(cfg); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%s: error %v", name, err)
			c.Close()
		}
	}
}

// TestDefaults needs no network: the clients are closed before anything answers.
func TestDefaults(t *testing.T) {
	for server, want := range map[bell.APNsServer]string{
		bell.APNsProduction: "api.push.apple.com:443", bell.APNsSandbox: "api.sandbox.push.apple.com:443",
	} {
		var cfg Config
		cfg.Server, cfg.Credential = server, tokenCredential(t)
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		if cfg.Connections != 2 || cfg.MaxInFlight != 500 || cfg.AttemptTimeout != 3*time.Second || cfg.VoIPExpiration != 0 {
			t.Errorf("defaults %d, %d, %v, %v", cfg.Connections, cfg.MaxInFlight, cfg.AttemptTimeout, cfg.VoIPExpiration)
		}
		c := newClient(t, pushtest.Target{}, func(cfg *Config) { // a port of our own: nothing is ever dialled outside
			cfg.Server = server
			cfg.BaseURL = "https://127.0.0.1:1"
		})
		c.Close()
		base := map[bell.APNsServer]string{bell.APNsProduction: productionURL, bell.APNsSandbox: sandboxURL}[server]
		if u, err := baseURL(base); err != nil || u.Host+":443" != want {
			t.Errorf("URL %v (%v), want %s", u, err, want)
		}
	}
}

func TestSenderRefused(t *testing.T) {
	c := newClient(t, pushtest.Target{URL: "https://127.0.0.1:1"}, nil)
	for _, id := range []string{"", bundle + ".voip", "com example", "../x", strings.Repeat("a", 200)} {
		if _, err := c.Sender(id, bell.APNsVoIP); bell.KindOf(err) != bell.Invalid {
			t.Errorf("bundle ID %q: error %v", id, err)
		}
	}
	if _, err := c.Sender(bundle, bell.FCM); bell.KindOf(err) != bell.Invalid {
		t.Errorf("FCM over APNs: error %v", err)
	}
	if !c.NotAfter().IsZero() {
		t.Error("a token key has an end")
	}
}

// TestMalformedTokens never reach the network: the URL would be somebody else's.
func TestMalformedTokens(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, nil)
	s := newSender(t, c, bell.APNsVoIP)
	for _, token := range []string{"", "xyz" + testlog.Hex, testlog.Hex + "/../x", testlog.Hex + "?a", testlog.Hex + "\r\n", strings.Repeat("a", 500)} {
		o := s.Send(t.Context(), pushtest.Ring(bell.APNsVoIP, planet.Secret(token)), delivery.Try{})
		if o.Verdict != bell.Rejected || o.Token != bell.TokenDrop || o.Status != 0 || strings.Contains(fmt.Sprint(o), testlog.Hex) {
			t.Errorf("outcome %+v", o)
		}
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	upper := planet.Secret(strings.ToUpper(pushToken.Reveal()))
	o := s.Send(t.Context(), pushtest.Ring(bell.APNsVoIP, upper), delivery.Try{})
	if want := "/3/device/" + pushToken.Reveal(); o.Verdict != bell.Accepted || server.Last(t).Path != want {
		t.Errorf("outcome %+v for a token in capitals", o)
	}
}

func TestVoIPExpiration(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, func(cfg *Config) { cfg.VoIPExpiration = 15 * time.Second })
	now := time.Unix(1767225600, 0)
	o := newSender(t, c, bell.APNsVoIP).Send(t.Context(), pushtest.Ring(bell.APNsVoIP, pushToken), delivery.Try{Now: now})
	want(t, o, bell.Accepted, "")
	if got := server.Last(t).Header.Get("Apns-Expiration"); got != "1767225615" {
		t.Errorf("apns-expiration %s, want 15 s from now", got)
	}
}

func TestAlertText(t *testing.T) {
	for name, c := range map[string]struct {
		call bell.Call
		want string
	}{
		"video": {bell.Call{Type: planet.VideoCall, Caller: planet.UserRef{UserID: "alice"}}, `"alert":{"title":"Incoming video call","body":"alice"}`},
		"name":  {bell.Call{CallerName: "Alice <A&B>", Caller: planet.UserRef{UserID: "alice"}}, `"body":"Alice <A&B>"`},
		"long":  {bell.Call{CallerName: strings.Repeat("é", 300)}, `"body":"` + strings.Repeat("é", 100) + `"`},
	} {
		got, err := alert(&c.call)
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
	}
}

// TestHTTP1Only: APNs is HTTP/2, so a server without it is not APNs.
func TestHTTP1Only(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(accept))
	server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: roots, Timeout: patience}, nil)
	want(t, send(t, newSender(t, c, bell.APNsVoIP), 1, false), bell.RetryConnect, "tls")
	silent := requireHTTP2("127.0.0.1")(tls.ConnectionState{})
	if !errors.Is(silent, errNoHTTP2) {
		t.Errorf("a server that says nothing about HTTP/2: %v", silent)
	}
	if err := requireHTTP2("api.push.apple.com")(tls.ConnectionState{ServerName: "proxy.example", NegotiatedProtocol: "http/1.1"}); err != nil {
		t.Errorf("a proxy need not speak HTTP/2: %v", err)
	}
}

// TestClientCertificateRefused: TLS 1.3 tells it with the first read, after the
// handshake has succeeded for us.
func TestClientCertificateRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(accept))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	leaf, key := certificate(t, bundle, topicList(t, bundle+".voip"))
	credential, err := CertificateCredential(pemCertificate(leaf), p8(t, key))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: roots, Timeout: time.Second}, func(cfg *Config) { cfg.Credential = credential })
	s := newSender(t, c, bell.APNsVoIP)
	for range 3 { // the alert may come while a request is under way, or between two
		o := send(t, s, 1, false)
		if o.Verdict != bell.RetryConnect {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestReasons(t *testing.T) {
	for want, err := range map[string]error{
		reasonDNS:   &net.OpError{Op: "dial", Err: &net.DNSError{Name: testlog.Text}},
		reasonDial:  &net.OpError{Op: "dial", Err: errors.New("refused")},
		reasonProxy: &net.OpError{Op: "proxyconnect", Err: errors.New("refused")},
		reasonTLS:   fmt.Errorf("x: %w", x509.HostnameError{Certificate: &x509.Certificate{}}),
	} {
		if got := dialReason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	for want, err := range map[string]error{
		reasonTimeout: context.DeadlineExceeded,
		reasonTLS:     &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		reasonLost:    io.ErrUnexpectedEOF,
		reasonGoAway:  errors.New("http2: Transport received Server's graceful shutdown GOAWAY"),
	} {
		if got, _ := exchangeReason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	for reason := range transportRules {
		if o := unanswered(reason); o.Verdict == "" || o.Token == "" || len(o.Detail) > 200 || !strings.HasSuffix(o.Detail, ".") {
			t.Errorf("%s: %+v", reason, o)
		}
	}
	for a, r := range rules {
		if r.verdict == "" || r.token == "" || len(r.detail) > 200 || !strings.HasSuffix(r.detail, ".") {
			t.Errorf("%v: %+v", a, r)
		}
	}
}

// cannotSign is a key whose signing fails.
type cannotSign struct{ crypto.Signer }

func (cannotSign) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New(testlog.Text)
}

// TestUnsignable: a key that cannot sign fails the attempt, which hands its stream back.
func TestUnsignable(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, nil)
	s := newSender(t, c, bell.APNsVoIP)
	good := c.tokens.key
	c.tokens.key = cannotSign{}
	for range 3 {
		want(t, send(t, s, 1, false), bell.Rejected, "credential")
	}
	c.tokens.key = good
	want(t, send(t, s, 1, false), bell.Accepted, "")
}

// TestCertificateExpires: the operator is warned, and the client works on.
func TestCertificateExpires(t *testing.T) {
	leaf, key := certificate(t, bundle, topicList(t, bundle+".voip"))
	credential, err := CertificateCredential(pemCertificate(leaf), p8(t, key))
	if err != nil {
		t.Fatal(err)
	}
	server := pushtest.NewServer(t, accept)
	registry := prometheus.NewRegistry()
	for left, warned := range map[time.Duration]bool{-time.Hour: true, 29 * 24 * time.Hour: true, 31 * 24 * time.Hour: false} {
		var logs bytes.Buffer
		c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, func(cfg *Config) {
			cfg.Credential, cfg.Log = credential, slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
			cfg.Clock = func() time.Time { return notAfter.Add(-left) }
			if left < 0 {
				cfg.Metrics = NewMetrics(registry)
			}
		})
		want(t, send(t, newSender(t, c, bell.APNsVoIP), 1, false), bell.Accepted, "")
		if left < 0 {
			if err := testutil.CollectAndCompare(c.metrics, strings.NewReader(`# HELP planetbell_provider_cert_expiry_seconds Time until the push certificate expires; negative when it has.
# TYPE planetbell_provider_cert_expiry_seconds gauge
planetbell_provider_cert_expiry_seconds{credential="test",provider="apns",server="sandbox"} -3600
`), "planetbell_provider_cert_expiry_seconds"); err != nil {
				t.Error(err)
			}
		}
		c.Close()
		if got := strings.Contains(logs.String(), "expires soon"); got != warned {
			t.Errorf("with %v left: warned %v", left, got)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, a := range answers() {
		f.Add(a.Status, []byte(a.Body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o, _ := classify(status, body)
		if o.Verdict == "" || o.Token == "" || len(o.Reason) > 64 || len(o.Detail) > 200 {
			t.Errorf("outcome %+v", o)
		}
		if o.Token == bell.TokenDrop && status != 410 && o.Reason != "MissingDeviceToken" {
			t.Errorf("a token is dropped without proof: %+v", o)
		}
		if !o.DeadSince.IsZero() && o.Token != bell.TokenDrop {
			t.Errorf("outcome %+v", o)
		}
	})
}

func FuzzGoAway(f *testing.F) {
	f.Add(`debug="{\"reason\":\"BadCertificate\"}"`)
	f.Fuzz(func(t *testing.T, text string) {
		said := goAwaySaid(text)
		if said != "" && !word.MatchString(said) {
			t.Errorf("%q", said)
		}
		if o := goAwayOutcome(said); o.Verdict != bell.RetryConnect || len(o.Detail) > 200 {
			t.Errorf("outcome %+v", o)
		}
	})
}
