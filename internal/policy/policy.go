// Package policy says before a call rings whether it may, and what the callee is shown of
// the caller. There are three sources: the callee's own rules (a block list and
// do-not-disturb), the caller's registered name, and the customer's own endpoint, the policy
// hook. LINE Planet knows nothing of them (docs/line-planet.md 11 no. 37).
//
// One rule stands above all: whenever a source cannot say, or not in time, the call rings. A
// call that rings in vain is a nuisance, one that does not ring is lost.
package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// lookBudget is how long a call waits for the database: less than it waits for its
	// devices, which are read meanwhile, so that a sick disk costs no time of its own.
	lookBudget = 200 * time.Millisecond
	// nameLife is how long a caller's name is remembered, and so how late a new name shows.
	nameLife = time.Minute
	// namesKept is how many: some 3 MB.
	namesKept = 10_000
)

var errLookSlow = errors.New("the database took longer than a call waits for its callee's rules")

// Settings is what a project wants to be asked.
type Settings struct {
	Rules bool // the callee's block list and do-not-disturb
	Names bool // the caller's registered name is shown
	Hook  Hook // the customer's endpoint; the zero value: none
}

func (s *Settings) any() bool { return s.Rules || s.Names || s.Hook.URL != "" }

// Config is what a Service is made of. Store is needed.
type Config struct {
	Store     Store
	Settings  map[string]Settings // by project name
	RootCAs   *x509.CertPool      // that hooks' certificates are checked against; the system's if nil
	Transport http.RoundTripper   // to the hooks; one of its own for each if nil
	Now       func() time.Time    // time.Now if nil
	Log       *slog.Logger        // none if nil
	Metrics   *Metrics            // not registered if nil
	// Traceparent is the W3C header that a call's question has; empty: none. nil: none has one.
	Traceparent func(environment planet.Environment, sid planet.SessionID) string
}

// Service decides. It is safe for concurrent use. Close it.
type Service struct {
	store    Store
	settings map[string]Settings
	hooks    map[string]*hook // by project name
	names    *cache[bell.Owner, string]
	now      func() time.Time
	metrics  *Metrics

	stop context.CancelFunc
	work sync.WaitGroup // what is not waited for by the call that began it
}

// New makes a Service. It fails when a hook's secret is not one.
func New(c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{
		store: c.Store, settings: c.Settings, hooks: map[string]*hook{}, names: newCache[bell.Owner, string](namesKept),
		now: c.Now, metrics: c.Metrics, stop: stop,
	}
	for name, settings := range c.Settings {
		if settings.Hook.URL == "" {
			continue
		}
		h, err := newHook(ctx, &c, name, settings.Hook, &s.work)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.hooks[name] = h
	}
	return s, nil
}

// Needed reports whether any project wants anything to be asked. If not, calls need not
// come here at all.
func (s *Service) Needed() bool {
	for _, settings := range s.settings {
		if settings.any() {
			return true
		}
	}
	return false
}

// Close ends what is under way and waits for it. A database that hangs is waited for.
func (s *Service) Close() {
	s.stop()
	s.work.Wait()
	for _, h := range s.hooks {
		h.close()
	}
}

// Decide says what is to be done about a call for a user of the project. It returns within
// lookBudget and the hook's time limit together, and soon after ctx ends. c holds no
// cc_param. The callee's own rules come first: whom they keep away, the hook is not asked
// about; nor is it about invitations, for which it was not made.
func (s *Service) Decide(ctx context.Context, project *bell.Project, c bell.Call) bell.Decision {
	settings := s.settings[project.Name]
	facts := s.look(ctx, settings, &c)
	switch {
	case facts.Blocked:
		return bell.Decision{Suppress: bell.SuppressBlocked}
	case facts.DoNotDisturb.Holds(s.now()):
		return bell.Decision{Suppress: bell.SuppressDoNotDisturb}
	}
	d := bell.Decision{CallerName: facts.CallerName}
	if h := s.hooks[project.Name]; h != nil && c.Purpose == bell.PurposeCall {
		said := h.ask(ctx, &c)
		d.Suppress, d.AppFields = said.Suppress, said.AppFields
		if said.CallerName != "" {
			d.CallerName = said.CallerName
		}
	}
	return d
}

// look reads what the database knows for a call. What it cannot say in time is not so.
func (s *Service) look(ctx context.Context, settings Settings, c *bell.Call) Facts {
	q := Question{Callee: c.CalleeOwner(), Caller: c.Caller, Rules: settings.Rules, Name: settings.Names}
	caller := bell.Owner{Environment: c.Environment, User: c.Caller}
	name, known := "", false
	if q.Name {
		name, known = s.names.get(caller, s.now())
		q.Name = !known
	}
	if !q.Rules && !q.Name {
		return Facts{CallerName: name}
	}
	facts, err := s.read(ctx, q)
	if err != nil {
		s.metrics.unread.Inc() // package call says what is wrong with the database
		return Facts{CallerName: name}
	}
	if known {
		facts.CallerName = name
		return facts
	}
	if q.Name {
		facts.CallerName = bell.CleanName(facts.CallerName)
		s.names.put(caller, facts.CallerName, s.now().Add(nameLife))
	}
	return facts
}

// read reads within the budget. A disk that hangs is not interrupted by the end of a
// context, so the read is left behind then.
func (s *Service) read(ctx context.Context, q Question) (Facts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookBudget, errLookSlow)
	defer cancel()
	type answer struct {
		facts Facts
		err   error
	}
	answered := make(chan answer, 1)
	s.work.Go(func() {
		facts, err := s.store.Look(ctx, q)
		answered <- answer{facts, err}
	})
	select {
	case a := <-answered:
		return a.facts, a.err
	case <-ctx.Done():
		return Facts{}, context.Cause(ctx)
	}
}
