//go:build !race

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/testpg"
)

// settings of PostgreSQL: in CI commits do not wait for the disk.
func (s nodesScale) settings() []string {
	if s.full {
		return nil
	}
	return []string{testpg.NoFsync}
}

// Three nodes behind a load balancer, on one PostgreSQL: nodes are killed one after the other,
// PostgreSQL is restarted, and so is NATS, where it carries the hints. No call that was answered
// 200 is lost, every poller gets its calls within the ring, and what comes twice is counted.
func TestThreeNodes(t *testing.T) {
	for _, nats := range []bool{false, true} {
		name := "PostgreSQL bus"
		if nats {
			name = "NATS bus"
		}
		t.Run(name, func(t *testing.T) {
			s := scaleOf(t)
			s.besideOthers(t)
			d := deploy(t, nats, false, s.settings()...)
			n := newNodes(t, d.options(t, s))
			n.checkNames()
			f := n.addFleet(max(60, s.rate*3/5))
			l := n.begin(f, s.rate, s.span)
			rooms := l.groupCalls(6)
			n.trouble(l, d, s)
			n.finish(l, rooms)
			if n.faults.kills == 0 {
				t.Error("no node was killed; that proves nothing")
			}
		})
	}
}

// trouble kills a node at each tick, but for one tick in the middle, when PostgreSQL is restarted, and one
// after that, when NATS is.
func (n *nodes) trouble(l *load, d *deployment, s nodesScale) {
	n.t.Helper()
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	middle, kills := int(s.span/s.every)/2, 0
	for tick := 1; ; tick++ {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		switch {
		case tick == middle:
			n.faults.during(fault{what: "PostgreSQL was restarted", database: true}, func() {
				if err := d.pg.Restart(); err != nil {
					n.t.Fatal(err)
				}
			})
		case tick == middle+1 && d.nats != nil:
			n.faults.during(fault{what: "NATS was restarted"}, d.nats.restart)
		default:
			n.killOne(n.list[kills%len(n.list)])
			kills++
		}
	}
}

// checkNames: each node says which it is, in its log, in its metrics and where it is asked whether it is ready.
func (n *nodes) checkNames() {
	n.t.Helper()
	for _, d := range n.list {
		if page := n.ask(d, "/readyz"); !strings.Contains(page, d.name) {
			n.t.Errorf("/readyz of %s says %q, and not which node it is", d.name, page)
		}
		if page := n.ask(d, "/metrics"); !strings.Contains(page, `node="`+d.name+`"`) {
			n.t.Errorf("the metrics of %s do not say which node it is", d.name)
		}
		d.log.mu.Lock()
		if d.log.named == 0 && d.log.lines > 0 {
			n.t.Errorf("no line of the log of %s says which node it is", d.name)
		}
		d.log.mu.Unlock()
	}
}

// A rolling upgrade: one node after the other is stopped under load and started again. Nothing is
// lost, and nothing comes twice.
func TestARollingUpgrade(t *testing.T) {
	s := scaleOf(t)
	s.besideOthers(t)
	s.span = min(s.span, 30*time.Second)
	d := deploy(t, false, false, s.settings()...)
	n := newNodes(t, d.options(t, s))
	f := n.addFleet(max(60, s.rate*3/5))
	l := n.begin(f, s.rate, s.span)
	rooms := l.groupCalls(6)
	for _, one := range n.list {
		_ = rest(n.ctx, s.span/6)
		n.signalStop(one)
		n.stopped(one)
		_ = rest(n.ctx, time.Second)
		n.start(one)
	}
	n.finish(l, rooms)
}
