package fcm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestServiceAccountRefused(t *testing.T) {
	const uri = "https://oauth2.example/token"
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		account planet.Secret
		want    string
	}{
		"no JSON":    {planet.Secret(testlog.TextSecret("account")), "JSON"},
		"empty":      {"", "JSON"},
		"other type": {serviceAccount(t, uri, map[string]any{"type": "external_account"}), "service_account"},
		"no email":   {serviceAccount(t, uri, map[string]any{"client_email": ""}), "client_email"},
		"no key ID":  {serviceAccount(t, uri, map[string]any{"private_key_id": ""}), "private_key_id"},
		"project":    {serviceAccount(t, uri, map[string]any{"project_id": "../" + testlog.Text}), "project_id"},
		"http":       {serviceAccount(t, "http://oauth2.example/token", nil), "token_uri"},
		"user":       {serviceAccount(t, "https://"+testlog.Text+"@oauth2.example/token", nil), "token_uri"},
		"no PEM":     {serviceAccount(t, uri, map[string]any{"private_key": testlog.TextSecret("key")}), "PEM"},
		"no key":     {serviceAccount(t, uri, map[string]any{"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}), "load"},
		"EC key":     {serviceAccount(t, uri, map[string]any{"private_key": pkcs8(t, ec)}), "RSA"},
	} {
		_, err := NewClient(Config{ServiceAccount: c.account})
		if bell.KindOf(err) != bell.Invalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), testlog.Text) {
			t.Errorf("%s: error %v, want one about %s", name, err, c.want)
		}
		if err != nil {
			testlog.Keep(t, name, err.Error())
		}
	}
}

func TestConfigRefused(t *testing.T) {
	good := serviceAccount(t, "https://oauth2.example/token", nil)
	for name, cfg := range map[string]Config{
		"http":        {BaseURL: "http://fcm.example"},
		"path":        {BaseURL: "https://fcm.example/v1"},
		"password":    {BaseURL: "https://a:b@fcm.example"},
		"not a URL":   {BaseURL: "https://fcm.example:port"},
		"connections": {Connections: 21},
		"in flight":   {MaxInFlight: -1},
		"timeout":     {AttemptTimeout: -time.Second},
		"pace":        {PerSecond: -1},
	} {
		cfg.ServiceAccount = good
		if c, err := NewClient(cfg); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%s: error %v", name, err)
			c.Close()
		}
	}
}

// TestDefaults needs no network: it closes the client before anything answers.
func TestDefaults(t *testing.T) {
	c, err := NewClient(Config{
		ServiceAccount: serviceAccount(t, "https://127.0.0.1:1/token", nil),
		Proxy:          func(*http.Request) (*url.URL, error) { return nil, errors.New("no network in tests") },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close() // a second time does nothing
	if got := c.sendURL.String(); got != "https://fcm.googleapis.com/v1/projects/bell-test/messages:send" {
		t.Errorf("URL %s", got)
	}
	if c.timeout != 10*time.Second || cap(c.slots) != 500 || c.pace.Limit() != 10_000 || c.pace.Burst() != 10_000 {
		t.Errorf("timeout %v, in flight %d, %v messages a second", c.timeout, cap(c.slots), c.pace.Limit())
	}
}

// TestSpareConnection: first choice and spare share nothing.
func TestSpareConnection(t *testing.T) {
	server := pushtest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !tokenServer(w, r) {
			accept(w, r)
		}
	})
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Log: testlog.New(t)}, nil)
	for i := range 6 {
		o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{Number: 1, Spare: i%2 == 1})
		if o.Verdict != bell.Accepted || o.ProviderID == "" {
			t.Errorf("outcome %+v", o)
		}
	}
	if n := server.Opened(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	if r := server.Last(t); r.Proto != "HTTP/2.0" {
		t.Errorf("protocol %s", r.Proto)
	}
}

