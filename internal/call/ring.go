package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// writeBudget is how long a callback waits for the store. Then the call rings from
	// memory: together with readBudget it is half of what a Notify may take in all.
	writeBudget = time.Second
	// eventBudget is how long an event waits for it: nothing rings later for that, and what is in
	// memory dies with the process. Planet Cloud is answered within three seconds.
	eventBudget = 2500 * time.Millisecond
	// eventAgain is the pause before a store that had too much to do is asked once more.
	eventAgain = 50 * time.Millisecond
	// readBudget is how long a Notify waits for the callee's devices.
	readBudget = 500 * time.Millisecond
)

var (
	errTooSlow    = errors.New("the database took longer than a call can wait")
	errPolicySlow = errors.New("the policy took longer than a call can wait")
)

// RingResult is what became of a Notify.
type RingResult struct {
	Devices    int  // that now ring; 0 for a repeat
	Skipped    int  // that could ring, but are more than MaxDevices
	Repeated   bool // the call was known already, or is over
	FromMemory bool // the store is in trouble: the call is recorded later
	// Suppressed says why none of the devices that could ring does. It is empty when there
	// are none: then the caller gets the same answer as always, and learns nothing of rules.
	Suppressed bell.Suppression
}

// Ring takes a Notify: it records the call with one delivery for each device of the
// callee, on disk, and starts to ring. It does not wait for any provider. A repeat of
// a known call rings nothing.
//
// When the store does not take the call in time, it rings from memory, if the devices can
// be read or were read lately, and is recorded later; nothing of it survives the process
// until then. The error kind is bell.Overload or bell.Unavailable when the call could not
// be taken; then nothing rings. One case is left open: when the commit was under way, the
// call may be on disk, and is then claimed at once, like that of a dead process.
func (s *Service) Ring(ctx context.Context, project *bell.Project, n planet.NotifyCallback) (result RingResult, err error) {
	now := s.now()
	c := s.begin(project, n, now)
	key := callKey{c.Environment, c.SessionID}
	leave, err := s.flights.enter(ctx, key)
	if err != nil {
		return RingResult{}, err
	}
	defer leave()
	watched := s.watch.begins(&c, now)
	if watched {
		defer func() { s.sayRung(&c, &result, err) }()
	}
	switch repeat, late := s.backlog.notified(key); {
	case repeat:
		return RingResult{Repeated: true}, nil
	case late:
		return s.late(&c, n.Raw)
	}
	decided := s.ask(ctx, project, &c)
	devices, skipped, err := s.devices(ctx, &c)
	if c.Suppressed = decided(&c); c.Suppressed != bell.RingsAll {
		return s.suppress(ctx, &c, err != nil || len(devices) > 0, n.Raw)
	}
	if err != nil {
		if result, known, err := s.known(&c, n.Raw); known {
			return result, err
		}
		return RingResult{}, fmt.Errorf("look up the devices of %s: %w", c.Callee, err)
	}
	rings := s.rings(&c, devices, now)
	if err := s.bells.Admit(rings); err != nil {
		// A refusal would end the call, and a repeat is of one that rings already.
		if result, known, err := s.known(&c, n.Raw); known {
			return result, err
		}
		return RingResult{}, err
	}
	if project.Events.Has(bell.EventCallRinging) {
		c.Events = []bell.Event{bell.RingingEvent(&c, ringing(rings))}
	}
	result, err = s.record(ctx, &c, rings, n.Raw)
	if err != nil || result.Repeated {
		s.bells.Dismiss(rings)
		return result, err
	}
	result.Devices, result.Skipped = ringing(rings), skipped // counted before: what is started is not ours any more
	s.lately.rang(key, result.Devices)
	if watched {
		s.sayDevices(rings)
	}
	s.bells.Start(rings)
	return result, nil
}

// ringing counts the devices for which there was room. A browser whose page is open has two rings.
func ringing(rings []bell.Ring) int {
	devices := make(map[string]bool, len(rings))
	for i := range rings {
		if !rings[i].Delivery.State.Final() {
			devices[rings[i].Device.ID] = true
		}
	}
	return len(devices)
}

