package delivery

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planetbell/planetbell/internal/bell"
)

// withdrawnKept is how long an ended call is remembered: longer than any Notify of it
// could still be under way.
const withdrawnKept = 2 * time.Minute

func (c *Config) setDefaults() {
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.MaxPerRoute == 0 {
		c.MaxPerRoute = DefaultMaxPerRoute
	}
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.HedgeAfter == 0 {
		c.HedgeAfter = DefaultHedgeAfter
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
}

// sweep does what has to be done every second. It reports whether the next sweep must
// take everything again, because there was no room for all of it.
func (e *Engine) sweep(ctx context.Context, takeAll bool) bool {
	now := e.Now()
	e.forget(now)
	e.recordLate(ctx)
	n, err := e.Store.ExpireDeliveries(ctx, now)
	if err == nil {
		e.Metrics.dropped("deadline", n)
	}
	all, failed := e.claim(ctx, takeAll)
	if ctx.Err() == nil {
		e.tell(errors.Join(err, failed))
	}
	return takeAll && !all
}

// tell says once that sweeps fail, and once that they work again.
func (e *Engine) tell(err error) {
	e.mu.Lock()
	before := e.sick
	e.sick = err != nil
	e.mu.Unlock()
	switch {
	case err != nil && !before:
		e.Log.Error("deliveries of dead processes cannot be looked for, nor expired ones marked; both are tried every second", "error", err)
	case err == nil && before:
		e.Log.Info("deliveries of dead processes are looked for again")
	}
}

// claim continues deliveries whose process is gone. What this process still works on,
// because an attempt takes longer than its lease, is left alone. It goes on as long as
// it finds something that its route has room for, and reports whether that was all.
func (e *Engine) claim(ctx context.Context, takeAll bool) (all bool, err error) {
	for range claimsPerSweep {
		if ctx.Err() != nil || e.stopping() {
			break
		}
		taken, err := e.claimSome(ctx, takeAll)
		if err != nil {
			return false, err
		}
		if taken == 0 { // fewer than a batch may have been left out on the way here
			return true, nil
		}
	}
	return false, nil
}

// claimSome claims one batch, and returns how many deliveries it held.
func (e *Engine) claimSome(ctx context.Context, takeAll bool) (taken int, err error) {
	now := e.Now()
	e.watchClaim(true)
	defer e.watchClaim(false) // after the start: what ends until then is not started
	rings, err := e.Store.ClaimDeliveries(ctx, Claim{
		Owner: e.Owner, Now: now, LeaseUntil: now.Add(e.Config.Lease), TakeAll: takeAll, Limit: claimBatch,
	})
	if err != nil {
		return 0, err
	}
	taken = len(rings)
	if started := e.resume(e.fresh(rings)); started > 0 {
		e.Log.Info("continuing deliveries that another process left", "deliveries", started)
	}
	return taken, nil
}

// resume starts what its route has room for, and gives the rest back for a while. It
// returns how many it started.
func (e *Engine) resume(rings []bell.Ring) int {
	if len(rings) == 0 {
		return 0
	}
	held := make([]bell.Delivery, len(rings))
	for i := range rings {
		held[i] = rings[i].Delivery
	}
	if err := e.Admit(rings); err != nil && e.stopping() {
		return 0 // their leases run out
	}
	var group errgroup.Group
	group.SetLimit(givingBack)
	started := 0
	for i := range rings {
		if rings[i].Delivery.Reason != reasonRouteFull {
			started++
			continue
		}
		r := rings[i]
		r.Delivery = held[i]
		group.Go(func() error {
			e.giveBack(&r)
			return nil
		})
	}
	e.Start(rings)
	_ = group.Wait()
	return started
}

// claimsPerSweep bounds one sweep: what has no room is given back for a second, and must not
// be claimed again and again by a sweep that takes longer.
const claimsPerSweep = 200

// givingBack is how many writes give deliveries back at once: they share commits.
const givingBack = 64

// giveBack leaves a delivery to a later sweep.
func (e *Engine) giveBack(r *bell.Ring) {
	d := r.Delivery
	d.State, d.UpdatedAt, d.LeaseUntil = bell.DeliveryPending, e.Now(), e.Now().Add(sweepEvery)
	ctx, cancel := context.WithTimeoutCause(context.Background(), e.patience(), errSlowStore)
	defer cancel()
	if err := e.Store.RecordAttempt(ctx, d, bell.Attempt{}); err != nil {
		e.Log.Error("a delivery could not be given back; its lease will run out", "delivery", d.ID, "error", err)
	}
}

func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

// watchClaim notes which deliveries end while a claim is under way: the claim may have seen
// them before their end was recorded, and must not ring them again.
func (e *Engine) watchClaim(begin bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = nil
	if begin {
		e.left = map[string]struct{}{}
	}
}

// fresh leaves out what is in memory already, or was when the claim began.
func (e *Engine) fresh(rings []bell.Ring) []bell.Ring {
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := rings[:0]
	for _, r := range rings {
		if _, ended := e.left[r.Delivery.ID]; e.entries[r.Delivery.ID] == nil && !ended {
			fresh = append(fresh, r)
		}
	}
	return fresh
}
