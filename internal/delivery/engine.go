// Package delivery rings devices: it takes recorded deliveries, attempts each one
// over its route, repeats what is worth repeating inside the ring, records what came
// of it, and continues what a dead process left behind.
//
// The database is the truth, memory is the speed. A delivery is recorded by package
// call before it comes here, with a lease that names this process; if the process
// dies, whoever finds the lease run out continues. A delivery with an unknown outcome
// is repeated under the same ID, which APNs receives as apns-id.
//
//	pending -> sending -> accepted -> received
//	pending | sending -> failed | expired | withdrawn
//
// Start with [Engine]. [Sender] is what a provider must implement, and decide, in
// policy.go, is the one place where a retry is decided.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Defaults of Config.
const (
	DefaultMaxInFlight = 50_000
	DefaultMaxPerRoute = 2_000
	DefaultLease       = 15 * time.Second
)

const (
	// sweepEvery is how often expired deliveries are marked and run-out leases are
	// looked for. A dead process is noticed within its lease and this.
	sweepEvery = time.Second
	// claimBatch bounds one claim, so that a long queue does not sit in memory twice.
	claimBatch = 1000
	// recordTimeout bounds the wait for an outcome's commit. It is not tied to the
	// ring: what was done must be recorded even when the ring is over.
	recordTimeout = 10 * time.Second
	// minAttempt is the least time worth starting an attempt with.
	minAttempt = 50 * time.Millisecond
)

// The causes for which a delivery's context ends.
var (
	errWithdrawn = errors.New("the call has ended")
	errDeadline  = errors.New("the ring is over")
	errStopping  = errors.New("the server is stopping")
)

// Config is what an Engine is made of. Store, Router, Owner and Log are needed.
type Config struct {
	Store       Store
	Router      Router
	Owner       string // this process, in leases; unique among processes
	Log         *slog.Logger
	Metrics     *Metrics
	MaxInFlight int // deliveries in memory; more are refused
	MaxPerRoute int // attempts at once on one route
	Lease       time.Duration
	Now         func() time.Time
	Random      func() float64 // 0 to 1, for jitter; math/rand if nil
}

// Engine rings devices. All methods are safe for concurrent use. Use Run to make it
// continue and expire deliveries, and Stop to end it.
type Engine struct {
	Config
	ctx    context.Context //nolint:containedctx // the life of all deliveries, ended by Stop
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu        sync.Mutex // guards all below
	room      int        // admitted and not yet finished
	stopped   bool
	active    map[string]struct{}   // delivery IDs in memory
	calls     map[callKey]*ringing  // calls with deliveries in memory
	withdrawn map[callKey]time.Time // calls that ended lately: a late Start must not ring
	routes    map[RouteKey]chan struct{}

	unrecorded map[string]final // by delivery ID: ended, but the database did not take it
}

type callKey struct {
	environment planet.Environment
	id          planet.SessionID
}

// ringing is one call's deliveries in memory.
type ringing struct {
	ctx    context.Context //nolint:containedctx // ends when the call ends
	cancel context.CancelCauseFunc
	count  int
}

// New makes an Engine. It starts nothing.
func New(c Config) *Engine {
	c.setDefaults()
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Engine{
		Config: c, ctx: ctx, cancel: cancel,
		active: map[string]struct{}{}, calls: map[callKey]*ringing{},
		withdrawn: map[callKey]time.Time{}, routes: map[RouteKey]chan struct{}{},
		unrecorded: map[string]final{},
	}
}

// Lease says who works on new deliveries, and until when it holds each. A delivery in
// a mailbox is held to its end: nothing is attempted, the device asks.
func (e *Engine) Lease(channel bell.Channel, now, deadline time.Time) (string, time.Time) {
	if channel == bell.LongPoll {
		return e.Owner, deadline
	}
	return e.Owner, now.Add(e.Config.Lease)
}

