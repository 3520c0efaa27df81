package bell

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Identity is who a client proved to be with its app token.
type Identity struct {
	SessionID string // the token's jti
	Owner     Owner
	Project   *Project
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Poll is one wait of a device for a call.
type Poll struct {
	DeviceID string
	Hold     time.Duration // how long it waits at most
	// Acknowledges says that the device sends a receipt for each call that it gets. Such a
	// device is given a call again until its receipt comes; others get it once.
	Acknowledges bool
	// Notices says that the device knows what is no call. Only such a device is handed
	// notices: LINE's clients would fail on one (docs/line-planet.md 6.6).
	Notices bool
}

// Letter is a call, or a notice, taken from a mailbox by a waiting device. Whoever holds it must
// call Done exactly once: with true when the answer was written to the device, with
// false to put the letter back for the next poll.
type Letter struct {
	SessionID planet.SessionID
	Payload   Payload
	Done      func(written bool)
}
