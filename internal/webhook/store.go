package webhook

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// State is where a telling stands: waiting or behind -> told or dead; a replay opens it again.
type State string

// The states of a telling.
const (
	Waiting State = "waiting" // the next of its subject: to be told when it is due
	Behind  State = "behind"  // an earlier one of its subject is still open
	Told    State = "told"    // the endpoint, or its fallback, took it
	Dead    State = "dead"    // given up; it can be replayed
)

// Final reports whether nothing more is done about it, unless somebody asks for a replay.
func (s State) Final() bool { return s == Told || s == Dead }

// Telling is one event for one endpoint.
type Telling struct {
	Seq       int64  // the event's place in the order in which events were recorded
	Endpoint  string // "<project>/<name>"
	State     State
	Attempts  int       // tries that failed, or the last one too if it is Told
	Due       time.Time // of one that waits: not before; while it is leased, when the lease ends
	Since     time.Time // since when it is open, or, if others were before it, since its turn came
	UpdatedAt time.Time
	Reason    string // of the last failure: one word; empty when there was none
	Status    int    // HTTP status of the last answer; 0 when there was none
	Event     bell.Event
}

// Claim asks for tellings of one endpoint.
type Claim struct {
	Endpoint   string
	Owner      string // the process that will tell them
	Now        time.Time
	LeaseUntil time.Time // until then nobody else gets them
	Limit      int
}

// Result is what became of a try.
type Result struct {
	Seq      int64
	Endpoint string
	Owner    string // must still hold the lease
	State    State  // Told, Dead, or Waiting: to be tried again at Due
	Attempts int
	Due      time.Time
	Now      time.Time
	Reason   string
	Status   int
}

// Bounds are what may be kept. All are needed.
type Bounds struct {
	Now     time.Time
	Open    int           // how many may be open; the oldest are given up
	OpenFor time.Duration // for how long one may wait once its turn has come; then it is given up
	Dead    int           // how many dead ones are kept; the oldest are dropped
	DeadFor time.Duration // for how long a dead one is kept
	Keep    time.Duration // for how long a told one is kept
	Limit   int           // how many changes of each kind one pass makes
}

// Swept says what a pass did.
type Swept struct {
	GivenUp int // waited too long
	Crowded int // given up because too many were open
	Dropped int // dead ones that were dropped because too many, or too old
	Deleted int // told ones that had been kept long enough
}

// Backlog is what waits for one endpoint.
type Backlog struct {
	Open   int
	Oldest time.Time // the oldest Since
}

// Filter selects tellings; empty fields match everything. Open is both open states.
type Filter struct {
	Endpoint string
	State    State // Waiting means Behind too
}

// Cursor is a place in the list: what has a smaller (Seq, Endpoint) follows. The zero cursor
// is the newest end.
type Cursor struct {
	Seq      int64
	Endpoint string
}

// Store is what webhook needs of a database. Each method is one transaction, on disk when it
// returns; methods that write can be repeated. Events come into it from elsewhere, in the
// transactions of what they tell.
type Store interface {
	// SpreadEvents gives the oldest events that nobody has looked at, at most limit, to the
	// endpoints that to names: one telling each, Waiting, or Behind if an earlier one of its
	// subject is open at that endpoint. An event that nobody wants is deleted. It returns
	// how many events it looked at. to must be quick and safe for concurrent use.
	SpreadEvents(ctx context.Context, now time.Time, limit int, to func(project string, t bell.EventType) []string) (int, error)

	// ClaimTellings leases tellings that wait and are due, those due first first: Due becomes
	// LeaseUntil. A lease that has run out can be claimed again, by anybody.
	ClaimTellings(ctx context.Context, c Claim) ([]Telling, error)

	// RecordTelling ends a lease with what became of the try. When it is final, the next
	// telling of its subject waits no longer behind it, but for now. It reports whether the
	// owner still held the lease; if not, nothing is changed.
	RecordTelling(ctx context.Context, r Result) (held bool, err error)

	// FreeTellings ends all leases but owner's, so that they can be claimed at once. It is for
	// a process that knows that it is alone, when it starts.
	FreeTellings(ctx context.Context, owner string, now time.Time) (int, error)

	// SweepTellings keeps the bounds, at most b.Limit changes of each kind. An event goes with
	// its last telling. Whoever waits behind one that was given up goes on.
	SweepTellings(ctx context.Context, b Bounds) (Swept, error)

	// Backlogs counts what is open by endpoint, and what is dead in all.
	Backlogs(ctx context.Context) (open map[string]Backlog, dead int, err error)

	// Tellings returns tellings, newest first, at most limit, past the cursor. Events come
	// without their data.
	Tellings(ctx context.Context, f Filter, before Cursor, limit int) ([]Telling, error)

	// ReplayEvent opens the final tellings of an event anew: of one endpoint, or of all when
	// endpoint is empty. It returns how many; bell.NotFound when there is no such event.
	ReplayEvent(ctx context.Context, id, endpoint string, now time.Time) (int, error)

	// ReplayDead opens an endpoint's dead tellings anew, the oldest first, at most limit, and
	// returns how many. They are told in their old order.
	ReplayDead(ctx context.Context, endpoint string, now time.Time, limit int) (int, error)

	// MarkGone remembers that an endpoint, with the settings that print stands for, wants to
	// be told nothing more.
	MarkGone(ctx context.Context, endpoint, print string, now time.Time) error

	// ClearGone forgets that; bell.NotFound when it was not remembered.
	ClearGone(ctx context.Context, endpoint string) error

	// GoneEndpoints returns the prints by endpoint.
	GoneEndpoints(ctx context.Context) (map[string]string, error)

	// AddEvent records an event that belongs to nothing else. One with a known ID is dropped.
	AddEvent(ctx context.Context, e bell.Event) error
}
