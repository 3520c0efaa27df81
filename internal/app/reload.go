package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/config"
)

const (
	// lookAtCredentials is how often the files of push credentials are looked at.
	lookAtCredentials = 30 * time.Second
	// retireAfter is how long a replaced client may finish what is under way: more than an
	// attempt of any provider takes.
	retireAfter = 15 * time.Second
	// readyWithin bounds the question whether a client that has long been running is ready.
	readyWithin = time.Second
)

// credential is one push credential that can be replaced while the server runs.
type credential interface {
	// Name is the operator's, for logs and metrics.
	Name() string
	// Adopt takes over the credential's settings of a configuration that was read anew.
	Adopt(cfg *config.Config)
	// Read reads the credential's files and returns a fingerprint of what they hold.
	Read() (fingerprint, error)
	// Build makes clients of what was read last.
	Build() (*replacement, error)
}

type fingerprint [sha256.Size]byte

// replacement is new clients that are not in use yet.
type replacement struct {
	clients []*lease
	old     []*lease
	// take leads the relays to the new clients and puts what changed into projects. The
	// senders' mutex is held.
	take func(projects map[string]projectSenders)
}

func (r *replacement) close() {
	for _, c := range r.clients {
		c.Close()
	}
}

// watched is a credential and what is known of its files.
type watched struct {
	credential
	inUse   fingerprint
	refused fingerprint // content that cannot work, and is not tried again
	said    string      // the last complaint, which is not repeated
}

// errNotReady is why a replacement is tried again: the credential may be good.
var errNotReady = errors.New("the provider takes no connection, or gives no access token, with the new credential, but does with the old")

func newReloads(r prometheus.Registerer) *prometheus.CounterVec {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "planetbell_credential_reloads_total",
		Help: "Push credentials that changed while the server ran: replaced, or failed (the old one stays in use).",
	}, []string{"credential", "result"})
	r.MustRegister(reloads)
	return reloads
}

// watch registers a credential to be looked at.
func (s *senders) watch(c credential) {
	w := &watched{credential: c}
	w.inUse, _ = c.Read() // what cannot be read now is told at the first look
	s.watched = append(s.watched, w)
	for _, result := range []string{"replaced", "failed"} {
		s.reloads.WithLabelValues(c.Name(), result) // at 0: an alert sees no increase in a series that begins with 1
	}
}

// Reload takes over the push credentials of a configuration that was read anew, as soon as
// Watch comes to it. Other settings need a restart.
func (s *senders) Reload(cfg config.Config) {
	select {
	case <-s.reread: // an older one that nobody took
	default:
	}
	s.reread <- cfg
}

// Watch looks at the files of push credentials every now and then, and takes up those that
// changed, until ctx ends. One that cannot be used leaves the old in use.
func (s *senders) Watch(ctx context.Context) {
	look := time.NewTicker(lookAtCredentials)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case cfg := <-s.reread:
			for _, w := range s.watched {
				w.Adopt(&cfg)
			}
		}
		var group sync.WaitGroup
		for _, w := range s.watched {
			group.Go(func() { s.look(ctx, w) })
		}
		group.Wait()
	}
}

// look takes up a credential if it changed.
func (s *senders) look(ctx context.Context, w *watched) {
	found, err := w.Read()
	switch {
	case err == nil && found == w.inUse:
		w.said = ""
		return
	case err == nil && found == w.refused:
		return
	case err == nil:
		err = s.replace(ctx, w)
	}
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		w.inUse, w.said = found, ""
		s.reloads.WithLabelValues(w.Name(), "replaced").Inc()
		s.log.Info("a changed push credential is in use", "credential", w.Name())
		return
	case !errors.Is(err, errNotReady):
		w.refused = found
	}
	if text := err.Error(); text != w.said {
		w.said = text
		s.reloads.WithLabelValues(w.Name(), "failed").Inc()
		s.log.Error("a changed push credential cannot be used; the old one stays until it can", "credential", w.Name(), "error", err)
	}
}

// replace puts new clients in the place of a credential's old ones. It fails when the new
// credential cannot work, or with errNotReady.
func (s *senders) replace(ctx context.Context, w *watched) error {
	r, err := w.Build()
	if err != nil {
		return err
	}
	warming, cancel := context.WithTimeoutCause(ctx, warmTimeout, errors.New("the push provider did not answer in time"))
	defer cancel()
	ready, reason := readyOf(warming, r.clients)
	asking, stop := context.WithTimeout(ctx, readyWithin)
	defer stop()
	if before, _ := readyOf(asking, r.old); ready < before || ctx.Err() != nil {
		r.close()
		return fmt.Errorf("%w: %w", errNotReady, reason)
	}
	s.mu.Lock()
	projects := maps.Clone(s.projects)
	r.take(projects)
	s.projects = projects
	s.clients = append(s.clients, r.clients...)
	s.mu.Unlock()
	s.retire(ctx, r.old)
	return nil
}

// readyOf returns how many clients are ready, and why the others are not.
func readyOf(ctx context.Context, clients []*lease) (ready int, reason error) {
	errs := make([]error, len(clients))
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() { errs[i] = c.Warm(ctx) })
	}
	group.Wait()
	for _, err := range errs {
		if err == nil {
			ready++
		}
	}
	return ready, errors.Join(errs...)
}

// retire closes clients that no relay leads to any more, once what is under way on them has
// ended, or after retireAfter. If ctx ends before, that is left to Close.
func (s *senders) retire(ctx context.Context, old []*lease) {
	for _, l := range old {
		idle := make(chan struct{})
		s.behind.Go(func() {
			l.busy.Wait()
			close(idle)
		})
		s.behind.Go(func() {
			bound := time.NewTimer(retireAfter)
			defer bound.Stop()
			select {
			case <-idle:
			case <-bound.C:
			case <-ctx.Done():
				return
			}
			s.mu.Lock()
			s.clients = slices.DeleteFunc(s.clients, func(c *lease) bool { return c == l })
			s.mu.Unlock()
			l.Close()
		})
	}
}
