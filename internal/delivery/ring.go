package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// guardWait is how long a retry that a guard holds back waits before it asks again, more
// or less: all that are held must not ask in the same instant.
const guardWait = time.Second

// progress is how far a delivery has come.
type progress struct {
	call    context.Context      //nolint:containedctx // the whole call's: it ends a moment before those of its deliveries
	seen    map[bell.Verdict]int // attempts by verdict
	reached int                  // attempts that may have reached the provider
	retry   bool                 // the next attempt is not the first on its route
	free    bool                 // nothing of the last attempt can have reached the provider
	spare   bool                 // use the spare connection
	other   bool                 // the other APNs server is being tried
	own     *bell.Lesson         // what the device's own APNs server said, when the other is being tried
}

// way is a route with its sender.
type way struct {
	route  *route
	sender Sender
}

// ring brings one delivery to its end, or leaves it to be claimed when the server stops.
func (e *Engine) ring(call, ctx context.Context, r *bell.Ring) {
	if f, ended := e.recall(r.Delivery.ID); ended {
		r.Delivery = f.delivery
		e.record(r, f.delivery.State, f.attempt)
		return
	}
	ctx, cancel := context.WithDeadlineCause(ctx, r.Delivery.Deadline, errDeadline)
	defer cancel()
	p := progress{call: call, seen: map[bell.Verdict]int{}, reached: before(r)}
	for {
		rt, sender, reason := e.routeTo(&r.Device)
		if reason != "" {
			e.finish(r, bell.DeliveryFailed, reason)
			return
		}
		report, ok := e.clearance(ctx, r, rt, &p)
		if !ok {
			return
		}
		release, ok := e.slot(ctx, r, rt, &p)
		if !ok {
			report(errNoProof)
			e.interrupted(ctx, r, &p)
			return
		}
		t := e.try(ctx, r, way{rt, sender}, &p)
		release()
		report(health(t.last.Outcome))
		if !e.follow(ctx, r, rt, &p, t) {
			return
		}
	}
}

// before is how many attempts of another process may have reached the provider. The row does
// not say of which nothing left: so many may have been made in vain that none seemed to be
// left. One more is allowed in any case.
func before(r *bell.Ring) int {
	return min(r.Delivery.Attempts, max(0, policies[r.Device.Channel].attempts-1))
}

// clearance waits until the guards of the route let the next attempt go. A first attempt
// never waits. When it reports false the delivery has come to its end.
func (e *Engine) clearance(ctx context.Context, r *bell.Ring, rt *route, p *progress) (permit, bool) {
	if !p.retry || rt.guard == nil {
		return rt.guard.first(e.Now()), true
	}
	report, cause := rt.guard.retry(e.Now(), p.free)
	if cause == "" {
		return report, true
	}
	e.Metrics.held(rt.key, cause)
	if !rt.hold(e.MaxInFlight / 2) {
		e.finish(r, bell.DeliveryFailed, r.Delivery.Reason)
		return nil, false
	}
	defer rt.letGo()
	for cause != "" {
		if !wait(ctx, guardWait/2+time.Duration(e.Random()*float64(guardWait))) {
			e.interrupted(ctx, r, p)
			return nil, false
		}
		report, cause = rt.guard.retry(e.Now(), p.free)
	}
	return report, true
}