// devices are those that are to ring: read, or, when they cannot be, remembered. What speaks
// against the others is noted with the call.
func (s *Service) devices(ctx context.Context, c *bell.Call) (chosen []bell.Device, skipped int, err error) {
	state := s.memory.state()
	devices, err := s.read(ctx, c.CalleeOwner())
	if err == nil {
		chosen, skipped = choose(devices, c.NotifiedAt)
		c.Circumstances = noted(devices, chosen, c.NotifiedAt)
		s.memory.keep(c.CalleeOwner(), chosen, state, c.NotifiedAt)
		return chosen, skipped, nil
	}
	if !sick(err) {
		return nil, 0, err
	}
	s.backlog.failed(err)
	devices, ok := s.memory.recall(c.CalleeOwner(), c.NotifiedAt)
	if !ok {
		return nil, 0, err
	}
	chosen, skipped = choose(devices, c.NotifiedAt)
	c.Circumstances = noted(devices, chosen, c.NotifiedAt)
	return chosen, skipped, nil
}

// read reads an owner's devices within the budget. A disk that hangs is not interrupted by
// the end of a context, so the read is left behind then.
func (s *Service) read(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readBudget, errTooSlow)
	type answer struct {
		devices []bell.Device
		err     error
	}
	answered := make(chan answer, 1)
	s.reads.Go(func() {
		defer cancel()
		devices, err := s.store.DevicesOf(ctx, owner)
		answered <- answer{devices, err}
	})
	select {
	case a := <-answered:
		return a.devices, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-answered: // cancel ends ctx too
		return a.devices, a.err
	default:
		return nil, bell.E(bell.Unavailable, "The database took too long to say which devices there are.", context.Cause(ctx))
	}
}

// record puts a call on disk, or, when the store is in trouble, into the backlog.
func (s *Service) record(ctx context.Context, c *bell.Call, rings []bell.Ring, raw []planet.RawParam) (RingResult, error) {
	if !s.backlog.troubled() {
		found, err := s.beginCall(ctx, c, deliveriesOf(rings), raw)
		switch {
		case err == nil:
			return RingResult{Repeated: found != Began}, nil
		case sick(err):
			s.backlog.failed(err)
		case !errors.Is(err, ErrHeld):
			return RingResult{}, fmt.Errorf("record call %s: %w", c.SessionID, err)
		}
	}
	if result, known, err := s.known(c, raw); known {
		return result, err
	}
	s.bells.Keep(rings)
	c.Circumstances.FromMemory = true
	if err := s.backlog.push(newBeginning(c, deliveriesOf(rings), raw)); err != nil {
		return RingResult{}, err
	}
	s.lately.begin(callKey{c.Environment, c.SessionID}, c.NotifiedAt)
	s.metrics.fromMemory.Inc()
	return RingResult{FromMemory: true}, nil
}

func deliveriesOf(rings []bell.Ring) []bell.Delivery {
	deliveries := make([]bell.Delivery, len(rings))
	for i := range rings {
		deliveries[i] = rings[i].Delivery
	}
	return deliveries
}

// beginCall asks the store, within the budget.
func (s *Service) beginCall(ctx context.Context, c *bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (BeginResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, writeBudget, errTooSlow)
	defer cancel()
	found, err := s.store.BeginCall(ctx, *c, deliveries, raw)
	if err != nil {
		return 0, err
	}
	s.backlog.worked()
	s.lately.begin(callKey{c.Environment, c.SessionID}, c.NotifiedAt)
	return found, nil
}

// known decides about a Notify that the store cannot be asked about, or for which there is no
// room, by what this process remembers of its call.
func (s *Service) known(c *bell.Call, raw []planet.RawParam) (result RingResult, known bool, err error) {
	switch began, ended := s.lately.what(callKey{c.Environment, c.SessionID}, c.NotifiedAt); {
	case began:
		return RingResult{Repeated: true}, true, nil
	case ended:
		result, err = s.late(c, raw)
		return result, true, err
	}
	return RingResult{}, false, nil
}