// Admit makes room for n deliveries. It fails with bell.Unavailable when the engine is
// full or stopping: an honest refusal ends the caller's wait, a silent queue does not.
func (e *Engine) Admit(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return bell.E(bell.Unavailable, "The server is stopping; this call was not taken.", nil)
	case e.room+n > e.MaxInFlight:
		e.Metrics.dropped("full", n)
		return bell.E(bell.Unavailable, "Too many calls are ringing at once; this call was not taken.", nil)
	}
	e.room += n
	e.Metrics.inFlight(e.room)
	return nil
}

// Dismiss gives back room that was admitted and is not needed.
func (e *Engine) Dismiss(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.room -= n
	e.Metrics.inFlight(e.room)
}

// Start rings devices whose deliveries are recorded and admitted. It returns at once.
func (e *Engine) Start(rings []bell.Ring) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range rings {
		r := &rings[i]
		key := callKey{r.Call.Environment, r.Call.SessionID}
		_, over := e.withdrawn[key]
		if over || e.stopped {
			e.room-- // the record says withdrawn, or will be claimed by the next process
			continue
		}
		if _, twice := e.active[r.Delivery.ID]; twice {
			e.room--
			continue
		}
		e.active[r.Delivery.ID] = struct{}{}
		ctx := e.join(key)
		e.work.Go(func() {
			defer e.leave(key, r.Delivery.ID)
			e.ring(ctx, r)
		})
	}
	e.Metrics.inFlight(e.room)
}

// join returns the context of a call, and counts one more delivery on it. The caller
// holds e.mu.
func (e *Engine) join(key callKey) context.Context {
	c := e.calls[key]
	if c == nil {
		ctx, cancel := context.WithCancelCause(e.ctx)
		c = &ringing{ctx: ctx, cancel: cancel}
		e.calls[key] = c
	}
	c.count++
	return c.ctx
}

func (e *Engine) leave(key callKey, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.active, id)
	e.room--
	e.Metrics.inFlight(e.room)
	c := e.calls[key]
	if c.count--; c.count == 0 {
		c.cancel(nil)
		delete(e.calls, key)
	}
}

// Withdraw stops what is still to be sent for a call, also for deliveries that are
// started later.
func (e *Engine) Withdraw(environment planet.Environment, id planet.SessionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := callKey{environment, id}
	e.withdrawn[key] = e.Now()
	if c := e.calls[key]; c != nil {
		c.cancel(errWithdrawn)
	}
}

// ring brings one delivery to its end, or leaves it to be claimed when the server stops.
func (e *Engine) ring(ctx context.Context, r *bell.Ring) {
	if f, ended := e.recall(r.Delivery.ID); ended {
		r.Delivery = f.delivery
		e.record(r, f.delivery.State, f.attempt)
		return
	}
	ctx, cancel := context.WithDeadlineCause(ctx, r.Delivery.Deadline, errDeadline)
	defer cancel()
	route, reason := e.Router.Route(&r.Device)
	if reason != "" {
		e.finish(r, bell.DeliveryFailed, reason)
		return
	}
	seen := map[bell.Verdict]int{}
	spare := false
	for {
		release, ok := e.slot(ctx, r, route.Key)
		if !ok {
			e.interrupted(ctx, r)
			return
		}
		attempt := e.attempt(ctx, r, route, spare)
		release()
		if attempt.Outcome.Verdict == bell.Deposited {
			e.deposited(r)
			return
		}
		if e.over(ctx, r) && !settled(attempt.Outcome) {
			e.record(r, e.stateAfter(ctx), attempt)
			return
		}
		d := decide(tried{
			channel: r.Device.Channel, outcome: attempt.Outcome, number: r.Delivery.Attempts,
			repeated: seen[attempt.Outcome.Verdict], now: e.Now(), deadline: r.Delivery.Deadline, random: e.Random(),
		})
		if !d.again {
			e.record(r, finalState(attempt.Outcome), attempt)
			return
		}
		seen[attempt.Outcome.Verdict]++
		spare = spare != d.spare
		e.recordUntil(r, bell.DeliveryPending, attempt, d.wait)
		if !wait(ctx, d.wait) {
			e.interrupted(ctx, r)
			return
		}
	}
}

