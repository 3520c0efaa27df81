//go:build !race

// Under the race detector the pretend services would be so slow that what is seen is mostly
// theirs. The program that runs here is built without it anyway.

package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// nodesScale is how much load there is: that of CI, or what PLANETBELL_NODES_RATE and
// PLANETBELL_NODES_SPAN say.
type nodesScale struct {
	rate  int // calls a second
	span  time.Duration
	every time.Duration // between one kill and the next
	full  bool          // not in CI
}

func scaleOf(t *testing.T) nodesScale {
	t.Helper()
	s := nodesScale{rate: 100, span: 20 * time.Second, every: 4 * time.Second}
	var err error
	if text := os.Getenv("PLANETBELL_NODES_RATE"); text != "" {
		if s.rate, err = strconv.Atoi(text); err != nil {
			t.Fatalf("PLANETBELL_NODES_RATE: %v", err)
		}
	}
	if text := os.Getenv("PLANETBELL_NODES_SPAN"); text != "" {
		if s.span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("PLANETBELL_NODES_SPAN: %v", err)
		}
	}
	if s.full = os.Getenv("PLANETBELL_NODES_RATE") != ""; s.full {
		s.every = min(20*time.Second, s.span/5)
	}
	return s
}

// level of the nodes' logs: every request, as long as they are not too many to be searched.
func (s nodesScale) level() string {
	if s.rate > 200 {
		return "warn"
	}
	return "info"
}

func (s nodesScale) limit() time.Duration { return s.span + 4*time.Minute }

// besideOthers lets a test run beside others in CI, whose load leaves the machine idle half of the time.
func (s nodesScale) besideOthers(t *testing.T) {
	t.Helper()
	if !s.full {
		t.Parallel()
	}
}

// onlyFull leaves out what CI has no time for.
func (s nodesScale) onlyFull(t *testing.T) {
	t.Helper()
	if !s.full {
		t.Skip("for make nodes")
	}
}

// The harness itself: one node with SQLite, which is killed and started again, loses nothing. Why a test
// of three nodes fails can be the harness.
func TestOneNodeUnderLoad(t *testing.T) {
	s := scaleOf(t)
	s.onlyFull(t)
	n := newNodes(t, nodesOptions{count: 1, level: s.level(), limit: s.limit()})
	f := n.addFleet(max(60, s.rate*3/5))
	l := n.begin(f, s.rate, s.span)
	rooms := l.groupCalls(6)
	n.killInTurn(l, s.every)
	n.finish(l, rooms)
}

// killInTurn kills one node after the other, and starts each again, while calls are begun.
func (n *nodes) killInTurn(l *load, every time.Duration) {
	n.t.Helper()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		n.killOne(n.list[i%len(n.list)])
	}
}

// killOne kills a node, and starts it again soon. What waits in memory because the database was
// away would be lost with it (docs/adr/0005), so while there is any, nobody is killed.
func (n *nodes) killOne(d *node) {
	n.t.Helper()
	for begun := time.Now(); n.remembers(d); {
		if time.Since(begun) > 10*time.Second || rest(n.ctx, 100*time.Millisecond) != nil {
			n.t.Logf("%s is not killed: the machine is too slow, and calls wait in memory", d.name)
			return
		}
	}
	n.kill(d)
	n.faults.kills++
	_ = rest(n.ctx, time.Second)
	n.start(d)
}

// finish waits for the end of everything, and checks it.
func (n *nodes) finish(l *load, rooms []*groupCall) {
	n.t.Helper()
	l.finish()
	n.settle()
	n.checkRooms(rooms)
	l.fleet.close() // no poll waits when the nodes stop
	n.stopAll()
	n.check(l)
}
