package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
)

// Defaults of Config.
const (
	DefaultConcurrency = 16
	DefaultKeep        = 72 * time.Hour
	DefaultMaxOpen     = 200_000
	DefaultMaxDead     = 50_000
	DefaultPoll        = 250 * time.Millisecond
)

const (
	// What is done seldom, counted in Polls: the gauges are at most 15 seconds old, and every
	// minute the bounds are kept.
	pollsPerLook  = 60
	looksPerSweep = 4
	// idlePolls is by how much all is done more seldom while there is no endpoint: then there
	// is only what an earlier configuration left.
	idlePolls = 60
	// spreadBatch and sweepBatch bound one transaction, because calls wait for it.
	spreadBatch = 100
	sweepBatch  = 250
	// storePerSecond bounds how often each loop asks the database for work.
	storePerSecond = 20
	// leaseTime is longer than a try can take: two POSTs, and recording what came of them.
	leaseTime    = 2*postTimeout + 2*storeTimeout
	storeTimeout = 10 * time.Second
	// deadFor is how long a dead letter is kept.
	deadFor = 30 * 24 * time.Hour
	// maxGrace is how long what is under way may take when the process stops.
	maxGrace = 2 * time.Second
)

var errStoreTimeout = errors.New("the database took too long")

// Config is what a Worker is made of. Store, Transport and Owner are needed.
type Config struct {
	Store     Store
	Endpoints []*Endpoint
	Transport http.RoundTripper // see NewTransport
	Owner     string            // of leases; another one for each process
	Alone     bool              // no other process uses the store: leases of others are nobody's

	Poll        time.Duration    // how late a new event is seen, at most; all else that is done in turns follows from it; DefaultPoll if 0
	Concurrency int              // tries at once for each endpoint; DefaultConcurrency if 0
	Keep        time.Duration    // of what was told; DefaultKeep if 0
	MaxOpen     int              // DefaultMaxOpen if 0
	MaxDead     int              // DefaultMaxDead if 0
	Now         func() time.Time // time.Now if nil
	Log         *slog.Logger     // none if nil
	Metrics     *Metrics         // not registered if nil
	// Traceparent is the W3C header that events of a subject have; empty: none. nil: none has one.
	Traceparent func(subject string) string
}

// Worker tells events. It is safe for concurrent use. Run must run for it to do anything.
type Worker struct {
	Config
	poster    *poster
	lines     []*line
	byProject map[string][]*line
	byID      map[string]*line
	troubles  rate.Sometimes // of log lines
}

// line is the way to one endpoint.
type line struct {
	*Endpoint
	id     string
	gate   *gate
	wake   chan struct{}  // there may be something to claim
	limit  *rate.Limiter  // of claims
	deaths rate.Sometimes // of log lines
}

func (l *line) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // is awake
	}
}

