package webhook

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// post sends one event for real.
func post(t *testing.T, p egress.Policy, address string) answer {
	t.Helper()
	transport := NewTransport(p, nil)
	defer transport.CloseIdleConnections()
	e := &Endpoint{Project: "acme", Name: "main", URL: planet.Secret(address)}
	return newPoster(transport, time.Now).post(t.Context(), e, e.URL, message{id: "evt_1", body: []byte(`{}`)})
}

// What a name, a notation or a redirect leads to is looked at when the connection is made.
func TestNothingGetsAroundThePolicy(t *testing.T) {
	reached := 0
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer inside.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f000001", "0177.0.0.1", "0"} {
		if a := post(t, egress.Policy{}, "http://"+host+":"+port+"/"); a.ok() || a.status != 0 {
			t.Errorf("%s was asked: %+v", host, a)
		}
	}
	if a := post(t, egress.Policy{}, "http://localhost:"+port+"/"); a.reason != reasonAddress {
		t.Errorf("a name that leads to loopback: %+v", a)
	}
	if reached != 0 {
		t.Errorf("the inside was reached %d times", reached)
	}
	loopback := egress.Policy{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	if a := post(t, loopback, inside.URL); !a.ok() || reached != 1 {
		t.Errorf("what is allowed does not work: %+v, reached %d times", a, reached)
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		outside := httptest.NewServer(http.RedirectHandler(inside.URL, code))
		if a := post(t, loopback, outside.URL); a.reason != reasonRedirect || a.status != code {
			t.Errorf("%d: %+v", code, a)
		}
		outside.Close()
	}
	if reached != 1 {
		t.Error("a redirect was followed")
	}
}

// An endpoint's answer is read only so far, and what is wrong with it is told in one word.
func TestHostileAnswers(t *testing.T) {
	loopback := egress.Policy{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		reason string
	}{
		"endless body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
					return
				}
			}
		}, ""},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}, reasonBroken},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n")
				_ = conn.Close()
			}
		}, reasonBroken},
		"refuses": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, reasonStatus},
		"gone":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, reasonGone},
	} {
		server := httptest.NewServer(test.handle)
		if a := post(t, loopback, server.URL); a.reason != test.reason {
			t.Errorf("%s: %+v, want reason %q", name, a, test.reason)
		}
		server.Close()
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	if a := post(t, loopback, closed.URL); a.reason != reasonDial {
		t.Errorf("nobody listens: %+v", a)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(testlog.New(t).Handler(), slog.LevelDebug)
	secure.StartTLS()
	defer secure.Close()
	if a := post(t, loopback, secure.URL); a.reason != reasonTLS {
		t.Errorf("a certificate that nobody vouches for: %+v", a)
	}
	if a := post(t, loopback, "https://name.invalid/"); a.reason != reasonDNS && a.reason != reasonTimeout {
		t.Errorf("a name that does not exist: %+v", a)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	e := &Endpoint{URL: planet.Secret(closed.URL)}
	if a := newPoster(NewTransport(loopback, nil), time.Now).post(stopped, e, e.URL, message{id: "evt_1"}); a.reason != reasonStopped {
		t.Errorf("a stop: %+v", a)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "90": 90 * time.Second, " 5 ": 5 * time.Second, "-5": 0, "1.5": 0, "soon": 0, "4000000000": 24 * time.Hour,
		"99999999999999999999": 0, "Thu, 01 Jan 2026 12:01:00 GMT": time.Minute, "Thu, 01 Jan 2026 11:00:00 GMT": 0, "Fri, 01 Jan 2100 00:00:00 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// The ID stands between dots in what is signed, and in a header.
func TestMessageID(t *testing.T) {
	good := bell.EventID(bell.EventCallEnded, "real", "sid")
	if messageID(good) != good || messageID("room_1-A") != "room_1-A" {
		t.Error("an ID that may stand there was changed")
	}
	seen := map[string]bool{}
	for _, id := range []string{"", "a.b", "a b", "a\r\nX: y", "é", strings.Repeat("a", 129)} {
		got := messageID(id)
		if got == id || strings.ContainsAny(got, ". \r\n") || seen[got] || got != messageID(id) {
			t.Errorf("%q becomes %q", id, got)
		}
		seen[got] = true
	}
}

func TestPauses(t *testing.T) {
	var longest time.Duration
	for n := 1; ; n++ {
		pause, again := next(n)
		if !again {
			if n != 10 {
				t.Errorf("given up after %d tries, want 10", n)
			}
			break
		}
		if pause < pauses[n-1] || pause > pauses[n-1]*11/10 {
			t.Errorf("pause %d is %v, want %v and at most a tenth more", n, pause, pauses[n-1])
		}
		longest += pauses[n-1] * 11 / 10
	}
	if openFor <= longest {
		t.Errorf("an event is open for %v, but its tries take up to %v", openFor, longest)
	}
	if leaseTime < 2*postTimeout+storeTimeout {
		t.Error("a lease may end while its event is being told")
	}
}
