package console_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/testlog"
)

// pipes is a listener in memory, which a test's own clock can bound.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// serving runs a server of a handler, by HTTP/2 over TLS if secure, and returns how to reach it.
func serving(t *testing.T, h http.Handler, secure bool) *pipes {
	t.Helper()
	at, server := newPipes(), console.NewServer(h, testlog.New(t))
	done := make(chan error, 1)
	go func() {
		if !secure {
			done <- server.Serve(at)
			return
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
		done <- server.ServeTLS(at, "", "")
	}()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return at
}

// certificate is httptest's, for example.com.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	return s.TLS.Certificates[0]
}

// get sends a request with the admin token, or with what change makes of it.
func get(t *testing.T, at *pipes, secure bool, path string, change ...func(*http.Request)) (*http.Response, error) {
	t.Helper()
	transport := &http.Transport{DialContext: at.dial, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	scheme := "http"
	if secure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a certificate of the test's own
		scheme = "https"
	}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
	for _, c := range change {
		c(r)
	}
	return transport.RoundTrip(r)
}

// Who does not read an answer holds the server for a minute.
func TestSlowReaders(t *testing.T) {
	for _, path := range []string{"/livez", "/metrics", "/signin", "/", "/admin/v1/devices", "/admin/v1/nothing", "/debug/pprof/goroutine?debug=2"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := serving(t, newHandler(t, told(t), testConfig()), false)
				conn, _ := at.dial(t.Context(), "", "")
				defer conn.Close()
				if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+adminToken.Reveal()+"\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Minute + time.Second)
				if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("a minute later there are %d bytes, %v", n, err)
				}
			})
		})
	}
}

// A page follows a call for its ten minutes, over HTTP/1.1 and HTTP/2, though nothing changes for
// longer than a write may take, and though sessions cannot be looked up for a while at first.
func TestAStreamOutlivesTheServersLimits(t *testing.T) {
	f := told(t)
	f.show = ringing
	config := rolesConfig()
	cookie := signInAs(t, newHandler(t, f, config), bell.Viewer)
	sessions := config.SignIn.Store
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			config.SignIn.Store = &awaySessions{Store: sessions}
			synctest.Test(t, func(t *testing.T) {
				at := serving(t, newHandler(t, f, config), secure)
				start := time.Now()
				resp, err := get(t, at, secure, live, anonymous, func(r *http.Request) { r.AddCookie(cookie) })
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				told := 0
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					if lines.Text() == "" {
						told++
					}
				}
				if took := time.Since(start); took != 10*time.Minute || told < 30 || (resp.ProtoMajor == 2) != secure {
					t.Errorf("by %s there were %d events in %s", resp.Proto, told, took)
				}
			})
		})
	}
}

// awaySessions finds a session once, then none for 90 times.
type awaySessions struct {
	signin.Store
	asked atomic.Int32
}

func (a *awaySessions) FindSignIn(ctx context.Context, key string, now, since time.Time) (string, time.Time, bool, error) {
	if n := a.asked.Add(1); n > 1 && n <= 91 {
		return "", time.Time{}, false, bell.E(bell.Unavailable, "The database is away.", nil)
	}
	return a.Store.FindSignIn(ctx, key, now, since)
}

// A profile takes as long as it is told to.
func TestAProfileOutlivesTheServersLimits(t *testing.T) {
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := serving(t, newHandler(t, told(t), testConfig()), secure)
				start := time.Now()
				resp, err := get(t, at, secure, "/debug/pprof/goroutine?seconds=90")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if took := time.Since(start); err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 || took != 90*time.Second {
					t.Errorf("%d, %d bytes in %s, %v", resp.StatusCode, len(body), took, err)
				}
			})
		})
	}
}

// A database that does not answer keeps nobody waiting for long who is asked who they are, also
// where a route may take as long as it likes.
func TestWhoAsksIsFoundOutInTime(t *testing.T) {
	config := rolesConfig()
	config.ProtectMetrics = true
	cookie := signInAs(t, newHandler(t, newFake(t), config), bell.Admin)
	config.SignIn.Store = hangingSessions{config.SignIn.Store}
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, newFake(t), config)
		for _, path := range []string{live, "/debug/pprof/goroutine", "/metrics", "/admin/v1/projects"} {
			start := time.Now()
			w := ask(t, h, "GET", path, "", anonymous, func(r *http.Request) { r.AddCookie(cookie) })
			wantProblem(t, w, http.StatusServiceUnavailable, "unavailable", "")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s: answered after %s", path, took)
			}
		}
	})
}

// hangingSessions finds no session before it is given up.
type hangingSessions struct{ signin.Store }

func (hangingSessions) FindSignIn(ctx context.Context, _ string, _, _ time.Time) (string, time.Time, bool, error) {
	select {
	case <-ctx.Done():
		return "", time.Time{}, false, ctx.Err()
	case <-time.After(time.Hour):
		return "", time.Time{}, false, errors.New("nobody gave up")
	}
}
