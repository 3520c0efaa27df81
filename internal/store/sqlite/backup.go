package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	driversqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/planetbell/planetbell/internal/store/schema"
)

// stepPages is how much of a backup is copied between two looks at whether it is still
// wanted: 4 MiB.
const stepPages = 1024

// copyPragmas are the settings of what only reads a database to copy it. Little is cached,
// because each page is read once.
var copyPragmas = []string{busyTimeout, "query_only(on)", "mmap_size(0)", "cache_size(-2048)", "trusted_schema(off)"}

// draftPragmas are the settings of a file that counts for nothing until it is whole, and is
// synced then. What is erased in it is overwritten in place.
var draftPragmas = []string{
	"locking_mode(exclusive)", "journal_mode(off)", "synchronous(off)", "mmap_size(0)", "cache_size(-16384)",
	"temp_store(memory)", "secure_delete(on)", "trusted_schema(off)",
}

// Saved says what a backup holds.
type Saved struct {
	Bytes   int64
	Schema  int64 // version
	Calls   int64
	Ringing int64 // calls that rang then: their cc_param was erased from the backup
}

// Backup copies the database file from to a new file, of mode 0600, while a server may
// use it, and returns when that is checked and on disk. What was committed before it began
// is in it; cc_param is erased from it, and deliveries that would need one are expired.
//
// It reads one snapshot, page by page: done of total pages are told to progress. The server's
// writes go on meanwhile; they pile up in its write-ahead log, which can only be emptied, and
// what was erased be gone from it, when the copy is made. SQLite's copy in pieces with a new
// snapshot each would begin anew with every write of the server, and never end.
//
// When ctx ends it stops, and nothing is left of the new file.
func Backup(ctx context.Context, from, to string, progress func(done, total int64)) (_ Saved, err error) {
	if info, err := os.Stat(from); err != nil || info.Size() == 0 {
		return Saved{}, fmt.Errorf("there is no database to copy at %s", from)
	}
	if err := vacant(to); err != nil {
		return Saved{}, err
	}
	part, err := draft(to)
	if err != nil {
		return Saved{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	if err := copyPages(ctx, from, part, progress); err != nil {
		return Saved{}, fmt.Errorf("copy the database %s: %w", from, damaged(err))
	}
	saved, err := seal(ctx, part)
	if err != nil {
		return Saved{}, fmt.Errorf("check the copy of %s: %w", from, damaged(err))
	}
	if err := errors.Join(syncFile(part), vacant(to)); err != nil {
		return Saved{}, err
	}
	if err := os.Rename(part, to); err != nil {
		return Saved{}, fmt.Errorf("name the backup: %w", err)
	}
	return saved, syncFolder(to)
}

// vacant wants that there is no such file: a backup is never overwritten.
func vacant(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return fmt.Errorf("%s exists and was left as it is; name another file", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the new file: %w", err)
	}
	return nil
}

// draft makes an empty file beside path, for its owner's eyes only.
func draft(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return "", fmt.Errorf("make a file beside %s: %w", path, err)
	}
	return f.Name(), f.Close()
}

// copyPages copies a snapshot of the database into an empty file.
func copyPages(ctx context.Context, from, to string, progress func(done, total int64)) (err error) {
	db, err := openNamed(fileName(from, "rw", copyPragmas))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(detached())
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The transaction keeps the snapshot. Without it the copy would begin anew when the
	// database changes.
	if _, err := conn.ExecContext(detached(), "BEGIN"); err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	var tables int
	if err := conn.QueryRowContext(detached(), `SELECT count(*) FROM sqlite_master WHERE name IN ('calls', 'goose_db_version')`).Scan(&tables); err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	if tables != 2 {
		return errNotOurs
	}
	return conn.Raw(func(driverConn any) (err error) {
		source, ok := driverConn.(interface {
			NewBackup(to string) (*driversqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver makes no backups")
		}
		b, err := source.NewBackup(fileName(to, "rw", draftPragmas))
		if err != nil {
			return fmt.Errorf("open the new file: %w", err)
		}
		defer func() { err = errors.Join(err, b.Finish()) }()
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if more, err = b.Step(stepPages); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			progress(int64(b.PageCount()-b.Remaining()), int64(b.PageCount()))
		}
		return nil
	})
}

// damaged is outward for a file of which an operator has to be told that it is no good.
func damaged(err error) error {
	var e *driversqlite.Error
	if errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB) {
		return fmt.Errorf("it is damaged, or no database: %w", err)
	}
	return outward(err)
}

var errNotOurs = errors.New("it is not a database of planetbell")

// seal makes a copied file one that stands alone: without a write-ahead log, without secrets
// of calls, and checked.
func seal(ctx context.Context, path string) (saved Saved, err error) {
	db, err := openNamed(fileName(path, "rw", append([]string{"journal_mode(delete)"}, draftPragmas...)))
	if err != nil {
		return saved, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	steps, err := checked(ctx, db)
	if err != nil {
		return saved, err
	}
	saved.Schema = schema.Version(steps)
	// These would ring without what the app needs: they are the server's that runs.
	_, err = db.ExecContext(detached(), `UPDATE deliveries
		SET state = 'expired', lease_owner = '', lease_until = 0, reason = iif(reason <> '', reason, 'deadline')
		WHERE state IN ('pending', 'sending') AND call_id IN (SELECT id FROM calls WHERE cc_param <> '')`)
	if err != nil {
		return saved, fmt.Errorf("expire what rings: %w", err)
	}
	result, err := db.ExecContext(detached(), `UPDATE calls SET cc_param = '' WHERE cc_param <> ''`)
	if err != nil {
		return saved, fmt.Errorf("erase cc_param: %w", err)
	}
	if saved.Ringing, err = result.RowsAffected(); err != nil {
		return saved, fmt.Errorf("erase cc_param: %w", err)
	}
	if saved.Calls, err = countCalls(db); err != nil {
		return saved, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return saved, fmt.Errorf("look at the copy: %w", err)
	}
	saved.Bytes = info.Size()
	return saved, nil
}

func countCalls(db *sql.DB) (n int64, err error) {
	if err = db.QueryRowContext(detached(), `SELECT count(*) FROM calls`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the calls: %w", err)
	}
	return n, nil
}

// checked reads the whole of a database that nobody else has open, and wants it to be sound,
// ours, and not newer than this program.
func checked(ctx context.Context, db *sql.DB) ([]schema.Step, error) {
	var says string
	// The context may interrupt this: the connection is of no further use then.
	err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&says)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("check it: %w", err)
	case says != "ok":
		return nil, fmt.Errorf("it is damaged: %s", says)
	}
	all, err := newMigrations(db)
	if err != nil {
		return nil, err
	}
	steps, err := all.Status(detached())
	if err != nil {
		return nil, err
	}
	if schema.Version(steps) == 0 {
		return nil, errNotOurs
	}
	return steps, usable(db, steps)
}

// fileName is how the driver is told of a file. mode is "rw" or "rwc", which makes it.
func fileName(path, mode string, pragmas []string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}, "mode": {mode}}
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + query.Encode()
}

// openNamed opens one connection to what fileName names.
func openNamed(name string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("set up a connection: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open what was written: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("bring %s to the disk: %w", path, err)
	}
	return nil
}

// syncFolder brings the name of a file to the disk. Windows does that by itself.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open the folder of what was written: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("bring the name of %s to the disk: %w", path, err)
	}
	return nil
}
