package bustest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/testlog"
)

// patience is how long a test waits for what must happen. It is far more than it takes.
const patience = time.Minute

// Member is a node of a test: a bus that runs, and what its handler was given.
type Member struct {
	bus.Bus
	Name     string
	registry *prometheus.Registry
	stop     func()

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something was heard
	hints   map[cluster.Hint]int
	gaps    int
	hold    chan struct{} // the handler waits until it is closed
	held    bool          // it does
}

// Start joins the network through addr and runs until the test is over.
func Start(tb testing.TB, f Form, name, addr string) *Member {
	tb.Helper()
	m := &Member{Name: name, registry: prometheus.NewRegistry(), changed: make(chan struct{}), hints: make(map[cluster.Hint]int)}
	m.hold = make(chan struct{})
	close(m.hold)
	m.Bus = f.Join(tb, bus.Config{Name: name, Metrics: bus.NewMetrics(m.registry), Log: testlog.New(tb).With("node", name)}, addr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx, bus.Handler{Hints: m.heard, Gap: m.gap})
	}()
	m.stop = func() {
		m.Release()
		cancel()
		<-done
	}
	tb.Cleanup(m.stop)
	return m
}

// Stop ends the node and waits for its end.
func (m *Member) Stop() { m.stop() }

func (m *Member) heard(hints []cluster.Hint) {
	m.wait()
	m.note(func() {
		for _, h := range hints {
			m.hints[h]++
		}
	})
}

func (m *Member) gap() {
	m.wait()
	m.note(func() { m.gaps++ })
}

func (m *Member) note(what func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	what()
	close(m.changed)
	m.changed = make(chan struct{})
}

// wait is the handler's while the test holds it.
func (m *Member) wait() {
	m.mu.Lock()
	hold := m.hold
	m.mu.Unlock()
	select {
	case <-hold:
	default:
		m.note(func() { m.held = true })
		<-hold
	}
}

// Hold makes the handler wait at its next call.
func (m *Member) Hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold, m.held = make(chan struct{}), false
}

// Release ends Hold.
func (m *Member) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.hold:
	default:
		close(m.hold)
	}
}

// Heard returns how often the hint came.
func (m *Member) Heard(h cluster.Hint) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hints[h]
}

// Different returns how many different hints came.
func (m *Member) Different() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hints)
}

// Gaps returns how often the handler was told that hints may be missing.
func (m *Member) Gaps() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gaps
}

// Held reports whether the handler waits for Release.
func (m *Member) Held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// Metric returns the sum of a metric over its labels.
func (m *Member) Metric(tb testing.TB, name string) (sum float64) {
	tb.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, metric := range f.GetMetric() {
			sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
		return sum
	}
	tb.Fatalf("there is no metric %s", name)
	return 0
}

// Until waits until the condition holds; it is asked when something was heard, and now and
// then.
func (m *Member) Until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-late.C:
			tb.Fatalf("%s: not so after %s: %s; %d different hints, %d gaps, %+v", m.Name, patience, what, m.Different(), m.Gaps(), m.State())
		}
	}
}
