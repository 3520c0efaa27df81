package call

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// replayBatch is how many items are recorded at once at most; the store commits together what comes
	// together.
	replayBatch = 64
	// replayTimeout bounds one of them. A store that is slower than that is left alone for
	// a moment.
	replayTimeout = 10 * time.Second
	// maxProbes is how many items at most ask for all while the store is in trouble, one more each
	// probeEvery that the others are not answered.
	maxProbes  = 4
	probeEvery = time.Second
	// minBackoff and maxBackoff are the pauses while the store is in trouble: a call is
	// recorded within a second of its recovery.
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
	// eraseEvery is how late cc_param may be erased after the call's deadline.
	eraseEvery = time.Second
	// minDrain is the least time that Stop takes for what is left.
	minDrain = time.Second
)

var errReplayTimeout = errors.New("the database did not record what waited in time")

// Run records what was taken while the store was in trouble, as soon as it is not, tells of
// missed calls, and gives up calls that never end. It returns when ctx ends. It must run once, for as long as callbacks are taken.
func (s *Service) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() {
		ticker := time.NewTicker(eraseEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				s.backlog.erase()
			}
		}
	})
	beside.Go(func() { s.tellMissed(ctx) })
	beside.Go(func() { s.loseCalls(ctx) })
	defer beside.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.backlog.wake:
			s.drain(ctx)
		}
	}
}

// drain replays until nothing waits or ctx ends. Many items are under way at once, and none waits for
// the slowest of those before it. After a failure nothing new is begun for a moment, however many
// fail together.
func (s *Service) drain(ctx context.Context) {
	written := make(chan wrote, replayBatch)
	under, pause, resting := 0, minBackoff, false
	defer func() {
		for ; under > 0; under-- {
			s.settle(ctx, <-written)
		}
	}()
	rest, probe := time.NewTimer(pause), time.NewTicker(probeEvery)
	defer rest.Stop()
	defer probe.Stop()
	for ctx.Err() == nil {
		if !resting && under <= replayBatch/2 { // looking for more costs a look at all that waits
			for _, it := range s.backlog.batch(replayBatch - under) {
				under++
				go func() { written <- wrote{it, s.writeInTime(ctx, it)} }()
			}
		}
		if !resting && under == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-probe.C: // what is under way may be stuck; another one may not be
		case <-rest.C:
			resting = false
		case w := <-written:
			under--
			switch took := s.settle(ctx, w); {
			case took:
				pause, resting = minBackoff, false
			case !resting:
				rest.Reset(pause)
				pause, resting = min(2*pause, maxBackoff), true
			}
		}
	}
}

// wrote is what came of an item.
type wrote struct {
	item *item
	err  error
}

func (s *Service) writeInTime(ctx context.Context, it *item) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replayTimeout, errReplayTimeout)
	defer cancel()
	return s.write(ctx, it)
}

// Stop records what still waits, until ctx ends, and refuses what comes later. What could
// not be recorded is lost, and said to be. It is called when Run has returned and no
// callback comes any more.
func (s *Service) Stop(ctx context.Context) {
	limit := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(minDrain, time.Until(deadline))
	}
	ctx = context.WithoutCancel(ctx)
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errReplayTimeout)
		defer cancel()
	}
	s.drain(ctx)
	if calls, events, outcomes := s.backlog.close(); calls+events+outcomes > 0 {
		s.log.Error("what waited in memory for the database is lost", "calls", calls, "events", events, "outcomes", outcomes)
	}
	left := make(chan struct{})
	go func() {
		s.reads.Wait()
		close(left)
	}()
	select {
	case <-left:
	case <-ctx.Done(): // a disk that hangs cannot be interrupted, and the process is about to end
	}
}

// close refuses what comes later and counts what is left.
func (b *backlog) close() (calls, events, outcomes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, it := range b.queue {
		switch {
		case it.begin != nil:
			calls++
			outcomes += len(it.begin.outcomes) - it.begin.written
		case it.outcome != nil:
			outcomes++
		default:
			events++
		}
	}
	return calls, events, outcomes
}

// batch is what can be recorded next, at once: the oldest items that are not under way, one for each
// session, so that each session's order is kept. While the replay does not get through, one item asks
// for all, each time another one: what one of them is stuck on need not hold up the others. That
// callbacks find the store slow is no reason to ask less: a replay that waits for better times would
// let more and more wait.
func (b *backlog) batch(limit int) []*item {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := 0
	if b.probing && len(b.queue) > 0 {
		if limit <= replayBatch-maxProbes {
			return nil // others are under way, and say how the store is
		}
		limit, first = 1, b.asked%len(b.queue)
	}
	var batch []*item
	for i := range b.queue {
		at := (first + i) % len(b.queue)
		it := b.queue[at]
		if len(batch) == limit {
			break
		}
		if !it.busy && b.sessions[it.key].items[0] == it {
			it.busy = true
			batch = append(batch, it)
			b.asked = at + 1
		}
	}
	return batch
}

// settle takes an item out that is recorded, or never will be. It reports whether the store took it.
func (s *Service) settle(ctx context.Context, w wrote) (took bool) {
	switch {
	case w.err == nil:
		s.backlog.remove(w.item)
		s.backlog.worked()
		return true
	case sick(w.err), errors.Is(w.err, bell.Overload), ctx.Err() != nil:
		trouble := ctx.Err() == nil && sick(w.err)
		s.backlog.putBack(w.item, trouble)
		if trouble {
			s.backlog.failed(w.err)
		}
		return false
	}
	// It would fail for ever, and everything behind it.
	if w.item.begin != nil {
		s.backlog.giveUp(w.item.begin)
	}
	s.backlog.metrics.unrecorded.Inc()
	s.log.Error("something that waited in memory could not be recorded and is lost", "sid", w.item.key.id, "error", w.err)
	s.backlog.remove(w.item)
	s.backlog.worked() // a refusal is an answer, too
	return true
}

// giveUp makes a Notify removable whatever its outcomes are.
func (b *backlog) giveUp(begin *beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	begin.written = len(begin.outcomes)
}

// write records one item. Each way may be gone again when it failed half-way.
func (s *Service) write(ctx context.Context, it *item) error {
	switch {
	case it.begin != nil:
		return s.writeBegin(ctx, it.begin)
	case it.end != nil:
		return s.store.EndCall(ctx, it.end.call, it.end.entry)
	case it.write != nil:
		return it.write(ctx)
	case it.entry != nil:
		return s.store.AppendJournal(ctx, *it.entry)
	default:
		return s.writeOutcome(ctx, *it.outcome)
	}
}

// writeBegin records a Notify with what has become of its deliveries so far, so that none
// that has ended can be claimed, not even for a moment.
func (s *Service) writeBegin(ctx context.Context, begin *beginning) error {
	c, deliveries := s.backlog.asOf(begin)
	found, err := s.store.BeginCall(ctx, c, deliveries, begin.raw)
	if err != nil {
		return err
	}
	if found == AlreadyEnded { // its event came before the trouble, to an earlier process
		s.bells.Withdraw(c.Environment, c.SessionID)
	}
	if found == Repeated {
		// Most likely it was recorded the first time, when nobody waited for the commit any
		// more, and its leases were given up.
		for _, d := range deliveries {
			if err := s.writeOutcome(ctx, outcome{delivery: d}); err != nil {
				return err
			}
		}
	}
	for {
		o, ok := s.backlog.next(begin)
		if !ok {
			return nil
		}
		if err := s.writeOutcome(ctx, o); err != nil {
			return err
		}
		s.backlog.wrote(begin)
	}
}

// writeOutcome records an outcome. A delivery that is not there is one of another copy of
// the call, or of a call that had ended: then there is nothing to be said.
func (s *Service) writeOutcome(ctx context.Context, o outcome) error {
	err := s.store.RecordAttempt(ctx, o.delivery, o.attempt)
	if errors.Is(err, bell.NotFound) {
		return nil
	}
	return err
}

// asOf is a call with its deliveries as they stand.
func (b *backlog) asOf(begin *beginning) (bell.Call, []bell.Delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	deliveries := make([]bell.Delivery, len(begin.deliveries))
	copy(deliveries, begin.deliveries)
	for i := range deliveries {
		for _, o := range begin.outcomes {
			if o.delivery.ID == deliveries[i].ID && !deliveries[i].State.Final() {
				deliveries[i] = o.delivery
			}
		}
	}
	return begin.call, deliveries
}

// next is the first outcome that is not written.
func (b *backlog) next(begin *beginning) (outcome, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begin.written >= len(begin.outcomes) {
		return outcome{}, false
	}
	return begin.outcomes[begin.written], true
}

func (b *backlog) wrote(begin *beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	begin.written++
}
