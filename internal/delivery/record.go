package delivery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// recordTimeout bounds the wait for an outcome's commit. It is not tied to the
	// ring: what was done must be recorded even when the ring is over.
	recordTimeout = 10 * time.Second
	// lastPatience is recordTimeout once the server has to be gone: the stop is bounded,
	// and what is not recorded is repeated by the next process.
	lastPatience = time.Second
)

// patience is how long a write may take.
func (e *Engine) patience() time.Duration {
	if e.ctx.Err() != nil {
		return lastPatience
	}
	return recordTimeout
}

func (e *Engine) finish(r *bell.Ring, state bell.DeliveryState, reason string) {
	r.Delivery.Reason = reason
	e.record(r, state, bell.Attempt{})
}

// record writes an attempt and the delivery's new state. A failure to record is not a
// failure to ring: it is logged, and a delivery that has ended is remembered, so that it is
// recorded, not repeated.
func (e *Engine) record(r *bell.Ring, state bell.DeliveryState, a bell.Attempt) {
	e.recordUntil(r, state, a, 0)
}

// recordUntil is record for a delivery whose next attempt is a wait away: its lease must
// not run out while it waits.
func (e *Engine) recordUntil(r *bell.Ring, state bell.DeliveryState, a bell.Attempt, wait time.Duration) {
	d := &r.Delivery
	if state == stateTaken {
		return // whoever has it records it
	}
	d.State, d.UpdatedAt = state, e.Now()
	if a.Number > 0 {
		d.Reason = a.Outcome.Reason
	}
	d.LeaseUntil = e.leaseUntil(d, d.UpdatedAt.Add(wait))
	if e.ctx.Err() != nil && !state.Final() {
		d.State, d.LeaseUntil = bell.DeliveryPending, d.UpdatedAt
	}
	e.logState(d)
	ctx, cancel := context.WithTimeoutCause(context.Background(), e.patience(), errSlowStore)
	defer cancel()
	if err := e.Store.RecordAttempt(ctx, *d, a); err != nil {
		e.Metrics.unrecorded()
		level := slog.LevelError
		if bell.KindOf(err) == bell.Unavailable {
			level = slog.LevelDebug // the database is in trouble, and that is told once
		}
		if state.Final() && e.unrecorded.remember(*d, a) {
			level = slog.LevelDebug // it is recorded later
		}
		e.Log.Log(ctx, level, "an outcome could not be recorded", "delivery", d.ID, "sid", d.SessionID, "state", state, "error", err)
	}
}

var errSlowStore = errors.New("the database did not commit an outcome in time")

// Taken records that a device took its call from the mailbox: the end of the try with
// which it was put in.
func (e *Engine) Taken(r bell.Ring, at time.Time) {
	a := e.polled(&r, at, "polled")
	e.record(&r, bell.DeliveryAccepted, a)
}
