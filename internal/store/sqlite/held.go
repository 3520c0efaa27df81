package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/planetbell/planetbell/internal/store/schema"
)

// Held is a database that no server may open and that nobody may change, for who reads the
// whole of it.
type Held struct {
	DB   *sql.DB // one connection, in a transaction that shows one state of the database
	lock *os.File
}

// Hold takes the lock that a server holds, and checks the file: it must be sound and have
// the schema of this program. Close must be called.
func Hold(ctx context.Context, path string) (_ *Held, err error) {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return nil, fmt.Errorf("there is no database at %s", path)
	}
	lock, err := lockDatabase(path)
	if err != nil {
		return nil, err
	}
	h := &Held{lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("read the database %s: %w", path, damaged(err)), h.Close())
		}
	}()
	if h.DB, err = openNamed(fileName(path, "rw", copyPragmas)); err != nil {
		return nil, err
	}
	steps, err := checked(ctx, h.DB)
	if err != nil {
		return nil, err
	}
	if n := len(schema.Pending(steps)); n > 0 {
		return nil, fmt.Errorf("its schema is older than this program (version %d); run planetbell migrate first", schema.Version(steps))
	}
	if _, err := h.DB.ExecContext(detached(), "BEGIN"); err != nil {
		return nil, fmt.Errorf("begin to read: %w", err)
	}
	return h, nil
}

// Close frees the database.
func (h *Held) Close() error {
	var err error
	if h.DB != nil {
		err = h.DB.Close()
	}
	return errors.Join(err, h.lock.Close())
}
