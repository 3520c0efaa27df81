package sim

import (
	"context"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// maxFaults is how many faults a target may have at once.
const maxFaults = 100

// Faults are the faults of one target: several at once, of requests and of connections. A
// request meets the first that strikes it, in the order in which they were added; a
// connection meets all of them. It is safe for concurrent use.
type Faults struct {
	provider provider
	clock    Clock
	ca       *CA

	settling sync.Mutex // one at a time carries changes to the listener
	waits    sync.WaitGroup
	requests atomic.Int64 // active faults of requests, to be quick without any

	mu     sync.Mutex // guards what follows
	l      *listener  // nil before the start
	random *rand.Rand
	active []*activeFault
	struck map[FaultKind]uint64
}

// activeFault is a fault that was added and not cleared.
type activeFault struct {
	Fault
	spec        faultSpec
	struck      uint64
	ended       atomic.Bool
	cancel      context.CancelFunc // ends the wait for the end of For
	certificate *tls.Certificate
}

// FaultState is an active fault.
type FaultState struct {
	Kind   FaultKind `json:"kind"`
	Struck uint64    `json:"struck"`         // requests or connections
	Left   int       `json:"left,omitempty"` // of its count
}

// newFaults returns the faults of a target, which its name and the seed make random.
func newFaults(p provider, target string, seed uint64, clock Clock, ca *CA) *Faults {
	h := fnv.New64a()
	_, _ = h.Write([]byte(target)) // never fails
	return &Faults{
		provider: p, clock: clock, ca: ca, struck: map[FaultKind]uint64{},
		random: rand.New(rand.NewPCG(seed, h.Sum64())),
	}
}

// Add makes something go wrong from now on. It refuses faults that do not fit the target
// with a sentence that says what does, and a hundred and first fault.
func (f *Faults) Add(fault Fault) error {
	if err := fault.check(f.provider); err != nil {
		return err
	}
	spec, _ := specOf(fault.Kind)
	if fault.Scope == "" {
		fault.Scope = ScopeAll
	}
	if fault.Streams == 0 {
		fault.Streams = 1
	}
	a := &activeFault{Fault: fault, spec: spec, cancel: func() {}}
	if err := f.certify(a); err != nil {
		return err
	}
	f.mu.Lock()
	if len(f.active) >= maxFaults {
		f.mu.Unlock()
		return fmt.Errorf("there are %d faults already; clear them first", maxFaults)
	}
	if fault.For > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		a.cancel = cancel
		f.waits.Go(func() {
			if f.clock.Wait(ctx, fault.For) == nil {
				f.remove(func(b *activeFault) bool { return a == b })
			}
			cancel()
		})
	}
	f.active = append(f.active, a)
	f.count()
	l := f.l
	f.mu.Unlock()
	if spec.conn && l != nil && fault.Scope != ScopeNew {
		for _, w := range l.open() {
			f.seize(a, w)
		}
	}
	if a.Kind == FaultSilence && a.Scope == ScopeOpen { // it has done what it can
		f.remove(func(b *activeFault) bool { return a == b })
	}
	f.settle()
	return nil
}

// certify makes the certificate of a fault that shows one.
func (f *Faults) certify(a *activeFault) error {
	if a.Kind != FaultExpired && a.Kind != FaultWrongHost {
		return nil
	}
	issue := f.ca.expired
	if a.Kind == FaultWrongHost {
		issue = f.ca.elsewhere
	}
	c, err := issue()
	a.certificate = &c
	return err
}

// Clear ends the faults of the kinds, or all. Connections that fell silent stay silent.
func (f *Faults) Clear(kinds ...FaultKind) {
	f.remove(func(a *activeFault) bool { return len(kinds) == 0 || slices.Contains(kinds, a.Kind) })
}

// Active returns the faults that can still strike or hold a connection, oldest first.
func (f *Faults) Active() []FaultState {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []FaultState{}
	for _, a := range f.active {
		s := FaultState{Kind: a.Kind, Struck: a.struck}
		if a.Count > 0 {
			s.Left = a.Count - int(a.struck)
		}
		all = append(all, s)
	}
	return all
}

