package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
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
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("find the migrations: %w", err)
	}
	// One node migrates and the others look again every second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return fmt.Errorf("set up the lock of migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, folder,
		goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	have, want, err := versions(ctx, db, provider)
	switch {
	case err != nil:
		return err
	case have > want:
		return newer(ctx, db, log, have, want)
	case have == want:
		return nil
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("bring the schema from version %d to %d: %w", have, want, inward(err))
	}
	for _, m := range done {
		log.Info("database migrated", "version", m.Source.Version, "took", m.Duration)
	}
	return nil
}

// versions returns the version of the schema and the one that this program knows. It takes no
// lock, so it works through a pooler; 0 is an empty database.
func versions(ctx context.Context, db *sql.DB, provider *goose.Provider) (have, want int64, err error) {
	sources := provider.ListSources()
	want = sources[len(sources)-1].Version
	var known bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&known); err != nil {
		return 0, 0, fmt.Errorf("look for the schema: %w", inward(err))
	}
	if !known {
		return 0, want, nil
	}
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have); err != nil {
		return 0, 0, fmt.Errorf("read the schema's version: %w", inward(err))
	}
	return have, want, nil
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
