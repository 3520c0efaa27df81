package postgres

import (
	"log/slog"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// errStoreClosed is told by every method after Close.
var errStoreClosed = bell.E(bell.Unavailable, "The database is closed.", errClosed)

// health tells the log when nothing can be written, and when it can again. Trouble with a
// database lasts: it is told once, when it begins, and the callers learn of each operation.
type health struct {
	log *slog.Logger

	mu       sync.Mutex
	troubled time.Time // since when no group was committed; zero when the last one was
	lost     int       // operations that failed since then
}

// note takes the outcome of so many operations.
func (h *health) note(operations int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	why := trouble(err)
	switch {
	case err != nil && why == "":
		return // an operation's own error
	case err != nil:
		h.lost += operations
		if h.troubled.IsZero() {
			h.troubled = time.Now()
			h.log.Error("nothing can be written; writes were lost", "operations", operations, "why", why, "error", err)
		}
	case !h.troubled.IsZero():
		h.log.Info("writes are committed again", "after", time.Since(h.troubled), "lost", h.lost)
		h.troubled, h.lost = time.Time{}, 0
	}
}