// TestBusy: more messages at once than allowed wait, no longer than their context.
func TestBusy(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	server := pushtest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		if tokenServer(w, r) {
			return
		}
		close(arrived)
		<-finish
		accept(w, r)
	})
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: time.Minute}, func(cfg *Config) { cfg.MaxInFlight = 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		if o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{}); o.Verdict != bell.Accepted {
			t.Errorf("outcome %+v", o)
		}
	})
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if o := client.Send(ctx, pushtest.Ring(bell.FCM, pushToken), delivery.Try{}); o.Reason != "busy" || o.Verdict != bell.RetryConnect {
		t.Errorf("outcome %+v", o)
	}
	close(finish)
	wg.Wait()
}

// TestPace: messages beyond Google's quota wait for their turn, no longer than their
// context, and are not sent when it would come too late.
func TestPace(t *testing.T) {
	server := pushtest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !tokenServer(w, r) {
			accept(w, r)
		}
	})
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: time.Minute}, func(cfg *Config) { cfg.PerSecond = 7 })
	if client.pace.Limit() != 7 || client.pace.Burst() != 7 {
		t.Errorf("%v messages a second and %d at once, want 7 and 7", client.pace.Limit(), client.pace.Burst())
	}
	client.pace = rate.NewLimiter(rate.Every(time.Hour), 3)
	for i := range 5 {
		o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{})
		if i < 3 && o.Verdict != bell.Accepted || i >= 3 && (o.Verdict != bell.RetryConnect || o.Reason != "busy" || !o.Unsent) {
			t.Errorf("message %d: %+v", i+1, o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := client.Send(ctx, pushtest.Ring(bell.FCM, pushToken), delivery.Try{}); o.Reason != "cancelled" || !o.Unsent || o.Alarm != bell.AlarmNone {
		t.Errorf("a message that was called off while it waited: %+v", o)
	}
	pushes := 0
	for _, r := range server.Requests() {
		if r.Path != "/token" {
			pushes++
		}
	}
	if pushes != 3 {
		t.Errorf("%d messages were sent, want 3", pushes)
	}
	client.pace = rate.NewLimiter(rate.Every(time.Millisecond), 1)
	for range 3 {
		if o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{}); o.Verdict != bell.Accepted {
			t.Errorf("a message whose turn comes in time: %+v", o)
		}
	}
}

// TestColdStart is row 5 of the matrix: a thousand messages at once fail none, and open no
// more connections than are documented: those that may be dialled at once, and as many as
// the messages under way need at 100 streams each, which is what net/http takes for
// granted until a server has said how many it allows.
func TestColdStart(t *testing.T) {
	server := pushtest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !tokenServer(w, r) {
			accept(w, r)
		}
	})
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: time.Minute}, nil)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{Number: 1}); o.Verdict != bell.Accepted {
				t.Errorf("outcome %+v", o)
			}
		})
	}
	wg.Wait()
	const connections, inFlight, streams = 2, 500, 100
	if n := server.Opened(); n > connections+inFlight/streams {
		t.Errorf("%d connections, want at most %d", n, connections+inFlight/streams)
	}
}

// TestUnsent holds the column of the table against what each reason means.
func TestUnsent(t *testing.T) {
	want := map[string]bool{
		"dial": true, "dns": true, "proxy": true, "tls": true, "busy": true, "refused_stream": true,
		"oauth_timeout": true, "oauth_unavailable": true, "oauth_invalid_grant": true, "oauth_refused": true,
		"timeout": false, "cancelled": false, "goaway": false, "reset": false, "connection_lost": false, "closed": false,
	}
	for reason := range transportRules {
		if unsent, known := want[reason]; !known || unanswered(reason).Unsent != unsent {
			t.Errorf("%s: unsent %v", reason, unanswered(reason).Unsent)
		}
	}
}

