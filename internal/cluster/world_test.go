package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/cluster/clustertest"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	latency  = 20 * time.Millisecond // of the database
	ringTime = 40 * time.Second
	// withinSweep is what a lost hint may cost: the time between sweeps, the sweep and the claim.
	withinSweep = cluster.SweepEvery + 12*latency + 50*time.Millisecond
)

// world is some nodes on one database, with a bus between them and devices that poll.
type world struct {
	t   *testing.T
	db  *clustertest.DB
	bus *hintBus
	// calm says that no node was cut off, killed, or presumed dead: then nothing happens twice.
	calm    bool
	wrap    func(cluster.Store) cluster.Store // the store of nodes that are started; as it is if nil
	metrics *cluster.Metrics                  // of nodes that are started; unseen if nil

	mu    sync.Mutex
	nodes []*node
	fates map[string]*fate // by delivery
	wrong []string
}

// fate is what became of a delivery.
type fate struct {
	ring     bell.Ring
	recorded time.Time // zero: perhaps never
	over     time.Time // its call has ended; zero: not
	handed   []string  // by which nodes, to polls
}

func newWorld(t *testing.T, nodes int) *world {
	w := &world{t: t, db: clustertest.NewDB(time.Now), calm: true, fates: map[string]*fate{}}
	w.bus = &hintBus{w: w, random: rand.New(rand.NewPCG(1, 2))}
	for range nodes {
		w.start(0, latency)
	}
	return w
}

func (w *world) errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) < 20 {
		w.wrong = append(w.wrong, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// end ends all nodes and reports what was wrong.
func (w *world) end() []string {
	for _, n := range w.nodes {
		n.stop()
	}
	return w.wrong
}

// hintBus loses hints, is late, and repeats itself, as it is told.
type hintBus struct {
	w *world

	mu     sync.Mutex
	random *rand.Rand
	loss   float64
	delay  time.Duration // at most
	twice  bool
	lost   int
}

func (b *hintBus) set(loss float64, delay time.Duration, twice bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loss, b.delay, b.twice = loss, delay, twice
}

type voice struct {
	bus  *hintBus
	from *node
}

func (v voice) Publish(h cluster.Hint) {
	v.bus.w.mu.Lock()
	nodes := slices.Clone(v.bus.w.nodes)
	v.bus.w.mu.Unlock()
	v.bus.mu.Lock()
	defer v.bus.mu.Unlock()
	for _, n := range nodes {
		if n == v.from {
			continue
		}
		for range 2 {
			if v.bus.random.Float64() < v.bus.loss {
				v.bus.lost++
				continue
			}
			delay := time.Millisecond + time.Duration(v.bus.random.Float64()*float64(v.bus.delay))
			time.AfterFunc(delay, func() {
				if v.from.is(up, draining) && n.is(up, draining) {
					n.worker.Heard([]cluster.Hint{h})
				}
			})
			if !v.bus.twice {
				break
			}
		}
	}
}

type condition int

const (
	up condition = iota
	draining
	down
)

// node is one process: the part of the app around a Worker.
type node struct {
	*world
	name   string
	link   *clustertest.Link
	worker *cluster.Worker
	cache  *cluster.DeviceCache
	box    *box
	ctx    context.Context //nolint:containedctx // the process's life
	kill   context.CancelFunc
	quit   context.CancelFunc // of Run
	run    sync.WaitGroup
	work   sync.WaitGroup // records that are under way

	mu        sync.Mutex
	condition condition
	cut       bool
	withdrawn map[planet.SessionID]bool
	dropped   []string // what Drop was told
	received  []string // what Received was told
	taking    func()   // called while Take is at work; nothing if nil
}

func (w *world) start(skew, latency time.Duration) *node {
	n := &node{world: w, name: fmt.Sprintf("node-%d", len(w.nodes)), link: w.db.Connect(latency), withdrawn: map[planet.SessionID]bool{}}
	clock := func() time.Time { return time.Now().Add(skew) }
	n.box = &box{node: n, letters: map[string]*letter{}, had: map[string]bool{}, polls: map[string][]*poll{}, closing: make(chan struct{})}
	n.cache = cluster.NewDeviceCache(cluster.CacheConfig{Clock: clock, Read: n.readDevices})
	store := cluster.Store(n.link)
	if w.wrap != nil {
		store = w.wrap(store)
	}
	n.worker = cluster.New(cluster.Config{
		Store: store, Hints: voice{w.bus, n}, Rings: n, Mailbox: n.box, Devices: n.cache, Log: slog.New(slog.DiscardHandler),
		Node: cluster.Node{Owner: n.name, Host: "host", Version: "1", StartedAt: time.Now()}, Clock: clock,
		Random: lockedRandom(uint64(len(w.nodes))), Metrics: w.metrics,
	})
	n.ctx, n.kill = context.WithCancel(context.Background())
	if err := n.worker.Join(n.ctx); err != nil {
		w.t.Fatalf("join: %v", err)
	}
	running, quit := context.WithCancel(n.ctx)
	n.quit = quit
	n.run.Go(func() { n.worker.Run(running) })
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	return n
}

func lockedRandom(seed uint64) func() float64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 4))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}

func (n *node) is(c ...condition) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(c, n.condition)
}

func (n *node) becomes(c condition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.condition = c
}

