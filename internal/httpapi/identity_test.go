package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/httpapi"
)

// A callback URL says which server it leads to, to whoever knows the URL and asks, also from an
// address from which no callbacks are taken. Nothing else does.
func TestIdentity(t *testing.T) {
	const nonce = "0123456789abcdef"
	for _, test := range []struct {
		name, method, target, nonce string
		status                      int
		answered                    bool
	}{
		{"asked", "HEAD", cb("notify"), nonce, http.StatusOK, true},
		{"asked without parameters", "GET", cb("call-event"), nonce, http.StatusOK, true},
		{"not asked", "GET", cb("notify"), "", http.StatusOK, false},
		{"short", "GET", cb("notify"), nonce[1:], http.StatusOK, false},
		{"long", "GET", cb("notify"), strings.Repeat("0", 65), http.StatusOK, false},
		{"wrong secret", "GET", strings.Replace(cb("notify"), "/cb/", "/cb/0", 1), nonce, http.StatusNotFound, false},
		{"another path", "GET", "/openapi.yaml", nonce, http.StatusOK, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Identity = func(nonce string) string { return "answer to " + nonce }
			r := httptest.NewRequest(test.method, "http://planetbell.test"+test.target, nil)
			r.Header.Set(httpapi.NonceHeader, test.nonce)
			out := w.send(r)
			want := ""
			if test.answered {
				want = "answer to " + test.nonce
			}
			if got := out.Header.Get(httpapi.IdentityHeader); got != want || out.StatusCode != test.status {
				t.Errorf("%d, identity %q; want %d, %q", out.StatusCode, got, test.status, want)
			}
		})
	}
	w := newWorld(t)
	w.config.Identity = func(string) string { return "it is me" }
	w.config.CallbackSources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	r := httptest.NewRequest(http.MethodGet, "http://planetbell.test"+cb("notify"), nil)
	r.Header.Set(httpapi.NonceHeader, nonce)
	if out := w.send(r); out.StatusCode != http.StatusForbidden || out.Header.Get(httpapi.IdentityHeader) != "it is me" {
		t.Errorf("%d, %v", out.StatusCode, out.Header)
	}
}
