package call

import (
	"context"
	"errors"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// ErrHeld is in a Store's error of kind bell.Overload when nothing was written because another
// transaction has locked just what was to be written. There is no trouble for others.
var ErrHeld = errors.New("its rows are locked")

// Store is what call needs of a database. Each method is one transaction, on disk
// when it returns. Two error kinds mean that it could not do its work now: bell.Overload,
// when more is asked of it than it takes, and nothing was done; bell.Unavailable, when it is
// in trouble, or ctx ended first, and then the work may still be done. Methods that write
// can be repeated.
type Store interface {
	// DevicesOf returns all devices of an owner, oldest first; none is no error.
	DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error)

	// BeginCall records the call (state ringing), its raw parameters and its
	// deliveries as they are given, also those that have ended already; of a notice the state
	// is notice. A call is identified by environment and session ID. If it is known
	// already, nothing is written and the result says what it is: Repeated, or
	// AlreadyEnded when its Call Event overtook it (then that it did, and the parties and times of
	// Notify are added to the row, without cc_param and without deliveries; a caller, app
	// server data and stid that Notify left out stay as the event has them). When it
	// fails because ctx ended while the commit was under way, the call may be on disk all the
	// same. Then its deliveries either belong to nobody, and can be claimed at once, or still
	// to whom they name as the owner of their lease: where there are several nodes, the others
	// must leave to it what it rings from memory. It claims them when the lease runs out.
	BeginCall(ctx context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (BeginResult, error)

	// RecordAttempt is that of delivery.Store: it moves a delivery and keeps an attempt, or
	// only moves it when attempt.Number is 0; bell.NotFound when there is no such delivery.
	RecordAttempt(ctx context.Context, d bell.Delivery, attempt bell.Attempt) error

	// EndCall merges a Call Event into the call, creating the row when Notify was
	// never seen: state ended, outcome, release, times; erases cc_param; turns every
	// delivery that is not final into withdrawn; keeps the event in the journal. A
	// repeat changes nothing, and an event never changes a notice. c.NotifiedAt and c.Deadline are
	// ignored for a known call. c.MissedAt marks the call until MissedTold. What
	// Notify said of the parties and their data stays, and what it left out is filled in, so
	// that the record is the same in whatever order the two came.
	EndCall(ctx context.Context, c bell.Call, entry bell.JournalEntry) error

	// AppendJournal keeps a callback. A second entry with the same project, kind and
	// DedupKey is dropped silently; an entry without a DedupKey is never a repeat. An entry with
	// Agent set also records that, for environment and session ID: the newest that says
	// something else than the one before counts. It does not make the session known to
	// BeginCall and EndCall.
	AppendJournal(ctx context.Context, entry bell.JournalEntry) error

	// Missed returns calls that are marked as missed, the longest marked first, at most limit.
	// CallerName is the name that the caller registered with, unless the call has one.
	Missed(ctx context.Context, limit int) ([]bell.Call, error)

	// MissedTold removes the marks of calls, of which only environment and session ID are used.
	MissedTold(ctx context.Context, calls []bell.Call) error

	// LoseCalls turns calls that have been ringing since before a time into lost ones, the oldest
	// first, at most limit, and erases their cc_param. events makes what is recorded in the same
	// transaction, of the call as it is then; nil makes nothing. It returns those that were lost.
	LoseCalls(ctx context.Context, before time.Time, limit int, events func(bell.Call) []bell.Event) ([]bell.Call, error)

	// Call returns everything recorded about a call, or bell.NotFound. environment
	// may be empty: then the newest call with that session ID is meant. Of a session of which
	// only the Agent Call Status is known, the record has that, and a Call without a state.
	Call(ctx context.Context, environment planet.Environment, id planet.SessionID) (Record, error)

	// Calls returns calls, newest first, at most limit, older than the cursor.
	Calls(ctx context.Context, filter Filter, before Cursor, limit int) ([]bell.Call, error)

	// History returns calls of q.Owner's, newest first, at most q.Limit, older than q.Before.
	// It leaves out the calls of whoever had the user ID earlier: those from before the user
	// was registered, to the second if only their end is known. The session that asks must be one of the owner's that is not revoked:
	// the error is bell.Unauthorized if it is, and bell.Unavailable if it is not recorded.
	History(ctx context.Context, q HistoryQuery) ([]bell.Call, error)

	// Journal returns journal entries of a session, oldest first, Notify's raw
	// parameters (as kind notify, without cc_param) among them.
	Journal(ctx context.Context, id planet.SessionID) ([]bell.JournalEntry, error)
}

// BeginResult is what BeginCall found.
type BeginResult int

// The results of BeginCall.
const (
	Began        BeginResult = iota // new: recorded
	Repeated                        // a repeat of a known Notify
	AlreadyEnded                    // its Call Event came first
)

// Record is a call with all that was done about it.
type Record struct {
	Call       bell.Call // CCParam is always empty here
	Deliveries []DeliveryRecord
	// Agent is zero unless the call was asked for through the Server API.
	Agent bell.AgentStatus
}

// DeliveryRecord is a delivery with its device, as far as it still exists, and its
// attempts in order.
type DeliveryRecord struct {
	Delivery bell.Delivery
	Device   bell.Device // zero except ID when the device is gone
	Attempts []bell.Attempt
	Receipt  bell.Receipt // zero when the device sent none
}

// Filter selects calls; empty fields match everything. User matches either side. Since and
// Until are about a call's place in the list, as a Cursor's time is: from Since on, and
// before Until.
type Filter struct {
	Environment planet.Environment
	User        planet.UserRef
	Project     string
	State       bell.CallState
	Outcome     planet.Outcome
	Since       time.Time
	Until       time.Time
	// About selects notices instead: those about the call, or the run of a room, with this
	// session ID.
	About planet.SessionID
}

// Cursor is a place in the list of calls: calls strictly older than it follow. The
// zero cursor is the newest end. At is when the call's Notify came, or, when that was
// never seen, when the call ended.
type Cursor struct {
	At        time.Time
	SessionID planet.SessionID
}
