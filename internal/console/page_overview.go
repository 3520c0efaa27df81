package console

import (
	"context"
	"net/http"

	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/pages"
)

// pageOverview says first what is wrong, and then how much of what is going on.
func (s *site) pageOverview(w http.ResponseWriter, r *http.Request) error {
	o, err := s.overview(r.Context())
	if err != nil {
		return err
	}
	f := s.frame(r, "overview", words(r).T("nav.overview"))
	of := &pages.OverviewOf{
		NotReady: o.ready, Ringing: o.ringing, Minutes: o.minutes, Partial: o.more, Look: o.look, Node: s.Node, Now: f.Now,
	}
	of.Failing, err = s.failing.get(r.Context(), s.Now, func(ctx context.Context) ([]call.FailingGroup, error) {
		return s.services.Figures.Failing(ctx, s.Now().Add(-failingSpan), failingMost)
	})
	if err != nil {
		return err
	}
	if of.Endpoints, err = s.statuses.get(r.Context(), s.Now, s.services.Events.Statuses); err != nil {
		return err
	}
	return s.show(w, r, drawing{page: "overview", frame: f, body: pages.NewOverview(f.Words, of)})
}
