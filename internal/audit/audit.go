// Package audit is the record of who did what on the admin listener: changes, what was handed
// out, sign-ins, and refusals. It is written where routes are registered (package console), and
// read by operators; it holds no secret, and nothing in it decides anything.
package audit

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Outcome is what became of an action.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // the person may not, or is not who they say
	Failed  Outcome = "failed"  // the request was wrong, or the server could not
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome { return []Outcome{Done, Refused, Failed} }

// Entry is one line of the record. All texts are bounded by New.
type Entry struct {
	ID      string // time-ordered
	At      time.Time
	Who     string    // a name of the configuration or the identity provider; empty: unknown
	Role    bell.Role // empty: unknown
	Via     string    // how they proved who they are: token, password, oidc, loopback
	Remote  string    // address without port
	Action  string    // a noun, a dot and a verb, such as device.remove
	Object  string    // what was acted on, such as removed_device=<ID>
	Outcome Outcome
}

// New completes an entry: it gives it an ID and makes its texts safe to keep and to show, of at
// most bell.MaxText bytes each.
func New(e Entry) Entry {
	e.ID = bell.NewID()
	e.At = e.At.UTC().Truncate(time.Microsecond) // what stores keep
	for _, text := range []*string{&e.Who, &e.Via, &e.Remote, &e.Action, &e.Object} {
		*text = bell.CleanName(*text)
	}
	return e
}

// Filter selects entries; zero fields select all.
type Filter struct {
	Who     string
	Action  string // whole, or a noun for all of its verbs
	Outcome Outcome
	Since   time.Time // from this time on
	Until   time.Time // before this time
}

// Cursor is a place in the list, which is ordered from the newest to the oldest. The zero value
// is before the newest.
type Cursor struct {
	At time.Time
	ID string
}

// Store keeps the record. Its error kinds are those of call.Store.
type Store interface {
	// Audit adds an entry. One with a known ID is dropped.
	Audit(ctx context.Context, e Entry) error
	// AuditLog returns entries older than the cursor, newest first.
	AuditLog(ctx context.Context, f Filter, before Cursor, limit int) ([]Entry, error)
}
