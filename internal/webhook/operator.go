package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// replayBatch bounds one transaction of a replay.
const replayBatch = 250

// maxReplay bounds how many events one request replays.
const maxReplay = 5_000

// Status is how one endpoint does.
type Status struct {
	Endpoint string
	Host     string // of its URL
	Fallback string // host of its fallback URL; empty if it has none
	Types    []bell.EventType
	Health   Health
	Open     int       // events that are still to be told
	Oldest   time.Time // since when the oldest of them is; zero if there is none
}

// Statuses returns how the endpoints do, in the order of the configuration.
func (w *Worker) Statuses(ctx context.Context) ([]Status, error) {
	open, _, err := w.Store.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	statuses := make([]Status, 0, len(w.lines))
	for _, l := range w.lines {
		s := Status{
			Endpoint: l.id, Host: l.Host(), Health: l.gate.health(w.Now()), Open: open[l.id].Open, Oldest: open[l.id].Oldest,
		}
		if l.Fallback != "" {
			s.Fallback = hostOf(l.Fallback)
		}
		for _, t := range bell.EventTypes() {
			if l.Types.Has(t) {
				s.Types = append(s.Types, t)
			}
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

// List returns events with what became of them, newest first; see Store.Tellings.
func (w *Worker) List(ctx context.Context, f Filter, before Cursor, limit int) ([]Telling, error) {
	return w.Store.Tellings(ctx, f, before, limit)
}

// Replay tells an event anew: to one endpoint, or to all that it was told to, or that did not
// take it, when endpoint is empty. It returns to how many; bell.NotFound when there is no
// such event.
func (w *Worker) Replay(ctx context.Context, id, endpoint string) (int, error) {
	if err := w.known(endpoint); endpoint != "" && err != nil {
		return 0, err
	}
	n, err := w.Store.ReplayEvent(ctx, id, endpoint, w.Now())
	w.wakeAll()
	return n, err
}

// ReplayDead tells an endpoint anew what it did not take, in the old order. It returns how
// many events, and whether there are more than it opens at once.
func (w *Worker) ReplayDead(ctx context.Context, endpoint string) (replayed int, more bool, err error) {
	if err := w.known(endpoint); err != nil {
		return 0, false, err
	}
	defer w.wakeAll()
	for replayed < maxReplay {
		n, err := w.Store.ReplayDead(ctx, endpoint, w.Now(), replayBatch)
		replayed += n
		if err != nil || n < replayBatch {
			return replayed, false, err
		}
	}
	return replayed, true, nil
}

// Enable tells an endpoint again that answered 410; bell.NotFound when it is not disabled.
func (w *Worker) Enable(ctx context.Context, endpoint string) error {
	if err := w.known(endpoint); err != nil {
		return err
	}
	if err := w.Store.ClearGone(ctx, endpoint); err != nil {
		return err
	}
	l := w.byID[endpoint]
	l.gate.setGone(false)
	l.nudge()
	w.Log.Info("an endpoint is told events again, because an operator said so", "endpoint", l.id, "host", l.Host())
	return nil
}

// Test sends an event of type planetbell.test to all endpoints of a project, and returns its
// ID.
func (w *Worker) Test(ctx context.Context, project *bell.Project) (string, error) {
	if len(w.byProject[project.Name]) == 0 {
		return "", bell.E(bell.NotFound, fmt.Sprintf("Project %s has no endpoint; add one to its events.", project.Name), nil)
	}
	e := bell.TestEvent(project, w.Now())
	return e.ID, w.Store.AddEvent(ctx, e)
}

func (w *Worker) known(endpoint string) error {
	if _, ok := w.byID[endpoint]; !ok {
		return bell.E(bell.NotFound, "There is no such endpoint; planetbell event endpoints lists them.", nil)
	}
	return nil
}

func (w *Worker) wakeAll() {
	for _, l := range w.lines {
		l.nudge()
	}
}