// Struck counts the requests and connections that faults struck since the start, by kind.
func (f *Faults) Struck() map[FaultKind]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[FaultKind]uint64, len(f.struck))
	for k, n := range f.struck {
		m[k] = n
	}
	return m
}

// remove ends faults.
func (f *Faults) remove(which func(*activeFault) bool) {
	f.mu.Lock()
	f.active = slices.DeleteFunc(f.active, func(a *activeFault) bool {
		if !which(a) {
			return false
		}
		a.ended.Store(true)
		a.cancel()
		return true
	})
	f.count()
	f.mu.Unlock()
	f.settle()
}

// count notes how many faults of requests there are. The caller holds mu.
func (f *Faults) count() {
	n := 0
	for _, a := range f.active {
		if !a.spec.conn {
			n++
		}
	}
	f.requests.Store(int64(n))
}

// attach begins to strike the connections of a listener that has started.
func (f *Faults) attach(l *listener) {
	f.mu.Lock()
	f.l = l
	f.mu.Unlock()
	f.settle()
}

// detach ends all faults: the listener is closing.
func (f *Faults) detach() {
	f.mu.Lock()
	f.l = nil
	f.mu.Unlock()
	f.Clear()
	f.waits.Wait()
}

// settle carries what faults there are now to the listener and its connections.
func (f *Faults) settle() {
	f.settling.Lock()
	defer f.settling.Unlock()
	f.mu.Lock()
	l := f.l
	refuse := slices.ContainsFunc(f.active, func(a *activeFault) bool { return a.Kind == FaultRefuse })
	f.mu.Unlock()
	if l == nil {
		return
	}
	l.refuse(refuse)
	for _, w := range l.open() {
		w.advertise()
	}
}

// strikes draws whether the fault strikes. The caller holds mu.
func (f *Faults) strikes(a *activeFault) bool {
	if a.spent() {
		return false
	}
	if a.Share > 0 && a.Share < 1 && f.random.Float64() >= a.Share {
		return false
	}
	a.struck++
	f.struck[a.Kind]++
	return true
}

// pick returns the fault that strikes a request, or nil.
func (f *Faults) pick() *activeFault {
	if f.requests.Load() == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.active, func(a *activeFault) bool { return !a.spec.conn && f.strikes(a) })
	if i < 0 {
		return nil
	}
	a := f.active[i]
	f.prune()
	return a
}

// prune forgets faults that have struck as often as they may and hold no connection. The
// caller holds mu.
func (f *Faults) prune() {
	f.active = slices.DeleteFunc(f.active, func(a *activeFault) bool {
		over := a.spent() && a.Kind != FaultNoPing && a.Kind != FaultStreams
		if over {
			a.cancel()
		}
		return over
	})
	f.count()
}

// spent says that the fault has struck as often as it may.
func (a *activeFault) spent() bool { return a.Count > 0 && a.struck >= uint64(a.Count) }

// welcome is what faults have in mind for a new connection.
type welcome struct {
	stall, silent bool
	certificate   *tls.Certificate
}

// meet draws what a new connection gets.
func (f *Faults) meet(w *wire) welcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	var plan welcome
	for _, a := range f.active {
		if !a.spec.conn || a.Scope == ScopeOpen || a.Kind == FaultRefuse || !f.strikes(a) {
			continue
		}
		switch a.Kind {
		case FaultTLSStall:
			plan.stall = true
		case FaultSilence:
			plan.silent = true
		case FaultExpired, FaultWrongHost:
			plan.certificate = a.certificate
		case FaultNoPing:
			w.mute.Store(a)
		case FaultStreams:
			w.streams.narrow(a)
		}
	}
	f.prune()
	return plan
}

// seize draws what an open connection gets.
func (f *Faults) seize(a *activeFault, w *wire) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case a.Kind == FaultSilence && !w.silent.Load() && f.strikes(a):
		w.fall()
	case a.Kind == FaultNoPing && w.mute.Load() != a && f.strikes(a):
		w.mute.Store(a)
	case a.Kind == FaultStreams && !w.streams.narrowed(a) && f.strikes(a):
		w.streams.narrow(a)
	}
}