// over reports whether nothing may be attempted any more. The clock is asked too: a
// timer, and so a context, ends a moment after its time.
func (e *Engine) over(ctx context.Context, r *bell.Ring) bool {
	return ctx.Err() != nil || !e.Now().Before(r.Delivery.Deadline)
}

// slot waits for one of the route's places; false means that the ring is over. Places
// are per route, so a provider that hangs fills its own and nobody else's.
func (e *Engine) slot(ctx context.Context, r *bell.Ring, key RouteKey) (release func(), ok bool) {
	e.mu.Lock()
	places := e.routes[key]
	if places == nil {
		places = make(chan struct{}, e.MaxPerRoute)
		e.routes[key] = places
	}
	e.mu.Unlock()
	select {
	case places <- struct{}{}:
		if e.over(ctx, r) { // a ring's end frees many places at once, and both were ready
			<-places
			return nil, false
		}
		return func() { <-places }, true
	case <-ctx.Done():
		return nil, false
	}
}

// attempt makes one try, within the channel's time limit and the ring.
func (e *Engine) attempt(ctx context.Context, r *bell.Ring, route Route, spare bool) bell.Attempt {
	start := e.Now()
	r.Delivery.Attempts++
	limit := max(min(policies[r.Device.Channel].timeout, r.Delivery.Deadline.Sub(start)), minAttempt)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("the provider did not answer in time"))
	defer cancel()
	outcome := route.Sender.Send(ctx, r, Try{Number: r.Delivery.Attempts, Spare: spare, Now: start})
	a := bell.Attempt{
		DeliveryID: r.Delivery.ID, Number: r.Delivery.Attempts,
		StartedAt: start, Took: e.Now().Sub(start), Outcome: outcome,
	}
	if outcome.Verdict != bell.Deposited {
		e.Metrics.attempted(route.Key, a, r.Call.NotifiedAt)
		e.logAttempt(r, route.Key, a)
	}
	return a
}

// deposited leaves a delivery to the mailbox, which reports what becomes of it. The try
// counts when the device takes its call. A claimed delivery has a short lease: it is
// made as long as that of a new one, or it would be claimed and put in once more.
func (e *Engine) deposited(r *bell.Ring) {
	r.Delivery.Attempts--
	if r.Delivery.LeaseUntil.Before(r.Delivery.Deadline) {
		e.record(r, bell.DeliveryPending, bell.Attempt{})
	}
}

// interrupted ends a delivery whose context ended while no attempt was under way.
func (e *Engine) interrupted(ctx context.Context, r *bell.Ring) {
	state := e.stateAfter(ctx)
	reason := r.Delivery.Reason
	if state == bell.DeliveryExpired && reason == "" {
		reason = "deadline"
	}
	e.finish(r, state, reason)
}

// stateAfter is what a delivery becomes when its context ended.
func (e *Engine) stateAfter(ctx context.Context) bell.DeliveryState {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errWithdrawn):
		return bell.DeliveryWithdrawn
	case errors.Is(cause, errStopping):
		return bell.DeliveryPending // with its lease given up, for the next process
	default:
		return bell.DeliveryExpired
	}
}

// settled reports whether the provider's answer ends the delivery, whatever else ended in
// the same instant. A refusal of our own has no status: it may only mean that the attempt
// was broken off.
func settled(o bell.Outcome) bool {
	return o.Verdict == bell.Accepted || o.Verdict == bell.Rejected && o.Status != 0
}

func finalState(o bell.Outcome) bell.DeliveryState {
	if o.Verdict == bell.Accepted {
		return bell.DeliveryAccepted
	}
	return bell.DeliveryFailed
}

