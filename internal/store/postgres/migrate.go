package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/planetbell/planetbell/internal/store/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date for a server.
func migrate(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (err error) {
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	done, beside, err := upgrade(ctx, db)
	for _, m := range done {
		log.Info("database migrated", "version", m.Version, "took", m.Took)
	}
	if beside != nil && err == nil {
		log.Warn("the database was migrated by a newer planetbell, which this one can work beside; replace it soon", "schema", beside.Have, "known", beside.Know)
	}
	return err
}

// upgrade brings the schema up to date and says what it did. Of nodes that start at once, one
// does it and the others wait. A schema that is newer than this program, told in beside, is left
// alone if the program that made it says that this one can live with it; so of two releases
// either may run while nodes are replaced one by one.
func upgrade(ctx context.Context, db *sql.DB) (done []schema.Step, beside *schema.NewerError, err error) {
	all, err := newMigrations(db)
	if err != nil {
		return nil, nil, err
	}
	steps, err := all.Status(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read the schema's version: %w", inward(err))
	}
	if unknown, ok := errors.AsType[*schema.NewerError](schema.Known(steps)); ok {
		return nil, unknown, newer(ctx, db, unknown.Have, unknown.Know)
	}
	if len(schema.Pending(steps)) == 0 { // then no lock is taken, and it works through a pooler
		return nil, nil, nil
	}
	done, err = all.Up(ctx)
	if err != nil {
		return done, nil, fmt.Errorf("bring the schema up to date: %w", inward(err))
	}
	return done, nil, nil
}

// newer decides whether this program works on a schema that it does not know.
func newer(ctx context.Context, db *sql.DB, have, want int64) error {
	var oldest int64
	if err := db.QueryRowContext(ctx, `SELECT oldest FROM schema_release`).Scan(&oldest); err != nil {
		return fmt.Errorf("read what the newer schema %d works with: %w", have, inward(err))
	}
	if want < oldest {
		return fmt.Errorf("it was written by a newer version of planetbell (schema %d; this one knows %d, and %d is the oldest that works with it); use a newer version or restore a backup",
			have, want, oldest)
	}
	return nil
}
