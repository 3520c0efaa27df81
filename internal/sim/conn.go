package sim

import (
	"context"
	"net"
	"sync"
	"time"
)

// connKey is the context key of a connection's state.
type connKey struct{}

// connState is what APNs remembers of one connection.
type connState struct {
	conn   net.Conn
	wire   *wire // the same, when there is TLS
	number int

	mu      sync.Mutex
	key     string // ID of the first key that was accepted
	team    string
	jwt     string // the newest accepted provider token
	jwtFrom time.Time
}

// withConn puts the state of a new connection into its context.
func withConn(next func() int) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		w, _ := c.(*wire)
		return context.WithValue(ctx, connKey{}, &connState{conn: c, wire: w, number: next()})
	}
}