// TestTokenServerFails: what the token server does decides the outcome of a push.
func TestTokenServerFails(t *testing.T) {
	for name, c := range map[string]struct {
		token   http.HandlerFunc
		verdict bell.Verdict
		reason  string
	}{
		"unwell": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, bell.RetryBackoff, reasonTokenUnavailable},
		"stalls": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, bell.RetryBackoff, reasonTokenLate},
		"resets": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, bell.RetryBackoff, reasonTokenUnavailable},
		"revoked": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%s"}`, testlog.Text)
		}, bell.Rejected, reasonInvalidGrant},
	} {
		t.Run(name, func(t *testing.T) {
			server := pushtest.NewServer(t, c.token)
			client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: 300 * time.Millisecond, Log: testlog.New(t)}, nil)
			o := client.Send(t.Context(), pushtest.Ring(bell.FCM, pushToken), delivery.Try{})
			if o.Verdict != c.verdict || o.Reason != c.reason || !o.Unsent {
				t.Errorf("outcome %+v", o)
			}
			testlog.Keep(t, name, fmt.Sprintf("%+v", o))
		})
	}
}

// TestProxy: a proxy that refuses is named in the outcome, and its answer is not.
func TestProxy(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, pushtest.Target{URL: "https://fcm.example", Roots: x509.NewCertPool(), Timeout: 300 * time.Millisecond}, func(cfg *Config) {
		cfg.Proxy = http.ProxyURL(u)
	})
	o := client.exchange(t.Context(), client.transports[1], "token", []byte("{}"))
	if o.Reason != reasonProxy || o.Verdict != bell.RetryConnect || asked.Load() == 0 {
		t.Errorf("outcome %+v", o)
	}
}

func TestExchangeReason(t *testing.T) {
	for want, err := range map[string]error{
		reasonDNS:     &net.OpError{Op: "dial", Err: &net.DNSError{Name: testlog.Text}},
		reasonDial:    &net.OpError{Op: "dial", Err: errors.New("refused")},
		reasonProxy:   &net.OpError{Op: "proxyconnect", Err: errors.New("refused")},
		reasonTLS:     &net.OpError{Op: "dial", Err: x509.UnknownAuthorityError{}},
		reasonGoAway:  errors.New("http2: server sent GOAWAY and closed the connection"),
		reasonTimeout: fmt.Errorf("x: %w", context.DeadlineExceeded),
		reasonLost:    errors.New("anything"),
	} {
		if got := exchangeReason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	server := pushtest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !tokenServer(w, r) {
			accept(w, r)
		}
	})
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots}, func(cfg *Config) { cfg.Metrics = metrics })
	if err := client.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	metrics.ended(client)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(families)
	testlog.Keep(t, "metrics", text)
	for _, name := range []string{"planetbell_provider_connections", "planetbell_provider_credential_age_seconds", "planetbell_provider_goaway_total"} {
		if !strings.Contains(text, name) {
			t.Errorf("the metric %s is missing", name)
		}
	}
	client.Close()
	// A credential that is being replaced has two clients for a while.
	same := func(cfg *Config) { cfg.Metrics = metrics }
	one, two := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots}, same), newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots}, same)
	if _, err := registry.Gather(); err != nil {
		t.Errorf("two clients of one name: %v", err)
	}
	one.Close()
	two.Close()
	if n := testutil.CollectAndCount(metrics, "planetbell_provider_connections"); n != 0 {
		t.Errorf("a closed client still has %d connection metrics", n)
	}
	if n := client.conns.Count(); n != 0 {
		t.Errorf("%d connections are left open", n)
	}
}

func FuzzClassify(f *testing.F) {
	for _, a := range answers() {
		f.Add(a.Status, []byte(a.Body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o := classify(status, body)
		if o.Verdict == "" || o.Token == "" || len(o.Reason) > 64 || len(o.Detail) > 200 || len(o.ProviderID) > 250 {
			t.Errorf("outcome %+v", o)
		}
		if o.Token == bell.TokenDrop && !strings.Contains(string(body), "UNREGISTERED") && !strings.Contains(string(body), `\u`) {
			t.Errorf("a token is dropped without proof: %+v", o)
		}
	})
}

func FuzzGranted(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"ya29.x","expires_in":3600}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		token, failure := granted(status, body, time.Unix(0, 0))
		if (failure == nil) != headerSafe(token.text) {
			t.Errorf("token %d bytes, failure %v", len(token.text), failure)
		}
	})
}
