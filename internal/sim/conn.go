package sim

import (
	"context"
	"net"
	"sync"
	"time"
)

// connState is what APNs remembers of one connection.
type connState struct {
	conn   net.Conn
	number int

	turn chan struct{} // holds one token: the stream that may be worked on
	open chan struct{} // closed when the first provider token was accepted

	mu      sync.Mutex
	key     string // ID of the first key that was accepted
	team    string
	jwt     string // the newest accepted provider token
	jwtFrom time.Time
}

// newConnState returns the state of a fresh connection.
func newConnState(c net.Conn, number int) *connState {
	return &connState{conn: c, number: number, turn: make(chan struct{}, 1), open: make(chan struct{})}
}

// enter waits until the connection may work on one more stream: one at a time before
// the first accepted provider token, any number after it. held says whether it had to
// wait; leave must be called at the end.
func (c *connState) enter(ctx context.Context) (held bool, leave func(), err error) {
	select {
	case <-c.open:
		return false, func() {}, nil
	default:
	}
	leave = func() { <-c.turn }
	select {
	case c.turn <- struct{}{}:
		return false, leave, nil
	default:
	}
	select {
	case c.turn <- struct{}{}:
		return true, leave, nil
	case <-c.open:
		return true, func() {}, nil
	case <-ctx.Done():
		return true, nil, ctx.Err()
	}
}

// accept opens the connection for many streams.
func (c *connState) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.open:
	default:
		close(c.open)
	}
}
