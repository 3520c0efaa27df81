package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestReason(t *testing.T) {
	op := func(what string, cause error) error { return &net.OpError{Op: what, Err: cause} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{io.EOF, ""},
		{op("read", io.EOF), ""},
		{op("dial", io.EOF), Dial},
		{op("dial", &net.DNSError{}), DNS},
		{op("proxyconnect", op("dial", io.EOF)), Proxy},
		{errProxyRefused, Proxy},
		{op("remote error", io.EOF), TLS},
		{op("local error", io.EOF), TLS},
		{tls.RecordHeaderError{}, TLS},
		{&tls.CertificateVerificationError{Err: io.EOF}, TLS},
		{x509.UnknownAuthorityError{}, TLS},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, TLS},
		{x509.CertificateInvalidError{}, TLS},
	} {
		for _, err := range []error{c.err, fmt.Errorf("post: %w", c.err)} {
			if got := Reason(err); got != c.want {
				t.Errorf("Reason(%T) = %q, want %q", c.err, got, c.want)
			}
		}
	}
}

func TestResetCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code uint32
		want bool
	}{
		{io.EOF, 0, false},
		{streamError{Code: 2}, 2, true},
		{fmt.Errorf("post: %w", streamError{Code: RefusedStream}), RefusedStream, true},
	} {
		if code, reset := ResetCode(c.err); code != c.code || reset != c.want {
			t.Errorf("%v: %d, %v; want %d, %v", c.err, code, reset, c.code, c.want)
		}
	}
}

func TestIsAlert(t *testing.T) {
	for want, err := range map[bool]error{
		true:  fmt.Errorf("post: %w", &net.OpError{Op: "remote error", Err: io.EOF}),
		false: &net.OpError{Op: "local error", Err: io.EOF},
	} {
		if IsAlert(err) != want {
			t.Errorf("%v: want %v", err, want)
		}
	}
}

// TestRequireTunnel is against a proxy that refuses everybody.
func TestRequireTunnel(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address), OnProxyConnectResponse: RequireTunnel, HTTP2: Pings()}}
	res, err := client.Get("https://provider.invalid/")
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, errProxyRefused) || Reason(err) != Proxy {
		t.Errorf("error %v, reason %q", err, Reason(err))
	}
	if err := RequireTunnel(t.Context(), nil, nil, &http.Response{StatusCode: http.StatusOK}); err != nil {
		t.Errorf("a tunnel that is open: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "5": 5 * time.Second, " 5 ": 5 * time.Second, "3601": time.Hour, "99999999999999999999": 0, "-3": 0, "1.5": 0, "x": 0,
		"Tue, 24 Nov 2026 12:00:07 GMT": 7 * time.Second, "Tue, 24 Nov 2026 11:59:00 GMT": 0, "Wed, 24 Nov 2027 12:00:00 GMT": time.Hour,
		"Tuesday, 24-Nov-26 12:00:07 GMT": 7 * time.Second, strings.Repeat("9", 100): 0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("5")
	f.Add("Tue, 24 Nov 2026 12:00:07 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		if d := RetryAfter(value, time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}