// follow records what came of a try, and decides and waits for the next. It reports
// whether there is one.
func (e *Engine) follow(ctx context.Context, r *bell.Ring, rt *route, p *progress, t tries) bool {
	last := t.last
	if last.Outcome.Verdict == bell.Deposited {
		e.deposited(r)
		return false
	}
	if t.beside.Number != 0 {
		e.record(r, bell.DeliverySending, t.beside)
		p.noteBeside(t.beside.Outcome)
	}
	if e.over(ctx, r, p) && !settled(last.Outcome) {
		e.record(r, p.stateAfter(ctx), last)
		return false
	}
	repeated := p.note(last.Outcome)
	d := decide(tried{
		channel: r.Device.Channel, outcome: last.Outcome, reached: p.reached, repeated: repeated,
		other: last.Outcome.Verdict == bell.RetryOtherHost && !p.other && !r.Device.APNsServerConfirmed && e.otherWay(&r.Device),
		now:   e.Now(), deadline: r.Delivery.Deadline, random: e.Random(),
	})
	if !d.again {
		e.record(r, finalState(last.Outcome), last)
		e.learn(r, rt, p, last)
		return false
	}
	e.recordUntil(r, bell.DeliverySending, last, d.wait)
	p.retry, p.free, p.spare = true, last.Outcome.Unsent, p.spare != d.spare
	if d.other {
		p.own = lesson(r, rt, p, last)
		r.Device.APNsServer = otherServer(r.Device.APNsServer)
		p.retry, p.other, p.spare = false, true, false
	}
	if !wait(ctx, d.wait) {
		e.interrupted(ctx, r, p)
		return false
	}
	return true
}

// note counts an outcome and returns how often its verdict came before.
func (p *progress) note(o bell.Outcome) (repeated int) {
	repeated = p.seen[o.Verdict]
	p.seen[o.Verdict]++
	if !o.Unsent {
		p.reached++
	}
	return repeated
}

// noteBeside counts the outcome of an attempt beside the one that decides. What is repeated
// only once is not used up when both attempts of one turn were answered alike.
func (p *progress) noteBeside(o bell.Outcome) {
	repeated := p.note(o)
	switch o.Verdict {
	case bell.RetryOtherHost, bell.RetryCredential, bell.RetryThrottled:
		p.seen[o.Verdict] = repeated
	}
}

func otherServer(s bell.APNsServer) bell.APNsServer {
	if s == bell.APNsProduction {
		return bell.APNsSandbox
	}
	return bell.APNsProduction
}

// otherWay reports whether there is a way to the device over the other APNs server.
func (e *Engine) otherWay(d *bell.Device) bool {
	if d.APNsServer == "" {
		return false
	}
	other := *d
	other.APNsServer = otherServer(d.APNsServer)
	_, reason := e.Router.Route(&other)
	return reason == ""
}

// learn tells the registry what the delivery's last attempt says of the push token. When
// both APNs servers refuse it, the refusal of the device's own server comes first: that is
// the one that can be held against the token. It waited, because a registry that takes its
// time must not keep the other server from being asked.
func (e *Engine) learn(r *bell.Ring, rt *route, p *progress, a bell.Attempt) {
	if e.Registry == nil || a.Outcome.Status == 0 {
		return
	}
	parent := e.ctx // the end of a stop's patience is this one's too: the next attempt teaches the same
	if parent.Err() != nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeoutCause(parent, e.patience(), errors.New("the registry of devices did not answer in time"))
	defer cancel()
	if p.own != nil && a.Outcome.Token == bell.TokenCheck {
		e.Registry.Learn(ctx, *p.own)
	}
	e.Registry.Learn(ctx, *lesson(r, rt, p, a))
}

// lesson is what an attempt teaches.
func lesson(r *bell.Ring, rt *route, p *progress, a bell.Attempt) *bell.Lesson {
	return &bell.Lesson{
		Device: r.Device, Credential: rt.key.Credential, Outcome: a.Outcome, OtherTried: p.other, At: a.StartedAt,
	}
}

// over reports whether nothing may be attempted any more. The clock is asked too: a
// timer, and so a context, ends a moment after its time.
func (e *Engine) over(ctx context.Context, r *bell.Ring, p *progress) bool {
	return p.call.Err() != nil || ctx.Err() != nil || !e.Now().Before(r.Delivery.Deadline)
}

