// Package delivery rings devices: it takes recorded deliveries, attempts each one
// over its route, repeats what is worth repeating inside the ring, records what came
// of it, and continues what a dead process left behind.
//
// The database is the truth, memory is the speed. A delivery is recorded by package
// call before it comes here, with a lease that names this process; if the process
// dies, whoever finds the lease run out continues. A delivery with an unknown outcome
// is repeated under the same ID, which APNs receives as apns-id.
//
// The states and what moves them are drawn in the DESIGN.md beside this file.
//
// Start with [Engine]. [Sender] is what a provider must implement, and decide, in
// policy.go, is the one place where a retry is decided.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Defaults of Config.
const (
	DefaultMaxInFlight = 20_000
	DefaultMaxPerRoute = 2_000
	DefaultLease       = 15 * time.Second
	// DefaultHedgeAfter: a connection that died silently was measured to cost a whole ring,
	// and a second one to answer in 0.4 s (docs/push-providers.md 7.2).
	DefaultHedgeAfter = 400 * time.Millisecond
)

const (
	// sweepEvery is how often expired deliveries are marked and run-out leases are
	// looked for. A dead process is noticed within its lease and this.
	sweepEvery = time.Second
	// claimBatch bounds one claim, so that a long queue does not sit in memory twice.
	claimBatch = 1000
	// minAttempt is the least time worth starting an attempt with.
	minAttempt = 50 * time.Millisecond
)

// The causes for which a delivery's context ends.
var (
	errWithdrawn = errors.New("the call has ended")
	errDeadline  = errors.New("the ring is over")
	errStopping  = errors.New("the server is stopping")
	errReceived  = errors.New("the device has the call")
)

// Config is what an Engine is made of. Store, Router, Owner and Log are needed.
type Config struct {
	Store       Store
	Router      Router
	Registry    Registry // learns what push tokens are worth; nobody if nil
	Owner       string   // this process, in leases; unique among processes
	Log         *slog.Logger
	Metrics     *Metrics
	MaxInFlight int // deliveries in memory on one route; more are refused
	MaxPerRoute int // attempts at once on one route
	Lease       time.Duration
	HedgeAfter  time.Duration // least wait for an answer before a VoIP push is sent a second time; never if negative
	Now         func() time.Time
	Random      func() float64 // 0 to 1, for jitter; math/rand if nil
	// Tells reports whether a notice may still go by a channel: the settings may have changed
	// since it was recorded. Nil: as bell.Purpose.Goes says. It is not asked of calls.
	Tells func(notice *bell.Call, channel bell.Channel) bool
	// Waits reports whether a device polls here at the moment. A ring that lies in a mailbox is
	// then held by this process, and else by nobody, until the process where its device polls
	// claims it. Nil: there is no other process, and every poll comes here.
	Waits  func(device string) bool
	Traces Traces // nil: none are written
	// Watched reports whether everything is logged about a call, and not only what went wrong. Nil:
	// about none.
	Watched func(environment planet.Environment, id planet.SessionID) bool
}

// Engine rings devices. All methods are safe for concurrent use. Use Run to make it
// continue and expire deliveries, and Stop to end it.
type Engine struct {
	Config
	ctx    context.Context //nolint:containedctx // the life of all deliveries, ended by Stop
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu        sync.Mutex // guards all below
	room      int        // admitted and not yet finished, over all routes
	stopped   bool
	entries   map[string]*entry     // by delivery ID: admitted and not yet finished
	calls     map[callKey]*ringing  // calls with deliveries in memory
	withdrawn map[callKey]time.Time // calls that ended lately: a late Start must not ring
	routes    map[RouteKey]*route
	left      map[string]struct{} // deliveries that ended, or whose devices had them, while a claim was under way; nil while none is

	unrecorded ends // has a lock of its own
}

// entry is one delivery in memory.
type entry struct {
	route  *route                  // on which it takes up room
	cancel context.CancelCauseFunc // nil until it is started
	since  time.Time               // when it was started; zero before
	again  *bell.Ring              // to be started when this ends: it was taken anew meanwhile
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
	// devices holds entries by device, where other processes can say that one has the call.
	devices map[string][]*entry
}

