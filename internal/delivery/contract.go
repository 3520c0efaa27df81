package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Sender delivers over one channel with one credential. Implementations classify
// what happened and never retry: that is this package's business. Send may be
// called from many goroutines at once. It returns when the provider has answered or
// ctx has ended, and never panics on what a provider says.
type Sender interface {
	Send(ctx context.Context, ring *bell.Ring, try Try) bell.Outcome
}

// Try is how one attempt is to be made.
type Try struct {
	Number int  // from 1
	Spare  bool // use the second, independent connection
	Now    time.Time
}

// ErrOutrun is the cause with which the context of an attempt ends when a second attempt,
// over another connection, was answered first. It speaks against the connection.
var ErrOutrun = errors.New("another connection was faster")

// Route is the way to a device: its sender and the key under which limits, queues
// and metrics are kept.
type Route struct {
	Key    RouteKey
	Sender Sender
}

// RouteKey names a route. One failing route never delays another.
type RouteKey struct {
	Credential string // the operator's name for it: project and key, never a secret
	Channel    bell.Channel
	Server     string // APNs environment, or the entry of web_push.hosts; empty elsewhere
}

// Router finds the route to a device. When there is none it returns a bounded
// reason such as "no_fcm_credential".
type Router interface {
	Route(device *bell.Device) (route Route, reason string)
}

// Registry learns from attempts what push tokens are worth. Learn is called after the last
// attempt of a delivery, and when both APNs servers refused the token, first for that of the
// device's own. It may block for a write, and must return when ctx ends.
type Registry interface {
	Learn(ctx context.Context, lesson bell.Lesson)
}

// Traces writes attempts and receipts as spans. Its methods must not block.
type Traces interface {
	// Attempt takes one that is over, or a hand-over. It returns the trace's ID; empty when it is not
	// sampled.
	Attempt(r *bell.Ring, via, server string, a bell.Attempt) (traceID string)
	// Receipt takes a device's first word that it has a call.
	Receipt(r *bell.Receipt, delivery string)
}

// Store is what delivery needs of a database. Each method is one transaction.
type Store interface {
	// RecordAttempt appends an attempt and moves its delivery: State, Reason, Attempts,
	// LeaseOwner, LeaseUntil, UpdatedAt are taken from d, an open state only if d.LeaseOwner
	// still has the delivery, or, of a push, nobody has. A delivery that is final
	// already keeps its state, with one exception: accepted replaces withdrawn, expired
	// and failed, because an outcome may be committed after the Call Event or the sweep.
	// The attempt is kept all the same. attempt.Number 0 means that there was no attempt.
	RecordAttempt(ctx context.Context, d bell.Delivery, attempt bell.Attempt) error

	// ClaimDeliveries takes over deliveries that are not final, whose deadline lies
	// after now, and whose lease ran out before now; if takeAll, also those that
	// another owner still holds (at start, when every other process on this database
	// is known to be dead). On several nodes what another one holds is left to it as long as
	// that is heard of: its lease may run out while an attempt waits for its turn. It sets owner and leaseUntil, and the state sending unless
	// the channel is long polling, and returns what is needed to continue, oldest first: the
	// device as the delivery's channel reaches it (bell.Device.Over).
	ClaimDeliveries(ctx context.Context, c Claim) ([]bell.Ring, error)

	// RecordReceipt turns the delivery of r's call to r's device into received, whatever
	// its state was, and keeps the receipt. A repeat changes nothing and says so. It
	// fails with bell.NotFound when that call was never for that device.
	RecordReceipt(ctx context.Context, r bell.Receipt) (Received, error)

	// ExpireDeliveries turns deliveries that are not final and whose deadline has
	// passed into expired, and erases cc_param of calls whose deadline has passed. One
	// without a reason gets one: "not_polled" in a mailbox, else "deadline". It returns
	// how many deliveries expired.
	ExpireDeliveries(ctx context.Context, now time.Time) (int, error)
}

// Received is what a receipt was for.
type Received struct {
	DeliveryID string
	Channel    bell.Channel // of the delivery
	NotifiedAt time.Time    // when the call's Notify came; zero for a notice
	AcceptedAt time.Time    // when the provider first took it, or a poll; zero if that is not on record, and for a notice
	Repeated   bool         // a receipt was recorded before
	Over       bool         // the call has ended, or is lost; never of a notice
	Deadline   time.Time    // until when it rings
}

// Claim is what ClaimDeliveries is asked.
type Claim struct {
	Owner      string
	Now        time.Time
	LeaseUntil time.Time
	TakeAll    bool
	Limit      int
}
