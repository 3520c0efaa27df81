package cluster_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
)

// step is one event of a story. What it means depends on its kind.
type step struct {
	kind   string
	node   int
	device int
	call   int
	flag   bool
	hold   time.Duration
	wait   time.Duration // after it
}

// Kinds of steps that lose nothing and repeat nothing, and those after which a device may be
// rung twice.
var (
	calm = []string{"call", "call", "call", "poll", "poll", "poll", "over", "lossy", "lossy", "late", "twice", "well", "stop", "start", "gap"}
	wild = append([]string{"cut", "lose", "heal", "heal", "kill"}, calm...)
)

func steps(kinds []string) *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			kind: rapid.SampledFrom(kinds).Draw(t, "kind"), node: rapid.IntRange(0, 9).Draw(t, "node"), device: rapid.IntRange(0, 3).Draw(t, "device"),
			call: rapid.IntRange(0, 20).Draw(t, "call"), flag: rapid.Bool().Draw(t, "flag"),
			hold: time.Duration(rapid.SampledFrom([]int{1, 40, 500, 3000, 6000}).Draw(t, "hold")) * time.Millisecond,
			wait: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 5, 10, 15, 20, 30, 100, 700, 2500}).Draw(t, "wait")) * time.Millisecond,
		}
	}), 1, 40)
}

// play is a story being told.
type play struct {
	*world
	polls sync.WaitGroup
	calls []*fate
}

// pick returns a node that takes requests; nil if the one that was meant does not.
func (p *play) pick(i int) *node {
	n := p.nodes[i%len(p.nodes)]
	if !n.is(up) {
		return nil
	}
	return n
}

// live is how many nodes take requests.
func (p *play) live() (live int) {
	for _, n := range p.nodes {
		if n.is(up) {
			live++
		}
	}
	return live
}

func (p *play) do(s step) {
	n := p.pick(s.node)
	switch s.kind {
	case "lossy":
		p.bus.set(1, 0, false)
	case "late":
		p.bus.set(0.3, 300*time.Millisecond, false)
	case "twice":
		p.bus.set(0, 50*time.Millisecond, true)
	case "well":
		p.bus.set(0, 0, false)
	case "start":
		if len(p.nodes) < 6 {
			p.start(time.Duration(s.call-10)*time.Second, latency) // of which others know nothing
		}
	}
	if n == nil {
		return
	}
	switch s.kind {
	case "call":
		p.calls = append(p.calls, n.call(device(s.device)))
	case "over":
		if s.call < len(p.calls) {
			n.over(p.calls[s.call])
		}
	case "poll":
		p.polls.Go(func() { p.client(n, device(s.device), s.hold, s.flag) })
	case "gap":
		n.worker.Gap()
	case "stop":
		if p.live() > 1 {
			n.stop()
		}
	case "cut":
		n.setLink(true, false)
	case "lose":
		n.setLink(false, true)
	case "heal": // of a node that is up
		n.setLink(false, false)
	case "kill":
		if p.live() > 1 {
			n.die()
		}
	}
}

func device(i int) string { return fmt.Sprintf("device-%d", i) }

// client is one poll, and the receipt for what it brings.
func (p *play) client(n *node, device string, hold time.Duration, acks bool) {
	r, got := n.box.poll(device, hold, acks)
	if !got || !acks {
		return
	}
	p.mu.Lock()
	all := slices.Clone(p.nodes)
	p.mu.Unlock()
	for _, to := range append([]*node{all[len(device)%len(all)]}, all...) {
		if to.is(up) && !to.isCut() {
			to.receipt(r)
			return
		}
	}
}