// slot waits for one of the route's places; false means that the ring is over. Places
// are per route, so a provider that hangs fills its own and nobody else's. A notice needs
// one of those that are set aside for notices first.
func (e *Engine) slot(ctx context.Context, r *bell.Ring, rt *route, p *progress) (release func(), ok bool) {
	if r.Call.Purpose != bell.PurposeCall {
		select {
		case rt.aside <- struct{}{}:
			defer func() {
				if !ok {
					<-rt.aside
				}
			}()
		case <-ctx.Done():
			return nil, false
		}
	}
	select {
	case rt.places <- struct{}{}:
		if e.over(ctx, r, p) { // a ring's end frees many places at once, and both were ready
			<-rt.places
			return nil, false
		}
		rt.metrics.attempting.Inc()
		return func() {
			<-rt.places
			if r.Call.Purpose != bell.PurposeCall {
				<-rt.aside
			}
			rt.metrics.attempting.Dec()
		}, true
	case <-ctx.Done():
		return nil, false
	}
}

// attempt makes one request, within the channel's time limit and the ring.
func (e *Engine) attempt(ctx context.Context, r *bell.Ring, w way, t Try) bell.Attempt {
	t.Now = e.Now()
	limit := max(min(policies[r.Device.Channel].timeout, r.Delivery.Deadline.Sub(t.Now)), minAttempt)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooSlow)
	defer cancel()
	outcome := e.send(ctx, r, w, t)
	a := bell.Attempt{
		DeliveryID: r.Delivery.ID, Number: t.Number,
		StartedAt: t.Now, Took: e.Now().Sub(t.Now), Outcome: outcome,
	}
	if outcome.Verdict == bell.Deposited {
		return a
	}
	if outcome.Verdict == bell.Accepted && w.route.hedges != nil {
		w.route.hedges.answered(a.Took)
	}
	w.route.metrics.attempted(a, notified(r.Call))
	e.logAttempt(r, w.route.key, a)
	return a
}

// send lets the sender send. One that panics must not end all other calls: what it was
// given is refused, and would be again. The panic's text is not kept, it may hold a secret.
func (e *Engine) send(ctx context.Context, r *bell.Ring, w way, t Try) (o bell.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			e.Log.Error("a sender panicked", "sid", r.Call.SessionID, "device", r.Device.ID, "channel", w.route.key.Channel,
				"type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			o = bell.Outcome{
				Verdict: bell.Rejected, Reason: "panic", Token: bell.TokenKeep, Alarm: bell.AlarmBug,
				Detail: "The sender failed; the log has its stack.",
			}
		}
	}()
	return w.sender.Send(ctx, r, t)
}

// notified is when a call's Notify came, which is what times are measured from; zero for a
// notice, for which nobody waits.
func notified(c *bell.Call) time.Time {
	if c.Purpose != bell.PurposeCall {
		return time.Time{}
	}
	return c.NotifiedAt
}

var errTooSlow = errors.New("the provider did not answer in time")

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
func (e *Engine) interrupted(ctx context.Context, r *bell.Ring, p *progress) {
	state := p.stateAfter(ctx)
	reason := r.Delivery.Reason
	if state == bell.DeliveryExpired && reason == "" {
		reason = "deadline"
	}
	e.finish(r, state, reason)
}

// stateAfter is what a delivery becomes when its context ended.
func (p *progress) stateAfter(ctx context.Context) bell.DeliveryState {
	cause := context.Cause(ctx)
	if cause == nil {
		cause = context.Cause(p.call)
	}
	switch {
	case errors.Is(cause, errWithdrawn):
		return bell.DeliveryWithdrawn
	case errors.Is(cause, errReceived):
		return bell.DeliveryReceived
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

// logAttempt tells of what did not go well at once; what went well is in the record.
func (e *Engine) logAttempt(r *bell.Ring, key RouteKey, a bell.Attempt) {
	level := slog.LevelDebug
	if a.Outcome.Verdict != bell.Accepted {
		level = slog.LevelWarn
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
