package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// tell runs a story with some nodes, and ends them.
func tell(t *testing.T, nodes int, story func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nodes)
		pass(cluster.SweepEvery + cluster.SweepEvery/2)
		story(t, w)
		for _, wrong := range w.end() {
			t.Error(wrong)
		}
	})
}

func pass(d time.Duration) { <-time.After(d) }

// wait polls, and returns how long it took until a call came; it fails when none does.
func wait(t *testing.T, n *node, device string, hold time.Duration, acks bool) time.Duration {
	t.Helper()
	began := time.Now()
	if _, got := n.box.poll(device, hold, acks); !got {
		t.Fatalf("%s waited on %s for %v and got nothing", device, n.name, hold)
	}
	return time.Since(began)
}

func TestAHintBringsACallToItsPollAtOnce(t *testing.T) {
	tell(t, 3, func(t *testing.T, w *world) {
		time.AfterFunc(500*time.Millisecond, func() { w.nodes[0].call("d") })
		if took := wait(t, w.nodes[1], "d", 5*time.Second, false); took > 500*time.Millisecond+4*latency {
			t.Errorf("it took %v", took)
		}
	})
}

func TestALostHintCostsASweep(t *testing.T) {
	tell(t, 3, func(t *testing.T, w *world) {
		w.bus.set(1, 0, false)
		time.AfterFunc(500*time.Millisecond, func() { w.nodes[0].call("d") })
		if took := wait(t, w.nodes[1], "d", 5*time.Second, false); took < 600*time.Millisecond || took > 500*time.Millisecond+withinSweep {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAGapIsSweptAtOnce(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		w.bus.set(1, 0, false)
		go func() {
			w.nodes[0].call("d")
			for range 3 {
				w.nodes[1].worker.Gap()
			}
		}()
		if took := wait(t, w.nodes[1], "d", 5*time.Second, false); took > 8*latency+100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAPollFindsWhatLayThereForLong(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		w.nodes[0].call("d")
		pass(cluster.Overlap + 7*time.Second)
		if took := wait(t, w.nodes[1], "d", 5*time.Second, false); took > 3*latency {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatHasNoPollIsHadWhereTheDevicePollsNext(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		go a.box.poll("d", latency/2, false)
		synctest.Wait()
		f := a.call("d") // the poll is gone when it is recorded
		if f.ring.Delivery.LeaseOwner != a.name {
			t.Fatal("the story is not as it should be: no poll waited")
		}
		pass(3 * latency)
		if took := wait(t, b, "d", 5*time.Second, false); took > 3*latency {
			t.Errorf("it took %v", took)
		}
	})
}

// insert records a letter that is nobody's, as if at another time, and tells nobody.
func (w *world) insert(device string, ago time.Duration) {
	at := time.Now().Add(-ago)
	r := bell.Ring{
		Call:   &bell.Call{Environment: planet.Evaluation, SessionID: "by-hand", Deadline: at.Add(2 * time.Minute)},
		Device: bell.Device{ID: device},
		Delivery: bell.Delivery{
			ID: "by-hand", SessionID: "by-hand", DeviceID: device, Channel: bell.LongPoll, State: bell.DeliveryPending,
			Deadline: at.Add(2 * time.Minute), CreatedAt: at, UpdatedAt: at,
		},
	}
	w.mu.Lock()
	w.fates["by-hand"] = &fate{ring: r}
	w.mu.Unlock()
	w.nodes[0].do(func() { w.db.Insert(r) })
}

func TestAPollThatBeganBeforeTheCommitIsTold(t *testing.T) {
	tell(t, 1, func(t *testing.T, w *world) {
		go func() {
			pass(100 * time.Millisecond)
			w.insert("d", 0)
			w.nodes[0].worker.Posted("d")
		}()
		if took := wait(t, w.nodes[0], "d", 5*time.Second, false); took > 100*time.Millisecond+4*latency {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatWasCommittedLateIsFound(t *testing.T) {
	for ago, most := range map[time.Duration]time.Duration{
		cluster.Overlap - 2*time.Second: withinSweep,
		cluster.Overlap + time.Minute:   11 * cluster.SweepEvery, // by a wide sweep
	} {
		tell(t, 2, func(t *testing.T, w *world) {
			pass(20 * time.Second)
			time.AfterFunc(100*time.Millisecond, func() { w.insert("d", ago) })
			if took := wait(t, w.nodes[1], "d", 30*time.Second, false); took > most+100*time.Millisecond {
				t.Errorf("recorded %v late, it took %v", ago, took)
			}
		})
	}
}

func TestWhatPollsDoNotTakeDoesNotGoToAndFro(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		for _, n := range w.nodes {
			go n.box.poll("d", time.Minute, false)
		}
		pass(time.Second)
		f := w.nodes[0].call("e") // which has no poll
		f.ring.Call.Purpose = bell.PurposeMissedCall
		f.ring.Device.ID, f.ring.Delivery.DeviceID = "d", "d"
		w.nodes[0].do(func() { w.db.Insert(f.ring) })
		w.nodes[0].worker.Posted("d")
		pass(25 * time.Second)
		idles := w.nodes[0].box.idles + w.nodes[1].box.idles
		if idles == 0 || idles > 4 {
			t.Errorf("the notice was given to polls and back %d times", idles)
		}
		if d := w.db.Delivery(f.ring.Delivery.ID); d.LeaseOwner != "" {
			t.Errorf("it is %q's", d.LeaseOwner)
		}
	})
}

func TestWhatIsGivenBackIsToldToOthers(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		go a.box.poll("d", latency/2, false)
		synctest.Wait()
		go a.call("d")
		if took := wait(t, b, "d", 5*time.Second, false); took > 5*latency {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatCannotBeGivenBackIsGivenBackLater(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a := w.nodes[0]
		w.calm = false
		go a.box.poll("d", latency, false)
		synctest.Wait()
		f := a.call("d")
		a.setLink(true, false)
		pass(2500 * time.Millisecond)
		a.setLink(false, false)
		pass(4 * time.Second)
		if d := w.db.Delivery(f.ring.Delivery.ID); d.LeaseOwner != "" {
			t.Errorf("it is still %q's", d.LeaseOwner)
		}
	})
}

// slowGone is a store whose answers to Gone are late.
type slowGone struct{ cluster.Store }

func (s slowGone) Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error) {
	gone, err := s.Store.Gone(ctx, owner, deliveries)
	pass(200 * time.Millisecond)
	return gone, err
}

func TestWhatIsClaimedWhileItIsAskedAboutStays(t *testing.T) {
	tell(t, 0, func(t *testing.T, w *world) {
		w.wrap = func(s cluster.Store) cluster.Store { return slowGone{s} }
		a := w.start(0, latency)
		w.calm = false      // the device gets it twice
		for i := range 25 { // at some of these times Gone is being asked
			device := fmt.Sprint("d-", i)
			f := a.call(device)
			wait(t, a, device, time.Second, true) // and does not acknowledge it
			pass(latency)
			r := f.ring.Delivery
			r.UpdatedAt = a.worker.Now()
			a.do(func() { w.db.Record(r) }) // as after FreeDead
			pass(time.Duration(i) * 50 * time.Millisecond)
			if took := wait(t, a, device, 10*time.Second, false); took > unseen {
				t.Errorf("time %d: it took %v", i, took)
			}
		}
	})
}

func TestWhatCannotBeGivenBackIsHadHere(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a := w.nodes[0]
		f := a.call("other")
		r := f.ring
		r.Device.ID, r.Delivery.ID, r.Delivery.DeviceID, r.Delivery.LeaseOwner = "d", "unrecorded", "d", a.name // its call waits to be recorded
		w.fates["unrecorded"] = &fate{ring: r}
		a.Take([]bell.Ring{r})
		pass(3 * time.Second)
		if took := wait(t, a, "d", 5*time.Second, false); took > 3*latency {
			t.Errorf("a letter without a record took %v", took)
		}
		a.setLink(true, false)
		w.calm = false
		r.Delivery.ID = "unreachable"
		w.fates["unreachable"] = &fate{ring: r}
		a.Take([]bell.Ring{r})
		pass(500 * time.Millisecond) // it is being given back, and that hangs
		if took := wait(t, a, "d", 5*time.Second, false); took > time.Second {
			t.Errorf("a letter that could not be given back took %v", took)
		}
		a.setLink(false, false)
	})
}

func TestWhatADeadNodeHeldIsHadElsewhere(t *testing.T) {
	tell(t, 3, func(t *testing.T, w *world) {
		pass(2 * cluster.DeadAfter) // they know one another
		held := w.nodes[0].call("d").ring
		held.Delivery.LeaseOwner = w.nodes[0].name
		w.nodes[0].box.hold(held)
		w.nodes[0].do(func() { w.db.Record(held.Delivery) })
		if _, got := w.nodes[1].box.poll("d", 2*cluster.DeadAfter, false); got {
			t.Fatal("a call was had elsewhere while its node was alive")
		}
		died := time.Now()
		w.nodes[0].die()
		most := cluster.DeadAfter + cluster.BeatEvery + withinSweep
		wait(t, w.nodes[1], "d", 20*time.Second, false)
		if took := time.Since(died); took < cluster.DeadAfter-cluster.BeatEvery-latency || took > most {
			t.Errorf("it took %v, and not %v at the most", took, most)
		}
		if s := w.nodes[1].worker.Status(); len(s.Alive) != 2 || len(s.Nodes) != 3 {
			t.Errorf("one of three is dead, and the status is %+v", s)
		}
	})
}

// What is recorded as a node's and is nowhere in its memory is had all the same, there and elsewhere.
func TestWhatIsNowhereIsFound(t *testing.T) {
	for name, at := range map[string]int{"here": 0, "elsewhere": 1} {
		t.Run(name, func(t *testing.T) {
			tell(t, 2, func(t *testing.T, w *world) {
				lost := w.nodes[0].call("d").ring
				held := w.nodes[0].call("e").ring
				for _, r := range []*bell.Ring{&lost, &held} {
					r.Delivery.LeaseOwner = w.nodes[0].name
					w.nodes[0].do(func() { w.db.Record(r.Delivery) })
				}
				w.nodes[0].box.hold(held)
				if took := wait(t, w.nodes[at], "d", 20*time.Second, false); took > 2*time.Second+withinSweep {
					t.Errorf("it took %v", took)
				}
				pass(5 * time.Second)
				if owner := w.db.Delivery(held.Delivery.ID).LeaseOwner; owner != w.nodes[0].name {
					t.Errorf("what is in the mailbox was given back, and is %q's", owner)
				}
			})
		})
	}
}

// lateGiveBack is a store that gives back when something else has happened.
type lateGiveBack struct {
	cluster.Store
	before func()
}

func (s *lateGiveBack) GiveBack(ctx context.Context, owner string, deliveries []string) ([]string, error) {
	if s.before != nil {
		s.before()
	}
	return s.Store.GiveBack(ctx, owner, deliveries)
}

// What a plain poll has is not given back while the record of that is on its way.
func TestWhatAPollHasIsNotNowhere(t *testing.T) {
	tell(t, 0, func(t *testing.T, w *world) {
		s := &lateGiveBack{}
		w.wrap = func(inner cluster.Store) cluster.Store { s.Store = inner; return s }
		a := w.start(0, latency)
		r := a.call("d").ring
		wait(t, a, "d", time.Second, false)
		s.before = func() { w.errorf("something was given back") }
		pass(latency)
		r.Delivery.LeaseOwner = a.name // as if the record took long
		a.do(func() { w.db.Insert(r) })
		pass(5 * time.Second)
		s.before = nil
	})
}

// countFree is a store that counts how often the dead are asked about.
type countFree struct {
	cluster.Store
	asked *atomic.Int64
}

func (s countFree) FreeDead(ctx context.Context, since time.Time) (int, error) {
	s.asked.Add(1)
	return s.Store.FreeDead(ctx, since)
}

func TestADeadNodeIsNotAskedAboutForEver(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		var asked atomic.Int64
		w.wrap = func(s cluster.Store) cluster.Store { return countFree{s, &asked} }
		w.start(0, latency)
		w.calm = false
		count := func(d time.Duration) int64 {
			before := asked.Load()
			pass(d)
			return asked.Load() - before
		}
		pass(2 * cluster.DeadAfter)
		w.nodes[0].setLink(true, false)
		if n := count(40 * time.Second); n < 30 {
			t.Errorf("it was asked about %d times while it may still hold something", n)
		}
		// Now and then all the same: somebody who is no node at all may hold something.
		if n := count(2 * time.Minute); n > 13 || n < 11 {
			t.Errorf("it was asked about %d times when nothing had been found for long", n)
		}
		w.nodes[1].die()
		if n := count(40 * time.Second); n < 30 {
			t.Errorf("another died, and they were asked about %d times", n)
		}
		count(30 * time.Second)
		w.nodes[0].setLink(false, false)
		pass(2 * cluster.DeadAfter)
		w.nodes[0].setLink(true, false)
		if n := count(40 * time.Second); n < 30 {
			t.Errorf("one came back and died again, and it was asked about %d times", n)
		}
		w.nodes[0].setLink(false, false)
		pass(cluster.BeatEvery)
	})
}

func TestWhoIsCutOffEndsItsPolls(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a := w.nodes[0]
		check := func(when string, cut bool, ends int) {
			t.Helper()
			if got := a.worker.CutOff(); got != cut || a.box.ends() != ends {
				t.Errorf("%s: cut off is %t, and polls were ended %d times; want %t, %d", when, got, a.box.ends(), cut, ends)
			}
		}
		pass(2 * cluster.DeadAfter)
		check("well", false, 0)
		w.calm = false
		for i := range 2 {
			a.setLink(true, false)
			pass(cluster.DeadAfter - cluster.BeatEvery - 100*time.Millisecond)
			check("for some seconds", false, i)
			pass(2 * cluster.BeatEvery)
			check("cut off", true, i+1)
			pass(10 * time.Second)
			check("for long", true, i+1)
			a.setLink(false, false)
			pass(3 * cluster.BeatEvery)
			check("back", false, i+1)
		}
		if w.nodes[1].box.ends() != 0 {
			t.Error("polls on another node were ended")
		}
	})
}

