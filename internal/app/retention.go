package app

import (
	"context"

	"github.com/planetbell/planetbell/internal/retention"
)

// forgetOld removes what has been kept for long enough, until ctx ends.
func (a *App) forgetOld(ctx context.Context) {
	retention.New(retention.Config{
		Store: a.store, Calls: a.cfg.Retention.Calls, Journal: a.cfg.Retention.Journal, Audit: a.cfg.Retention.Audit,
		Log: a.log.With("component", "retention"), Metrics: retention.NewMetrics(a.registry),
	}).Run(ctx)
}
