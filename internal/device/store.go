package device

import (
	"context"

	"github.com/planetbell/planetbell/internal/bell"
)

// Store is what the device registry needs of a database. Each method is one
// transaction.
//
// A push token stands for one device: whenever a device is written with a push
// token, any other device of the same environment, service and channel with the
// same token is removed in the same transaction, so a shared phone moves to its new
// user and never rings for the old one.
type Store interface {
	// ChangeDevice reads the device of a session, passes it to change (nil when there
	// is none), writes what change returns, and returns it. When change returns an
	// error nothing is written and the error is returned. change may run more than
	// once and must not block.
	ChangeDevice(ctx context.Context, sessionID string, change func(current *bell.Device) (bell.Device, error)) (bell.Device, error)

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

// Filter selects devices; empty fields match everything.
type Filter struct {
	Environment string
	ServiceID   string
	UserID      string
	Channel     bell.Channel
}
