package app

import (
	"context"
	"errors"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
)

// What follows stands between the capabilities and the store, for the time in which the
// store is in trouble: package call holds then what is not on disk yet, and the devices
// that it may ring from memory.

// ledger is the store of package delivery.
type ledger struct {
	delivery.Store
	calls *call.Service
}

// RecordAttempt keeps an outcome behind its call, if that waits to be recorded.
func (l ledger) RecordAttempt(ctx context.Context, d bell.Delivery, attempt bell.Attempt) error {
	return l.calls.RecordAttempt(ctx, d, attempt)
}

// ClaimDeliveries leaves out calls that wait to be recorded: they ring from memory.
func (l ledger) ClaimDeliveries(ctx context.Context, c delivery.Claim) ([]bell.Ring, error) {
	return l.calls.Claim(func() ([]bell.Ring, error) { return l.Store.ClaimDeliveries(ctx, c) })
}

// RecordReceipt says that a receipt cannot be taken now, and not that there is no such call,
// while the call waits to be recorded: a device whose receipt is not found does not send it
// again, and would be handed the call again and again.
func (l ledger) RecordReceipt(ctx context.Context, r bell.Receipt) (delivery.Received, error) {
	waits := l.calls.Waits(r.Environment, r.SessionID) // asked first: it may be recorded meanwhile
	got, err := l.Store.RecordReceipt(ctx, r)
	if waits && errors.Is(err, bell.NotFound) {
		return delivery.Received{}, bell.E(bell.Unavailable, "The call has still to be recorded; send the receipt again.", nil)
	}
	return got, err
}

// registry is the store of package device. Every write that can change whose a device is
// is told to package call and to the other nodes, also one that failed: it may still happen.
type registry struct {
	device.Store
	calls *call.Service
	nodes *nodes
}

func (r registry) written(d *bell.Device) {
	r.calls.DeviceWritten(*d)
	r.nodes.changed(d.Owner)
}

func (r registry) ChangeDevice(ctx context.Context, key device.Key, change func(device.Known) (bell.Device, error)) (bell.Device, error) {
	d, err := r.Store.ChangeDevice(ctx, key, func(known device.Known) (bell.Device, error) {
		next, err := change(known)
		if err == nil {
			r.calls.DeviceWritten(next) // whoever waits for the write may not learn of it
		}
		return next, err
	})
	if err == nil {
		r.written(&d)
	} else {
		r.nodes.changed(key.Owner)
	}
	return d, err
}

func (r registry) AmendDevice(ctx context.Context, id string, change func(bell.Device) (bell.Device, bool)) error {
	var written bell.Device
	err := r.Store.AmendDevice(ctx, id, func(current bell.Device) (bell.Device, bool) {
		next, write := change(current)
		if write {
			r.calls.DeviceWritten(next)
			written = next
		}
		return next, write
	})
	switch {
	case written.ID == "":
	case err == nil:
		r.written(&written)
	default:
		r.nodes.changed(written.Owner)
	}
	return err
}

func (r registry) PruneDevices(ctx context.Context, unseenSince time.Time, limit int) ([]bell.Device, error) {
	pruned, err := r.Store.PruneDevices(ctx, unseenSince, limit)
	for i := range pruned {
		r.calls.DeviceRemoved(pruned[i].ID)
		r.nodes.changed(pruned[i].Owner)
	}
	return pruned, err
}

func (r registry) AddDevice(ctx context.Context, d bell.Device) error {
	defer r.written(&d)
	return r.Store.AddDevice(ctx, d)
}

func (r registry) RemoveDevice(ctx context.Context, id string) error {
	defer r.calls.DeviceRemoved(id)
	if r.nodes.alone() {
		return r.Store.RemoveDevice(ctx, id)
	}
	d, err := r.Store.Device(ctx, id)
	if err != nil {
		return err
	}
	defer r.nodes.changed(d.Owner)
	return r.Store.RemoveDevice(ctx, id)
}

// register is the store of package account: who takes over a user ID takes its devices away.
type register struct {
	account.Store
	calls *call.Service
	nodes *nodes
}

func (r register) OpenSession(ctx context.Context, user bell.User, session bell.Session, rule account.SessionRule) error {
	defer func() {
		r.calls.DevicesChanged(session.Owner)
		r.nodes.changed(session.Owner)
	}()
	return r.Store.OpenSession(ctx, user, session, rule)
}
