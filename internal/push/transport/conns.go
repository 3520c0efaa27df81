package transport

import (
	"net"
	"sync"
)

// Conns are the open connections of a client: http.Transport neither counts them nor
// closes those that are in use. The zero value is ready; safe for concurrent use.
type Conns struct {
	mu     sync.Mutex // guards what follows
	all    map[*conn]struct{}
	closed bool
}

// conn is a connection that takes itself off the list when it is closed.
type conn struct {
	net.Conn
	list *Conns
}

// Add puts a connection on the list, and returns what is to be used instead of it. After Close it closes the connection at once.
func (l *Conns) Add(c net.Conn) net.Conn {
	tracked := &conn{Conn: c, list: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return tracked
	}
	if l.all == nil {
		l.all = make(map[*conn]struct{})
	}
	l.all[tracked] = struct{}{}
	return tracked
}

// Close closes the connection.
func (c *conn) Close() error {
	c.list.mu.Lock()
	delete(c.list.all, c)
	c.list.mu.Unlock()
	return c.Conn.Close() // as it is: net/http looks at its type
}

// Count is how many connections are open.
func (l *Conns) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// Close closes all connections, also future ones.
func (l *Conns) Close() {
	l.mu.Lock()
	all := l.all
	l.all, l.closed = nil, true
	l.mu.Unlock()
	for c := range all {
		_ = c.Conn.Close()
	}
}
