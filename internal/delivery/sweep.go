package delivery

import (
	"context"
	"math/rand/v2"
	"time"

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
	if n, err := e.Store.ExpireDeliveries(ctx, now); err != nil {
		e.Log.Error("expired deliveries could not be marked", "error", err)
	} else if n > 0 {
		e.Metrics.dropped("deadline", n)
	}
	all, err := e.claim(ctx, takeAll)
	if err != nil {
		e.Log.Error("deliveries of dead processes could not be looked for", "error", err)
	}
	return takeAll && !all
}

// claim continues deliveries whose process is gone. What this process still works on,
// because an attempt takes longer than its lease, is left alone. It claims no more than
// there is room for, and reports whether that was all there is.
func (e *Engine) claim(ctx context.Context, takeAll bool) (all bool, err error) {
	for ctx.Err() == nil {
		limit := min(claimBatch, e.free())
		if limit <= 0 {
			return false, nil
		}
		now := e.Now()
		rings, err := e.Store.ClaimDeliveries(ctx, Claim{
			Owner: e.Owner, Now: now, LeaseUntil: now.Add(e.Config.Lease), TakeAll: takeAll, Limit: limit,
		})
		if err != nil {
			return false, err
		}
		fresh := e.fresh(rings)
		if len(fresh) > 0 {
			if err := e.Admit(len(fresh)); err != nil {
				return false, nil // filled meanwhile, or stopping: their leases run out again
			}
			e.Log.Info("continuing deliveries that another process left", "deliveries", len(fresh))
			e.Start(fresh)
		}
		if len(rings) < limit {
			return true, nil
		}
	}
	return false, nil
}

// free is how many deliveries there is room for.
func (e *Engine) free() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return 0
	}
	return e.MaxInFlight - e.room
}

func (e *Engine) fresh(rings []bell.Ring) []bell.Ring {
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := rings[:0]
	for _, r := range rings {
		if _, mine := e.active[r.Delivery.ID]; !mine {
			fresh = append(fresh, r)
		}
	}
	return fresh
}