// late takes the Notify of a call whose Call Event came first and is not on disk, or could
// not be looked for: nothing rings, and what the Notify says of the call is recorded later.
func (s *Service) late(c *bell.Call, raw []planet.RawParam) (RingResult, error) {
	it := newBeginning(c, nil, raw)
	it.begin.call.CCParam = ""
	if err := s.backlog.push(it); err != nil {
		return RingResult{}, err
	}
	s.lately.begin(it.key, c.NotifiedAt)
	return RingResult{Repeated: true}, nil
}

func newBeginning(c *bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) *item {
	return &item{
		key:   callKey{c.Environment, c.SessionID},
		begin: &beginning{call: *c, deliveries: deliveries, raw: withoutCCParam(raw, c.CCParam)},
	}
}

// keep records an event, or puts it into the backlog: behind what waits of its session
// already, and when the store is in trouble or goes on having too much to do. An event that is refused
// can end the call that it is about (docs/line-planet.md 3.6, 1313), so only a full backlog
// refuses one.
func (s *Service) keep(ctx context.Context, it *item) error {
	if s.backlog.holds(it.key) || s.backlog.troubled() {
		return s.backlog.push(it)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, eventBudget, errTooSlow)
	defer cancel()
	for {
		err := s.write(ctx, it)
		switch {
		case err == nil:
			s.backlog.worked()
			return nil
		case sick(err):
			s.backlog.failed(err)
			return s.backlog.push(it)
		case !errors.Is(err, bell.Overload):
			return err
		}
		timer := time.NewTimer(eventAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s.backlog.push(it)
		}
	}
}

// RecordAttempt is delivery's way to Store.RecordAttempt: an outcome of a call that is not
// on disk yet must wait for it. The error says that the outcome is not on disk and not
// safe with its call; then delivery must remember it, although it is recorded in its turn
// when the store recovers.
func (s *Service) RecordAttempt(ctx context.Context, d bell.Delivery, attempt bell.Attempt) error {
	o := outcome{d, attempt}
	key := callKey{d.Environment, d.SessionID}
	if taken, err := s.backlog.follow(key, o); taken || err != nil {
		return err
	}
	it := &item{key: key, outcome: &o}
	if s.backlog.holds(key) || s.backlog.troubled() {
		return errors.Join(errOutcomeWaits, s.backlog.push(it))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, writeBudget, errTooSlow)
	defer cancel()
	err := s.store.RecordAttempt(ctx, d, attempt)
	switch {
	case err == nil:
		s.backlog.worked()
	case sick(err):
		s.backlog.failed(err)
		return errors.Join(err, s.backlog.push(it))
	case errors.Is(err, bell.Overload):
		return errors.Join(err, s.backlog.push(it))
	}
	return err
}

var errOutcomeWaits = bell.E(bell.Unavailable, "The outcome waits in memory until the database records again.", nil)

// Waits reports whether a call rings from memory and is not on disk, or not for certain.
func (s *Service) Waits(environment planet.Environment, id planet.SessionID) bool {
	waits, _ := s.backlog.notified(callKey{environment, id})
	return waits
}

// Claim runs a claim of deliveries and takes out those of calls that this process rings
// without their being on disk for certain: their rows, if there are any, say that nobody
// works on them. What is claimed and taken out can be claimed again later, when the lease
// has run out. So a Notify that is on its way is waited for: it may be a repeat of one that
// a dead process took, and then nobody else rings.
func (s *Service) Claim(claim func() ([]bell.Ring, error)) ([]bell.Ring, error) {
	rings, done := s.backlog.claim()
	defer done()
	claimed, err := claim()
	ctx, cancel := context.WithTimeoutCause(context.Background(), readBudget+writeBudget, errTooSlow)
	defer cancel()
	kept := claimed[:0]
	for _, r := range claimed {
		key := callKey{r.Call.Environment, r.Call.SessionID}
		if s.flights.ended(ctx, key) && !rings(key) {
			s.watch.begins(r.Call, s.now())
			kept = append(kept, r)
		}
	}
	return kept, err
}
