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
	if c.Tells == nil {
		c.Tells = func(n *bell.Call, channel bell.Channel) bool { return n.Purpose.Goes(channel) }
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
}

// sweeper does what has to be done every second. One goroutine has it: Run's.
type sweeper struct {
	*Engine
	takeAll bool // claim also what another process holds
	sick    bool // the last sweep failed, and the log says so
}

// sweep marks what has expired and continues what dead processes left. It takes all as long
// as there was no room for all of it.
func (s *sweeper) sweep(ctx context.Context) {
	now := s.Now()
	s.forget(now)
	late, cancel := context.WithTimeoutCause(ctx, s.patience(), errSlowStore)
	s.unrecorded.record(late, s.Store)
	cancel()
	n, err := s.Store.ExpireDeliveries(ctx, now)
	if err == nil {
		s.Metrics.dropped(droppedDeadline, n)
	}
	failed := s.claim(ctx)
	if ctx.Err() == nil {
		s.tell(errors.Join(err, failed))
	}
}

// forget drops what nobody can ask for any more.
func (s *sweeper) forget(now time.Time) {
	s.unrecorded.forget(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, at := range s.withdrawn {
		if now.Sub(at) > withdrawnKept {
			delete(s.withdrawn, key)
		}
	}
}

// tell says once that sweeps fail, and once that they work again.
func (s *sweeper) tell(err error) {
	before := s.sick
	s.sick = err != nil
	switch {
	case err != nil && !before:
		s.Log.Error("deliveries of dead processes cannot be looked for, nor expired ones marked; both are tried every second", "error", err)
	case err == nil && before:
		s.Log.Info("deliveries of dead processes are looked for again")
	}
}

// claim continues deliveries whose process is gone. What this process still works on,
// because an attempt takes longer than its lease, is left alone. It goes on as long as
// it finds something that its route has room for; when that was all, it takes no more than
// its share from then on.
func (s *sweeper) claim(ctx context.Context) error {
	for range claimsPerSweep {
		if ctx.Err() != nil || s.stopping() {
			break
		}
		taken, err := s.claimSome(ctx)
		if err != nil {
			return err
		}
		if taken == 0 { // fewer than a batch may have been left out on the way here
			s.takeAll = false
			break
		}
	}
	return nil
}

// claimSome claims one batch, and returns how many deliveries it held.
func (s *sweeper) claimSome(ctx context.Context) (taken int, err error) {
	now := s.Now()
	s.watchClaim(true)
	defer s.watchClaim(false) // after the start: what ends until then is not started
	rings, err := s.Store.ClaimDeliveries(ctx, Claim{
		Owner: s.Owner, Now: now, LeaseUntil: now.Add(s.Config.Lease), TakeAll: s.takeAll, Limit: claimBatch,
	})
	if err != nil {
		return 0, err
	}
	taken = len(rings)
	if started := s.resume(s.fresh(rings)); started > 0 {
		s.Log.Info("continuing deliveries that another process left", "deliveries", started)
	}
	return taken, nil
}

// resume starts what its route has room for, and gives the rest back for a while. It
// returns how many it started.
func (s *sweeper) resume(rings []bell.Ring) int {
	if len(rings) == 0 {
		return 0
	}
	held := make([]bell.Delivery, len(rings))
	for i := range rings {
		held[i] = rings[i].Delivery
	}
	if err := s.Admit(rings); err != nil && s.stopping() {
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
			s.giveBack(&r)
			return nil
		})
	}
	s.Start(rings)
	_ = group.Wait()
	return started
}

// claimsPerSweep bounds one sweep: what has no room is given back for a second, and must not
// be claimed again and again by a sweep that takes longer.
const claimsPerSweep = 200

// givingBack is how many writes give deliveries back at once: they share commits.
const givingBack = 64

// giveBack leaves a delivery to a later sweep.
func (s *sweeper) giveBack(r *bell.Ring) {
	d := r.Delivery
	d.State, d.UpdatedAt, d.LeaseUntil = bell.DeliveryPending, s.Now(), s.Now().Add(sweepEvery)
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.patience(), errSlowStore)
	defer cancel()
	if err := s.Store.RecordAttempt(ctx, d, bell.Attempt{}); err != nil {
		s.Log.Error("a delivery could not be given back; its lease will run out", "delivery", d.ID, "error", err)
	}
}

func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

// watchClaim notes which deliveries end while a claim is under way: the claim may have seen
// them before their end was recorded, and must not ring them again.
func (s *sweeper) watchClaim(begin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = nil
	if begin {
		s.left = map[string]struct{}{}
	}
}

// fresh leaves out what is in memory already, or was when the claim began.
func (s *sweeper) fresh(rings []bell.Ring) []bell.Ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := rings[:0]
	for _, r := range rings {
		if _, ended := s.left[r.Delivery.ID]; s.entries[r.Delivery.ID] == nil && !ended {
			fresh = append(fresh, r)
		}
	}
	return fresh
}
