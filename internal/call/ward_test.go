package call_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// fault is what a store does instead of its work.
type fault string

const (
	healthy   fault = ""
	refuses   fault = "refuses"    // at once, as when the disk is full
	hangs     fault = "hangs"      // until its caller has had enough; nothing is written
	undecided fault = "undecided"  // as hangs, but written all the same
	slow      fault = "slow"       // written in time, after a while
	overload  fault = "overloaded" // more is asked of it than it takes
	held      fault = "held"       // somebody has locked just what is to be written
)

var faults = []fault{refuses, hangs, undecided, slow, overload}

// patient is a store in bad health.
type patient struct {
	*fakeStore

	mu            sync.Mutex
	reads, writes fault
	well          chan struct{} // closed when it recovers
	secrets       []planet.CCParam
	stuck         planet.SessionID // a call that it cannot record, as long as it ails
}

// ail makes the store ill, or well.
func (p *patient) ail(reads, writes fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads, p.writes = reads, writes
	close(p.well)
	p.well = make(chan struct{})
}

func (p *patient) do(ctx context.Context, read bool, work func()) error {
	p.mu.Lock()
	f, well := p.writes, p.well
	if read {
		f = p.reads
	}
	p.mu.Unlock()
	trouble := bell.E(bell.Unavailable, "The disk is not well.", nil)
	switch f {
	case refuses:
		return trouble
	case held:
		return bell.E(bell.Overload, "Somebody holds it.", call.ErrHeld)
	case overload:
		return bell.E(bell.Overload, "Too many writes.", nil)
	case slow:
		<-time.After(300 * time.Millisecond)
	case hangs, undecided:
		select {
		case <-well:
		case <-ctx.Done():
			if f == undecided {
				work()
			}
			return trouble
		}
	}
	work()
	return nil
}

func (p *patient) DevicesOf(ctx context.Context, owner bell.Owner) (devices []bell.Device, err error) {
	if sick := p.do(ctx, true, func() { devices, err = p.fakeStore.DevicesOf(ctx, owner) }); sick != nil {
		return nil, sick
	}
	return devices, err
}

// BeginCall gives the deliveries up when nobody waits for it any more, as call.Store says.
func (p *patient) BeginCall(ctx context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (found call.BeginResult, err error) {
	p.mu.Lock()
	stuck := p.stuck == c.SessionID
	p.mu.Unlock()
	if stuck {
		return 0, bell.E(bell.Unavailable, "This row cannot be written.", nil)
	}
	sick := p.do(ctx, false, func() {
		p.mu.Lock()
		p.secrets = append(p.secrets, c.CCParam)
		p.mu.Unlock()
		found, err = p.fakeStore.BeginCall(ctx, c, deliveries, raw)
		if err != nil || found != call.Began || ctx.Err() == nil {
			return
		}
		p.fakeStore.mu.Lock()
		defer p.fakeStore.mu.Unlock()
		for _, d := range deliveries {
			d.LeaseOwner, d.LeaseUntil = "", time.Time{}
			p.deliveries[d.ID] = d
		}
	})
	if sick != nil {
		return 0, sick
	}
	return found, err
}

func (p *patient) EndCall(ctx context.Context, c bell.Call, entry bell.JournalEntry) (err error) {
	if sick := p.do(ctx, false, func() { err = p.fakeStore.EndCall(ctx, c, entry) }); sick != nil {
		return sick
	}
	return err
}

func (p *patient) AppendJournal(ctx context.Context, entry bell.JournalEntry) (err error) {
	if sick := p.do(ctx, false, func() { err = p.fakeStore.AppendJournal(ctx, entry) }); sick != nil {
		return sick
	}
	return err
}

func (p *patient) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) (err error) {
	if sick := p.do(ctx, false, func() { err = p.fakeStore.RecordAttempt(ctx, d, a) }); sick != nil {
		return sick
	}
	return err
}

func (p *patient) ClaimDeliveries(ctx context.Context, c delivery.Claim) (rings []bell.Ring, err error) {
	if sick := p.do(ctx, false, func() { rings, err = p.fakeStore.ClaimDeliveries(ctx, c) }); sick != nil {
		return nil, sick
	}
	return rings, err
}

func (p *patient) ExpireDeliveries(ctx context.Context, now time.Time) (n int, err error) {
	if sick := p.do(ctx, false, func() { n, err = p.fakeStore.ExpireDeliveries(ctx, now) }); sick != nil {
		return 0, sick
	}
	return n, err
}

// ledger stands between the engine and the store, as in package app.
type ledger struct {
	*patient
	calls *call.Service
}

func (l *ledger) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) error {
	return l.calls.RecordAttempt(ctx, d, a)
}

func (l *ledger) ClaimDeliveries(ctx context.Context, c delivery.Claim) ([]bell.Ring, error) {
	return l.calls.Claim(func() ([]bell.Ring, error) { return l.patient.ClaimDeliveries(ctx, c) })
}

