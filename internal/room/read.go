package room

import (
	"context"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// List returns runs, those heard of last first, older than the cursor.
func (s *Service) List(ctx context.Context, f Filter, before Cursor, limit int) ([]bell.RoomRun, error) {
	return s.Store.Runs(ctx, f, before, limit)
}

// Show returns a run, or bell.NotFound. environment may be empty: then the one heard of last
// is meant.
func (s *Service) Show(ctx context.Context, environment planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
	return s.Store.Run(ctx, environment, id)
}

// People returns participants of a run, ordered by user ID and service, after the given one.
// Who was in when the run ended has left with it, though no event said so.
func (s *Service) People(ctx context.Context, run *bell.RoomRun, after planet.UserRef, limit int) ([]bell.Participant, error) {
	people, err := s.Store.Participants(ctx, RunKey{run.Environment, run.SessionID}, after, limit)
	for i := range people {
		if p := &people[i]; run.State == bell.RoomClosed && p.State == bell.ParticipantJoined {
			p.State, p.LeftAt = bell.ParticipantLeft, run.EndedAt
		}
	}
	return people, err
}