// handedOut notes that a device has a call, and holds what must be true of that.
func (w *world) handedOut(n *node, r bell.Ring) {
	w.mu.Lock()
	f := w.fates[r.Delivery.ID]
	f.handed = append(f.handed, n.name)
	handed, over := f.handed, f.over
	calm := w.calm
	w.mu.Unlock()
	if calm && len(handed) > 1 {
		w.errorf("%s was handed out by %v", r.Delivery.ID, handed)
	}
	if late := time.Since(over); calm && !over.IsZero() && late > withinSweep+hintLeeway {
		w.errorf("%s was handed out by %s %v after its call was over", r.Delivery.ID, n.name, late)
	}
}

// hintLeeway is how long a letter is believed without being asked about.
const hintLeeway = cluster.SweepEvery / 4

// watch looks, until stop is closed, whether anybody waits for what is there, and whether
// anything is in two places.
func (w *world) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		w.mu.Lock()
		nodes := w.nodes[:len(w.nodes):len(w.nodes)]
		w.mu.Unlock()
		at := map[string]string{}
		for _, n := range nodes {
			if n.is(down) {
				continue
			}
			for _, id := range n.box.visible() {
				if other, twice := at[id]; twice {
					w.errorf("%s lies on %s and on %s", id, other, n.name)
				}
				at[id] = n.name
			}
			w.checkWaiting(n)
		}
	}
}

// checkWaiting holds that no poll waits for longer than a lost hint may cost.
func (w *world) checkWaiting(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, f := range w.fates {
		since, waits := n.box.waiting(f.ring.Device.ID)
		if !waits || f.recorded.IsZero() || len(f.handed) > 0 || !f.over.IsZero() || !n.is(up) ||
			!time.Now().Before(f.ring.Delivery.Deadline) {
			continue
		}
		if f.recorded.After(since) {
			since = f.recorded
		}
		if waited := time.Since(since); waited > withinSweep && len(w.wrong) < 20 {
			w.wrong = append(w.wrong, fmt.Sprintf("%s: %s waits on %s for %v and has not got %s", time.Now().Format("04:05.000"), f.ring.Device.ID, n.name, waited, id))
		}
	}
}

func (p *play) tell(story []step) {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	if p.calm {
		watching.Go(func() { p.watch(stop) })
	}
	for _, s := range story {
		p.do(s)
		<-time.After(s.wait)
	}
	for _, n := range p.nodes {
		if !n.is(down) {
			n.setLink(false, false)
		}
	}
	p.polls.Wait()
	p.epilogue()
	close(stop)
	watching.Wait()
}

// epilogue lets every device poll on one node for as long as a dead node may cost, and then
// holds that every call that is not over was had.
func (p *play) epilogue() {
	var last *node
	for _, n := range p.nodes {
		if n.is(up) {
			last = n
		}
	}
	end := time.Now().Add(2*cluster.DeadAfter + 4*time.Second)
	for i := range 4 {
		p.polls.Go(func() {
			for time.Now().Before(end) {
				p.client(last, device(i), time.Until(end), i%2 == 0)
			}
		})
	}
	p.polls.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, f := range p.fates {
		rings := time.Until(f.ring.Delivery.Deadline)
		if !f.recorded.IsZero() && f.over.IsZero() && rings > 0 && len(f.handed) == 0 {
			p.wrong = append(p.wrong, fmt.Sprintf("%s for %s, recorded with owner %q, was never had; its row is %+v", id, f.ring.Device.ID, f.ring.Delivery.LeaseOwner, p.db.Delivery(id)))
		}
	}
}

func stories(t *testing.T, kinds []string, isCalm bool) {
	rapid.Check(t, func(rt *rapid.T) {
		story := steps(kinds).Draw(rt, "story")
		nodes := rapid.IntRange(1, 3).Draw(rt, "nodes")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			p := &play{world: newWorld(t, nodes)}
			p.calm = isCalm
			p.tell(story)
			wrong = p.end()
		})
		for _, w := range wrong {
			rt.Error(w)
		}
	})
}

func TestEveryPollGetsItsCallsWithinASweep(t *testing.T) { stories(t, calm, true) }

func TestNothingIsLostWhenNodesDieOrAreCutOff(t *testing.T) { stories(t, wild, false) }
