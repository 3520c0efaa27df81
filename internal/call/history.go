package call

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Direction is a call as one of its sides sees it.
type Direction string

// The values of [Direction].
const (
	Incoming Direction = "in"  // the user was called
	Outgoing Direction = "out" // the user called
)

// HistoryQuery asks for calls of one user: those on whose either side the user was since
// the user ID was given to whoever holds it now.
type HistoryQuery struct {
	Owner     bell.Owner
	SessionID string           // of the app token that asks
	Direction Direction        // empty: both
	Outcomes  []planet.Outcome // one of these; empty: all, and also calls that have not ended
	Wanted    bool             // leave out calls that the callee had kept away
	Since     time.Time        // calls at that time or later; zero: all
	Before    Cursor
	Limit     int
}

// HistoryPage is a page of a user's calls, newest first. Next is where the next page
// begins; the zero cursor says that there is none.
type HistoryPage struct {
	Calls []bell.Call
	Next  Cursor
}

// History returns a page of a user's own calls. Its errors are those of Store.History.
func (s *Service) History(ctx context.Context, q HistoryQuery) (HistoryPage, error) {
	limit := q.Limit
	q.Limit++ // one more tells whether there is another page
	calls, err := s.store.History(ctx, q)
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{Calls: calls}
	if len(calls) > limit {
		page.Calls = calls[:limit]
		page.Next = CursorOf(&calls[limit-1])
	}
	return page, nil
}

// CursorOf is a call's place in lists: when its Notify came, or, when that was never seen,
// when it ended.
func CursorOf(c *bell.Call) Cursor {
	at := c.NotifiedAt
	if at.IsZero() {
		at = c.EndedAt
	}
	return Cursor{At: at, SessionID: c.SessionID}
}
