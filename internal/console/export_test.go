package console

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
)

// Route is an entry of the route table, for tests that walk it.
type Route struct {
	Pattern  string
	Kind     string
	Least    bell.Role
	Action   string
	Harmless bool
}

// Routes lists all routes.
func Routes() []Route {
	var all []Route
	for _, r := range build(Config{}, Services{}, slog.New(slog.DiscardHandler)).routes(prometheus.NewRegistry()) {
		all = append(all, Route{Pattern: r.pattern, Kind: string(r.kind), Least: r.least, Action: r.action, Harmless: r.harmless})
	}
	return all
}
