package bus

import (
	"context"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/cluster"
)

// Hub is the bus of nodes that are in one process: of a single node, which it costs
// nothing, and of tests. It may be used concurrently.
type Hub struct {
	mu      sync.RWMutex
	members map[*Local]struct{} // those that run
}

// NewHub returns a hub without nodes.
func NewHub() *Hub { return &Hub{members: make(map[*Local]struct{})} }

// Local is one node's end of a [Hub]. It is a [Bus].
type Local struct {
	hub     *Hub
	in      *inbox
	metrics *Metrics

	mu    sync.Mutex
	state State
}

// Join returns the bus of one more node.
func (h *Hub) Join(m *Metrics) *Local {
	return &Local{hub: h, in: newInbox(queueSize), metrics: m}
}

// Publish implements [Bus]: the hint is with the other nodes at once.
func (l *Local) Publish(h cluster.Hint) {
	l.hub.mu.RLock()
	defer l.hub.mu.RUnlock()
	if len(l.hub.members) < 2 || !l.metrics.sendable(h) { // nobody else: the usual case, in the path of a call
		return
	}
	one := []cluster.Hint{h}
	count(l.metrics.published, one)
	for other := range l.hub.members {
		if other != l {
			count(other.metrics.received, one)
			other.metrics.drop(dropSlow, other.in.add(h))
		}
	}
}

// Run implements [Bus].
func (l *Local) Run(ctx context.Context, h Handler) {
	l.hub.mu.Lock()
	l.hub.members[l] = struct{}{}
	l.hub.mu.Unlock()
	l.set(true)
	l.metrics.gap(gapConnected)
	l.in.missed()
	l.in.run(ctx, h, l.metrics)
	l.hub.mu.Lock()
	delete(l.hub.members, l)
	l.hub.mu.Unlock()
	l.set(false)
}

func (l *Local) set(connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = State{Connected: connected, Since: time.Now()}
	if connected {
		l.metrics.connected.Set(1)
		return
	}
	l.state.Trouble = "it was stopped"
	l.metrics.connected.Set(0)
}

// State implements [Bus].
func (l *Local) State() State {
	l.mu.Lock()
	s := l.state
	l.mu.Unlock()
	l.hub.mu.RLock()
	defer l.hub.mu.RUnlock()
	if s.Connected {
		s.Peers = len(l.hub.members) - 1
	}
	return s
}
