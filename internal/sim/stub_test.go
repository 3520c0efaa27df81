package sim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is a request of a phone.
type seen struct {
	Method string
	Path   string
	Query  string
	Header http.Header
	Body   string
}

// stub is an app server that follows docs/line-planet.md 6.7, and can be told not to.
type stub struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	requests []seen
	arrived  chan seen
	answers  map[string][]func(http.ResponseWriter) // next answers by last word of the path
	polls    chan func(http.ResponseWriter)         // a poll waits for one
	expires  time.Time
	origin   string
}

func newStub(t *testing.T) *stub {
	t.Helper()
	s := &stub{
		t: t, arrived: make(chan seen, 1000), answers: map[string][]func(http.ResponseWriter){},
		polls: make(chan func(http.ResponseWriter), 100), expires: testNow.Add(time.Hour),
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP answers one request.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q := seen{r.Method, r.URL.Path, r.URL.RawQuery, r.Header, string(body)}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	s.mu.Lock()
	s.requests = append(s.requests, q)
	var answer func(http.ResponseWriter)
	if list := s.answers[name]; len(list) > 0 {
		answer, s.answers[name] = list[0], list[1:]
	}
	origin, expires := s.origin, s.expires
	s.mu.Unlock()
	s.arrived <- q
	if origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept")
	}
	switch {
	case answer != nil:
		answer(w)
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case name == "register_user":
		success(`{"accessToken":"` + appToken(expires) + `"}`)(w)
	case name == "key":
		success(`{"publicKey":"` + stubKey + `"}`)(w)
	case name == "issue":
		success(`{"gwAccessToken":"gw"}`)(w)
	case name == "lp":
		select {
		case answer := <-s.polls:
			answer(w)
		case <-r.Context().Done():
		}
	default:
		success(`{}`)(w)
	}
}

// stubKey is a VAPID public key; it is the one of RFC 8291 section 5, as any would do.
const stubKey = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

// script sets the next answers of an endpoint.
func (s *stub) script(name string, answers ...func(http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = answers
}

// next returns the next request that came.
func (s *stub) next() seen {
	s.t.Helper()
	select {
	case q := <-s.arrived:
		return q
	case <-testContext(s.t).Done():
		s.t.Fatal("no request came")
		return seen{}
	}
}

// paths returns the next n requests as "METHOD path".
func (s *stub) paths(n int) []string {
	s.t.Helper()
	var out []string
	for range n {
		q := s.next()
		out = append(out, q.Method+" "+q.Path)
	}
	return out
}

// success answers as docs/line-planet.md 6.7 says.
func success(data string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = fmt.Fprintf(w, `{"status":"success","data":%s,"timestamp":1580218637059}`, data)
	}
}

// failure answers an error as docs/line-planet.md 6.7 says.
func failure(status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":"error","message":"no","code":"%d","data":null,"timestamp":1}`, status)
	}
}

// callAnswer is a poll answer with a call.
func callAnswer(ccParam string) func(http.ResponseWriter) {
	b, _ := json.Marshal(map[string]string{
		"app_call_type": "A", "app_callee_uid": "bob", "app_callee_sid": "svc", "app_caller_uid": "alice",
		"app_caller_sid": "svc", "_env": "real", "cc_param": ccParam,
	})
	return success(string(b))
}

// appToken is an app token that every app can read.
func appToken(expires time.Time) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256","typ":"JWT"}`) + "." +
		part(fmt.Sprintf(`{"sub":"bob","uid":"bob","jti":"1","iat":1,"exp":%d}`, expires.Unix())) + ".CANARY"
}
