package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// listener is the life of a fake's HTTP server.
type listener struct {
	scheme string
	mu     sync.Mutex
	srv    *http.Server
	addr   string
	stop   context.CancelFunc
	done   chan struct{}

	gate    sync.Mutex // guards closing and the start of handlers
	closing bool
	busy    sync.WaitGroup
}

// start listens on addr ("" is 127.0.0.1, any port) and serves with srv until close.
// With srv.TLSConfig it speaks TLS. stop ends the contexts of all requests, so that
// answers that hang come to an end.
func (l *listener) start(addr string, srv *http.Server) error {
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
	srv.ReadHeaderTimeout = 10 * time.Second // loopback; only a stuck client is slower
	srv.Handler = l.counted(srv.Handler)
	l.closing = false
	l.scheme = "http"
	if srv.TLSConfig != nil {
		l.scheme = "https"
	}
	l.srv, l.addr, l.stop, l.done = srv, ln.Addr().String(), cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		if srv.TLSConfig != nil {
			_ = srv.ServeTLS(ln, "", "") // ends with ErrServerClosed
			return
		}
		_ = srv.Serve(ln)
	}()
	return nil
}

// close ends all connections and waits for the serving goroutine. It may be called
// again, and without start.
func (l *listener) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.srv == nil {
		return nil
	}
	l.gate.Lock()
	l.closing = true
	l.gate.Unlock()
	l.stop()
	err := l.srv.Close()
	<-l.done
	l.busy.Wait()
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
	l.mu.Lock()
	defer l.mu.Unlock()
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
