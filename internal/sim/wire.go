package sim

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is one TLS connection as the HTTP server of a fake sees it: below HTTP and above
// TLS. It passes frames through, and can do what no handler can: send a GOAWAY or a
// RST_STREAM of any sort, change SETTINGS, keep a PING unanswered, fall silent, break.
// The HTTP server takes it for an unencrypted connection.
type wire struct {
	l      *listener
	raw    net.Conn
	tls    *tls.Conn
	h2     bool
	cert   *x509.Certificate // the client's, or nil
	up     atomic.Bool       // past the handshake
	silent atomic.Bool       // swallows everything in both directions
	gone   sync.Once
	mute   atomic.Pointer[activeFault] // while it lasts, no PING is answered

	reading frameReader // for the goroutine that reads
	streams streams

	writing sync.Mutex // guards what follows
	out     frameWriter
}

// shaken notes the end of the handshake.
func (w *wire) shaken(conn *tls.Conn) {
	state := conn.ConnectionState()
	w.tls, w.h2 = conn, state.NegotiatedProtocol == "h2"
	if len(state.PeerCertificates) > 0 {
		w.cert = state.PeerCertificates[0]
		w.streams.cold = false // the rule is one of provider tokens
	}
	w.out.started = !w.h2 // without frames there is nothing to wait for
	w.reading.in, w.reading.preface = bufio.NewReader(conn), true
	w.up.Store(true)
}

// Read gives the HTTP server what the client sent.
func (w *wire) Read(p []byte) (int, error) {
	for {
		var n int
		var err error
		if w.h2 {
			n, err = w.reading.read(p, &w.streams)
		} else {
			n, err = w.reading.in.Read(p)
		}
		if err != nil || !w.silent.Load() {
			return n, err
		}
	}
}

// Write sends what the HTTP server answers.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.silent.Load() {
		return len(p), nil
	}
	if !w.h2 {
		return w.tls.Write(p)
	}
	if err := w.send(w.out.filter(p, w)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// inject sends a frame of our own between two frames of the HTTP server, and then does
// what comes after it. then may be nil.
func (w *wire) inject(frame []byte, then func()) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.silent.Load() {
		return
	}
	w.out.pending = append(w.out.pending, injection{frame, then})
	_ = w.send(w.out.filter(nil, w)) // the client may have gone
}

// send writes to the client. The caller holds writing.
func (w *wire) send(b []byte, then []func()) error {
	var err error
	if len(b) > 0 {
		_, err = w.tls.Write(b)
	}
	for _, f := range then {
		f()
	}
	return err
}

// fall makes the connection a black hole. Deadlines of the HTTP server end with it.
func (w *wire) fall() {
	w.silent.Store(true)
	_ = w.raw.SetDeadline(time.Time{})
}

// finish ends the server's side of the connection after what was sent: the client reads
// the end of the stream. What it still sends is swallowed, because closing with unread
// data would be a reset.
func (w *wire) finish() {
	w.fall()
	_ = w.tls.CloseWrite()
	if half, ok := w.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// reset breaks the TCP connection with a RST.
func (w *wire) reset() {
	if tcp, ok := w.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	w.destroy()
}

// destroy closes the TCP connection.
func (w *wire) destroy() {
	w.gone.Do(func() { w.l.forget(w) })
	_ = w.raw.Close()
}

// Close is called by the HTTP server. A silent connection stays as it is: a black hole
// sends no FIN.
func (w *wire) Close() error {
	if w.silent.Load() && w.l.keep(w) {
		return nil
	}
	_ = w.tls.Close()
	w.destroy()
	return nil
}

// LocalAddr returns the fake's address.
func (w *wire) LocalAddr() net.Addr { return w.raw.LocalAddr() }

// RemoteAddr returns the client's address.
func (w *wire) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }

// SetDeadline sets both deadlines.
func (w *wire) SetDeadline(t time.Time) error {
	if w.silent.Load() {
		return nil
	}
	return w.tls.SetDeadline(t)
}

// SetReadDeadline bounds Read; a silent connection knows no time.
func (w *wire) SetReadDeadline(t time.Time) error {
	if w.silent.Load() {
		return nil
	}
	return w.tls.SetReadDeadline(t)
}

// SetWriteDeadline bounds Write.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.silent.Load() {
		return nil
	}
	return w.tls.SetWriteDeadline(t)
}