func TestNobodyIsDeadWhenTheDatabaseWasAway(t *testing.T) {
	tell(t, 3, func(t *testing.T, w *world) {
		pass(2 * cluster.DeadAfter)
		held := w.nodes[0].call("d").ring
		held.Delivery.LeaseOwner = w.nodes[0].name
		w.nodes[0].box.hold(held)
		w.nodes[1].do(func() { w.db.Record(held.Delivery) })
		for _, n := range w.nodes {
			n.setLink(true, false)
		}
		pass(4 * cluster.DeadAfter)
		w.nodes[1].setLink(false, false) // the first that is back
		pass(2 * time.Second)
		w.nodes[0].setLink(false, false)
		pass(2 * cluster.DeadAfter)
		if owner := w.db.Delivery(held.Delivery.ID).LeaseOwner; owner != w.nodes[0].name {
			t.Errorf("the delivery is %q's", owner)
		}
		if s := w.nodes[1].worker.Status(); len(s.Alive) != 2 || len(s.Nodes) != 3 || s.Trouble != "" {
			t.Errorf("one of three is away, and the status is %+v", s)
		}
		w.nodes[2].setLink(false, false)
		pass(2 * cluster.BeatEvery)
	})
}

func TestACallThatIsOverElsewhereLeavesTheMailbox(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		w.bus.set(1, 0, false)
		a, b := w.nodes[0], w.nodes[1]
		f := a.call("d")
		if wait(t, b, "d", 5*time.Second, true); len(b.box.visible()) != 1 {
			t.Fatal("the letter does not wait for its receipt")
		}
		a.over(f)
		pass(withinSweep)
		if left := b.box.visible(); len(left) != 0 {
			t.Errorf("left in the mailbox: %q", left)
		}
	})
}

