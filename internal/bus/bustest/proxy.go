package bustest

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between a node and its server, and can break the way. It may be used
// concurrently.
type Proxy struct {
	target   string
	listener net.Listener
	edit     func([]byte)

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	cut    bool
	frozen chan struct{} // closed when data may pass

	wait sync.WaitGroup
}

// NewProxy starts a proxy to the address; it ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy { return NewEditor(tb, target, nil) }

// NewEditor is a proxy that lets edit change what clients send, in place.
func NewEditor(tb testing.TB, target string, edit func([]byte)) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, edit: edit, conns: make(map[net.Conn]struct{}), frozen: make(chan struct{})}
	close(p.frozen)
	p.wait.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.wait.Wait()
	})
	return p
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections, and every new one at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.thaw()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Freeze lets nothing pass any more, and closes nothing.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw()
	p.frozen = make(chan struct{})
}

// Mend ends Cut and Freeze.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	p.thaw()
}

func (p *Proxy) thaw() {
	select {
	case <-p.frozen:
	default:
		close(p.frozen)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(client) {
			continue
		}
		p.wait.Go(func() {
			server, err := net.Dial("tcp", p.target)
			if err != nil || !p.keep(server) {
				_ = client.Close()
				return
			}
			p.wait.Go(func() { p.pump(server, client, nil) })
			p.pump(client, server, p.edit)
		})
	}
}

// keep remembers a connection, or closes it when the way is cut.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) pump(from, to net.Conn, edit func([]byte)) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		<-frozen
		if edit != nil {
			edit(buffer[:n])
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
