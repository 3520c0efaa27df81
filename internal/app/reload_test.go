package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
)

// paper is a credential whose file and provider are variables.
type paper struct {
	senders *senders
	relay   *relay

	mu      sync.Mutex // guards what follows
	content string
	missing bool
	broken  bool // the content cannot be used
	refused bool // the provider takes no connection with it
	builds  int
}

// set changes what is to be found.
func (p *paper) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *paper) Name() string { return "paper" }

func (p *paper) Adopt(cfg *config.Config) { p.set(func() { p.content = cfg.DataDir }) }

func (p *paper) Read() (fingerprint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missing {
		return fingerprint{}, errors.New("there is no such file")
	}
	return sha256.Sum256([]byte(p.content)), nil
}

func (p *paper) Build() (*replacement, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.builds++
	if p.broken {
		return nil, errors.New("this is no key")
	}
	next := &desk{name: p.content, refuses: p.refused}
	l := &lease{client: next}
	return &replacement{clients: []*lease{l}, old: []*lease{p.relay.lease}, take: func(map[string]projectSenders) {
		p.relay.sender, p.relay.lease = next, l
	}}, nil
}

// desk is a client that is ready, or not, and a sender that takes as long as it is told.
type desk struct {
	name string

	mu      sync.Mutex // guards what follows
	refuses bool
	takes   time.Duration
	closed  int
}

func (d *desk) Warm(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuses {
		return errors.New("refused")
	}
	return nil
}

func (d *desk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
}

func (d *desk) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed > 0
}

func (d *desk) Send(context.Context, *bell.Ring, delivery.Try) bell.Outcome {
	d.mu.Lock()
	takes := d.takes
	d.mu.Unlock()
	<-time.After(takes)
	return bell.Outcome{Verdict: bell.Accepted, ProviderID: d.name}
}

// newPaper is a credential in use, of content "old", and the senders that watch it.
func newPaper(t *testing.T, logs *bytes.Buffer) (*paper, *desk) {
	t.Helper()
	s := &senders{log: logInto(t, logs), reread: make(chan config.Config, 1), reloads: newReloads(prometheus.NewRegistry())}
	first := &desk{name: "old"}
	p := &paper{senders: s, content: "old", relay: &relay{mu: &s.mu, sender: first}}
	p.relay.lease = &lease{client: first}
	s.clients = []*lease{p.relay.lease}
	s.watch(p)
	return p, first
}

// run watches until the test ends it.
func (p *paper) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { p.senders.Watch(ctx) })
	return func() {
		cancel()
		group.Wait()
		p.senders.Close()
	}
}

// via says through which client an attempt goes now.
func (p *paper) via() string {
	return p.relay.Send(context.Background(), nil, delivery.Try{}).ProviderID
}

func (p *paper) counted(result string) int {
	return int(testutil.ToFloat64(p.senders.reloads.WithLabelValues("paper", result)))
}

// TestACredentialIsTakenUp: within half a minute of the change, and only then.
func TestACredentialIsTakenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, first := newPaper(t, new(bytes.Buffer))
		defer p.run(t)()
		<-time.After(10 * lookAtCredentials)
		if p.builds != 0 || p.via() != "old" {
			t.Errorf("a credential that did not change was built anew %d times", p.builds)
		}
		p.set(func() { p.content = "new" })
		<-time.After(lookAtCredentials)
		synctest.Wait()
		if p.via() != "new" || !first.isClosed() || p.counted("replaced") != 1 {
			t.Errorf("attempts go through %q, the old client is closed: %v", p.via(), first.isClosed())
		}
		p.set(func() { p.content = "newer" })
		for range 3 { // at once, and without waiting for Watch
			p.senders.Reload(config.Config{DataDir: "newest"})
		}
		synctest.Wait()
		if p.via() != "newest" || p.counted("replaced") != 2 || p.counted("failed") != 0 {
			t.Errorf("after Reload attempts go through %q, %d were replaced", p.via(), p.counted("replaced"))
		}
		if n := len(p.senders.clients); n != 1 {
			t.Errorf("%d clients are kept, want 1", n)
		}
	})
}

