package cluster_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// ends is two nodes: calls come to a, and streams are held on b.
type ends struct {
	*world
	a, b     *node
	registry *prometheus.Registry
	asked    atomic.Int64 // how often b asked what has ended
	most     atomic.Int64 // calls in one question
}

// countEnded is a store that counts what is asked.
type countEnded struct {
	cluster.Store
	e *ends
}

func (c countEnded) Ended(ctx context.Context, calls []bell.CallKey) ([]bell.CallKey, error) {
	c.e.asked.Add(1)
	c.e.most.Store(max(c.e.most.Load(), int64(len(calls))))
	return c.Store.Ended(ctx, calls)
}

func tellEnds(t *testing.T, story func(t *testing.T, e *ends)) {
	tell(t, 1, func(t *testing.T, w *world) {
		e := &ends{world: w, a: w.nodes[0], registry: prometheus.NewRegistry()}
		w.metrics = cluster.NewMetrics(e.registry)
		w.wrap = func(s cluster.Store) cluster.Store { return countEnded{s, e} }
		e.b = w.start(0, latency)
		pass(2 * cluster.SweepEvery)
		story(t, e)
	})
}

// lost is how many ends no hint told, as b counts them.
func (e *ends) lost(t *testing.T) float64 {
	t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "planetbell_cluster_hints_lost_total" && m.GetLabel()[0].GetValue() == "ended" {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatal("lost ends are not counted")
	return 0
}

// answered is a call that a stream on b has told its device of, and that the device acknowledged.
func (e *ends) answered(t *testing.T, device string) (*fate, bell.CallKey) {
	t.Helper()
	f := e.a.call(device)
	wait(t, e.b, device, 5*time.Second, true)
	e.b.receipt(f.ring)
	if left := e.b.box.visible(); len(left) != 0 {
		t.Fatalf("%q are in the mailbox, where dropGone finds them", left)
	}
	return f, e.b.box.hear(f)
}

// A call that a device has acknowledged is in no mailbox, and the hint of its end is lost: its
// stream is told all the same.
func TestAStreamIsToldOfAnEndWithoutAHint(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		over, overKey := e.answered(t, "d")
		_, ringsKey := e.answered(t, "e")
		e.bus.set(1, 0, false)
		for range 5 { // at other times between two sweeps
			pass(310 * time.Millisecond)
			if e.b.box.told(overKey) {
				t.Fatal("a call that rings is said to be over")
			}
		}
		e.a.over(over)
		pass(withinSweep)
		if !e.b.box.told(overKey) || e.b.box.told(ringsKey) {
			t.Errorf("told of the end of what is over: %t, of what rings: %t", e.b.box.told(overKey), e.b.box.told(ringsKey))
		}
		pass(2 * cluster.SweepEvery)
		if n := e.lost(t); n != 1 {
			t.Errorf("%v lost hints are counted", n)
		}
	})
}

// What is still to be sent, by whatever channel, is stopped too.
func TestAnEndWithoutAHintStopsItsCall(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		f := e.a.call("d")
		e.b.box.hear(f)
		e.bus.set(1, 0, false)
		e.a.over(f)
		pass(withinSweep)
		e.b.mu.Lock()
		defer e.b.mu.Unlock()
		if !e.b.withdrawn[f.ring.Call.SessionID] {
			t.Error("what is still to be sent of the call was not stopped")
		}
	})
}

// While hints come, no end counts as lost, at whatever time of a sweep it is.
func TestAnEndWithAHintIsNotLost(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		e.bus.set(0, 200*time.Millisecond, false)
		for i := range 40 { // the sweep finds some of them before their hints
			f, key := e.answered(t, fmt.Sprint("d-", i))
			pass(time.Duration(i) * 25 * time.Millisecond)
			e.a.over(f)
			pass(210 * time.Millisecond)
			if !e.b.box.told(key) {
				t.Errorf("the end of call %d was not told", i)
			}
		}
		pass(3 * cluster.SweepEvery)
		if n := e.lost(t); n != 0 {
			t.Errorf("%v lost hints are counted", n)
		}
	})
}

func TestNothingIsAskedWhenNoStreamTold(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		f := e.a.call("d")
		wait(t, e.b, "d", 5*time.Second, true)
		pass(5 * cluster.SweepEvery)
		if n := e.asked.Load(); n != 0 {
			t.Errorf("it was asked %d times what has ended", n)
		}
		e.b.box.hear(f)
		pass(3 * cluster.SweepEvery)
		if n := e.asked.Load(); n < 2 || n > 4 {
			t.Errorf("in three sweeps it was asked %d times", n)
		}
		e.a.over(f)
		pass(2 * cluster.SweepEvery)
		before := e.asked.Load()
		pass(5 * cluster.SweepEvery)
		if n := e.asked.Load() - before; n != 0 {
			t.Errorf("after the end it was asked %d times", n)
		}
	})
}

func TestManyEndsAreAskedForInPages(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		e.bus.set(1, 0, false)
		var keys []bell.CallKey
		for i := range 2500 {
			f := &fate{ring: bell.Ring{Call: &bell.Call{SessionID: planet.SessionID(fmt.Sprint("many-", i))}}}
			keys = append(keys, e.b.box.hear(f))
		}
		e.a.do(func() {
			for _, key := range keys {
				e.db.End(key.Environment, key.SessionID)
			}
		})
		pass(withinSweep + 3*latency)
		for _, key := range keys {
			if !e.b.box.told(key) {
				t.Fatalf("the end of %v was not told", key)
			}
		}
		if n, most := e.asked.Load(), e.most.Load(); n < 3 || n > 6 || most != 1000 {
			t.Errorf("it was asked %d times, for at most %d calls", n, most)
		}
	})
}

// A database that does not answer costs the ends a sweep, and no more.
func TestEndsAreAskedForAgain(t *testing.T) {
	tellEnds(t, func(t *testing.T, e *ends) {
		f, key := e.answered(t, "d")
		e.bus.set(1, 0, false)
		e.calm = false
		e.b.setLink(true, false)
		e.a.over(f)
		pass(10 * time.Second)
		if e.b.box.told(key) {
			t.Fatal("the story is not as it should be: an end was told that cannot be known")
		}
		e.b.setLink(false, false)
		pass(4 * time.Second)
		if !e.b.box.told(key) {
			t.Error("the end was not told")
		}
	})
}
