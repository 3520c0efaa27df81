package device

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Store is what the device registry needs of a database. Each method is one
// transaction.
//
// A push token stands for one device: whenever a device is written with a push
// token, any other device of the same environment, service and channel with the
// same token is removed in the same transaction, so a shared phone moves to its new
// user and never rings for the old one. In the same way a ClientID stands for one device
// of its owner.
type Store interface {
	// ChangeDevice reads the devices that key finds, passes them to change, writes what
	// change returns, and returns it as it will be read again. Those of Known that have
	// another ID than the written one are removed in the same transaction. When change
	// returns an error nothing is written and the error is returned. change may run more
	// than once and must not block.
	ChangeDevice(ctx context.Context, key Key, change func(Known) (bell.Device, error)) (bell.Device, error)

	// AmendDevice reads the device with this ID, passes it to change, and writes what change
	// returns if change says so; bell.NotFound when there is none. Nobody else's write comes
	// between: what change decides holds for the row that it changes. change keeps the ID,
	// may run more than once and must not block.
	AmendDevice(ctx context.Context, id string, change func(current bell.Device) (next bell.Device, write bool)) error

	// PruneDevices removes devices that made no contact since the given time, those unseen
	// for longest first, at most limit, and returns them. An operator's devices (those
	// without a session) stay: they never make contact.
	PruneDevices(ctx context.Context, unseenSince time.Time, limit int) ([]bell.Device, error)

	// AddDevice inserts a device that has no session (an operator's).
	AddDevice(ctx context.Context, d bell.Device) error

	// RemoveDevice deletes a device; bell.NotFound when there is none.
	RemoveDevice(ctx context.Context, id string) error

	// Device returns one device, or bell.NotFound.
	Device(ctx context.Context, id string) (bell.Device, error)

	// DeviceBySession returns the device of a session, or bell.NotFound.
	DeviceBySession(ctx context.Context, sessionID string) (bell.Device, error)

	// DevicesOf returns all devices of an owner, oldest first; none is no error.
	DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error)

	// Devices returns a page of devices, ordered by ID. filter's empty fields match
	// everything. The page starts after the given ID and has at most limit devices.
	Devices(ctx context.Context, filter Filter, after string, limit int) ([]bell.Device, error)
}

// Key says which device a client means.
type Key struct {
	SessionID string     // empty finds nothing
	Owner     bell.Owner // whose ClientID it is: the same ID of another user is another device
	ClientID  string     // as the client calls its installation; empty when it does not
}

// Known are the devices that a Key finds, nil where there is none.
type Known struct {
	OfSession *bell.Device
	OfClient  *bell.Device // nil also when it is OfSession
}

// Filter selects devices; empty fields match everything.
type Filter struct {
	Environment string
	ServiceID   string
	UserID      string
	Channel     bell.Channel
}