// stop drains the node, as app.Run does.
func (n *node) stop() {
	if !n.is(up) {
		return
	}
	n.becomes(draining)
	n.box.close()
	n.quit()
	patience := time.AfterFunc(3*time.Second, n.kill) // shutdown_timeout
	defer patience.Stop()
	n.run.Wait()
	n.work.Wait()
	late, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.worker.Leave(late); err != nil && n.calm {
		n.errorf("%s could not leave: %v", n.name, err)
	}
	n.becomes(down)
	n.kill()
}

// die is a SIGKILL.
func (n *node) die() {
	n.link.Set(true, false)
	n.becomes(down)
	n.kill()
	n.box.close()
	n.run.Wait()
	n.work.Wait()
	late, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.worker.Leave(late) // ends the beats; nothing goes through
}

// setLink cuts the node off the database, or lets answers be lost.
func (n *node) setLink(cut, lose bool) {
	n.mu.Lock()
	n.cut = cut || lose
	n.mu.Unlock()
	n.link.Set(cut, lose)
}

func (n *node) isCut() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut
}

// do is one transaction, tried until it is done or the process is gone.
func (n *node) do(run func()) {
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, time.Second)
		err := n.link.Do(ctx, run)
		cancel()
		if err == nil {
			return
		}
	}
}

func (n *node) readDevices(ctx context.Context, owner bell.Owner) (devices []bell.Device, err error) {
	err = n.link.Do(ctx, func() { devices = n.db.DevicesOf(owner) })
	return devices, err
}

// call is a Notify that comes to this node. It returns when the call is recorded.
func (n *node) call(device string) *fate {
	w := n.world
	now := n.worker.Now()
	w.mu.Lock()
	id := fmt.Sprintf("call-%03d", len(w.fates))
	w.mu.Unlock()
	f := &fate{ring: bell.Ring{
		Call:   &bell.Call{Environment: planet.Evaluation, SessionID: planet.SessionID(id), NotifiedAt: now, Deadline: now.Add(ringTime)},
		Device: bell.Device{ID: device, Channel: bell.LongPoll},
		Delivery: bell.Delivery{
			ID: id, Environment: planet.Evaluation, SessionID: planet.SessionID(id), DeviceID: device, Channel: bell.LongPoll,
			State: bell.DeliveryPending, Deadline: now.Add(ringTime), LeaseUntil: now.Add(ringTime), CreatedAt: now, UpdatedAt: now,
		},
	}}
	if n.box.Waits(device) {
		f.ring.Delivery.LeaseOwner = n.name
	}
	w.mu.Lock()
	w.fates[id] = f
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	if err := n.link.Do(ctx, func() { n.db.Insert(f.ring) }); err != nil {
		return f // the caller is not told 200
	}
	w.mu.Lock()
	f.recorded = time.Now()
	w.mu.Unlock()
	if f.ring.Delivery.LeaseOwner == "" {
		n.worker.Posted(device)
	} else {
		n.Take([]bell.Ring{f.ring})
	}
	return f
}

// over is a Call Event that comes to this node.
func (n *node) over(f *fate) {
	id := f.ring.Call.SessionID
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	done := false
	err := n.link.Do(ctx, func() { n.db.End(planet.Evaluation, id); done = true })
	if done {
		n.world.mu.Lock()
		if f.over.IsZero() {
			f.over = time.Now()
		}
		n.world.mu.Unlock()
	}
	if err == nil {
		n.Withdraw(planet.Evaluation, id)
		n.worker.Over(planet.Evaluation, id)
	}
}

// receipt is a device's word that comes to this node.
func (n *node) receipt(r bell.Ring) {
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	if n.link.Do(ctx, func() { n.db.Receive(planet.Evaluation, r.Call.SessionID, r.Device.ID) }) != nil {
		return
	}
	n.box.Acknowledge(planet.Evaluation, r.Call.SessionID, r.Device.ID)
	n.worker.Received(planet.Evaluation, r.Call.SessionID, r.Device.ID)
}

// Take implements cluster.Rings.
func (n *node) Take(rings []bell.Ring) {
	if n.taking != nil {
		n.taking()
		defer n.heard("taken")
	}
	for _, r := range rings {
		n.mu.Lock()
		over := n.withdrawn[r.Call.SessionID]
		n.mu.Unlock()
		if !over {
			n.box.put(r)
		}
	}
}

// Withdraw implements cluster.Rings.
func (n *node) Withdraw(environment planet.Environment, id planet.SessionID) {
	n.mu.Lock()
	n.withdrawn[id] = true
	n.mu.Unlock()
	n.box.withdraw(environment, id)
}

// Received implements cluster.Rings.
func (n *node) Received(_ planet.Environment, id planet.SessionID, device string) {
	n.heard(string(id) + " " + device)
}

func (n *node) heard(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.received = append(n.received, what)
}

func (n *node) wantReceived(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.received, want) {
		t.Errorf("%s was told %q, want %q", n.name, n.received, want)
	}
}

// Open implements cluster.Rings: pushes are not played here.
func (n *node) Open(time.Time) []string { return nil }

// Drop implements cluster.Rings.
func (n *node) Drop(id string, state bell.DeliveryState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropped = append(n.dropped, id+" "+string(state))
}
