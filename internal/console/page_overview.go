package console

import (
	"context"
	"net/http"

	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/pages"
)

// pageOverview says first what is wrong, and then how much of what is going on.
func (c *console) pageOverview(w http.ResponseWriter, r *http.Request) error {
	o, err := c.overview(r.Context())
	if err != nil {
		return err
	}
	f := c.frame(r, "overview", words(r).T("nav.overview"))
	of := &pages.OverviewOf{
		NotReady: o.ready, Ringing: o.ringing, Minutes: o.minutes, Partial: o.more, Look: o.look, Node: c.Node, Now: f.Now,
	}
	of.Failing, err = c.failing.get(r.Context(), c.Now, func(ctx context.Context) ([]call.FailingGroup, error) {
		return c.services.Figures.Failing(ctx, c.Now().Add(-failingSpan), failingMost)
	})
	if err != nil {
		return err
	}
	if of.Endpoints, err = c.services.Events.Statuses(r.Context()); err != nil {
		return err
	}
	return c.show(w, r, http.StatusOK, "overview", f, pages.NewOverview(f.Words, of))
}
