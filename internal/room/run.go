package room

import (
	"context"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// sweepEvery is how late a silent room may be closed.
	sweepEvery = time.Minute
	// sweepBatch is how many rooms are looked up at once; each is closed in its own write.
	sweepBatch = 100
	// inviteEvery is when members are looked for that nobody was woken for: their room
	// started in a process that died, or its writer left first.
	inviteEvery = 5 * time.Second
	// invitationsKept is how long an invitation is remembered after its deadline.
	invitationsKept = 24 * time.Hour
)

// Run closes rooms that never ended, invites members of rooms that start, and withdraws
// invitations to rooms that end. It returns when ctx ends. Run it once.
func (s *Service) Run(ctx context.Context) {
	var inviter sync.WaitGroup
	defer inviter.Wait()
	if s.Members != nil && s.Teller != nil {
		inviter.Go(func() { s.invites(ctx) })
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			s.sweep(ctx)
			s.prune(ctx)
		case run := <-s.ended:
			s.withdraw(ctx, &run)
		}
	}
}

// prune forgets invitations that ended a day ago, in transactions so small that no ring waits.
func (s *Service) prune(ctx context.Context) {
	before := s.now().Add(-invitationsKept)
	for ctx.Err() == nil {
		n, err := s.Store.PruneInvitations(ctx, before, sweepBatch)
		if err != nil {
			s.Log.Error("old invitations could not be removed; tried again in a minute", "error", err)
			return
		}
		if n < sweepBatch {
			return
		}
	}
}

// sweep closes runs of which nothing was heard for long, in small batches.
func (s *Service) sweep(ctx context.Context) {
	now := s.now()
	since := now.Add(-s.ForgetAfter)
	for ctx.Err() == nil {
		keys, err := s.Store.SilentRuns(ctx, since, sweepBatch)
		if err != nil {
			s.Log.Error("rooms that are silent could not be looked for; tried again in a minute", "error", err)
			return
		}
		for _, key := range keys {
			if err := s.forget(ctx, key, since); err != nil {
				s.Log.Error("a room that is silent could not be closed; tried again in a minute", "sid", key.SessionID, "error", err)
				return
			}
		}
		if len(keys) < sweepBatch {
			return
		}
	}
}

// forget closes a run if it is still silent. It ended, as far as anybody knows, with the last
// that was heard of it.
func (s *Service) forget(ctx context.Context, key RunKey, since time.Time) error {
	c, err := s.Store.ChangeRun(ctx, Touched{RunKey: key}, bell.JournalEntry{}, func(known Known) Change {
		c := Change{Run: known.Run}
		if !known.RunKnown || c.Run.State != bell.RoomOpen || !c.Run.SeenAt.Before(since) {
			return c
		}
		c.Run.SilentAt, c.WriteRun = c.Run.LastEventAt, true
		settle(&c.Run)
		if s.Wants(c.Run.Project, bell.EventRoomEnded) {
			cause := "silent since " + c.Run.SilentAt.Format(time.RFC3339Nano)
			c.Events = []bell.Event{newEvent(bell.EventRoomEnded, key.Environment, &c.Run, nil, cause)}
		}
		return c
	})
	if err != nil || !c.WriteRun {
		return err
	}
	s.Metrics.silent(&c.Run)
	s.follow(&c.Run)
	s.Log.Info("a room was closed, because nothing was heard of it for long", "sid", key.SessionID, "last_event_at", c.Run.LastEventAt)
	return nil
}