func TestHintsAreObeyed(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		first, second := a.call("d"), a.call("e")
		wait(t, b, "d", time.Second, true)
		wait(t, b, "e", time.Second, true)
		a.over(first)
		a.receipt(second.ring)
		pass(2 * time.Millisecond)
		if left := b.box.visible(); len(left) != 0 {
			t.Errorf("left in the mailbox: %q", left)
		}
		b.worker.Heard([]cluster.Hint{{}, {Kind: "unheard of"}})
	})
}

func TestAReceiptThatIsFasterThanItsClaimKeepsTheCallAway(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		f := a.call("d")
		go func() {
			pass(5*time.Millisecond + latency/2 + time.Millisecond) // the claim is done, and its answer on the way
			b.worker.Heard([]cluster.Hint{{Kind: cluster.HintReceived, Environment: planet.Evaluation, SessionID: f.ring.Call.SessionID, DeviceID: "d"}})
		}()
		if _, got := b.box.poll("d", 200*time.Millisecond, false); got {
			t.Error("the device got a call that it has")
		}
	})
}

// A receipt that comes while a claim is being taken finds the call when it is taken.
func TestAReceiptThatComesWithItsCallFindsIt(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		f := a.call("d")
		var receipts sync.WaitGroup
		b.taking = func() {
			receipts.Go(func() {
				b.worker.Heard([]cluster.Hint{{Kind: cluster.HintReceived, Environment: planet.Evaluation, SessionID: f.ring.Call.SessionID, DeviceID: "d"}})
			})
			for range 1000 {
				runtime.Gosched() // the receipt comes as far as it may
			}
		}
		wait(t, b, "d", time.Second, false)
		receipts.Wait()
		b.wantReceived(t, "taken", "call-000 d") // else it finds nothing, and what is taken stays
	})
}

