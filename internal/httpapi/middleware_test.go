package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
)

// TestOneLinePerRequest: each request has one line, with the pattern and never the
// path, whatever becomes of it. newWorld's cleanup searches all lines for secrets.
func TestOneLinePerRequest(t *testing.T) {
	w := newWorld(t)
	requests := good()
	secrets := "?apiKey=" + clientKey + "&param=" + ccParam
	requests = append(requests,
		request{"wrong secret", "GET", "/cb/" + testlog.HexSecret(9, 32) + "/notify" + notifyQuery(), "", nil},
		request{"secret in an unknown path", "GET", "/" + testlog.HexSecret(9, 32) + secrets, "", nil},
		request{"method", "DELETE", "/v2/register_user" + secrets, "", nil},
		request{"strange method", testlog.Text, "/v2/register_user", "", nil},
		request{"bad token", "GET", "/v2/access_token/issue" + secrets, "", as(testlog.TextSecret("wrong"))},
		request{"poll", "GET", "/v2/notification/lp" + secrets, "", as(appToken)},
	)
	for i, req := range requests {
		out := w.do(req.method, req.target, req.body, append(req.headers, "X-Request-Id", testlog.TextSecret("id"))...)
		lines := w.lines()
		if len(lines) != i+1 {
			t.Fatalf("%s: %d lines after %d requests", req.name, len(lines), i+1)
		}
		line := lines[i]
		if line["status"] != float64(out.StatusCode) || line["request_id"] != out.Header.Get("X-Request-Id") || line["took"] == nil {
			t.Errorf("%s: line %v for status %d", req.name, line, out.StatusCode)
		}
		if route, _ := line["route"].(string); route == "" || (route != "unmatched" && !strings.HasPrefix(route, "/v2/") && !strings.HasPrefix(route, "/cb/{secret}/")) {
			t.Errorf("%s: route %q", req.name, route)
		}
	}
	if n := w.metric("planetbell_http_requests_total"); n != float64(len(requests)) {
		t.Errorf("counted %v of %d requests", n, len(requests))
	}
}

func TestPanicsTellWhereAndNotWhat(t *testing.T) {
	zero := 0 // not a constant, which the compiler would refuse
	tests := []struct {
		name  string
		value func()
		says  string
	}{
		{"text with a secret", func() { panic("token " + appToken) }, "panic: string"},
		{"error with a secret", func() { panic(errors.New(ccParam)) }, "panic: *errors.errorString"},
		{"runtime error", func() { _ = []int{}[zero] }, "panic: runtime error: index out of range [0] with length 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.devices.register = func(context.Context, bell.Identity, device.Description) (device.Notice, error) {
				test.value()
				return device.Notice{}, nil
			}
			out := w.do("POST", "/v2/register_device", `{}`, as(appToken)...)
			out.want(t, http.StatusInternalServerError)
			line := w.lines()[0]
			if line["error"] != test.says || line["level"] != "ERROR" {
				t.Errorf("log line %v, want error %q", line, test.says)
			}
			if stack, _ := line["stack"].(string); !strings.Contains(stack, "middleware_test.go") {
				t.Errorf("the stack does not show where: %s", stack)
			}
		})
	}
}

// TestPanicAfterTheAnswerCutsTheConnection: half an answer must not look whole.
func TestPanicAfterTheAnswerCutsTheConnection(t *testing.T) {
	for _, value := range []any{http.ErrAbortHandler, "done failed"} {
		w := newWorld(t)
		w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) {
			return letter(func(bool) { panic(value) }), nil
		}
		r := httptest.NewRequest("GET", "/v2/notification/lp", nil)
		r.Header.Set("Authorization", "Bearer "+appToken)
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("panic %v reached net/http, want its own abort", p)
				}
			}()
			w.start().ServeHTTP(httptest.NewRecorder(), r)
		}()
		if lines := w.lines(); len(lines) != 1 || lines[0]["error"] == nil {
			t.Errorf("lines %v", lines)
		}
	}
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		name, remote, sent string
		taken              bool
	}{
		{"stranger", "198.51.100.1:1", "abc-123", false},
		{"trusted proxy", "10.0.0.1:1", "abc-123_X.y", true},
		{"trusted proxy, too long", "10.0.0.1:1", strings.Repeat("a", 65), false},
		{"trusted proxy, strange characters", "10.0.0.1:1", "a b\"", false},
		{"trusted proxy, none", "10.0.0.1:1", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			r := httptest.NewRequest("GET", "/nothing", nil)
			r.RemoteAddr = test.remote
			r.Header.Set("X-Request-Id", test.sent)
			got := w.send(r).Header.Get("X-Request-Id")
			if (got == test.sent) != test.taken || got == "" {
				t.Errorf("sent %q, answered %q", test.sent, got)
			}
		})
	}
}

// TestUnreadableBody: a body that breaks off is the client's or the network's fault.
func TestUnreadableBody(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("POST", "/v2/register_device", brokenBody{})
	r.Header.Set("Authorization", "Bearer "+appToken)
	w.send(r).want(t, http.StatusBadRequest)
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