// New makes an Engine. It starts nothing.
func New(c Config) *Engine {
	c.setDefaults()
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Engine{
		Config: c, ctx: ctx, cancel: cancel,
		entries: map[string]*entry{}, calls: map[callKey]*ringing{},
		withdrawn: map[callKey]time.Time{}, routes: map[RouteKey]*route{},
		unrecorded: ends{byID: map[string]final{}},
	}
}

// Hold says in which state new deliveries are recorded, who works on them, and until when
// it holds each. A push is under way the moment it is recorded. A delivery in a mailbox is
// held to its end: nothing is sent, the device asks. It has no owner when the device may ask
// another process; see Config.Waits.
func (e *Engine) Hold(device *bell.Device, now, deadline time.Time) (bell.DeliveryState, string, time.Time) {
	switch {
	case device.Channel != bell.LongPoll:
		return bell.DeliverySending, e.Owner, now.Add(e.Config.Lease)
	case e.Waits != nil && !e.Waits(device.ID):
		return bell.DeliveryPending, "", deadline
	}
	return bell.DeliveryPending, e.Owner, deadline
}

// leaseUntil is how long this process holds a delivery that it has.
func (e *Engine) leaseUntil(d *bell.Delivery, now time.Time) time.Time {
	if d.Channel == bell.LongPoll {
		return d.Deadline
	}
	return now.Add(e.Config.Lease)
}

// reasonRouteFull is why a delivery was refused for which its route had no room.
const reasonRouteFull = "route_full"

// Admit makes room for deliveries on their routes. Those whose route is full are turned
// into failed ones, to be recorded as such: a provider that hangs must not keep others
// from ringing. It fails with bell.Overload when there is room for none of them, and
// with bell.Unavailable when the engine is stopping: an honest refusal ends the caller's wait, a silent queue
// does not. What was admitted must be started or dismissed.
func (e *Engine) Admit(rings []bell.Ring) error {
	routes := make([]*route, len(rings))
	for i := range rings {
		routes[i], _, _ = e.routeTo(&rings[i].Device)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return bell.E(bell.Unavailable, "The server is stopping; this call was not taken.", nil)
	}
	refused, notices := 0, 0
	for i, rt := range routes {
		d := &rings[i].Delivery
		switch {
		case e.entries[d.ID] != nil:
		case rt.room >= e.roomFor(rings[i].Call):
			d.State, d.Reason, d.LeaseOwner, d.LeaseUntil = bell.DeliveryFailed, reasonRouteFull, "", time.Time{}
			refused++
			if rings[i].Call.Purpose != bell.PurposeCall {
				notices++
			}
		default:
			rt.room++
			e.room++
			e.entries[d.ID] = &entry{route: rt}
		}
	}
	e.Metrics.inFlight(e.room)
	e.Metrics.dropped(droppedFull, refused-notices)
	e.Metrics.dropped(droppedNotice, notices)
	if refused > 0 && refused == len(rings) {
		return bell.E(bell.Overload, "Too many calls are ringing at once; this call was not taken.", nil)
	}
	return nil
}

// roomFor is how many deliveries may be on a route when one more is admitted. Notices leave
// half of it to calls.
func (e *Engine) roomFor(c *bell.Call) int {
	if c.Purpose != bell.PurposeCall {
		return e.MaxInFlight / 2
	}
	return e.MaxInFlight
}

// Dismiss gives back room that was admitted and is not needed.
func (e *Engine) Dismiss(rings []bell.Ring) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range rings {
		if entry := e.entries[rings[i].Delivery.ID]; entry != nil && entry.cancel == nil {
			e.drop(rings[i].Delivery.ID, entry)
		}
	}
	e.Metrics.inFlight(e.room)
}

// drop takes a delivery out of memory. The caller holds e.mu.
func (e *Engine) drop(id string, entry *entry) {
	delete(e.entries, id)
	entry.route.room--
	e.room--
}