func TestAReceiptElsewhereEndsWhatIsStillToBeSent(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		a.receipt(a.call("d").ring)
		pass(10 * time.Millisecond)
		b.wantReceived(t, "call-000 d")
	})
}

func TestWhoStopsLeavesItsLettersAtOnce(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		f := a.call("d")
		f.ring.Delivery.LeaseOwner = a.name
		a.box.hold(f.ring)
		b.do(func() { w.db.Record(f.ring.Delivery) })
		time.AfterFunc(time.Second, a.stop)
		if took := wait(t, b, "d", 10*time.Second, false); took > time.Second+withinSweep {
			t.Errorf("it took %v", took)
		}
		pass(cluster.BeatEvery + latency)
		if s := b.worker.Status(); len(s.Nodes) != 1 {
			t.Errorf("who left is still known: %+v", s.Nodes)
		}
	})
}

func TestTroubleAndSkewAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		metrics := cluster.NewMetrics(reg)
		n := &node{world: w, name: "told", link: w.db.Connect(latency), withdrawn: map[planet.SessionID]bool{}}
		n.box = &box{node: n, letters: map[string]*letter{}, had: map[string]bool{}, polls: map[string][]*poll{}, closing: make(chan struct{})}
		skew := 3 * time.Second
		clock := func() time.Time { return time.Now().Add(-skew) }
		n.cache = cluster.NewDeviceCache(cluster.CacheConfig{Read: n.readDevices, Clock: clock, Metrics: metrics})
		n.worker = cluster.New(cluster.Config{
			Store: n.link, Hints: voice{w.bus, n}, Rings: n, Mailbox: n.box, Devices: n.cache, Node: cluster.Node{Owner: "told"},
			Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics, Clock: clock,
		})
		ctx, cancel := context.WithCancel(t.Context())
		if err := n.worker.Join(ctx); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); n.worker.Run(ctx) }()
		pass(10 * time.Second)
		if off := time.Since(n.worker.Now()).Abs(); off > latency {
			t.Errorf("the node's time is off by %v", off)
		}
		n.link.Set(true, false)
		pass(30 * time.Second)
		n.link.Set(false, false)
		pass(10 * time.Second)
		cancel()
		<-done
		if err := n.worker.Leave(context.Background()); err != nil {
			t.Error(err)
		}
		for _, text := range []string{"cannot ask the database", "can ask the database again", "clock is not the database's"} {
			if n := strings.Count(log.String(), text); n != 1 {
				t.Errorf("the log says %d times %q:\n%s", n, text, &log)
			}
		}
		if got := testutil.ToFloat64(metricOf(t, reg, "planetbell_cluster_clock_skew_seconds")); got < 2.9 || got > 3.1 {
			t.Errorf("the skew is told as %v", got)
		}
		w.end()
	})
}

