package sim

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"time"
)

// handed is the listener of the HTTP server: it yields connections that are past their
// TLS handshake.
type handed struct {
	net.Listener // for Addr and Close
	conns        <-chan net.Conn
	done         <-chan struct{}
}

// Accept waits for the next connection.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// accept takes connections until ln is closed.
func (l *listener) accept(ln net.Listener) {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		w := &wire{l: l, raw: raw, streams: streams{cold: l.tls.cold, full: l.tls.streams}}
		l.gate.Lock()
		if l.closing {
			l.gate.Unlock()
			_ = raw.Close()
			return
		}
		l.wires[w] = struct{}{}
		l.runs.Go(func() { l.admit(w) })
		l.gate.Unlock()
	}
}

// admit shakes hands and hands the connection to the HTTP server, unless a fault has
// other plans.
func (l *listener) admit(w *wire) {
	plan := l.tls.faults.meet(w)
	if plan.stall {
		w.silent.Store(true)
		l.swallow(w)
		return
	}
	config := l.tls.config
	if plan.certificate != nil {
		config = config.Clone()
		config.Certificates = []tls.Certificate{*plan.certificate}
	}
	ctx, cancel := context.WithTimeout(l.ctx, stuckClient)
	defer cancel()
	conn := tls.Server(w.raw, config)
	if conn.HandshakeContext(ctx) != nil {
		w.destroy()
		return
	}
	w.shaken(conn)
	if plan.silent {
		w.silent.Store(true)
		l.swallow(w)
		return
	}
	select {
	case l.ready <- w:
	case <-l.ctx.Done():
		w.destroy()
	}
}

// swallow reads what comes and says nothing, until the client or the fake ends it.
func (l *listener) swallow(w *wire) {
	_, _ = io.Copy(io.Discard, w.raw)
	w.destroy()
}

// keep goes on swallowing for a connection that the HTTP server has done with: it must not
// see the end of it. It reports false when the fake is closing.
func (l *listener) keep(w *wire) bool {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.closing {
		return false
	}
	l.runs.Go(func() { l.swallow(w) })
	return true
}

// forget is called when a connection is closed.
func (l *listener) forget(w *wire) {
	l.gate.Lock()
	defer l.gate.Unlock()
	delete(l.wires, w)
}

// open returns the connections that are past their handshake, in no order.
func (l *listener) open() []*wire {
	l.gate.Lock()
	defer l.gate.Unlock()
	all := make([]*wire, 0, len(l.wires))
	for w := range l.wires {
		if w.up.Load() {
			all = append(all, w)
		}
	}
	return slices.Clip(all)
}

// refuse closes the port, or opens the same one again.
func (l *listener) refuse(shut bool) {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.closing || l.shut == shut {
		return
	}
	l.shut = shut
	if shut {
		_ = l.ln.Close()
		l.ln = nil
		return
	}
	if !l.reopen() { // somebody has the port now; it will be free again
		l.runs.Go(l.awaitPort)
	}
}

// reopen listens at the old address. The caller holds gate.
func (l *listener) reopen() bool {
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		return false
	}
	l.ln = ln
	l.runs.Go(func() { l.accept(ln) })
	return true
}

// awaitPort tries until the port is open, or meant to be closed again.
func (l *listener) awaitPort() {
	for (SystemClock{}).Wait(l.ctx, 20*time.Millisecond) == nil {
		l.gate.Lock()
		done := l.closing || l.shut || l.ln != nil || l.reopen()
		l.gate.Unlock()
		if done {
			return
		}
	}
}
