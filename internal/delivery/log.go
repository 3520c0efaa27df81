package delivery

import (
	"context"
	"log/slog"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// watches reports whether everything is logged about a call.
func (e *Engine) watches(environment planet.Environment, id planet.SessionID) bool {
	return e.Watched != nil && e.Watched(environment, id)
}

// detail is the level of what went well: it is in the record, unless somebody looks for it here.
func (e *Engine) detail(environment planet.Environment, id planet.SessionID) slog.Level {
	if e.watches(environment, id) {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// logAttempt tells of what did not go well at once; what went well is in the record.
func (e *Engine) logAttempt(r *bell.Ring, key RouteKey, a bell.Attempt) {
	level := slog.LevelWarn
	if a.Outcome.Verdict == bell.Accepted {
		level = e.detail(r.Call.Environment, r.Call.SessionID)
	}
	ctx := context.Background()
	if !e.Log.Enabled(ctx, level) {
		return
	}
	e.Log.Log(ctx, level, "attempt", "sid", r.Call.SessionID, "device", r.Device.ID,
		"fingerprint", r.Device.PushToken.Fingerprint(), "via", key.Credential, "channel", key.Channel, "server", key.Server,
		"number", a.Number, "verdict", a.Outcome.Verdict, "reason", a.Outcome.Reason, "status", a.Outcome.Status,
		"detail", a.Outcome.Detail, "took", a.Took)
}

// logDeposit tells of a watched call that lies in a mailbox.
func (e *Engine) logDeposit(r *bell.Ring) {
	if e.watches(r.Call.Environment, r.Call.SessionID) {
		e.Log.Info("in the mailbox", "sid", r.Call.SessionID, "device", r.Device.ID, "delivery", r.Delivery.ID)
	}
}

// logState tells what becomes of a delivery of a watched call.
func (e *Engine) logState(d *bell.Delivery) {
	if e.watches(d.Environment, d.SessionID) {
		e.Log.Info("delivery", "sid", d.SessionID, "device", d.DeviceID, "delivery", d.ID, "channel", d.Channel,
			"state", d.State, "reason", d.Reason, "attempts", d.Attempts)
	}
}

// logReceipt tells of a device's word that it has a call.
func (e *Engine) logReceipt(r *bell.Receipt, got *Received) {
	e.Log.Log(context.Background(), e.detail(r.Environment, r.SessionID), "receipt", "sid", r.SessionID, "device", r.DeviceID,
		"delivery", got.DeliveryID, "channel", got.Channel, "via", r.Channel, "priority", r.Priority, "original_priority", r.OriginalPriority)
}

// trace writes the span of an attempt, if calls are traced.
func (e *Engine) trace(r *bell.Ring, key RouteKey, a bell.Attempt) (traceID string) {
	if e.Traces == nil {
		return ""
	}
	return e.Traces.Attempt(r, key.Credential, key.Server, a)
}