// metricOf finds a gauge by its name.
func metricOf(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
			g.Set(f.GetMetric()[0].GetGauge().GetValue())
			return g
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

func TestAFullQueueMakesTheSweepLookAtEverything(t *testing.T) {
	tell(t, 1, func(t *testing.T, w *world) {
		n := w.nodes[0]
		n.call("d")
		pass(12 * time.Second) // more than a sweep looks back
		n.worker.Gap()         // so that the next one is no wide one
		pass(cluster.SweepEvery)
		n.setLink(true, false)
		for i := range 60_000 { // none of them waits any more
			n.worker.Entered(fmt.Sprint("gone-", i))
		}
		time.AfterFunc(time.Millisecond, func() { n.setLink(false, false) })
		if took := wait(t, n, "d", 20*time.Second, false); took > 2*withinSweep {
			t.Errorf("it took %v", took)
		}
	})
}

// slowGiveBack is a store in which what is given back is written late.
type slowGiveBack struct{ cluster.Store }

func (s slowGiveBack) GiveBack(ctx context.Context, owner string, deliveries []string) ([]string, error) {
	pass(300 * time.Millisecond)
	return s.Store.GiveBack(ctx, owner, deliveries)
}

func TestAPollThatBeginsWhileItsCallIsGivenBackHasItThen(t *testing.T) {
	tell(t, 0, func(t *testing.T, w *world) {
		w.wrap = func(s cluster.Store) cluster.Store { return slowGiveBack{s} }
		a := w.start(0, latency)
		pass(cluster.SweepEvery)
		go a.box.poll("d", latency/2, false)
		synctest.Wait()
		a.call("d")
		pass(latency) // it is being given back
		if took := wait(t, a, "d", 5*time.Second, false); took > 300*time.Millisecond+4*latency {
			t.Errorf("it took %v", took)
		}
	})
}
