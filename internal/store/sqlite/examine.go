package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/store/schema"
)

// Works says whether this program can use a database with these steps: nil, also of one that it
// still has to migrate, or why not.
func (m *Migrations) Works(_ context.Context, steps []schema.Step) (err error) {
	if schema.Known(steps) == nil {
		return nil
	}
	db, err := openNamed(fileName(m.path, "rw", readerPragmas))
	if err != nil {
		return fmt.Errorf("open the database %s: %w", m.path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return usable(db, steps)
}
