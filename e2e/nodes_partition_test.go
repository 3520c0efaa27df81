//go:build !race

package e2e

import (
	"testing"
	"time"
)

// The partitions are of the first of three nodes, which takes a third of all calls, and where a
// third of all polls wait. They begin and end at these shares of the load.
const (
	cutFrom = 0.25
	cutTo   = 0.6
)

// partition is a way in which the node's links fail.
type partition struct {
	name     string
	nats     bool // hints go through NATS
	begin    func(n *nodes, d *deployment)
	end      func(n *nodes, d *deployment)
	database bool // the node cannot reach the database, or not in time
}

// What package cluster and docs/adr/0005 state about a node whose links fail, holds: no call that was
// answered 200 is lost, every device gets its calls within the ring, and only what the cut node
// was ringing may ring twice. After the partition everything is on disk.
func TestPartitions(t *testing.T) {
	for _, p := range []partition{
		{
			name: "a node is cut from PostgreSQL", database: true,
			begin: func(_ *nodes, d *deployment) { d.toPG[0].Cut() },
			end:   func(_ *nodes, d *deployment) { d.toPG[0].Mend() },
		},
		{
			name: "a node's way to PostgreSQL is a black hole", nats: true, database: true,
			begin: func(_ *nodes, d *deployment) { d.toPG[0].Freeze() },
			end:   func(_ *nodes, d *deployment) { d.toPG[0].Mend() },
		},
		{
			name: "a node is cut from NATS", nats: true,
			begin: func(_ *nodes, d *deployment) { d.toNATS[0].Cut() },
			end:   func(_ *nodes, d *deployment) { d.toNATS[0].Mend() },
		},
		{
			name: "a node's links are slow", nats: true, database: true,
			begin: func(_ *nodes, d *deployment) {
				d.toPG[0].slow(100 * time.Millisecond)
				d.toNATS[0].slow(100 * time.Millisecond)
			},
			end: func(_ *nodes, d *deployment) { d.toPG[0].slow(0); d.toNATS[0].slow(0) },
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.play(t)
		})
	}
}

func (p *partition) play(t *testing.T) {
	s := scaleOf(t)
	s.rate, s.span = min(25, s.rate), 30*time.Second
	d := deploy(t, p.nats, true, s.settings()...)
	n := newNodes(t, d.options(t, s))
	f := n.addFleet(60)
	l := n.begin(f, s.rate, s.span)
	_ = rest(n.ctx, time.Duration(cutFrom*float64(s.span)))
	n.faults.during(fault{what: p.name, node: n.list[0].name, database: p.database}, func() {
		p.begin(n, d)
		_ = rest(n.ctx, time.Duration((cutTo-cutFrom)*float64(s.span)))
		p.end(n, d)
	})
	n.finish(l, nil)
}
