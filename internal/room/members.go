package room

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// invites invites members of rooms until ctx ends. Whom a question about members keeps
// waiting are other rooms' members only.
func (s *Service) invites(ctx context.Context) {
	ticker := time.NewTicker(inviteEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
		s.inviteMembers(ctx)
	}
}

// inviteMembers invites the members of all rooms that wait for it. The mark is in the
// database, so that a room that started in a process that died is not forgotten; who is
// invited twice is told once.
func (s *Service) inviteMembers(ctx context.Context) {
	for ctx.Err() == nil {
		runs, err := s.Store.RunsToInvite(ctx, inviteBatch)
		if err != nil {
			s.Log.Error("rooms whose members are to be invited could not be looked for; tried again soon", "error", err)
			return
		}
		errs := make([]error, len(runs))
		var work errgroup.Group
		work.SetLimit(inviteAtOnce)
		for i := range runs {
			work.Go(func() error { errs[i] = s.inviteTo(ctx, &runs[i]); return nil })
		}
		_ = work.Wait() // the errors are in errs
		done := 0
		for i, err := range errs {
			if err != nil {
				s.Log.Error("the members of a room could not be invited; tried again while it is fresh", "sid", runs[i].SessionID, "error", err)
				continue
			}
			done++
		}
		if done == 0 || len(runs) < inviteBatch {
			return
		}
	}
}

// inviteTo invites the members of one room, all but its host and those who are in, and takes
// the mark away.
func (s *Service) inviteTo(ctx context.Context, run *bell.RoomRun) error {
	project, ok := s.Projects.ByName(run.Project)
	if ok && s.now().Before(run.InviteBy) {
		ask, cancel := context.WithTimeoutCause(ctx, membersTime, errSlow)
		defer cancel()
		members, err := s.Members.Of(ask, project, run)
		if err != nil {
			return fmt.Errorf("ask who the members are: %w", err)
		}
		in, name, err := s.present(ctx, run)
		if err != nil {
			return err
		}
		var users []planet.UserRef
		for _, m := range members[:min(len(members), MaxMembers)] {
			if m != run.Host && !in[m] {
				users = append(users, m)
			}
		}
		request := Request{Room: run.Room, Inviter: run.Host, InviterName: name}
		if _, err := s.invite(ctx, project, run, request, users); err != nil {
			return err
		}
	}
	_, err := s.Store.ChangeRun(ctx, Touched{RunKey: RunKey{run.Environment, run.SessionID}}, bell.JournalEntry{}, func(known Known) Change {
		c := Change{Run: known.Run, WriteRun: known.RunKnown}
		c.Run.InviteBy = time.Time{}
		return c
	})
	return err
}

// present returns who is in a run, and the host's name.
func (s *Service) present(ctx context.Context, run *bell.RoomRun) (in map[planet.UserRef]bool, host string, err error) {
	in = map[planet.UserRef]bool{}
	var after planet.UserRef
	for range MaxParticipants/participantPage + 1 {
		page, err := s.Store.Participants(ctx, RunKey{run.Environment, run.SessionID}, after, participantPage)
		if err != nil {
			return nil, "", err
		}
		for i := range page {
			in[page[i].User] = page[i].State == bell.ParticipantJoined
			if page[i].User == run.Host {
				host = page[i].DisplayName
			}
		}
		if len(page) < participantPage {
			break
		}
		after = page[len(page)-1].User
	}
	return in, host, nil
}