// Start rings devices whose deliveries are recorded and admitted; it leaves alone what was
// refused. It returns at once.
func (e *Engine) Start(rings []bell.Ring) { e.start(rings, false) }

// start begins to ring. What was claimed a moment ago may have ended here before.
func (e *Engine) start(rings []bell.Ring, again bool) {
	now := e.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range rings {
		entry := e.entries[rings[i].Delivery.ID]
		switch {
		case entry == nil: // refused
		case entry.cancel == nil:
			e.begin(&rings[i], entry, again, now)
		case again:
			entry.again = &rings[i]
		}
	}
	e.Metrics.inFlight(e.room)
}

// begin starts one delivery. The caller holds e.mu.
func (e *Engine) begin(r *bell.Ring, entry *entry, again bool, now time.Time) {
	key := callKey{r.Call.Environment, r.Call.SessionID}
	_, over := e.withdrawn[key]
	_, left := e.left[r.Delivery.ID]
	if over || left && !again || e.stopped || Unheld(&r.Delivery) {
		e.drop(r.Delivery.ID, entry) // the record says withdrawn or received, or it will be claimed by another process
		return
	}
	call := e.join(key)
	ctx, cancel := context.WithCancelCause(call.ctx)
	entry.cancel, entry.since = cancel, now
	if e.Waits != nil {
		call.add(r.Device.ID, entry)
	}
	e.work.Go(func() {
		defer e.leave(key, r)
		(&journey{Engine: e, r: r, call: call.ctx}).run(ctx)
	})
}

// join returns a call, and counts one more delivery on it. The caller holds e.mu.
func (e *Engine) join(key callKey) *ringing {
	c := e.calls[key]
	if c == nil {
		ctx, cancel := context.WithCancelCause(e.ctx)
		c = &ringing{ctx: ctx, cancel: cancel}
		e.calls[key] = c
	}
	c.count++
	return c
}

func (e *Engine) leave(key callKey, r *bell.Ring) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := r.Delivery.ID
	entry := e.entries[id]
	entry.cancel(nil)
	if e.left != nil {
		e.left[id] = struct{}{}
	}
	c := e.calls[key]
	c.remove(r.Device.ID, entry)
	if entry.again != nil { // in the room that this one had
		e.beginAgain(entry)
	} else {
		e.drop(id, entry)
	}
	e.Metrics.inFlight(e.room)
	if c.count--; c.count == 0 {
		c.cancel(nil)
		delete(e.calls, key)
	}
}

// Withdraw stops what is still to be sent for a call, also for deliveries that are
// started later.
func (e *Engine) Withdraw(environment planet.Environment, id planet.SessionID) {
	under := e.withdraw(callKey{environment, id})
	if e.watches(environment, id) {
		e.Log.Info("withdrawal", "sid", id, "in_memory", under)
	}
}

// withdraw returns how many deliveries of the call were in memory.
func (e *Engine) withdraw(key callKey) (under int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.withdrawn[key] = e.Now()
	if c := e.calls[key]; c != nil {
		under = c.count
		c.cancel(errWithdrawn)
	}
	return under
}

// settle ends what is still to be sent of one delivery, because its device has the call:
// also of one that is being claimed, which the claim may have seen before the receipt.
func (e *Engine) settle(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left != nil {
		e.left[id] = struct{}{}
	}
	if entry := e.entries[id]; entry != nil && entry.cancel != nil {
		entry.again = nil
		entry.cancel(errReceived)
	}
}

// Run continues what dead processes left, marks what has expired, and returns when ctx
// ends. The first claim takes everything, because only one process at a time can have
// an embedded database open; takeAll says whether that is so. A database in trouble is
// asked again every second.
func (e *Engine) Run(ctx context.Context, takeAll bool) error {
	s := sweeper{Engine: e, takeAll: takeAll}
	s.tell(s.claim(ctx))
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.sweep(ctx)
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
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), lastPatience, errSlowStore)
	defer cancel()
	e.unrecorded.record(ctx, e.Store) // else the next process repeats them
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
