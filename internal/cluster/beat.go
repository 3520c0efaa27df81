package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// steadyGap is how long this node's own beats may pause before it trusts its picture of the
// others no more: then it was perhaps the database that was silent, and everybody with it.
const steadyGap = 2*BeatEvery + BeatEvery/2

// peers is what the last beat said.
type peers struct {
	nodes  []Node
	beaten time.Time       // the last answer, by the local clock
	seen   time.Time       // the same, by the database's
	steady time.Time       // since when beats are answered without a pause, by the local clock
	told   map[string]bool // what the log says of other nodes: true is dead
	skewed bool            // the log says that the clock is off
}

// Status is how a node and the others are, as it sees them.
type Status struct {
	Nodes   []Node // all that are known; one is alive if it is in Alive
	Alive   []string
	Skew    time.Duration // by which this machine's clock is behind the database's
	SeenAt  time.Time     // the last answered beat, by the database's clock; zero before Join
	Trouble string        // what the database does not answer; empty if it does
}

// Status says how this node and the others are. It asks nobody.
func (w *Worker) Status() Status {
	w.mu.Lock()
	p := w.peers
	w.mu.Unlock()
	s := Status{Nodes: p.nodes, Skew: w.clock.off(), SeenAt: p.seen, Trouble: w.trouble.now()}
	for _, n := range p.nodes {
		if !p.silent(n) {
			s.Alive = append(s.Alive, n.Owner)
		}
	}
	return s
}

func (p *peers) silent(n Node) bool { return n.SeenAt.Before(p.seen.Add(-DeadAfter)) }

// Join makes this process a node: it is heard of by others, and knows the database's time.
// From then on it says that it is alive until Leave. It fails when the database does not
// answer; then it is not a node, and nothing was started.
func (w *Worker) Join(ctx context.Context) error {
	if err := w.beat(ctx); err != nil {
		return fmt.Errorf("join the other nodes on this database: %w", err)
	}
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.beats.Go(func() {
		ticker := time.NewTicker(BeatEvery)
		defer ticker.Stop()
		for {
			select {
			case <-beating.Done():
				return
			case <-ticker.C:
				_ = w.beat(beating) // told by trouble
			}
		}
	})
	w.beats.Go(func() { w.watchBeats(beating) })
	return nil
}

// CutOff reports whether no beat of this node was answered for [DeadAfter]: what is recorded
// elsewhere does not come to polls here, and polls should be short, so that their devices ask
// others. It is false before Join.
func (w *Worker) CutOff() bool {
	now := w.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.peers.beaten.IsZero() && now.Sub(w.peers.beaten) >= DeadAfter
}

// watchBeats sends devices that poll here to others when this node is cut off.
func (w *Worker) watchBeats(ctx context.Context) {
	for before := false; pause(ctx, BeatEvery/2); {
		cut := w.CutOff()
		if cut && !before {
			w.Log.Warn("the database has not answered for some seconds; polls are ended, so that their devices ask other nodes")
			w.Mailbox.EndPolls()
		}
		before = cut
	}
}

// Leave ends this node: others continue at once what it still holds. It must be called when
// nothing of this process works on deliveries any more: it goes on saying that the node is
// alive until then. Without Join it does nothing.
func (w *Worker) Leave(ctx context.Context) error {
	if w.stop == nil {
		return nil
	}
	w.stop()
	w.beats.Wait()
	w.stop = nil
	err := w.trouble.ask(ctx, "leave", beatTimeout, func(ctx context.Context) error { return w.Store.Leave(ctx, w.Node.Owner) })
	if err != nil {
		return fmt.Errorf("leave the other nodes on this database; they continue what this one held in %v: %w", DeadAfter, err)
	}
	return nil
}

// beat says that this node is alive, and takes what is known of time and of the others.
func (w *Worker) beat(ctx context.Context) error {
	var nodes []Node
	var now time.Time
	asked := w.Clock()
	err := w.trouble.ask(ctx, "beat", beatTimeout, func(ctx context.Context) (err error) {
		nodes, now, err = w.Store.Beat(ctx, w.Node)
		return err
	})
	if err != nil {
		return err
	}
	answered := w.Clock()
	stepped := w.clock.learn(asked, answered, now)
	w.tellSkew()
	w.tellNodes(w.meet(nodes, now, answered, stepped))
	return nil
}

// news is what changed in who is alive.
type news struct {
	joined, died, back []Node
	alive              int
}

// meet takes what a beat said of all nodes. Nobody is called dead by a node that has not
// itself been answered for as long: after a database was away, all others look silent.
func (w *Worker) meet(nodes []Node, now, answered time.Time, stepped bool) (n news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.peers
	if p.beaten.IsZero() || stepped || answered.Sub(p.beaten) > steadyGap {
		p.steady = answered
	}
	p.nodes, p.seen, p.beaten = slices.Clone(nodes), now, answered
	known := map[string]bool{}
	for _, node := range nodes {
		before, met := p.told[node.Owner]
		silent := p.silent(node)
		if !silent {
			n.alive++
		}
		if node.Owner == w.Node.Owner {
			continue
		}
		dead := silent && p.isSteady(answered)
		known[node.Owner] = dead || before && silent
		switch {
		case dead && !before:
			n.died = append(n.died, node)
		case !silent && before:
			n.back = append(n.back, node)
		case !silent && !met:
			n.joined = append(n.joined, node)
		}
	}
	p.told = known
	return n
}

// isSteady reports whether this node has been answered for long enough to judge others.
func (p *peers) isSteady(local time.Time) bool {
	return !p.beaten.IsZero() && local.Sub(p.beaten) <= steadyGap && local.Sub(p.steady) >= DeadAfter
}

// dead returns since when a node must have been silent to be dead, and when those that are
// were heard of last, by their owners.
func (w *Worker) dead() (since time.Time, dead map[string]time.Time) {
	local := w.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.peers.isSteady(local) {
		return time.Time{}, nil
	}
	dead = map[string]time.Time{}
	for _, n := range w.peers.nodes {
		if n.Owner != w.Node.Owner && w.peers.silent(n) {
			dead[n.Owner] = n.SeenAt
		}
	}
	return w.peers.seen.Add(-DeadAfter), dead
}

func (w *Worker) tellNodes(n news) {
	w.Metrics.nodes.Set(float64(n.alive))
	for _, node := range n.joined {
		w.Log.Info("another node is there", "node", node.Owner, "host", node.Host, "version", node.Version, "alive", n.alive)
	}
	for _, node := range n.died {
		w.Log.Warn("a node was not heard of for some seconds; what it held is continued by others", "node", node.Owner, "host", node.Host, "seen_at", node.SeenAt, "alive", n.alive)
	}
	for _, node := range n.back {
		w.Log.Info("a node that was presumed dead is there again", "node", node.Owner, "host", node.Host, "alive", n.alive)
	}
}

// tellSkew says once that the clock is off, and once that it is right again.
func (w *Worker) tellSkew() {
	skew := w.clock.off()
	w.Metrics.skew.Set(skew.Seconds())
	w.mu.Lock()
	before := w.peers.skewed
	if skew.Abs() > maxSkew {
		w.peers.skewed = true
	} else if skew.Abs() < maxSkew/2 { // not at once, or it is told again and again
		w.peers.skewed = false
	}
	after := w.peers.skewed
	w.mu.Unlock()
	switch {
	case after && !before:
		w.Log.Warn("this machine's clock is not the database's; calls and tokens go by the database's, but look after NTP: logs and certificates go by this machine's", "behind", skew)
	case before && !after:
		w.Log.Info("this machine's clock is the database's again", "behind", skew)
	}
}
