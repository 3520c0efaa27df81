// Package retention forgets what has been kept for long enough: calls with all that was
// done about them, and callbacks as they came, which hold addresses of people. It works in
// small batches with pauses, because the store has one writer and a ring may wait behind a
// batch, but not for long.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// firstSweep leaves the time after a start to what rings.
	firstSweep = 2 * time.Minute
	sweepEvery = time.Hour
	// batch is how many calls, or callbacks, one transaction removes: some milliseconds of
	// the writer's time.
	batch = 100
	// pause is between two batches, so that the writer is others' for most of the time. A
	// thousand removals a second are more than there can be new calls for long.
	pause = 100 * time.Millisecond
	// signIns is how long a session is kept that has ended: not at all, but for clocks that differ.
	signIns = time.Minute
	// batchTimeout bounds one batch. A store that is slower is left alone for an hour.
	batchTimeout = 10 * time.Second
)

var errBatchTimeout = errors.New("the database did not remove old records in time")

// Store is what retention needs of a database. Each method is one short transaction; its
// error kinds are those of call.Store. It can be repeated.
type Store interface {
	// ForgetCalls removes the oldest of the calls whose place in the list is before a time,
	// with their deliveries, attempts and receipts: at most limit, and fewer if many devices
	// were rung for them, but none only if there are none. It says how many.
	ForgetCalls(ctx context.Context, before time.Time, limit int) (int, error)
	// ForgetJournal removes the oldest callbacks that came before a time, at most limit, and
	// says how many.
	ForgetJournal(ctx context.Context, before time.Time, limit int) (int, error)
	// ForgetRooms removes the oldest closed runs of rooms whose first event came before a time,
	// with their participants: at most limit, and of a large run a part at a time. It says how
	// many it worked on; none only if there are none.
	ForgetRooms(ctx context.Context, before time.Time, limit int) (int, error)
	// ForgetAgentCalls removes the oldest Agent Call Statuses that came before a time, at most
	// limit, and says how many.
	ForgetAgentCalls(ctx context.Context, before time.Time, limit int) (int, error)
	// ForgetAudit removes the oldest entries of the audit log that are from before a time, at
	// most limit, and says how many.
	ForgetAudit(ctx context.Context, before time.Time, limit int) (int, error)
	// ForgetSignIns removes sessions of the console that ended before a time, at most limit, and
	// says how many.
	ForgetSignIns(ctx context.Context, before time.Time, limit int) (int, error)
}

// Config is what a Service is made of. Store is needed.
type Config struct {
	Store   Store
	Calls   time.Duration    // how long calls are kept; 0: for ever
	Journal time.Duration    // how long callbacks are kept as they came; 0: for ever
	Audit   time.Duration    // how long the audit log is kept; 0: for ever
	Now     func() time.Time // time.Now if nil
	Log     *slog.Logger     // none if nil
	Metrics *Metrics         // not registered if nil
}

// Service removes old records. Make one with New.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return &Service{c}
}

// Run sweeps soon after its start and then every hour, until ctx ends. Run it once.
func (s *Service) Run(ctx context.Context) {
	timer := time.NewTimer(firstSweep)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.sweep(ctx)
			timer.Reset(sweepEvery)
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	done := true
	for _, kind := range []struct {
		name   string
		keep   time.Duration
		remove func(context.Context, time.Time, int) (int, error)
	}{
		{"call", s.Calls, s.Store.ForgetCalls},
		{"room", s.Calls, s.Store.ForgetRooms},
		{"agent_call", s.Calls, s.Store.ForgetAgentCalls},
		{"callback", s.Journal, s.Store.ForgetJournal},
		{"audit", s.Audit, s.Store.ForgetAudit},
		{"sign_in", signIns, s.Store.ForgetSignIns},
	} {
		done = s.forget(ctx, kind.name, kind.keep, kind.remove) && done
	}
	if done && ctx.Err() == nil {
		s.Metrics.swept.Set(float64(s.Now().Unix()))
	}
}

// forget removes records of a kind, batch by batch, until none is too old. It reports
// whether that was reached.
func (s *Service) forget(ctx context.Context, kind string, keep time.Duration, remove func(context.Context, time.Time, int) (int, error)) bool {
	if keep <= 0 {
		return true
	}
	before := s.Now().Add(-keep)
	total := 0
	defer func() {
		if total > 0 {
			s.Log.Info("old records were removed", "kind", kind, "records", total, "before", before)
		}
	}()
	for ctx.Err() == nil {
		n, err := s.removeBatch(ctx, before, remove)
		if err != nil {
			if ctx.Err() == nil {
				s.Log.Error("old records could not be removed; tried again in an hour", "kind", kind, "error", err)
			}
			return false
		}
		if n == 0 {
			return true
		}
		total += n
		s.Metrics.removed.WithLabelValues(kind).Add(float64(n))
		wait(ctx, pause)
	}
	return false
}

func (s *Service) removeBatch(ctx context.Context, before time.Time, remove func(context.Context, time.Time, int) (int, error)) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, batchTimeout, errBatchTimeout)
	defer cancel()
	return remove(ctx, before, batch)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Metrics are those of the sweeps.
type Metrics struct {
	removed *prometheus.CounterVec
	swept   prometheus.Gauge
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_retention_removed_total", Help: "Records that were removed because they were old; kind is call, room, agent_call, callback, audit or sign_in.",
		}, []string{"kind"}),
		swept: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "planetbell_retention_swept_timestamp_seconds", Help: "When nothing too old was left for the last time; 0 since the start: not yet.",
		}),
	}
	if r != nil {
		r.MustRegister(m.removed, m.swept)
	}
	return m
}
