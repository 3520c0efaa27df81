package delivery

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ringTime is from a Notify to the deadline of its deliveries.
const ringTime = 55 * time.Second

// pass lets the fake time of a synctest bubble pass.
func pass(d time.Duration) { <-time.After(d) }

var errDisk = errors.New("the disk is full")

// fakeStore keeps deliveries by the rules of Store.
type fakeStore struct {
	mu       sync.Mutex
	rows     map[string]*bell.Ring
	attempts map[string][]bell.Attempt
	records  []bell.Delivery // as RecordAttempt was called
	claims   []Claim
	fail     error         // of every method
	slow     time.Duration // of RecordAttempt
	answers  time.Duration // how long the answer of ClaimDeliveries is on its way
}

func newStore() *fakeStore {
	return &fakeStore{rows: map[string]*bell.Ring{}, attempts: map[string][]bell.Attempt{}}
}

// add records rings as package call does.
func (s *fakeStore) add(rings ...bell.Ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rings {
		s.rows[r.Delivery.ID] = &r
	}
}

// outranks are the states that an acceptance which is recorded late does not change.
var outranks = map[bell.DeliveryState]bool{bell.DeliveryAccepted: true, bell.DeliveryReceived: true}

func (s *fakeStore) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) error {
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.records = append(s.records, d)
	if a.Number != 0 {
		s.attempts[d.ID] = append(s.attempts[d.ID], a)
	}
	row := s.rows[d.ID]
	switch {
	case row == nil:
		return bell.E(bell.NotFound, "There is no such delivery.", nil)
	case row.Delivery.State.Final() && (d.State != bell.DeliveryAccepted || outranks[row.Delivery.State]):
		return nil
	}
	row.Delivery.State, row.Delivery.Reason, row.Delivery.Attempts = d.State, d.Reason, d.Attempts
	row.Delivery.LeaseOwner, row.Delivery.LeaseUntil, row.Delivery.UpdatedAt = d.LeaseOwner, d.LeaseUntil, d.UpdatedAt
	return nil
}

func (s *fakeStore) ClaimDeliveries(_ context.Context, c Claim) (claimed []bell.Ring, err error) {
	defer func() { <-time.After(s.answers) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	s.claims = append(s.claims, c)
	var due []*bell.Ring
	for _, r := range s.rows {
		d := &r.Delivery
		free := d.LeaseUntil.Before(c.Now) || c.TakeAll && d.LeaseOwner != c.Owner
		if !d.State.Final() && c.Now.Before(d.Deadline) && free {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *bell.Ring) int { return cmp.Compare(a.Delivery.ID, b.Delivery.ID) })
	for _, r := range due[:min(len(due), c.Limit)] {
		r.Delivery.LeaseOwner, r.Delivery.LeaseUntil = c.Owner, c.LeaseUntil
		if r.Delivery.Channel != bell.LongPoll {
			r.Delivery.State = bell.DeliverySending
		}
		claimed = append(claimed, *r)
	}
	return claimed, nil
}

func (s *fakeStore) ExpireDeliveries(_ context.Context, now time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	for _, r := range s.rows {
		if !r.Delivery.State.Final() && !now.Before(r.Delivery.Deadline) {
			r.Delivery.State = bell.DeliveryExpired
			n++
		}
	}
	return n, nil
}

// withdraw does what EndCall does to a call's deliveries.
func (s *fakeStore) withdraw(call int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.Call.SessionID == sid(call) && !r.Delivery.State.Final() {
			r.Delivery.State = bell.DeliveryWithdrawn
		}
	}
}

func (s *fakeStore) claimed() []Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.claims)
}

func (s *fakeStore) row(id string) bell.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[id].Delivery
}

func (s *fakeStore) breakDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// sent is one attempt that left.
type sent struct {
	id    string
	try   Try
	after time.Duration // since the bench was made
}

// reply answers one attempt on one device.
type reply func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome

func answer(v bell.Verdict) bell.Outcome {
	return bell.Outcome{Verdict: v, Reason: strings.ToLower(string(v)), Token: bell.TokenKeep}
}

// script answers the first attempt with the first verdict and so on, and then accepts.
func script(verdicts ...bell.Verdict) reply {
	return func(_ context.Context, _ *bell.Ring, try Try) bell.Outcome {
		if try.Number <= len(verdicts) {
			return answer(verdicts[try.Number-1])
		}
		return answer(bell.Accepted)
	}
}

// slowly is a reply after some time, or "timeout" when the context ends before.
func slowly(d time.Duration, next reply) reply {
	return func(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
		select {
		case <-time.After(d):
			return next(ctx, r, try)
		case <-ctx.Done():
			return bell.Outcome{Verdict: bell.RetryNow, Reason: "timeout", Token: bell.TokenKeep}
		}
	}
}

// hang never answers.
func hang() reply { return slowly(time.Hour, script()) }