func (e *Engine) finish(r *bell.Ring, state bell.DeliveryState, reason string) {
	r.Delivery.Reason = reason
	e.record(r, state, bell.Attempt{})
}

// record writes an attempt and the delivery's new state. A failure to record is not a
// failure to ring: it is logged, and a delivery that has ended is remembered, so that it is
// recorded, not repeated, when it is claimed.
func (e *Engine) record(r *bell.Ring, state bell.DeliveryState, a bell.Attempt) {
	e.recordUntil(r, state, a, 0)
}

// recordUntil is record for a delivery whose next attempt is a wait away: its lease must
// not run out while it waits.
func (e *Engine) recordUntil(r *bell.Ring, state bell.DeliveryState, a bell.Attempt, wait time.Duration) {
	d := &r.Delivery
	d.State, d.UpdatedAt = state, e.Now()
	if a.Number > 0 {
		d.Reason = a.Outcome.Reason
	}
	_, d.LeaseUntil = e.Lease(d.Channel, d.UpdatedAt.Add(wait), d.Deadline)
	if e.ctx.Err() != nil && !state.Final() {
		d.LeaseUntil = d.UpdatedAt
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), recordTimeout, errors.New("the database did not commit an outcome in time"))
	defer cancel()
	if err := e.Store.RecordAttempt(ctx, *d, a); err != nil {
		e.Metrics.unrecorded()
		if state.Final() {
			e.remember(*d, a)
		}
		e.Log.Error("an outcome could not be recorded", "delivery", d.ID, "sid", d.SessionID, "state", state, "error", err)
	}
}

// Taken records that a device took its call from the mailbox: the end of the try with
// which it was put in.
func (e *Engine) Taken(r bell.Ring, at time.Time) {
	r.Delivery.Attempts = max(1, r.Delivery.Attempts)
	a := bell.Attempt{
		DeliveryID: r.Delivery.ID, Number: r.Delivery.Attempts, StartedAt: at,
		Outcome: bell.Outcome{Verdict: bell.Accepted, Reason: "polled", Token: bell.TokenKeep},
	}
	key := RouteKey{Credential: r.Device.Project, Channel: bell.LongPoll}
	e.Metrics.attempted(key, a, r.Call.NotifiedAt)
	e.logAttempt(&r, key, a)
	e.record(&r, bell.DeliveryAccepted, a)
}

// logAttempt tells of what did not go well at once; what went well is in the record.
func (e *Engine) logAttempt(r *bell.Ring, key RouteKey, a bell.Attempt) {
	level := slog.LevelDebug
	if a.Outcome.Verdict != bell.Accepted {
		level = slog.LevelWarn
	}
	e.Log.Log(context.Background(), level, "attempt", "sid", r.Call.SessionID, "device", r.Device.ID,
		"fingerprint", r.Device.PushToken.Fingerprint(), "via", key.Credential, "channel", key.Channel, "server", key.Server,
		"number", a.Number, "verdict", a.Outcome.Verdict, "reason", a.Outcome.Reason, "status", a.Outcome.Status,
		"detail", a.Outcome.Detail, "took", a.Took)
}

// Run continues what dead processes left, marks what has expired, and returns when ctx
// ends. The first claim takes everything, because only one process at a time can have
// an embedded database open; takeAll says whether that is so.
func (e *Engine) Run(ctx context.Context, takeAll bool) error {
	all, err := e.claim(ctx, takeAll)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("continue the deliveries of an earlier process: %w", err)
	}
	takeAll = takeAll && !all
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			takeAll = e.sweep(ctx, takeAll)
		}
	}
}

// Stop ends the engine: nothing new is admitted, and what is under way may finish
// until ctx ends; the rest is given back to be claimed by the next process. It returns
// when no delivery is in memory any more.
func (e *Engine) Stop(ctx context.Context) {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		e.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	e.cancel(errStopping)
	<-done
}

// wait reports whether the time passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
