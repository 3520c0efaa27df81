//go:build !race

package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// front is the name of the load balancer, in URLs that go through it.
	front = "http://planetbell.test"
	// avoided is for how long a node that refused a connection gets no requests.
	avoided = 200 * time.Millisecond
	// balanced is how long a request is tried for, if no node takes it.
	balanced = 15 * time.Second
	// nodeHeader says, in an answer, which node gave it.
	nodeHeader = "X-Test-Node"
)

// balancer is what stands in front of the nodes: it gives each request to the next one. A
// connection that is refused is tried at another node, and so is a GET whose connection breaks
// before there is an answer, as nginx does unless it is told otherwise.
type balancer struct {
	backends []*served
	next     atomic.Uint64
	conns    *http.Transport

	refused atomic.Int64 // connections
	broken  atomic.Int64 // requests whose connection broke, and that were given to another node
}

// served is a node as the load balancer sees it.
type served struct {
	name, address string
	avoid         atomic.Int64 // until when, in Unix nanoseconds
}

func newBalancer() *balancer {
	return &balancer{conns: &http.Transport{MaxIdleConnsPerHost: 1000}}
}

// RoundTrip gives the request to a node.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	for {
		resp, err, final := b.once(r)
		if err == nil || final || time.Since(begun) > balanced {
			return resp, err
		}
		if rest(r.Context(), 20*time.Millisecond) != nil {
			return nil, err
		}
	}
}

// once tries every node once, beginning with the next one. What is final is not tried again.
func (b *balancer) once(r *http.Request) (resp *http.Response, err error, final bool) { //nolint:revive // the error is one of two
	err = errors.New("all nodes are avoided")
	first := int(b.next.Add(1))
	for i := range b.backends {
		at := b.backends[(first+i)%len(b.backends)]
		if time.Now().UnixNano() < at.avoid.Load() {
			continue
		}
		q := r.Clone(r.Context())
		q.URL.Host = at.address
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err, true
			}
			q.Body = body
		}
		if resp, err = b.conns.RoundTrip(q); err == nil {
			resp.Header.Set(nodeHeader, at.name)
			return resp, nil, true
		}
		var op *net.OpError
		switch {
		case r.Context().Err() != nil:
			return nil, err, true
		case errors.As(err, &op) && op.Op == "dial":
			b.refused.Add(1)
			at.avoid.Store(time.Now().Add(avoided).UnixNano())
		case r.Method == http.MethodGet:
			b.broken.Add(1)
		default:
			return nil, err, true
		}
	}
	return nil, err, false
}

// rest waits, or returns an error if ctx ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
