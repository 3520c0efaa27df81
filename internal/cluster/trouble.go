package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// beatTimeout leaves room for a second beat before a node is presumed dead.
	beatTimeout = 2 * time.Second
	// askTimeout bounds each other question: a sick database must not hold a loop up.
	askTimeout = 3 * time.Second
	// troubleKept is how long what failed once counts as trouble: it may not be asked again,
	// because there is nothing to ask.
	troubleKept = 10 * time.Second
)

var errSlow = errors.New("the database did not answer a node's question in time")

// trouble tells once that the database does not answer, and once that it does again. It is
// safe for concurrent use.
type trouble struct {
	log     *slog.Logger
	metrics *Metrics
	clock   func() time.Time

	mu      sync.Mutex
	failing map[string]failure // by what was asked
}

type failure struct {
	why string
	at  time.Time
}

func newTrouble(log *slog.Logger, metrics *Metrics, clock func() time.Time) *trouble {
	return &trouble{log: log, metrics: metrics, clock: clock, failing: map[string]failure{}}
}

// ask asks the database something within a limit, and tells how that went.
func (t *trouble) ask(ctx context.Context, what string, limit time.Duration, question func(context.Context) error) error {
	within, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := question(within)
	if ctx.Err() == nil {
		t.note(what, err)
	}
	return err
}

func (t *trouble) note(what string, err error) {
	t.mu.Lock()
	before := len(t.failing)
	if err != nil {
		t.failing[what] = failure{err.Error(), t.clock()}
	} else {
		delete(t.failing, what)
		for other, f := range t.failing {
			if t.clock().Sub(f.at) > troubleKept {
				delete(t.failing, other)
			}
		}
	}
	after := len(t.failing)
	t.mu.Unlock()
	if err != nil {
		t.metrics.failures.WithLabelValues(what).Inc()
	}
	switch {
	case before == 0 && after > 0:
		t.log.Error("this node cannot ask the database about its part in the cluster; it tries again every second, and other nodes continue its deliveries meanwhile", "what", what, "error", err)
	case before > 0 && after == 0:
		t.log.Info("this node can ask the database again about its part in the cluster")
	}
}

// now says what does not work at the moment; empty if all does.
func (t *trouble) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.failing {
		return f.why
	}
	return ""
}
