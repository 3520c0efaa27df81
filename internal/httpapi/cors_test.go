package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

const webOrigin = "https://app.example.com"

func corsWorld(t *testing.T) *world {
	w := newWorld(t)
	w.config.WebOrigins = []string{"https://App.Example.com/", "http://localhost:3000"}
	return w
}

func TestPreflight(t *testing.T) {
	tests := []struct {
		name, path, origin string
		status             int
		allowed            bool
	}{
		{"configured", "/v2/register_user", webOrigin, 204, true},
		{"configured with a port", "/v2/access_token/issue", "http://localhost:3000", 204, true},
		{"other port", "/v2/register_user", "http://localhost:3001", 403, false},
		{"other scheme", "/v2/register_user", "http://app.example.com", 403, false},
		{"begins alike", "/v2/register_user", webOrigin + ".evil.example", 403, false},
		{"null", "/v2/register_user", "null", 403, false},
		{"no browser", "/v2/register_user", "", 204, false},
		{"callback", cb("notify"), webOrigin, 405, false},
		{"contract", "/openapi.yaml", webOrigin, 405, false},
		{"unknown path", "/v2/nothing", webOrigin, 404, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := corsWorld(t)
			headers := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
			if test.origin != "" {
				headers = append(headers, "Origin", test.origin)
			}
			out := w.do("OPTIONS", test.path, "", headers...)
			if out.StatusCode != test.status {
				t.Errorf("status %d, want %d", out.StatusCode, test.status)
			}
			if test.status == 204 && len(out.body) > 0 {
				t.Errorf("body %q", out.body)
			}
			h := out.Header
			if got := h.Get("Access-Control-Allow-Origin"); (got == test.origin && got != "") != test.allowed {
				t.Errorf("Access-Control-Allow-Origin %q", got)
			}
			if !test.allowed {
				return
			}
			for _, name := range []string{"GET", "POST", "OPTIONS"} {
				if !strings.Contains(h.Get("Access-Control-Allow-Methods"), name) {
					t.Errorf("%s is not allowed", name)
				}
			}
			for _, name := range []string{"Authorization", "Content-Type", "Accept"} {
				if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
					t.Errorf("%s is not allowed", name)
				}
			}
			if h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Vary") != "Origin" || h.Get("Access-Control-Max-Age") != "600" {
				t.Errorf("headers %v", h)
			}
		})
	}
}

// TestPagesCanReadEveryAnswer: LINE's web client reads the body of the 409, and the
// status of the 401.
func TestPagesCanReadEveryAnswer(t *testing.T) {
	for _, req := range good()[:4] {
		for status, spoil := range map[int]func(*world){
			200: func(*world) {},
			500: func(w *world) { w.panicWith("bug") },
		} {
			w := corsWorld(t)
			spoil(w)
			out := w.do(req.method, req.target, req.body, append(req.headers, "Origin", webOrigin)...)
			out.want(t, status)
			if got := out.Header.Get("Access-Control-Allow-Origin"); got != webOrigin {
				t.Errorf("%s answered %d with Access-Control-Allow-Origin %q", req.name, status, got)
			}
			if !strings.Contains(out.Header.Get("Access-Control-Expose-Headers"), "X-Request-Id") {
				t.Error("the page cannot read the request ID")
			}
		}
	}
	w := corsWorld(t)
	out := w.do("GET", "/v2/access_token/issue", "", "Origin", webOrigin)
	if out.StatusCode != http.StatusUnauthorized || out.Header.Get("Access-Control-Allow-Origin") != webOrigin {
		t.Errorf("status %d, headers %v", out.StatusCode, out.Header)
	}
	// A page of another origin gets its answer, and its browser keeps it from the page.
	out = w.do("GET", "/v2/access_token/issue", "", append(as(appToken), "Origin", "https://evil.example")...)
	if out.StatusCode != http.StatusOK || out.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("status %d, headers %v", out.StatusCode, out.Header)
	}
}