// bench is an engine with everything around it pretended.
type bench struct {
	*Engine
	store    *fakeStore
	registry *prometheus.Registry
	logs     *logBuffer
	start    time.Time

	mu      sync.Mutex
	replies map[string]reply // by device; others are accepted
	sent    []sent
	nowhere string // device without a route

	noSandbox bool // there is no credential for APNs' sandbox
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBench(t *testing.T, change func(*Config)) *bench {
	b := &bench{
		store: newStore(), registry: prometheus.NewRegistry(), logs: &logBuffer{},
		start: time.Now(), replies: map[string]reply{},
	}
	c := Config{
		Store: b.store, Router: b, Owner: "this", Metrics: NewMetrics(b.registry),
		Log:    slog.New(slog.NewJSONHandler(io.MultiWriter(testlog.Writer(t), b.logs), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Random: func() float64 { return 0.5 }, HedgeAfter: -1,
	}
	if change != nil {
		change(&c)
	}
	b.Engine = New(c)
	return b
}

// Route gives each project of devices its own route per channel.
func (b *bench) Route(d *bell.Device) (Route, string) {
	if d.ID == b.nowhere || b.noSandbox && d.APNsServer == bell.APNsSandbox {
		return Route{}, "no_fcm_credential"
	}
	return Route{Key: RouteKey{Credential: d.Project, Channel: d.Channel, Server: string(d.APNsServer)}, Sender: b}, ""
}

// Send notes what leaves. What comes with an ended context does not leave.
func (b *bench) Send(ctx context.Context, r *bell.Ring, try Try) bell.Outcome {
	if ctx.Err() != nil {
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "interrupted", Token: bell.TokenKeep}
	}
	b.mu.Lock()
	b.sent = append(b.sent, sent{r.Delivery.ID, try, time.Since(b.start)})
	next := b.replies[r.Device.ID]
	b.mu.Unlock()
	if next == nil {
		next = script()
	}
	return next(ctx, r, try)
}

// on sets how a device's attempts go.
func (b *bench) on(device string, next reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies[device] = next
}

// times returns when a device's attempts left.
func (b *bench) times(device string) (at []time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sent {
		if strings.HasPrefix(s.id, device+"/") {
			at = append(at, s.after)
		}
	}
	return at
}

func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sent)
}

func sid(call int) planet.SessionID { return planet.SessionID(fmt.Sprintf("call-%d", call)) }

// rings makes a call's rings, one for each device, as package call does.
func (b *bench) rings(call int, channel bell.Channel, devices ...string) (rings []bell.Ring) {
	now := time.Now()
	c := &bell.Call{
		Environment: planet.Evaluation, SessionID: sid(call), CCParam: planet.CCParam(testlog.CCParam(call)),
		NotifiedAt: now, Deadline: now.Add(ringTime),
	}
	for _, device := range devices {
		state, owner, until := b.Hold(&bell.Device{ID: device, Channel: channel}, now, c.Deadline)
		rings = append(rings, bell.Ring{
			Call: c, Device: bell.Device{ID: device, Project: "acme", Channel: channel, PushToken: planet.Secret(testlog.HexSecret(call, 64))},
			Delivery: bell.Delivery{
				ID: fmt.Sprintf("%s/%d", device, call), Environment: c.Environment, SessionID: c.SessionID, DeviceID: device,
				Channel: channel, State: state, Deadline: c.Deadline,
				LeaseOwner: owner, LeaseUntil: until, CreatedAt: now, UpdatedAt: now,
			},
		})
	}
	return rings
}

// begin admits, records and starts rings.
func (b *bench) begin(t *testing.T, rings []bell.Ring) {
	t.Helper()
	if err := b.Admit(rings); err != nil {
		t.Fatal(err)
	}
	b.store.add(rings...)
	b.Start(slices.Clone(rings))
}

// finish stops the engine after its work is done, and checks that nothing is left.
func (b *bench) finish(t *testing.T) {
	t.Helper()
	b.Stop(context.Background())
	b.checkEmpty(t)
}

func (b *bench) checkEmpty(t *testing.T) {
	t.Helper()
	synctest.Wait()
	b.Engine.mu.Lock()
	defer b.Engine.mu.Unlock()
	if b.room != 0 || len(b.entries) != 0 || len(b.calls) != 0 {
		t.Errorf("left behind: room %d, %d deliveries, %d calls", b.room, len(b.entries), len(b.calls))
	}
	if got := b.metric(t, "planetbell_deliveries_in_flight"); got != 0 {
		t.Errorf("in flight = %v, want 0", got)
	}
	for key, rt := range b.routes {
		if len(rt.places) != 0 || rt.room != 0 || rt.held != 0 || rt.heldNotices != 0 {
			t.Errorf("left behind on %v: %d places, room %d, %d and %d held", key, len(rt.places), rt.room, rt.held, rt.heldNotices)
		}
	}
}

// metric sums a metric's values, over those whose labels contain all of the given values.
func (b *bench) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			found := 0
			for _, l := range m.GetLabel() {
				if slices.Contains(labels, l.GetValue()) {
					found++
				}
			}
			if found == len(labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
