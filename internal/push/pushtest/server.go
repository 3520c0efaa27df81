package pushtest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Server is an HTTPS server with HTTP/2 on loopback that records what it is asked.
type Server struct {
	URL   string
	Roots *x509.CertPool // vouch for it

	mu       sync.Mutex // guards what follows
	requests []Request
	conns    map[net.Conn]struct{}
	opened   int
}

// Request is one request as it came.
type Request struct {
	Method string
	Path   string
	Proto  string
	Header http.Header
	Host   string
	Body   []byte
}

// NewServer starts a server that ends with the test. handler can read the body, too.
func NewServer(t testing.TB, handler http.HandlerFunc) *Server {
	t.Helper()
	return newServer(t, handler, nil)
}

// newServer is NewServer with certificates of the test's own; nil: the usual one.
func newServer(t testing.TB, handler http.HandlerFunc, certificate func() *tls.Certificate) *Server {
	t.Helper()
	return newServerAt(t, "127.0.0.1:0", handler, certificate)
}

// newServerAt is newServer at a certain address.
func newServerAt(t testing.TB, address string, handler http.HandlerFunc, certificate func() *tls.Certificate) *Server {
	t.Helper()
	s := &Server{conns: make(map[net.Conn]struct{})}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return // the sender has gone
		}
		s.mu.Lock()
		if len(s.requests) < 10000 {
			s.requests = append(s.requests, Request{
				Method: r.Method, Path: r.URL.Path, Proto: r.Proto, Header: r.Header.Clone(), Host: r.Host, Body: body,
			})
		}
		s.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler(w, r)
	}))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("listen on loopback: %v", err)
	}
	_ = h.Listener.Close()
	h.Listener = listener
	h.EnableHTTP2 = true
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are broken off on purpose
	h.Config.ConnState = s.track
	if certificate != nil {
		// Not GetCertificate: httptest adds a certificate of its own, which goes before it.
		h.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{*certificate()}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}, nil
		}}
	}
	h.StartTLS()
	s.URL = h.URL
	s.Roots = x509.NewCertPool()
	s.Roots.AddCert(h.Certificate())
	t.Cleanup(func() {
		s.CutConnections() // handlers may wait for their client
		h.Close()
	})
	return s
}

func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = struct{}{}
		s.opened++
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// CutConnections ends all connections without a word of HTTP/2.
func (s *Server) CutConnections() {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		if inner, ok := c.(interface{ NetConn() net.Conn }); ok {
			c = inner.NetConn() // below TLS, which would say goodbye
		}
		_ = c.Close()
	}
}

// Opened returns how many connections were ever opened.
func (s *Server) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Requests returns what came so far, at most 10,000.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Last returns the last request.
func (s *Server) Last(t testing.TB) Request {
	t.Helper()
	all := s.Requests()
	if len(all) == 0 {
		t.Fatal("the server got no request")
	}
	return all[len(all)-1]
}
