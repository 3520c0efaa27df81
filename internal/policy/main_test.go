package policy

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	acme = &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc"}
	// hookSecret carries a canary, so that a log or a metric that holds it is found.
	hookSecret = planet.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(testlog.TextSecret("hook-secret-of-the-tests"))))
	errDisk    = bell.E(bell.Unavailable, "The disk is gone.", nil)
)

// hookURL carries a canary too: it is never logged.
var hookURL = "https://hook.example.com/" + testlog.TextSecret("path")

func callOf(caller string) bell.Call {
	return bell.Call{
		Environment: planet.Evaluation, SessionID: "s1", Type: planet.VideoCall,
		Caller: planet.UserRef{ServiceID: "svc", UserID: caller}, Callee: planet.UserRef{ServiceID: "svc", UserID: "bob"},
	}
}

// fakeStore answers looks.
type fakeStore struct {
	Store // panics on what the tests do not expect
	mu    sync.Mutex
	facts Facts
	err   error
	hangs chan struct{} // until closed, whatever the context says
	asked []Question
}

func (s *fakeStore) Look(_ context.Context, q Question) (Facts, error) {
	s.mu.Lock()
	s.asked = append(s.asked, q)
	facts, err, hangs := s.facts, s.err, s.hangs
	s.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	if !q.Rules {
		facts.Blocked, facts.DoNotDisturb = false, DoNotDisturb{}
	}
	if !q.Name {
		facts.CallerName = ""
	}
	return facts, err
}

// customer is the customer's endpoint. Its fields are set before it is asked.
type customer struct {
	mu      sync.Mutex
	status  int
	header  http.Header
	body    string
	err     error
	delay   time.Duration
	hangs   bool // until the request is given up
	asked   []asked
	under   int
	atOnce  int
	release chan struct{} // if set, answers wait for it
}

type asked struct {
	header http.Header
	body   string
}

func (c *customer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.asked = append(c.asked, asked{r.Header, string(body)})
	c.under++
	c.atOnce = max(c.atOnce, c.under)
	status, header, answer, fails, delay, hangs, release := c.status, c.header, c.body, c.err, c.delay, c.hangs, c.release
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.under--
		c.mu.Unlock()
	}()
	if hangs {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	if release != nil {
		<-release
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if fails != nil {
		return nil, fails
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func (c *customer) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

func (c *customer) set(change func(*customer)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// desk is a service with a store and a customer.
type desk struct {
	*Service
	t        *testing.T
	store    *fakeStore
	customer *customer
	registry *prometheus.Registry
}

// open makes a desk for a project with these settings, whose hook is the customer if it has a
// time limit. Call it inside the bubble.
func open(t *testing.T, settings Settings) *desk {
	t.Helper()
	d := &desk{t: t, store: &fakeStore{}, customer: &customer{status: 200}, registry: prometheus.NewRegistry()}
	if settings.Hook.Timeout > 0 {
		settings.Hook.URL, settings.Hook.Secret = hookURL, hookSecret
	}
	s, err := New(Config{
		Store: d.store, Settings: map[string]Settings{"acme": settings}, Transport: d.customer,
		Log: testlog.New(t), Metrics: NewMetrics(d.registry),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Service = s
	t.Cleanup(s.Close)
	return d
}

var hooked = Settings{Hook: Hook{Timeout: 150 * time.Millisecond, CacheMax: time.Minute}}

func (d *desk) decide(caller string) bell.Decision {
	return d.Decide(d.t.Context(), acme, callOf(caller))
}

// results are how often the hook's results were counted.
func (d *desk) results() map[string]int {
	d.t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" {
					got[l.GetValue()] = int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return got
}

var errRefused = errors.New("connection refused by " + hookURL)
