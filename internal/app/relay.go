package app

import (
	"context"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

// client is what every provider's client offers for its life.
type client interface {
	Warm(ctx context.Context) error
	Close()
}

// lease is a client, and what is being sent through it.
type lease struct {
	client
	busy sync.WaitGroup // attempts under way; nothing is added once no relay leads here
}

// relay is the sender that deliveries hold. It leads to the client that has the credential
// now, so that a delivery whose credential is replaced goes on with the new one. Safe for
// concurrent use.
type relay struct {
	mu     *sync.RWMutex // of the senders; guards what follows
	sender delivery.Sender
	lease  *lease
}

// Send makes one attempt. See delivery.Sender.
func (r *relay) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	r.mu.RLock()
	sender, lease := r.sender, r.lease
	lease.busy.Add(1)
	r.mu.RUnlock()
	defer lease.busy.Done()
	return sender.Send(ctx, ring, try)
}
