package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"

	driversqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/planetbell/planetbell/internal/bell"
)

// systemic reports whether an error is about the database and not about one operation:
// the disk is full, the file is locked or damaged, the connection is gone. Repeating
// the operation at once would not help, and SQLite may have ended the transaction.
func systemic(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return true
	}
	var e *driversqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff { // the low byte is the class (sqlite.org/rescode.html)
	case sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// outward gives an error its kind: trouble with the database itself is
// bell.Unavailable, everything else stays as it is.
func outward(err error) error {
	if err == nil || bell.KindOf(err) != "" || !systemic(err) {
		return err
	}
	return bell.E(bell.Unavailable, sentence(err), err)
}

// sentence says what the operator has to do about trouble with the database.
func sentence(err error) string {
	var e *driversqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return "The database's disk is full; free some space."
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return "The database is locked by another program; close that program."
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return "The database file is damaged; restore a backup."
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
			return "The database file cannot be written; check the permissions of it and its folder."
		}
	}
	return "The database cannot be used at the moment."
}
