package sqlite

import (
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// truncateEvery is how often at most the write-ahead log is emptied because something was
// erased. Under load SQLite overwrites the log within seconds anyway; on a quiet server
// what was erased from the database would lie in it for days.
const truncateEvery = 10 * time.Second

// emptyLog moves the write-ahead log into the database and truncates it, when something was
// erased since the last time: the log keeps the pages as they were before. While somebody
// reads it does nothing, and is asked again after the next group, which the sweep of
// package delivery brings every second. It runs on the writer's goroutine, between groups.
func (w *writer) emptyLog() {
	if w.link == nil || !w.link.erased || time.Since(w.emptied) < w.truncateEvery {
		return
	}
	busy, err := w.link.truncateLog()
	switch {
	case err != nil:
		w.log.Error("the write-ahead log could not be emptied; it may still hold what was erased", "error", err)
		w.emptied = time.Now() // not with every group
		w.disconnect()
	case !busy:
		w.link.erased, w.emptied = false, time.Now()
	}
}

// truncateLog reports busy when a reader stands in the way: it does not wait for one,
// because all writes wait for it.
func (l *link) truncateLog() (busy bool, err error) {
	if _, err := l.Exec("PRAGMA busy_timeout = 0"); err != nil {
		return false, fmt.Errorf("stop to wait for readers: %w", err)
	}
	var blocked, pages, moved int
	if _, err := l.One("PRAGMA wal_checkpoint(TRUNCATE)", sqldb.Into([]any{&blocked, &pages, &moved})); err != nil {
		return false, fmt.Errorf("empty the write-ahead log: %w", err)
	}
	if _, err := l.Exec("PRAGMA " + busyTimeout); err != nil {
		return false, fmt.Errorf("wait for readers again: %w", err)
	}
	return blocked != 0, nil
}
