package call

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Figures is what an operator's overview needs of a database: of all nodes, and bounded, so
// that looking costs the calls nothing. Each method is one read.
type Figures interface {
	// Tally counts the calls of each minute since a time, oldest first, by state and outcome. It
	// looks at the newest most calls only, and then says that there were more: what it counts
	// of the first minute is not all then.
	Tally(ctx context.Context, since time.Time, most int) (minutes []Minute, more bool, err error)

	// Failing groups the deliveries that failed, or whose time ran out, among those that began
	// since a time, the largest group first. It looks at the newest most of them.
	Failing(ctx context.Context, since time.Time, most int) ([]FailingGroup, error)

	// Rung returns the device's deliveries of its owner's newest calls and notices, newest first.
	// It looks at the owner's newest most calls.
	Rung(ctx context.Context, device bell.Device, most int) ([]RungCall, error)
}

// Minute counts calls by the minute of their place in lists (see Cursor).
type Minute struct {
	At      time.Time // its beginning
	State   bell.CallState
	Outcome planet.Outcome // empty unless the call has ended
	Calls   int
}

// FailingGroup are deliveries that failed for one reason on one way.
type FailingGroup struct {
	Project string // of the call
	Channel bell.Channel
	Server  bell.APNsServer // of the devices, as they are now; empty for other channels, and of devices that are gone
	State   bell.DeliveryState
	Reason  string
	Count   int
	Calls   int       // of so many calls
	Last    time.Time // when the last of them failed
	// The one that failed last.
	Environment planet.Environment
	SessionID   planet.SessionID
	DeviceID    string
}

// RungCall is a delivery to one device, with the call or notice that it was for.
type RungCall struct {
	Call     bell.Call
	Delivery bell.Delivery
}
