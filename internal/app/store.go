package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/retention"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/webhook"
)

// database is what both databases offer.
type database interface {
	account.Store
	device.Store
	call.Store
	call.Figures
	delivery.Store
	policy.Store
	retention.Store
	room.Store
	webhook.Store
	audit.Store
	signin.Store
	Close() error
}

var (
	_ database      = (*sqlite.Store)(nil)
	_ database      = (*postgres.Store)(nil)
	_ cluster.Store = (*postgres.Store)(nil)
)

// openStore opens the database: PostgreSQL if there is a URL, and then this process is one of
// several, else the SQLite file.
func (a *App) openStore(ctx context.Context) error {
	if a.cfg.Database.URL == "" {
		return a.openFile(ctx)
	}
	store, err := postgres.Open(ctx, postgres.Config{
		URL: a.cfg.Database.URL, Node: a.node,
		Log: a.log.With("component", "postgres"), Registry: a.registry, Events: wants(&a.cfg),
	})
	if err != nil {
		return fmt.Errorf("open the database (database.url): %w", err)
	}
	a.store = store
	a.cleanups.push("close the database", func(context.Context) error { return store.Close() })
	return a.joinNodes(ctx, store)
}

func (a *App) openFile(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(a.cfg.Database.Path), 0o700); err != nil {
		return databaseError("make the folder of the database", err)
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Path: a.cfg.Database.Path, Log: a.log.With("component", "sqlite"), Registry: a.registry, Events: wants(&a.cfg)})
	if err != nil {
		return databaseError("open the database", err)
	}
	a.store = store
	a.cleanups.push("close the database", func(context.Context) error { return store.Close() })
	return nil
}
