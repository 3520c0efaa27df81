package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// listener is the life of a fake's HTTP server. With TLS it accepts and shakes hands
// itself, so that a fault can act on a connection before there is HTTP, and hands the HTTP
// server a [wire], which acts on the frames.
type listener struct {
	scheme string
	mu     sync.Mutex // guards the life: start and close
	srv    *http.Server
	stop   context.CancelFunc
	done   chan struct{}
	tls    *tlsOptions
	ctx    context.Context // of all requests and handshakes
	ready  chan net.Conn   // connections for the HTTP server

	gate    sync.Mutex // guards what follows, and the start of handlers and of what runs waits for
	addr    string
	closing bool
	shut    bool         // the port is closed by a fault
	ln      net.Listener // nil while the port is closed
	wires   map[*wire]struct{}
	busy    sync.WaitGroup // handlers
	runs    sync.WaitGroup // everything else
}

// tlsOptions is what a fake with TLS gives its listener.
type tlsOptions struct {
	config  *tls.Config
	faults  *Faults
	streams int // SETTINGS_MAX_CONCURRENT_STREAMS
	// cold connections advertise one stream until a request opens them.
	cold bool
}

// start listens on addr ("" is 127.0.0.1, any port) and serves with srv until close.
// With options it speaks TLS. stop ends the contexts of all requests, so that answers
// that hang come to an end.
func (l *listener) start(addr string, srv *http.Server, options *tlsOptions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv != nil {
		return errors.New("the server is already started")
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if err := loopbackOnly(addr); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	// TLS handshakes that fail are part of the game, not worth a line on stderr.
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.ReadHeaderTimeout = stuckClient
	srv.Handler = l.counted(srv.Handler)
	l.srv, l.stop, l.done, l.tls, l.ctx = srv, cancel, make(chan struct{}), options, ctx
	l.gate.Lock()
	l.closing, l.shut, l.addr, l.ln, l.wires = false, false, ln.Addr().String(), ln, map[*wire]struct{}{}
	l.scheme = "http"
	served := ln
	if options != nil {
		l.scheme, l.ready = "https", make(chan net.Conn)
		l.runs.Go(func() { l.accept(ln) })
		served = &handed{Listener: ln, conns: l.ready, done: ctx.Done()}
	}
	l.gate.Unlock()
	go func() {
		defer close(l.done)
		_ = srv.Serve(served) // ends with ErrServerClosed
	}()
	if options != nil {
		options.faults.attach(l)
	}
	return nil
}

// stuckClient is how long a client may take for a handshake or the headers of a request:
// on loopback only a stuck one is slower.
const stuckClient = 10 * time.Second

// close ends all connections and faults, and waits for everything that runs. It may be
// called again, and without start.
func (l *listener) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv == nil {
		return nil
	}
	l.gate.Lock()
	l.closing = true
	wires := slices.Collect(maps.Keys(l.wires))
	if l.ln != nil {
		_ = l.ln.Close()
	}
	l.gate.Unlock()
	l.stop()
	if l.tls != nil {
		l.tls.faults.detach()
	}
	for _, w := range wires {
		_ = w.raw.Close()
	}
	err := l.srv.Close()
	if errors.Is(err, net.ErrClosed) { // the port was closed already, here or by a fault
		err = nil
	}
	<-l.done
	l.busy.Wait()
	l.runs.Wait()
	l.srv = nil
	return err
}

// counted lets close wait for the handlers that still run; http.Server.Close does not.
func (l *listener) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.gate.Lock()
		if l.closing {
			l.gate.Unlock()
			panic(http.ErrAbortHandler)
		}
		l.busy.Add(1)
		l.gate.Unlock()
		defer l.busy.Done()
		h.ServeHTTP(w, r)
	})
}

// url returns where the server listens, or listened.
func (l *listener) url() string {
	l.gate.Lock()
	defer l.gate.Unlock()
	return l.scheme + "://" + l.addr
}

// loopbackOnly refuses addresses that other machines could reach: the fakes accept
// tokens that are printed in tests.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address %q is not host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("the address %q is not on loopback; the simulator listens only there", addr)
}

// overTLS returns the protocols of a server behind a [wire]: to net/http they look
// unencrypted. Which of them a client may speak the handshake has settled.
func overTLS(http1 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	p.SetHTTP1(http1)
	return p
}

// tlsConfig returns a server's TLS settings with a certificate of ca.
func tlsConfig(ca *CA, protocols ...string) (*tls.Config, error) {
	if ca == nil {
		return nil, errors.New("the server needs a CA; make one with NewCA")
	}
	cert, err := ca.Server()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: protocols}, nil
}
