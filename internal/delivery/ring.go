package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// guardWait is how long a retry that a guard holds back waits before it asks again, more
// or less: all that are held must not ask in the same instant.
const guardWait = time.Second

// journey is the life of one delivery in memory: from its start to its end, or until the
// server stops. One goroutine at a time has it.
type journey struct {
	*Engine
	r    *bell.Ring
	call context.Context //nolint:containedctx // the whole call's: it ends a moment before those of its deliveries

	// How far the delivery has come.
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

// run brings the delivery to its end, or leaves it to be claimed when the server stops.
func (j *journey) run(ctx context.Context) {
	if f, ended := j.unrecorded.recall(j.r.Delivery.ID); ended {
		j.r.Delivery = f.delivery
		j.record(j.r, f.delivery.State, f.attempt)
		return
	}
	if reason := j.unsendable(); reason != "" {
		j.finish(j.r, bell.DeliveryFailed, reason)
		return
	}
	// A wait from now, because the deadline is by the clock of the database.
	ctx, cancel := context.WithTimeoutCause(ctx, j.r.Delivery.Deadline.Sub(j.Now()), errDeadline)
	defer cancel()
	j.seen, j.reached = map[bell.Verdict]int{}, before(j.r)
	for {
		rt, sender, reason := j.routeTo(&j.r.Device)
		if reason != "" {
			j.finish(j.r, bell.DeliveryFailed, reason)
			return
		}
		report, ok := j.clearance(ctx, rt)
		if !ok {
			return
		}
		release, ok := j.slot(ctx, rt)
		if !ok {
			report(errNoProof)
			j.interrupted(ctx)
			return
		}
		t := j.try(ctx, way{rt, sender})
		release()
		report(health(t.last.Outcome))
		if !j.follow(ctx, rt, t) {
			return
		}
	}
}

// unsendable says why nothing may be sent though there is a route; empty when it may. The
// device, or the settings, may have changed between the record and the claim of a delivery.
func (j *journey) unsendable() string {
	d := &j.r.Device
	switch {
	case d.Channel != bell.LongPoll && d.PushToken == "":
		return "no_token"
	case j.r.Call.Purpose != bell.PurposeCall && !j.Tells(j.r.Call, d.Channel):
		return "channel_off"
	}
	return ""
}

// before is how many attempts of another process may have reached the provider. The row does
// not say of which nothing left: so many may have been made in vain that none seemed to be
// left. One more is allowed in any case.
func before(r *bell.Ring) int {
	return min(r.Delivery.Attempts, max(0, policies[r.Device.Channel].attempts-1))
}

// clearance waits until the guards of the route let the next attempt go. A first attempt
// never waits. When it reports false the delivery has come to its end.
func (j *journey) clearance(ctx context.Context, rt *route) (permit, bool) {
	notice := j.r.Call.Purpose != bell.PurposeCall
	if !j.retry || rt.guard == nil {
		if notice {
			return rt.guard.firstOfNotice(j.Now()), true
		}
		return rt.guard.first(j.Now()), true
	}
	report, cause := j.ask(rt.guard)
	if cause == "" {
		return report, true
	}
	j.Metrics.held(rt.key, cause)
	if !rt.hold(notice, j.MaxInFlight) {
		j.finish(j.r, bell.DeliveryFailed, j.r.Delivery.Reason)
		return nil, false
	}
	defer rt.letGo(notice)
	for cause != "" {
		if !wait(ctx, guardWait/2+time.Duration(j.Random()*float64(guardWait))) {
			j.interrupted(ctx)
			return nil, false
		}
		report, cause = j.ask(rt.guard)
	}
	return report, true
}

// ask asks a guard for a retry.
func (j *journey) ask(g *guard) (permit, string) {
	if j.r.Call.Purpose != bell.PurposeCall {
		return g.retryOfNotice(j.Now(), j.free)
	}
	return g.retry(j.Now(), j.free)
}

// follow records what came of a try, and decides and waits for the next. It reports
// whether there is one.
func (j *journey) follow(ctx context.Context, rt *route, t tries) bool {
	last := t.last
	if last.Outcome.Verdict == bell.Deposited {
		j.deposited()
		return false
	}
	if t.beside.Number != 0 {
		j.record(j.r, bell.DeliverySending, t.beside)
		j.noteBeside(t.beside.Outcome)
	}
	if j.over(ctx) && !settled(last.Outcome) {
		j.record(j.r, j.stateAfter(ctx), last)
		return false
	}
	repeated := j.note(last.Outcome)
	d := decide(tried{
		channel: j.r.Device.Channel, outcome: last.Outcome, reached: j.reached, repeated: repeated,
		other: last.Outcome.Verdict == bell.RetryOtherHost && !j.other && j.otherWay(&j.r.Device),
		now:   j.Now(), deadline: j.r.Delivery.Deadline, random: j.Random(),
	})
	if !d.again {
		j.record(j.r, finalState(last.Outcome), last)
		j.learn(rt, last)
		return false
	}
	j.recordUntil(j.r, bell.DeliverySending, last, d.wait)
	j.retry, j.free, j.spare = true, last.Outcome.Unsent, j.spare != d.spare
	if d.other {
		j.own = j.lesson(rt, last)
		j.r.Device.APNsServer = otherServer(j.r.Device.APNsServer)
		j.retry, j.other, j.spare = false, true, false
	}
	if !wait(ctx, d.wait) {
		j.interrupted(ctx)
		return false
	}
	return true
}

// note counts an outcome and returns how often its verdict came before.
func (j *journey) note(o bell.Outcome) (repeated int) {
	repeated = j.seen[o.Verdict]
	j.seen[o.Verdict]++
	if !o.Unsent {
		j.reached++
	}
	return repeated
}

// noteBeside counts the outcome of an attempt beside the one that decides. What is repeated
// only once is not used up when both attempts of one turn were answered alike.
func (j *journey) noteBeside(o bell.Outcome) {
	repeated := j.note(o)
	switch o.Verdict {
	case bell.RetryOtherHost, bell.RetryCredential, bell.RetryThrottled:
		j.seen[o.Verdict] = repeated
	}
}

func otherServer(s bell.APNsServer) bell.APNsServer {
	if s == bell.APNsProduction {
		return bell.APNsSandbox
	}
	return bell.APNsProduction
}

// otherWay reports whether the other APNs server may know a device's token, and there is a
// way to the device over it.
func (e *Engine) otherWay(d *bell.Device) bool {
	if d.APNsServer == "" || d.APNsServerConfirmed {
		return false
	}
	other := *d
	other.APNsServer = otherServer(other.APNsServer)
	_, reason := e.Router.Route(&other)
	return reason == ""
}

// learn tells the registry what the delivery's last attempt says of the push token. When
// both APNs servers refuse it, the refusal of the device's own server comes first: that is
// the one that can be held against the token. It waited, because a registry that takes its
// time must not keep the other server from being asked.
func (j *journey) learn(rt *route, a bell.Attempt) {
	switch {
	case a.Outcome.Status == 0:
	case j.own != nil && a.Outcome.Token == bell.TokenCheck:
		j.teach(*j.own, *j.lesson(rt, a))
	default:
		j.teach(*j.lesson(rt, a))
	}
}

// teach tells the registry lessons. It has a deadline of its own: a ring or a request that is
// over is no reason to forget what was learned.
func (e *Engine) teach(lessons ...bell.Lesson) {
	if e.Registry == nil {
		return
	}
	parent := e.ctx // the end of a stop's patience is this one's too: the next attempt teaches the same
	if parent.Err() != nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeoutCause(parent, e.patience(), errors.New("the registry of devices did not answer in time"))
	defer cancel()
	for _, l := range lessons {
		e.Registry.Learn(ctx, l)
	}
}

// lesson is what an attempt teaches.
func (j *journey) lesson(rt *route, a bell.Attempt) *bell.Lesson {
	return &bell.Lesson{
		Device: j.r.Device, Credential: rt.key.Credential, Outcome: a.Outcome, OtherTried: j.other, At: a.StartedAt,
	}
}

// over reports whether nothing may be attempted any more. The clock is asked too: a
// timer, and so a context, ends a moment after its time.
func (j *journey) over(ctx context.Context) bool {
	return j.call.Err() != nil || ctx.Err() != nil || !j.Now().Before(j.r.Delivery.Deadline)
}

// slot waits for one of the route's places; false means that the ring is over. Places
// are per route, so a provider that hangs fills its own and nobody else's. A notice needs
// one of those that are set aside for notices first.
func (j *journey) slot(ctx context.Context, rt *route) (release func(), ok bool) {
	if j.r.Call.Purpose != bell.PurposeCall {
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
		if j.over(ctx) { // a ring's end frees many places at once, and both were ready
			<-rt.places
			return nil, false
		}
		rt.metrics.attempting.Inc()
		return func() {
			<-rt.places
			if j.r.Call.Purpose != bell.PurposeCall {
				<-rt.aside
			}
			rt.metrics.attempting.Dec()
		}, true
	case <-ctx.Done():
		return nil, false
	}
}

// attempt makes one request, within the channel's time limit and the ring.
func (j *journey) attempt(ctx context.Context, w way, t Try) bell.Attempt {
	t.Now = j.Now()
	limit := max(min(policies[j.r.Device.Channel].timeout, j.r.Delivery.Deadline.Sub(t.Now)), minAttempt)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooSlow)
	defer cancel()
	outcome := j.send(ctx, w, t)
	a := bell.Attempt{
		DeliveryID: j.r.Delivery.ID, Number: t.Number,
		StartedAt: t.Now, Took: j.Now().Sub(t.Now), Server: w.route.key.apnsServer(), Outcome: outcome,
	}
	if outcome.Verdict == bell.Deposited {
		return a
	}
	if outcome.Verdict == bell.Accepted && w.route.hedges != nil {
		w.route.hedges.answered(a.Took)
	}
	w.route.metrics.attempted(a, notified(j.r.Call), j.trace(j.r, w.route.key, a))
	j.logAttempt(j.r, w.route.key, a)
	return a
}

