package serverapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "my-service"
	apiKey  = "test-api-key"
)

var (
	secret = planet.Secret(testlog.HexSecret(7, 64))
	room   = planet.RoomRef{RoomID: "room-1"}
	call   = serverapi.AgentCall{
		Caller: planet.UserRef{UserID: "agent-1"}, Callee: planet.UserRef{UserID: "bob"}, ContentIDs: []string{"abc"},
	}
)

// sent is one request as it went out.
type sent struct {
	method, uri, body string
	header            http.Header
}

// peer plays LINE Planet without a network, so that it can be used in a bubble of
// testing/synctest. reply is called for every request, with its number from 1.
type peer struct {
	reply func(n int, r *http.Request) (*http.Response, error)

	mu       sync.Mutex
	requests []sent
}

// RoundTrip implements http.RoundTripper.
func (p *peer) RoundTrip(r *http.Request) (*http.Response, error) {
	s := sent{method: r.Method, uri: r.URL.RequestURI(), header: r.Header.Clone()}
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(b)
	}
	p.mu.Lock()
	p.requests = append(p.requests, s)
	n := len(p.requests)
	p.mu.Unlock()
	return p.reply(n, r)
}

// status is a reply with an empty body.
func status(code int) (*http.Response, error) { return reply(code, "", nil) }

func reply(code int, body string, header http.Header) (*http.Response, error) {
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// inProcess is a network that leads to a handler.
type inProcess struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func newClient(t *testing.T, transport http.RoundTripper, change ...func(*serverapi.Config)) *serverapi.Client {
	t.Helper()
	c := serverapi.Config{
		Environment: planet.Evaluation, ServiceID: service, APIKey: apiKey, APISecret: secret, Transport: transport,
	}
	for _, f := range change {
		f(&c)
	}
	client, err := serverapi.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// failure returns the error as what it must be, and keeps its text to be searched.
func failure(t *testing.T, err error) *serverapi.Error {
	t.Helper()
	var e *serverapi.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, not a *serverapi.Error", err)
	}
	for _, form := range []string{"%v", "%+v", "%#v"} {
		text := fmt.Sprintf(form, e)
		testlog.Keep(t, "error", text)
		if strings.Contains(text, testlog.Hex) {
			t.Errorf("the error shows the secret: %s", text)
		}
	}
	return e
}
