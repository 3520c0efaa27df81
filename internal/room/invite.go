package room

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of invitations.
const (
	// MaxInvited is how many users one request may invite.
	MaxInvited = 100
	// MaxMembers is how many members of a room are invited when it starts.
	MaxMembers = 1000
	// pendingBatch is how many invitations are withdrawn when a room ends.
	pendingBatch = MaxMembers + MaxInvited
	// withdrawBatch is how many of them share a write, so that no ring waits for long.
	withdrawBatch = 100
	// inviteAtOnce is how many rooms invite their members at the same time.
	inviteAtOnce = 64
	// inviteBatch is how many are looked at in one go: those whose members cannot be found out
	// are looked at again and again, and must not keep others waiting.
	inviteBatch = 512
	// membersTime bounds the question who the members of a room are.
	membersTime = 5 * time.Second
	// participantPage is how many participants are read at once.
	participantPage = 1000
	// tellAtOnce is how many users of one request are told at the same time.
	tellAtOnce = 8
	// tellTime bounds one invitation.
	tellTime = 5 * time.Second
)

// What became of an invitation; the "result" of its metric.
const (
	invitedTold    = "told"
	invitedNobody  = "no_device"
	invitedAlready = "repeated" // an earlier one still counts
	invitedFailed  = "failed"
)

var errSlow = errors.New("it took longer than an invitation can wait")

// Request asks users into a room.
type Request struct {
	Room      planet.RoomRef
	Inviter   planet.UserRef
	Users     []planet.UserRef  // at most MaxInvited are invited; the inviter is not
	AppFields map[string]string // for their devices; see bell.Call

	InviterName string // shown by devices; empty: they show the inviter's user ID
}

// Invited says what became of a request.
type Invited struct {
	Users   int // who are being told on one device at least
	Devices int // that are being told
	Already int // users whom an earlier invitation still tells
}

// Invite tells the users' devices that they are wanted in a room. The room need not be open:
// whoever invites may be the first to join. One invitation per user and run counts at a time;
// another one is made when its deadline has come. An error says that some were not invited;
// asked again, it tells nobody twice. It is bell.Unavailable when nobody can be told anything here.
func (s *Service) Invite(ctx context.Context, project *bell.Project, r Request) (Invited, error) {
	if s.Teller == nil {
		return Invited{}, bell.E(bell.Unavailable, "This server does not tell devices of rooms.", nil)
	}
	open, err := s.Store.Runs(ctx, Filter{
		Environment: project.Environment, ServiceID: r.Room.ServiceID, RoomID: r.Room.RoomID, Open: true,
	}, Cursor{}, 1)
	if err != nil {
		return Invited{}, err
	}
	run := bell.RoomRun{Environment: project.Environment, Room: r.Room}
	if len(open) > 0 {
		run = open[0]
	}
	users := slices.DeleteFunc(slices.Clone(r.Users), func(u planet.UserRef) bool { return u == r.Inviter })
	return s.invite(ctx, project, &run, r, users[:min(len(users), MaxInvited)])
}

// invite asks each of the users, some at once. One who cannot be told keeps nobody else from it.
func (s *Service) invite(ctx context.Context, project *bell.Project, run *bell.RoomRun, r Request, users []planet.UserRef) (Invited, error) {
	type answer struct {
		devices int
		fresh   bool
		err     error
	}
	answers := make([]answer, len(users))
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(tellAtOnce, len(users)) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(users)); i = next.Add(1) - 1 {
				a := &answers[i]
				a.devices, a.fresh, a.err = s.tell(ctx, project, run, r, users[i])
			}
		})
	}
	work.Wait()
	var done Invited
	var failure error
	for _, a := range answers {
		switch {
		case a.err != nil:
			s.Metrics.invitations.WithLabelValues(invitedFailed).Inc()
			failure = cmp.Or(failure, a.err) // they are all the same
		case a.devices > 0:
			s.Metrics.invitations.WithLabelValues(invitedTold).Inc()
			done.Users++
			done.Devices += a.devices
		case a.fresh:
			s.Metrics.invitations.WithLabelValues(invitedNobody).Inc()
		default:
			s.Metrics.invitations.WithLabelValues(invitedAlready).Inc()
			done.Already++
		}
	}
	return done, failure
}

// tell invites one user. An invitation that counts already is told again, because its teller
// may have died before it did; who is being told by it is told once all the same.
func (s *Service) tell(ctx context.Context, project *bell.Project, run *bell.RoomRun, r Request, user planet.UserRef) (devices int, fresh bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tellTime, errSlow)
	defer cancel()
	now := s.now()
	i, fresh, err := s.Store.Invite(ctx, Invitation{
		Run: RunKey{run.Environment, run.SessionID}, Room: r.Room, User: user, At: now, Deadline: now.Add(s.InviteFor),
	})
	if err != nil {
		return 0, false, fmt.Errorf("record an invitation: %w", err)
	}
	devices, err = s.Teller.Tell(ctx, bell.Call{
		Environment: run.Environment, SessionID: i.noticeID(), Project: project.Name, Label: project.EnvironmentLabel,
		Caller: r.Inviter, CallerName: r.InviterName, Callee: user, Type: planet.AudioCall,
		State: bell.CallNotice, NotifiedAt: i.At, Deadline: i.Deadline,
		Purpose: bell.PurposeInvitation, About: run.SessionID, Room: r.Room, AppFields: r.AppFields,
	})
	if err != nil {
		return 0, false, fmt.Errorf("tell an invitation: %w", err)
	}
	return devices, fresh, nil
}

// noticeID is the session ID of the notice that tells an invitation: the same for the same one.
func (i *Invitation) noticeID() planet.SessionID {
	return planet.SessionID(identity("invitation", string(i.Run.Environment), string(i.Run.SessionID),
		i.Room.ServiceID, i.Room.RoomID, i.User.ServiceID, i.User.UserID, strconv.FormatInt(i.At.UnixMicro(), 10)))
}

// withdraw stops what is still to be sent of the invitations to a run that ended, here and in
// the database: no process continues them, and nobody is told that they failed. What a
// provider has taken cannot be called back; it ends at its deadline. Invitations to a room
// that was not open then are of no run, and do the same.
func (s *Service) withdraw(ctx context.Context, run *bell.RoomRun) {
	pending, err := s.Store.InvitationsOf(ctx, RunKey{run.Environment, run.SessionID}, s.now(), pendingBatch)
	ids := make([]planet.SessionID, len(pending))
	for i := range pending {
		ids[i] = pending[i].noticeID()
		s.Teller.Withdraw(run.Environment, ids[i])
	}
	for batch := range slices.Chunk(ids, withdrawBatch) {
		if err == nil {
			err = s.Store.WithdrawNotices(ctx, run.Environment, batch, s.now())
		}
	}
	if err != nil {
		s.Log.Warn("the invitations to a room that ended could not be withdrawn; they end at their deadline", "sid", run.SessionID, "error", err)
	}
}
