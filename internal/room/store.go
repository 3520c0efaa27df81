package room

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Store is what room needs of a database. Each method is one transaction, on disk when it
// returns; the error kinds bell.Overload and bell.Unavailable are those of call.Store.
type Store interface {
	// ChangeRun keeps the entry in the journal, unless it has no kind, reads what an event
	// touches, asks change what is to become of it, and writes that with its events. change
	// may be asked twice, by another goroutine, also after ChangeRun has returned because ctx
	// ended. Without a session ID the room's newest open run is meant; when there is none,
	// change is not asked, and the zero Change is returned.
	ChangeRun(ctx context.Context, touched Touched, entry bell.JournalEntry, change func(Known) Change) (Change, error)

	// Runs returns runs, those heard of last first, older than the cursor, at most limit.
	Runs(ctx context.Context, f Filter, before Cursor, limit int) ([]bell.RoomRun, error)

	// Run returns a run, or bell.NotFound. environment may be empty: then the one heard of
	// last is meant.
	Run(ctx context.Context, environment planet.Environment, id planet.SessionID) (bell.RoomRun, error)

	// Participants returns participants of a run, ordered by user ID and service, after the
	// given one, at most limit. A run that is not there has none.
	Participants(ctx context.Context, run RunKey, after planet.UserRef, limit int) ([]bell.Participant, error)

	// SilentRuns returns open runs of which nothing new was heard since a time, at most limit.
	SilentRuns(ctx context.Context, since time.Time, limit int) ([]RunKey, error)

	// RunsToInvite returns runs with InviteBy set, at most limit.
	RunsToInvite(ctx context.Context, limit int) ([]bell.RoomRun, error)

	// Invite keeps an invitation, and returns the one that counts: the one that was made
	// earlier for the same user and run, if its deadline has not come at the new one's At;
	// else the new one.
	Invite(ctx context.Context, i Invitation) (counts Invitation, fresh bool, err error)

	// InvitationsOf returns the invitations to a run whose deadline is after now, at most limit.
	InvitationsOf(ctx context.Context, run RunKey, now time.Time, limit int) ([]Invitation, error)

	// WithdrawNotices turns the deliveries of notices that are not final into withdrawn, as
	// call.Store's EndCall does for calls; a call, and a notice that is not there, are left
	// alone. It writes nothing when there is nothing to withdraw. The caller bounds the notices.
	WithdrawNotices(ctx context.Context, environment planet.Environment, notices []planet.SessionID, now time.Time) error

	// PruneInvitations removes invitations whose deadline was before a time, at most limit, and
	// says how many.
	PruneInvitations(ctx context.Context, before time.Time, limit int) (int, error)
}

// RunKey names a run.
type RunKey struct {
	Environment planet.Environment
	SessionID   planet.SessionID
}

// Touched says what an event is about.
type Touched struct {
	RunKey
	Room planet.RoomRef // looked at only without a session ID
	User planet.UserRef // empty: no participant
}

// Known is what the store has of it.
type Known struct {
	Run              bell.RoomRun
	RunKnown         bool
	Participant      bell.Participant
	ParticipantKnown bool
	Repeat           bool // the entry was in the journal before
}

// Change is what is to be written. Nothing is when both flags are false. The environment
// of a run and the user of a participant are those that were asked for.
type Change struct {
	Run              bell.RoomRun
	WriteRun         bool
	Participant      bell.Participant
	WriteParticipant bool
	Events           []bell.Event
}

// Filter selects runs; empty fields match everything.
type Filter struct {
	Environment planet.Environment
	ServiceID   string
	RoomID      string
	Open        bool           // only those that are open
	User        planet.UserRef // only those in which this user was; its service may be empty
}

// Cursor is a place in the list of runs: those strictly older follow. The zero cursor is the
// newest end.
type Cursor struct {
	HeardAt   time.Time
	SessionID planet.SessionID
}

// Invitation asks a user into a room.
type Invitation struct {
	Run      RunKey         // the session ID is empty when the room was not open
	Room     planet.RoomRef // of the run
	User     planet.UserRef // who is invited
	At       time.Time
	Deadline time.Time
}