// send lets the sender send. One that panics must not end all other calls: what it was
// given is refused, and would be again. The panic's text is not kept, it may hold a secret.
func (j *journey) send(ctx context.Context, w way, t Try) (o bell.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			j.Log.Error("a sender panicked", "sid", j.r.Call.SessionID, "device", j.r.Device.ID, "channel", w.route.key.Channel,
				"type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			o = bell.Outcome{
				Verdict: bell.Rejected, Reason: "panic", Token: bell.TokenKeep, Alarm: bell.AlarmBug,
				Detail: "The sender failed; the log has its stack.",
			}
		}
	}()
	return w.sender.Send(ctx, j.r, t)
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
func (j *journey) deposited() {
	j.r.Delivery.Attempts--
	if j.r.Delivery.LeaseUntil.Before(j.r.Delivery.Deadline) {
		j.record(j.r, bell.DeliveryPending, bell.Attempt{})
	}
	j.logDeposit(j.r)
}

// interrupted ends a delivery whose context ended while no attempt was under way.
func (j *journey) interrupted(ctx context.Context) {
	state := j.stateAfter(ctx)
	reason := j.r.Delivery.Reason
	if state == bell.DeliveryExpired && reason == "" {
		reason = "deadline"
	}
	j.finish(j.r, state, reason)
}

// stateAfter is what a delivery becomes when its context ended.
func (j *journey) stateAfter(ctx context.Context) bell.DeliveryState {
	cause := context.Cause(ctx)
	if cause == nil {
		cause = context.Cause(j.call)
	}
	switch {
	case errors.Is(cause, errWithdrawn):
		return bell.DeliveryWithdrawn
	case errors.Is(cause, errReceived):
		return bell.DeliveryReceived
	case errors.Is(cause, errStopping):
		return bell.DeliveryPending // with its lease given up, for the next process
	case errors.Is(cause, errTaken):
		return stateTaken
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
