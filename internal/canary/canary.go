// Package canary calls a pretend user every few minutes, by the whole way that real calls go:
// a client signs up and polls at the public listener, Notify comes by the callback URL, through
// whatever stands in front of the server, and the client must be handed the call, with its
// cc_param unchanged. What fails is found before a customer's call does.
//
// It speaks HTTP only, as Planet Cloud and an app do, and knows nothing of the rest of the
// server. Start with [New]; [Service.Run] calls until its context ends.
package canary

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/planet"
)

// Canary is one synthetic call that is made again and again.
type Canary struct {
	Name   string // label of metrics
	Caller planet.UserRef
	// Callee is signed up; nobody else may use this user ID.
	Callee planet.UserRef
	// ClientKey is what apps of the project send as apiKey.
	ClientKey planet.Secret
	// CallbackURL is that of the project with its secret and without what follows:
	// https://calls.example.com/cb/<secret>.
	CallbackURL planet.Secret
	Every       time.Duration // from the begin of one call to that of the next
	Timeout     time.Duration // of one call with all that belongs to it; less than Every
	// Known returns an app token of the callee, by which the user ID is had again after a restart
	// though an earlier registration has not ended. nil: none is shown.
	Known func() (planet.Secret, error)
}

// Config is what a Service is made of.
type Config struct {
	Canaries []Canary
	// APIURL is where clients reach this process: https://127.0.0.1:8080.
	APIURL string
	// Clients and Callbacks make the requests of the app, and those of Planet Cloud. They must not
	// follow redirects, nor keep connections: each call is to find a listener that is dead.
	Clients, Callbacks http.RoundTripper
	Log                *slog.Logger
	Metrics            *Metrics
}

// The hops of a canary's call, in their order: what failed, in the log and in metrics.
const (
	hopSignUp    = "register_user"
	hopToken     = "update_notification_token"
	hopNotify    = "notify"
	hopPoll      = "poll"
	hopCCParam   = "cc_param"
	hopReceipt   = "receipt"
	hopCallEvent = "call_event"
	resultOK     = "ok"
)

// firstWithin is when, at most, the first call is made after the start.
const firstWithin = 10 * time.Second

// eventTime is what the Call Event has when a call has used up its time: it must be sent, or the
// call would ring on.
const eventTime = 5 * time.Second

// Service makes the calls.
type Service struct {
	callers []*caller
}

// New makes a Service. It starts nothing.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	s := &Service{}
	for _, canary := range c.Canaries {
		s.callers = append(s.callers, &caller{
			Canary: canary, log: c.Log.With("canary", canary.Name), metrics: c.Metrics.of(canary.Name, canary.Every),
			api: client{base: c.APIURL, transport: c.Clients}, callbacks: client{base: canary.CallbackURL.Reveal(), transport: c.Callbacks},
		})
	}
	return s
}

// Run calls until ctx ends, and returns when no call is under way.
func (s *Service) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, c := range s.callers {
		group.Go(func() { c.run(ctx) })
	}
	group.Wait()
}

// caller makes the calls of one canary, one after the other.
type caller struct {
	Canary
	log            *slog.Logger
	metrics        *canaryMetrics
	api, callbacks client
	token          planet.Secret // the callee's app token; empty before its first registration
	failing        bool
}

func (c *caller) run(ctx context.Context) {
	first := min(c.Every, firstWithin)
	timer := time.NewTimer(first/10 + mathrand.N(first-first/10))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(c.Every)
			c.once(ctx)
		}
	}
}

// call is one call of a canary.
type call struct {
	id      planet.SessionID
	param   planet.CCParam
	began   time.Time
	took    time.Duration // from Notify to the poll's answer
	noticed bool          // Notify was sent: the call must be ended
}

// failure says at which hop a call failed.
type failure struct {
	hop string
	err error
}

// Error returns a sentence without secrets.
func (f *failure) Error() string { return f.hop + ": " + f.err.Error() }

func failed(hop, format string, args ...any) *failure {
	return &failure{hop, fmt.Errorf(format, args...)}
}

// once makes one call and says what came of it.
func (c *caller) once(ctx context.Context) {
	begin := time.Now()
	one := newCall()
	problem := c.ring(ctx, one)
	if one.noticed {
		if p := c.end(ctx, one, problem == nil); problem == nil {
			problem = p
		}
	}
	switch {
	case ctx.Err() != nil: // the server stops, and that says nothing
	case problem != nil:
		c.failing = true
		c.metrics.failed(problem.hop)
		c.log.Warn("the canary's call failed", "hop", problem.hop, "sid", one.id, "error", problem.err, "took", time.Since(begin))
	default:
		c.metrics.rang(one.took, time.Now())
		level := slog.LevelDebug
		if c.failing {
			level = slog.LevelInfo
		}
		c.failing = false
		c.log.Log(ctx, level, "the canary's call rang", "sid", one.id, "ring", one.took, "took", time.Since(begin))
	}
}

// newCall makes a call with a random cc_param: base64 as LINE Planet's, always with '+' and '/',
// so that whoever mangles them is found out.
func newCall() *call {
	secret := make([]byte, 96)
	_, _ = rand.Read(secret) // never fails
	return &call{
		id:    planet.SessionID(uuid.NewString()),
		param: planet.CCParam("+/" + base64.StdEncoding.EncodeToString(secret)[2:]),
	}
}

// ring makes the callee's client ready, sends Notify, and waits until the client has the call.
func (c *caller) ring(ctx context.Context, one *call) *failure {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
	defer cancel()
	if problem := c.ready(ctx); problem != nil {
		return problem
	}
	polled := make(chan *failure, 1)
	got := make(chan time.Time, 1)
	polls, stopPolls := context.WithCancel(ctx)
	defer stopPolls()
	go func() { polled <- c.poll(polls, one, got) }()
	one.began, one.noticed = time.Now(), true
	if problem := c.notify(ctx, one); problem != nil {
		stopPolls()
		<-polled
		return problem
	}
	if problem := <-polled; problem != nil {
		return problem
	}
	one.took = (<-got).Sub(one.began)
	return c.receipt(ctx, one)
}
