package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/planetbell/planetbell/internal/store/schema"
)

// copyPiece is how much of a file is copied between two looks at whether it is still wanted.
const copyPiece = 4 << 20

// Restored says what Restore did.
type Restored struct {
	Bytes   int64
	Schema  int64  // version of what was restored
	Pending int    // migrations that the server will apply when it starts
	Calls   int64  // in it
	Aside   string // where the database that was there before is now; empty if there was none
}

// Restore puts a backup in the place of the database file, which is kept beside it under
// another name. It refuses, and changes nothing, when a server has the database open, and
// when the backup is damaged, is not planetbell's, or was written by a newer version. done of
// total bytes are told to progress. When ctx ends, nothing has changed or all is done.
func Restore(ctx context.Context, backup, path string, progress func(done, total int64)) (_ Restored, err error) {
	if err := standsAlone(backup, path); err != nil {
		return Restored{}, err
	}
	lock, err := lockDatabase(path)
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	part, err := draft(path)
	if err != nil {
		return Restored{}, err
	}
	defer func() {
		if err != nil {
			if gone := os.Remove(part); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}()
	done, err := takeBackup(ctx, backup, part, progress)
	if err != nil {
		return Restored{}, fmt.Errorf("the backup %s was not restored: %w", backup, damaged(err))
	}
	if done.Aside, err = putAside(path, time.Now()); err != nil {
		return Restored{}, err
	}
	if err := os.Rename(part, path); err != nil {
		return done, fmt.Errorf("put the backup in the place of the database: %w", err)
	}
	return done, syncFolder(path)
}

// standsAlone refuses files that cannot be a backup.
func standsAlone(backup, path string) error {
	info, err := os.Stat(backup)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no backup %s", backup)
	case err != nil:
		return fmt.Errorf("look at the backup: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", backup)
	}
	if current, err := os.Stat(path); err == nil && os.SameFile(info, current) {
		return fmt.Errorf("%s is the database itself; name a backup", backup)
	}
	if log, err := os.Stat(backup + "-wal"); err == nil && log.Size() > 0 {
		return fmt.Errorf("%s is no backup but a database with a write-ahead log beside it, which may belong to a process that runs; make one with planetbell backup", backup)
	}
	return nil
}

// lockDatabase takes the lock that a server holds.
func lockDatabase(path string) (*os.File, error) {
	if path == "" {
		return nil, errors.New("open the database: no path was given; name a file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the database %s: %w", path, err)
	}
	lock, err := lockFile(path + ".lock")
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("the database %s is in use by another planetbell process; stop that process or name another file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return lock, nil
}

// takeBackup copies the backup and checks the copy: what is checked is what is used.
func takeBackup(ctx context.Context, backup, part string, progress func(done, total int64)) (done Restored, err error) {
	if done.Bytes, err = copyFile(ctx, backup, part, progress); err != nil {
		return done, err
	}
	db, err := openNamed(fileName(part, "rw", append([]string{"journal_mode(delete)"}, draftPragmas...)))
	if err != nil {
		return done, err
	}
	steps, err := checked(ctx, db)
	if err == nil {
		done.Calls, err = countCalls(db)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return done, err
	}
	done.Schema, done.Pending = schema.Version(steps), len(schema.Pending(steps))
	return done, syncFile(part)
}

func copyFile(ctx context.Context, from, to string, progress func(done, total int64)) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, fmt.Errorf("read it: %w", err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return 0, fmt.Errorf("read it: %w", err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return 0, fmt.Errorf("write the copy: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		piece, err := io.CopyN(out, in, copyPiece)
		n += piece
		progress(n, info.Size())
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("copy it: %w", err)
		}
	}
}

// putAside gives the database a second name, under which it stays. It is first made to
// stand alone, so that no write-ahead log of it is left to be taken for the backup's.
func putAside(path string, now time.Time) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	mergeLog(path)
	aside := path + ".before-restore-" + now.UTC().Format("20060102-150405")
	for vacant(aside) != nil {
		aside += "+"
	}
	for _, end := range []string{"-wal", "-shm"} { // of a database that cannot be opened
		if err := os.Rename(path+end, aside+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("put the database aside: %w", err)
		}
	}
	if err := os.Link(path, aside); err != nil {
		// A file system without second names: for a moment there is no database.
		if err := os.Rename(path, aside); err != nil {
			return "", fmt.Errorf("put the database aside: %w", err)
		}
	}
	return aside, nil
}

// mergeLog moves the write-ahead log into the database. It may fail: a damaged database is
// a good reason to restore another.
func mergeLog(path string) {
	db, err := openNamed(fileName(path, "rw", []string{busyTimeout, "synchronous(full)", "mmap_size(0)"}))
	if err != nil {
		return
	}
	_, _ = db.ExecContext(detached(), "PRAGMA wal_checkpoint(TRUNCATE)")
	_ = db.Close()
}
