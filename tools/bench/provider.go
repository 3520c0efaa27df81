package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/sim"
)

// provider is a pretend APNs that costs as little as possible: it checks nothing (the
// simulator does that in tests), notes when a push arrived, and answers 200.
type provider struct {
	ca       *sim.CA
	listener net.Listener
	srv      *http.Server
	done     chan error
	delay    atomic.Int64 // nanoseconds before an answer

	mu      sync.Mutex
	arrived map[string]chan<- pushed // by push token: who waits for it
}

func newProvider() (*provider, error) {
	ca, err := sim.NewCA()
	if err != nil {
		return nil, err
	}
	cert, err := ca.Server()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{ca: ca, listener: l, done: make(chan error, 1), arrived: map[string]chan<- pushed{}}
	p.srv = &http.Server{
		Handler: http.HandlerFunc(p.push), ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}},
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 1000},
	}
	go func() { p.done <- p.srv.ServeTLS(l, "", "") }()
	return p, nil
}

func (p *provider) push(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	token := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	p.mu.Lock()
	waiter := p.arrived[token]
	delete(p.arrived, token)
	p.mu.Unlock()
	if d := time.Duration(p.delay.Load()); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Apns-Id", r.Header.Get("Apns-Id"))
	w.WriteHeader(http.StatusOK)
	if waiter != nil {
		waiter <- pushed{arrived: now, accepted: time.Now()}
	}
}

// pushed is when a push was on the wire, and when it was accepted.
type pushed struct{ arrived, accepted time.Time }

// expect returns a channel that is told when the next push for a token has come.
func (p *provider) expect(token string) <-chan pushed {
	c := make(chan pushed, 1)
	p.mu.Lock()
	p.arrived[token] = c
	p.mu.Unlock()
	return c
}

func (p *provider) address() string { return p.listener.Addr().String() }
func (p *provider) url() string     { return "https://" + p.address() }

func (p *provider) clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.ca.PEM())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
}

func (p *provider) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := p.srv.Shutdown(ctx)
	<-p.done
	return err
}