// New makes a Worker.
func New(c Config) *Worker {
	if c.Poll == 0 {
		c.Poll = DefaultPoll
	}
	if len(c.Endpoints) == 0 {
		c.Poll *= idlePolls
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Keep == 0 {
		c.Keep = DefaultKeep
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = DefaultMaxOpen
	}
	if c.MaxDead == 0 {
		c.MaxDead = DefaultMaxDead
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	w := &Worker{Config: c, poster: newPoster(c.Transport, c.Now), byProject: map[string][]*line{}, byID: map[string]*line{}, troubles: rate.Sometimes{Interval: time.Minute}}
	for _, e := range c.Endpoints {
		l := &line{
			Endpoint: e, id: e.ID(), wake: make(chan struct{}, 1), limit: rate.NewLimiter(storePerSecond, storePerSecond),
			gate: &gate{limit: c.Concurrency, fallback: e.Fallback != ""}, deaths: rate.Sometimes{Interval: time.Minute},
		}
		w.lines = append(w.lines, l)
		w.byID[l.id] = l
		w.byProject[e.Project] = append(w.byProject[e.Project], l)
	}
	return w
}

// wanting names the endpoints that want an event.
func (w *Worker) wanting(project string, t bell.EventType) []string {
	var ids []string
	for _, l := range w.byProject[project] {
		if t == bell.EventTest || l.Types.Has(t) {
			ids = append(ids, l.id)
		}
	}
	return ids
}

// Run tells events until ctx ends; then it gives what is under way a moment to end. Without
// endpoints it only clears away what an earlier configuration left. It must run once.
func (w *Worker) Run(ctx context.Context) {
	requests, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	w.start(ctx)
	var loops, tries sync.WaitGroup
	loops.Go(func() { w.spread(ctx) })
	loops.Go(func() { w.sweep(ctx) })
	for _, l := range w.lines {
		loops.Go(func() { w.serve(ctx, requests, l, &tries) })
	}
	loops.Wait() // and so no further try begins
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tries.Wait()
	}()
	grace := time.NewTimer(maxGrace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
		stop()
		<-ended
	}
	w.poster.client.CloseIdleConnections()
}

// start puts in order what an earlier process left.
func (w *Worker) start(ctx context.Context) {
	if w.Alone {
		err := w.store(ctx, func(ctx context.Context) error {
			_, err := w.Store.FreeTellings(ctx, w.Owner, w.Now())
			return err
		})
		w.note(err) // what it could not free is free when the leases have run out
	}
	w.refreshGone(ctx)
}

// store bounds the time of a question to the database.
func (w *Worker) store(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storeTimeout, errStoreTimeout)
	defer cancel()
	return ask(ctx)
}

// spread gives new events to the endpoints that want them.
func (w *Worker) spread(ctx context.Context) {
	limit := rate.NewLimiter(storePerSecond, 1)
	ticker := time.NewTicker(w.Poll)
	defer ticker.Stop()
	for {
		n := 0
		err := w.store(ctx, func(ctx context.Context) (err error) {
			n, err = w.Store.SpreadEvents(ctx, w.Now(), spreadBatch, w.wanting)
			return err
		})
		w.note(err)
		if n > 0 {
			for _, l := range w.lines {
				l.nudge()
			}
		}
		if n == spreadBatch {
			if limit.Wait(ctx) != nil {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// serve tells one endpoint what is due.
func (w *Worker) serve(ctx, requests context.Context, l *line, tries *sync.WaitGroup) {
	ticker := time.NewTicker(4 * w.Poll)
	defer ticker.Stop()
	for {
		if room := l.gate.room(w.Now()); room > 0 {
			if l.limit.Wait(ctx) != nil {
				return
			}
			for _, t := range w.claim(ctx, l, room) {
				l.gate.begin()
				tries.Go(func() {
					defer l.nudge()
					defer l.gate.end()
					w.tell(requests, l, t)
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.wake:
		}
	}
}

// claim leases what is due. One that is under way at a stop is waited for, if it does not take
// long: a database may carry out what its caller has left, and what is leased then by a process
// that does not know of it waits until the lease has run out, with all that is behind it.
func (w *Worker) claim(ctx context.Context, l *line, room int) []Telling {
	if ctx.Err() != nil {
		return nil
	}
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(maxGrace, cancel) })()
	var claimed []Telling
	now := w.Now()
	err := w.store(within, func(ctx context.Context) (err error) {
		claimed, err = w.Store.ClaimTellings(ctx, Claim{
			Endpoint: l.id, Owner: w.Owner, Now: now, LeaseUntil: now.Add(leaseTime), Limit: room,
		})
		return err
	})
	w.note(err)
	return claimed
}

// note tells of a store in trouble, but not all the time.
func (w *Worker) note(err error) {
	if err == nil || errors.Is(err, context.Canceled) || len(w.lines) == 0 {
		return // all is well, or we stop, or nobody waits for events
	}
	w.troubles.Do(func() {
		w.Log.Error("the database does not take part in telling events; they wait until it does", "error", err)
	})
}
