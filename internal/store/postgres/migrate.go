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

// migrate brings the schema up to date. Of nodes that start at once, one does it and the others
// wait. A schema that is newer than this program is left alone if the program that made it
// says that this one can live with it; so of two releases either may run while nodes are
// replaced one by one.
func migrate(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (err error) {
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	all, err := newMigrations(db)
	if err != nil {
		return err
	}
	steps, err := all.Status(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", inward(err))
	}
	if unknown, ok := errors.AsType[*schema.NewerError](schema.Known(steps)); ok {
		return newer(ctx, db, log, unknown.Have, unknown.Know)
	}
	if len(schema.Pending(steps)) == 0 { // then no lock is taken, and it works through a pooler
		return nil
	}
	done, err := all.Up(ctx)
	for _, m := range done {
		log.Info("database migrated", "version", m.Version, "took", m.Took)
	}
	if err != nil {
		return fmt.Errorf("bring the schema up to date: %w", inward(err))
	}
	return nil
}

// newer decides whether this program works on a schema that it does not know.
func newer(ctx context.Context, db *sql.DB, log *slog.Logger, have, want int64) error {
	var oldest int64
	if err := db.QueryRowContext(ctx, `SELECT oldest FROM schema_release`).Scan(&oldest); err != nil {
		return fmt.Errorf("read what the newer schema %d works with: %w", have, inward(err))
	}
	if want < oldest {
		return fmt.Errorf("it was written by a newer version of planetbell (schema %d; this one knows %d, and %d is the oldest that works with it); use a newer version or restore a backup",
			have, want, oldest)
	}
	log.Warn("the database was migrated by a newer planetbell, which this one can work beside; replace it soon", "schema", have, "known", want)
	return nil
}
