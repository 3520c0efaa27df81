package cluster

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Config is what a Worker is made of. All but the last three are needed.
type Config struct {
	Store   Store
	Hints   Hints
	Rings   Rings
	Mailbox Mailbox
	Devices Devices
	Node    Node // this process
	Log     *slog.Logger
	Metrics *Metrics
	Clock   func() time.Time // this machine's; time.Now if nil
	Random  func() float64   // 0 to 1, for jitter; math/rand if nil
}

// Worker makes one node of this process. All methods are safe for concurrent use, and those
// that are called while polls and calls wait ([Worker.Entered], Idle, Posted, Over, Received,
// DevicesChanged, Heard, Gap, Now) never wait for the database.
//
// The order of a life is: New, [Worker.Join], [Worker.Run], and, when nothing of this
// process works on deliveries any more, [Worker.Leave].
type Worker struct {
	Config
	clock   *clock
	trouble *trouble
	stop    context.CancelFunc // ends the beats
	beats   sync.WaitGroup

	wakeClaims  chan struct{}
	wakeReturns chan struct{}
	wakeReclaim chan struct{}
	wakeSweep   chan struct{}

	// moves is held while deliveries are put into memory or dropped from it by what the
	// database said a moment ago. It is never taken with mu held.
	moves sync.Mutex
	fresh map[string]struct{} // taken while Gone was being asked; nil while it is not
	lost  map[string]struct{} // being given back because they were nowhere; nil if there are none

	mu       sync.Mutex // guards all below, and is never held while others are called
	peers    peers
	queue    queue
	held     held
	received map[receipt]struct{}       // heard of while a claim is under way; nil while none is
	unheard  map[bell.CallKey]time.Time // whose end the sweep found, when by the local clock, and no hint told since; zero: being asked

	doubts []*batch // of the claiming goroutine: claims whose answers were lost; a few at the most
	sweeps sweeps   // of the sweeping goroutine
}

type receipt struct {
	environment planet.Environment
	id          planet.SessionID
	device      string
}

// New makes a Worker. It starts nothing.
func New(c Config) *Worker {
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return &Worker{
		Config: c, clock: newClock(c.Clock), trouble: newTrouble(c.Log, c.Metrics, c.Clock),
		wakeClaims: make(chan struct{}, 1), wakeReturns: make(chan struct{}, 1),
		wakeReclaim: make(chan struct{}, 1), wakeSweep: make(chan struct{}, 1),
		peers: peers{told: map[string]bool{}}, queue: queue{devices: map[string]cause{}},
		held: newHeld(), unheard: map[bell.CallKey]time.Time{},
		sweeps: sweeps{changes: map[int64]time.Time{}},
	}
}

// Now is the database's time, as well as this node knows it: within half of the quickest
// round trip of the last beats. From [Worker.Join] on it never goes back, and whoever sets this
// machine's clock does not change it. It has no monotonic reading, and may be far from
// time.Now: a wait until such a time is a wait for its distance from Now.
func (w *Worker) Now() time.Time { return w.clock.now() }

// Run brings calls to polls, gives back what has no poll, and sweeps, until ctx ends. What
// it has in hand then it gives back first, within lastWords. It may be called once, after Join.
func (w *Worker) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { w.claims(ctx) })
	loops.Go(func() { w.reclaims(ctx) })
	loops.Go(func() { w.returns(ctx) })
	loops.Go(func() { w.sweeping(ctx) })
	loops.Wait()
	late, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), lastWords, errStopping)
	defer cancel()
	w.giveBackAll(late)
}

// lastWords bounds what is done at a stop: what is not given back then, Leave frees.
const lastWords = time.Second

var errStopping = errors.New("the server is stopping")

// Posted says that something was recorded in a device's mailbox that belongs to nobody. It
// must be called after the commit.
func (w *Worker) Posted(device string) {
	w.Hints.Publish(Hint{Kind: HintMailbox, DeviceID: device})
	if w.Mailbox.Waits(device) { // since a moment ago
		w.want(device, byHint)
	}
}

// Over says that a call has ended, or was never to ring, after this was recorded, and stopped
// here.
func (w *Worker) Over(environment planet.Environment, id planet.SessionID) {
	w.letGoOf(bell.CallKey{Environment: environment, SessionID: id})
	w.Hints.Publish(Hint{Kind: HintOver, Environment: environment, SessionID: id})
}

// Received says that a device has a call, after this was recorded, and acknowledged here.
func (w *Worker) Received(environment planet.Environment, id planet.SessionID, device string) {
	w.hasCall(receipt{environment, id, device})
	w.Hints.Publish(Hint{Kind: HintReceived, Environment: environment, SessionID: id, DeviceID: device})
}

// hasCall keeps a call from a device that has it: what is here, and what is just being taken.
func (w *Worker) hasCall(r receipt) {
	w.moves.Lock()
	defer w.moves.Unlock()
	w.mu.Lock()
	if w.received != nil && len(w.received) < queueRoom {
		w.received[r] = struct{}{}
	}
	w.mu.Unlock()
	w.letGo(bell.CallKey{Environment: r.environment, SessionID: r.id}, func(ring *bell.Ring) bool { return ring.Device.ID == r.device })
	w.Rings.Received(r.environment, r.id, r.device) // before it leaves the mailbox, or it is put in after that
	w.Mailbox.Acknowledge(r.environment, r.id, r.device)
}

// DevicesChanged says that an owner's devices were changed, or may have been.
func (w *Worker) DevicesChanged(owner bell.Owner) {
	w.Devices.Forget(owner)
	w.Hints.Publish(Hint{Kind: HintDevices, Owner: owner})
}

// Heard takes what other nodes say. Hints may be repeated and late.
func (w *Worker) Heard(hints []Hint) {
	for _, h := range hints {
		switch h.Kind {
		case HintMailbox:
			if w.Mailbox.Waits(h.DeviceID) {
				w.want(h.DeviceID, byHint)
			}
		case HintOver:
			w.Rings.Withdraw(h.Environment, h.SessionID)
			w.letGoOf(bell.CallKey{Environment: h.Environment, SessionID: h.SessionID})
		case HintReceived:
			w.hasCall(receipt{h.Environment, h.SessionID, h.DeviceID})
		case HintDevices:
			w.Devices.Forget(h.Owner)
		}
	}
}

// Gap says that hints may have been lost: the sweep does not wait for its turn.
func (w *Worker) Gap() { wake(w.wakeSweep) }

// takeClaimed puts what a claim gave into this node's memory, without what devices have by
// now, and what is being given back because its claim's answer took so long.
func (w *Worker) takeClaimed(b *batch, rings []bell.Ring) {
	w.moves.Lock()
	defer w.moves.Unlock()
	rings = slices.DeleteFunc(w.unreceived(rings), func(r bell.Ring) bool { _, lost := w.lost[r.Delivery.ID]; return lost })
	for i := range rings {
		by := b.devices[rings[i].Device.ID]
		w.Metrics.claimed.WithLabelValues(by.String()).Inc()
		if by == byLoss {
			w.Metrics.lostHints.WithLabelValues("mailbox").Inc()
		}
	}
	w.takeNow(rings)
}

// takeNow puts deliveries that are this node's into its memory. The caller holds w.moves.
func (w *Worker) takeNow(rings []bell.Ring) {
	if len(rings) == 0 {
		return
	}
	if w.fresh != nil {
		for i := range rings {
			w.fresh[rings[i].Delivery.ID] = struct{}{}
		}
	}
	w.Rings.Take(rings)
}

// wake lets a goroutine look that waits on c, or does not look at the moment.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // is awake
	}
}

// pause reports whether the time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
