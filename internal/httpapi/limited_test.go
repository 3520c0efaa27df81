package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
)

func TestSignUpsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.config.SignUpsPerMinute = 3
	signUp := good()[0]
	for range 3 {
		w.do(signUp.method, signUp.target, signUp.body).want(t, http.StatusOK)
	}
	out := w.do(signUp.method, signUp.target, signUp.body)
	out.want(t, http.StatusTooManyRequests)
	if out.Header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q", out.Header.Get("Retry-After"))
	}
	other := httptest.NewRequest(signUp.method, signUp.target, strings.NewReader(signUp.body))
	other.RemoteAddr = "198.51.100.77:1"
	w.send(other).want(t, http.StatusOK)
}

// TestMissesAreLimited: unknown paths and wrong secrets count together and look alike,
// and whoever has the right secret is never refused.
func TestMissesAreLimited(t *testing.T) {
	w := newWorld(t)
	w.config.MissesPerMinute = 4
	wrong := "/cb/" + testlog.HexSecret(2, 32) + "/notify"
	for range 2 {
		w.do("GET", wrong, "").want(t, http.StatusNotFound)
		w.do("GET", "/nothing", "").want(t, http.StatusNotFound)
	}
	one, other := w.do("GET", wrong, ""), w.do("GET", "/nothing", "")
	one.want(t, http.StatusTooManyRequests)
	other.want(t, http.StatusTooManyRequests)
	if one.envelope.Message != other.envelope.Message {
		t.Errorf("%q and %q differ", one.envelope.Message, other.envelope.Message)
	}
	if lines := w.lines(); lines[len(lines)-1]["level"] != "DEBUG" {
		t.Error("a scanner can fill the log")
	}
	if n := w.metric("planetbell_http_limited_total"); n != 2 {
		t.Errorf("counted %v refusals, want 2", n)
	}
	for _, req := range good()[:8] {
		w.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusOK)
	}
}

func TestBadTokensAreLimitedButOnPolls(t *testing.T) {
	w := newWorld(t)
	w.config.MissesPerMinute = 2
	for _, status := range []int{401, 401, 429} {
		w.do("GET", "/v2/access_token/issue", "", as("wrong")...).want(t, status)
	}
	// 429 would mean the same to no client, and 401 is the truth.
	w.do("GET", "/v2/notification/lp", "", as("wrong")...).want(t, http.StatusUnauthorized)
	w.do("GET", "/v2/access_token/issue", "", as(appToken)...).want(t, http.StatusOK)
}

// A user who asks for access tokens without end is stopped.
func TestAccessTokensAreLimitedByUser(t *testing.T) {
	w := newWorld(t)
	w.config.AccessTokensPerMinute = 2
	for _, status := range []int{200, 200, 429} {
		w.do("GET", "/v2/access_token/issue", "", as(appToken)...).want(t, status)
	}
	if n := w.metric("planetbell_http_limited_total"); n != 1 {
		t.Errorf("counted %v refusals, want 1", n)
	}
}

// Receipts of one user are limited: each is a transaction.
func TestReceiptsAreLimitedByUser(t *testing.T) {
	w := newWorld(t)
	w.config.ReceiptsPerMinute = 2
	for _, status := range []int{200, 200, 429} {
		w.do("POST", "/v2/notification/ack", `{"sid":"`+sid+`"}`, as(appToken)...).want(t, status)
	}
	if n := w.metric("planetbell_http_limited_total"); n != 1 {
		t.Errorf("counted %v refusals, want 1", n)
	}
}

func TestDefaultsLimit(t *testing.T) {
	w := newWorld(t)
	w.config.MissesPerMinute, w.config.SignUpsPerMinute = 0, 0
	for range 60 {
		w.do("GET", "/nothing", "").want(t, http.StatusNotFound)
	}
	w.do("GET", "/nothing", "").want(t, http.StatusTooManyRequests)
}