// ward is a service over a store in bad health, with a real engine and devices that
// take every call.
type ward struct {
	*call.Service
	t        *testing.T
	acme     *bell.Project
	store    *patient
	engine   *delivery.Engine
	registry *prometheus.Registry
	told     bytes.Buffer // the log; read it when everything has stopped
	end      func()

	mu   sync.Mutex
	rung map[rungKey][]time.Time // when a device got a call
}

type rungKey struct {
	sid    planet.SessionID
	device string
}

// acceptAfter is how long a push takes, and takenAfter how long a call lies in a mailbox.
const (
	acceptAfter = 50 * time.Millisecond
	takenAfter  = 2 * time.Second
)

// admitTo makes a ward. bob has a phone "a" that gets pushes, and one, "b", that polls.
func admitTo(t *testing.T, change func(*call.Config)) *ward {
	t.Helper()
	x := newExchange(t, nil)
	w := &ward{
		t: t, acme: x.acme, registry: prometheus.NewRegistry(), rung: map[rungKey][]time.Time{},
		store: &patient{fakeStore: newStore(), well: make(chan struct{})},
	}
	w.store.devices[bob()] = []bell.Device{device("a", bell.FCM), device("b", bell.LongPoll)}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(&w.told, testlog.Writer(t)), nil))
	books := &ledger{patient: w.store}
	w.engine = delivery.New(delivery.Config{Store: books, Router: w, Owner: "this", Log: testlog.New(t)})
	c := call.Config{Store: w.store, Bells: w.engine, Projects: x.projects, Log: log, Metrics: call.NewMetrics(w.registry)}
	if change != nil {
		change(&c)
	}
	w.Service = call.New(c)
	books.calls = w.Service
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, run := range []func() error{
		func() error { return w.Run(ctx) },
		func() error { return w.engine.Run(ctx, true) },
	} {
		work.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	var once sync.Once
	w.end = func() {
		once.Do(func() {
			cancel()
			work.Wait()
			stop, done := context.WithTimeout(context.Background(), 20*time.Second)
			defer done()
			w.engine.Stop(stop)
			w.Stop(stop)
		})
	}
	t.Cleanup(w.end)
	return w
}

// Route makes the ward the only provider.
func (w *ward) Route(d *bell.Device) (delivery.Route, string) {
	return delivery.Route{Key: delivery.RouteKey{Channel: d.Channel}, Sender: w}, ""
}

// Send takes a push after a moment. A call for the polling phone is taken from its mailbox
// later, unless it has been withdrawn; ctx is that of the call then.
func (w *ward) Send(ctx context.Context, r *bell.Ring, _ delivery.Try) bell.Outcome {
	select {
	case <-ctx.Done():
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "interrupted", Token: bell.TokenKeep}
	case <-time.After(acceptAfter):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := rungKey{r.Call.SessionID, r.Device.ID}
	w.rung[key] = append(w.rung[key], time.Now())
	if r.Call.CCParam == "" {
		w.t.Errorf("%v rang without cc_param", key)
	}
	if r.Device.Channel == bell.LongPoll {
		ring := *r
		time.AfterFunc(takenAfter, func() { w.engine.Taken(ring, time.Now()) })
		return bell.Outcome{Verdict: bell.Deposited, Reason: "mailbox", Token: bell.TokenKeep}
	}
	return bell.Outcome{Verdict: bell.Accepted, Reason: "accepted", Token: bell.TokenKeep}
}

// times is how often a device got a call.
func (w *ward) times(sid planet.SessionID, device string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rung[rungKey{sid, device}])
}

func (w *ward) wantRung(sid planet.SessionID, times int) {
	w.t.Helper()
	for _, device := range []string{"a", "b"} {
		if n := w.times(sid, device); n != times {
			w.t.Errorf("%s got call %s %d times, want %d", device, sid, n, times)
		}
	}
}

// wantRecord says that the store holds a call, with each delivery in this state.
func (w *ward) wantRecord(sid planet.SessionID, state bell.CallState, deliveries bell.DeliveryState) {
	w.t.Helper()
	w.store.fakeStore.mu.Lock()
	defer w.store.fakeStore.mu.Unlock()
	c, ok := w.store.calls[callKey{planet.Evaluation, sid}]
	if !ok || c.State != state || c.NotifiedAt.IsZero() {
		w.t.Errorf("call %s: recorded %v, state %q; want %q", sid, ok, c.State, state)
	}
	n := 0
	for id, d := range w.store.deliveries {
		if d.SessionID != sid {
			continue
		}
		n++
		if d.State != deliveries || deliveries == bell.DeliveryAccepted && !w.store.attempts[id][1] {
			w.t.Errorf("%s of call %s: %q with attempts %v; want %q", d.DeviceID, sid, d.State, w.store.attempts[id], deliveries)
		}
	}
	if n != 2 {
		w.t.Errorf("call %s has %d deliveries on record, want 2", sid, n)
	}
}

// figure is the value of one of the service's metrics.
func (w *ward) figure(name string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "planetbell_"+name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }
