package call

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// missedEvery is how often marked calls are looked for that nobody woke us for: those of a
	// process that died, and those that waited for a sick store.
	missedEvery = 5 * time.Second
	// missedBatch is how many are told at a time, and missedAtOnce how many of them at once: they
	// share commits with each other, and leave the store to calls that ring.
	missedBatch  = 128
	missedAtOnce = 16
	// missedKept is how long after its Call Event a missed call is worth telling.
	missedKept = 24 * time.Hour
	// missedPatience is how long after its Call Event a missed call waits for room: the store
	// may have a burst of calls to record, and calls come first.
	missedPatience = 5 * time.Minute
)

// mark says that the callee of a call that ends is to be told that it was missed. The mark is
// written with the end, so that no crash comes between the two.
func (s *Service) mark(c *bell.Call, project *bell.Project, now time.Time) {
	if callee, ok := s.projects.Reaching(c.Environment, c.Callee.ServiceID); ok {
		project = callee
	}
	if project.TellMissedCalls && bell.Missed(c.Outcome) {
		c.MissedAt = now
	}
}

// wakeMissed makes a marked call be told at once.
func (s *Service) wakeMissed() {
	select {
	case s.missed <- struct{}{}:
	default: // is awake
	}
}

// tellMissed tells of missed calls until ctx ends.
func (s *Service) tellMissed(ctx context.Context) {
	ticker := time.NewTicker(missedEvery)
	defer ticker.Stop()
	well := true
	for {
		err := s.sweepMissed(ctx)
		if err != nil && well && ctx.Err() == nil {
			s.log.Warn("missed calls cannot be told; it is tried every few seconds", "error", err)
		}
		well = err == nil
		woken := s.missed
		if err != nil {
			woken = nil // what failed is not tried again with every call that ends
		}
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-ticker.C:
		}
	}
}

// sweepMissed tells of all calls that are marked. What fails for now stays marked.
func (s *Service) sweepMissed(ctx context.Context) error {
	for ctx.Err() == nil && !s.backlog.troubled() {
		calls, err := s.store.Missed(ctx, missedBatch)
		if err != nil || len(calls) == 0 {
			return err
		}
		done := make([]bool, len(calls))
		var group errgroup.Group
		group.SetLimit(missedAtOnce)
		for i := range calls {
			group.Go(func() (err error) {
				done[i], err = s.tellOf(ctx, &calls[i])
				return err
			})
		}
		failed := group.Wait()
		told := calls[:0]
		for i := range calls {
			if done[i] {
				told = append(told, calls[i])
			}
		}
		if err := errors.Join(failed, s.store.MissedTold(ctx, told)); err != nil || len(calls) < missedBatch {
			return err
		}
	}
	return nil
}

// tellOf tells of one missed call, if it is still worth it. done says that nothing more is to
// be done about it.
func (s *Service) tellOf(ctx context.Context, c *bell.Call) (done bool, err error) {
	project, ok := s.projects.Reaching(c.Environment, c.Callee.ServiceID)
	now := s.now()
	if !ok || c.Suppressed != bell.RingsAll || !project.TellMissedCalls || now.Sub(c.MissedAt) > missedKept || !c.NotifiedAt.IsZero() && now.Sub(c.NotifiedAt) > missedKept {
		return true, nil
	}
	at := c.NotifiedAt
	if at.IsZero() { // only its Call Event came
		at = c.EndedAt
	}
	// When the rules were asked about the call, c knows what they said. When its Notify was not
	// seen yet, they were not.
	_, err = s.tell(ctx, bell.Call{
		Purpose: bell.PurposeMissedCall, Environment: c.Environment, Project: c.Project, Caller: c.Caller, Callee: c.Callee,
		Type: c.Type, CallerName: c.CallerName, About: c.SessionID, AboutAt: at, AppFields: c.AppFields,
	}, c.NotifiedAt.IsZero())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, bell.Unavailable):
		return false, err // the store is in trouble, or the server is stopping: later, and the same once
	case errors.Is(err, bell.Overload) && now.Sub(c.MissedAt) < missedPatience:
		return false, err // calls come first
	}
	s.metrics.noticed(bell.PurposeMissedCall, "failed")
	s.log.Debug("the callee cannot be told of a missed call", "sid", c.SessionID, "error", err)
	return true, nil
}