// TestABrokenCredentialLeavesTheOldInUse, and is said once, not with every look.
func TestABrokenCredentialLeavesTheOldInUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(p *paper, yes bool)
		builds int // in ten looks
		says   string
	}{
		"no file":       {func(p *paper, yes bool) { p.missing = yes }, 0, "no such file"},
		"no key":        {func(p *paper, yes bool) { p.broken, p.content = yes, "x" }, 1, "no key"},
		"no connection": {func(p *paper, yes bool) { p.refused, p.content = yes, "x" }, 10, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				logs := new(bytes.Buffer)
				p, first := newPaper(t, logs)
				stop := p.run(t)
				p.set(func() { c.spoil(p, true) })
				<-time.After(10 * lookAtCredentials)
				synctest.Wait()
				if p.via() != "old" || first.isClosed() || p.counted("replaced") != 0 {
					t.Errorf("attempts go through %q, the old client is closed: %v", p.via(), first.isClosed())
				}
				if p.builds != c.builds || p.counted("failed") != 1 || len(p.senders.clients) != 1 {
					t.Errorf("built %d times, want %d; %d failures counted, want 1; %d clients", p.builds, c.builds, p.counted("failed"), len(p.senders.clients))
				}
				p.set(func() {
					c.spoil(p, false)
					p.content = "mended"
				})
				<-time.After(lookAtCredentials)
				synctest.Wait()
				if p.via() != "mended" || p.counted("replaced") != 1 {
					t.Errorf("after it was mended attempts go through %q", p.via())
				}
				stop()
				if n := strings.Count(logs.String(), "cannot be used"); n != 1 || !strings.Contains(logs.String(), c.says) {
					t.Errorf("said %d times:\n%s", n, logs.String())
				}
			})
		})
	}
}

// TestNothingToLose: when the old credential does not work either, a new one is taken
// although nobody can say yet whether it does.
func TestNothingToLose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, first := newPaper(t, new(bytes.Buffer))
		first.refuses = true
		defer p.run(t)()
		p.set(func() { p.refused, p.content = true, "new" })
		<-time.After(lookAtCredentials)
		synctest.Wait()
		if p.via() != "new" {
			t.Error("a new credential waits for an old one that does not work")
		}
	})
}

// TestARetiredClientFinishes: what is under way goes on with the old credential, for as
// long as an attempt may take; what comes next has the new one.
func TestARetiredClientFinishes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes, closed time.Duration
	}{
		"in time": {8 * time.Second, 8 * time.Second},
		"stuck":   {time.Hour, retireAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, first := newPaper(t, new(bytes.Buffer))
				first.takes = c.takes
				stop := p.run(t)
				var group sync.WaitGroup
				group.Go(func() {
					if via := p.via(); via != "old" {
						t.Errorf("an attempt under way ended through %q", via)
					}
				})
				synctest.Wait()
				p.senders.Reload(config.Config{DataDir: "new"})
				synctest.Wait()
				if p.via() != "new" || first.isClosed() {
					t.Errorf("attempts go through %q, the old client is closed: %v", p.via(), first.isClosed())
				}
				<-time.After(c.closed - time.Second)
				if first.isClosed() {
					t.Error("the old client was closed while it was in use")
				}
				<-time.After(time.Second)
				synctest.Wait()
				if !first.isClosed() {
					t.Error("the old client was not closed")
				}
				group.Wait()
				stop()
			})
		})
	}
}

// TestStopWhileRetiring: a stop closes what is still being retired.
func TestStopWhileRetiring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, first := newPaper(t, new(bytes.Buffer))
		first.takes = time.Second
		stop := p.run(t)
		var group sync.WaitGroup
		group.Go(func() { p.via() })
		synctest.Wait()
		p.senders.Reload(config.Config{DataDir: "new"})
		synctest.Wait()
		stop()
		if !first.isClosed() {
			t.Error("a client that was being retired was left open")
		}
		group.Wait()
	})
}
