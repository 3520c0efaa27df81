package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// push is one request that reached the pretend provider.
type push struct {
	at       time.Time
	delivery string
	device   string
	token    planet.Secret
	accepted bool
}

// provider answers as the weather is, after a moment, and keeps what reached it.
type provider struct {
	mu      sync.Mutex
	weather string
	pushes  []push
}

func (p *provider) set(weather string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = weather
}

// weathers are what a provider can be like, and what it answers then.
var weathers = map[string]bell.Outcome{
	"well":       {Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep},
	"unwell":     {Verdict: bell.RetryBackoff, Reason: "ServiceUnavailable", Status: 503, Token: bell.TokenKeep},
	"cut off":    {Verdict: bell.RetryConnect, Reason: "dial", Unsent: true, Token: bell.TokenKeep},
	"breaks off": {Verdict: bell.RetryConnect, Reason: "reset", Token: bell.TokenKeep},
	"silent":     {Verdict: bell.RetryNow, Reason: "timeout", Token: bell.TokenKeep},
	"refuses":    {Verdict: bell.Rejected, Reason: "Unregistered", Status: 410, Token: bell.TokenDrop},
}

// answerTime is how long the provider takes.
const answerTime = 30 * time.Millisecond

// send takes a request of a process, unless that is dead.
func (p *provider) send(ctx context.Context, r *bell.Ring) bell.Outcome {
	interrupted := bell.Outcome{Verdict: bell.RetryNow, Reason: "cancelled", Token: bell.TokenKeep}
	if ctx.Err() != nil {
		return interrupted
	}
	p.mu.Lock()
	weather := p.weather
	o := weathers[weather]
	if !o.Unsent {
		p.pushes = append(p.pushes, push{time.Now(), r.Delivery.ID, r.Device.ID, r.Device.PushToken, weather == "well"})
	}
	p.mu.Unlock()
	if weather == "silent" {
		<-ctx.Done()
		return o
	}
	select {
	case <-time.After(answerTime):
		return o
	case <-ctx.Done():
		return interrupted
	}
}

var errDead = errors.New("this process was killed")

// process is one life of the server: a service and an engine over the database. Once it is
// killed, nothing of it reaches the database or the provider any more.
type process struct {
	*sqlite.Store
	provider *provider
	calls    *call.Service
	engine   *delivery.Engine
	life     context.Context //nolint:containedctx // ends with a kill
	kill     context.CancelFunc
	stopRun  context.CancelFunc
	done     chan error
}

func newProcess(t *testing.T, store *sqlite.Store, p *provider, number int) *process {
	t.Helper()
	project := &bell.Project{
		Name: "demo", Environment: planet.Evaluation, ServiceID: "service", EnvironmentLabel: "evaluation", CallbackSecret: "secret",
	}
	projects, err := bell.NewProjects([]*bell.Project{project})
	if err != nil {
		t.Fatal(err)
	}
	s := &process{Store: store, provider: p, done: make(chan error, 1)}
	s.life, s.kill = context.WithCancel(context.Background())
	s.engine = delivery.New(delivery.Config{
		Store: s, Router: s, Owner: fmt.Sprintf("process-%d", number), Log: testlog.New(t), Random: func() float64 { return 0.5 },
	})
	s.calls = call.New(call.Config{Store: s, Bells: s.engine, Projects: projects})
	running, stop := context.WithCancel(context.Background())
	s.stopRun = stop
	go func() { s.done <- s.engine.Run(running, true) }()
	return s
}

// Route implements delivery.Router.
func (s *process) Route(d *bell.Device) (delivery.Route, string) {
	return delivery.Route{Key: delivery.RouteKey{Credential: d.Project, Channel: d.Channel}, Sender: s}, ""
}

// Send implements delivery.Sender. What a killed process has under way is broken off.
func (s *process) Send(ctx context.Context, r *bell.Ring, _ delivery.Try) bell.Outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	if s.life.Err() != nil {
		cancel()
	}
	return s.provider.send(ctx, r)
}

// The writes of a killed process do not happen.

func (s *process) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) error {
	if s.life.Err() != nil {
		return errDead
	}
	return s.Store.RecordAttempt(ctx, d, a)
}

func (s *process) ClaimDeliveries(ctx context.Context, c delivery.Claim) ([]bell.Ring, error) {
	if s.life.Err() != nil {
		return nil, errDead
	}
	return s.Store.ClaimDeliveries(ctx, c)
}

func (s *process) ExpireDeliveries(ctx context.Context, now time.Time) (int, error) {
	if s.life.Err() != nil {
		return 0, errDead
	}
	return s.Store.ExpireDeliveries(ctx, now)
}

// end stops the process: gracefully, with some patience for what is under way, or by a
// kill.
func (s *process) end(t *testing.T, graceful bool, patience time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	if !graceful {
		s.kill()
		cancel()
	}
	s.engine.Stop(ctx)
	cancel()
	s.stopRun()
	if err := <-s.done; err != nil && !errors.Is(err, errDead) {
		t.Errorf("the engine failed: %v", err)
	}
	s.kill()
}

// world is the database, the provider, and the process of the moment.
type world struct {
	*process
	t        *testing.T
	store    *sqlite.Store
	provider *provider
	number   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "bell.db"), Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store, provider: &provider{weather: "well"}}
	w.process = newProcess(t, store, w.provider, 0)
	return w
}

// restart ends the process and starts the next one.
func (w *world) restart(graceful bool, patience time.Duration) {
	w.process.end(w.t, graceful, patience)
	w.number++
	w.process = newProcess(w.t, w.store, w.provider, w.number)
}

func (w *world) close() {
	w.process.end(w.t, true, time.Second)
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// owner is the callee of all calls.
func owner() bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "service", UserID: "bob"}}
}

// register gives bob's n-th device a push token.
func (w *world) register(n, token int) {
	w.t.Helper()
	session := fmt.Sprintf("session-%d", n)
	_, err := w.store.ChangeDevice(w.t.Context(), device.Key{SessionID: session}, func(known device.Known) (bell.Device, error) {
		next := bell.Device{ID: bell.NewID(), Owner: owner(), Project: "demo", SessionID: session, LastSeenAt: time.Now()}
		if known.OfSession != nil {
			next = *known.OfSession
		}
		next.Channel, next.RegisteredAt = bell.FCM, time.Now()
		next.PushToken = planet.Secret(testlog.HexSecret(token, 64))
		return next, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// unregister removes bob's n-th device.
func (w *world) unregister(n int) {
	w.t.Helper()
	d, err := w.store.DeviceBySession(w.t.Context(), fmt.Sprintf("session-%d", n))
	if err == nil {
		err = w.store.RemoveDevice(w.t.Context(), d.ID)
	}
	if err != nil && bell.KindOf(err) != bell.NotFound {
		w.t.Fatal(err)
	}
}

// record is all that is known of the n-th call; nothing if it never came.
func (w *world) record(n int) call.Record {
	w.t.Helper()
	r, err := w.store.Call(w.t.Context(), planet.Evaluation, session(n))
	if err != nil && bell.KindOf(err) != bell.NotFound {
		w.t.Fatal(err)
	}
	return r
}

func session(call int) planet.SessionID { return planet.SessionID(fmt.Sprintf("session-%04d", call)) }

// pushesOf returns what reached the provider of one delivery.
func (p *provider) pushesOf(id string) []push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.pushes), func(s push) bool { return s.delivery != id })
}
