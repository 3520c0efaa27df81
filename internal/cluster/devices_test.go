package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

func ownerOf(user string) bell.Owner {
	return bell.Owner{Environment: planet.Real, User: planet.UserRef{ServiceID: "acme", UserID: user}}
}

// shelf is a store of devices whose reads take a while, see what was there when they began,
// and are counted.
type shelf struct {
	*cluster.DeviceCache
	reg   *prometheus.Registry
	reads atomic.Int32
	took  time.Duration
	err   error

	mu      sync.Mutex
	devices map[bell.Owner][]bell.Device
}

func newShelf(owners, devices int) *shelf {
	s := &shelf{devices: map[bell.Owner][]bell.Device{}, reg: prometheus.NewRegistry()}
	s.DeviceCache = cluster.NewDeviceCache(cluster.CacheConfig{Read: s.read, Owners: owners, Devices: devices, Metrics: cluster.NewMetrics(s.reg)})
	s.Trust(time.Now().Add(time.Hour))
	return s
}

func (s *shelf) put(user string, ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	devices := []bell.Device{}
	for _, id := range ids {
		devices = append(devices, bell.Device{ID: id})
	}
	s.devices[ownerOf(user)] = devices
}

func (s *shelf) read(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	s.reads.Add(1)
	s.mu.Lock()
	devices, err := s.devices[owner], s.err
	s.mu.Unlock()
	t := time.NewTimer(s.took)
	defer t.Stop()
	select {
	case <-t.C:
		return devices, err
	case <-ctx.Done():
		return nil, bell.E(bell.Unavailable, "The database is slow.", nil)
	}
}

// want looks up, and holds what comes and how many reads there were in all.
func (s *shelf) want(t *testing.T, user string, reads int32, ids ...string) {
	t.Helper()
	devices, err := s.DevicesOf(t.Context(), ownerOf(user))
	if err != nil {
		t.Error(err)
	}
	got := []string{}
	for _, d := range devices {
		got = append(got, d.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) || s.reads.Load() != reads {
		t.Errorf("%s: %q after %d reads, want %q after %d", user, got, s.reads.Load(), ids, reads)
	}
}

func TestDevicesAreReadOnceUntilForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.put("u", "a")
		s.want(t, "u", 1, "a")
		s.put("u", "a", "b")
		s.want(t, "u", 1, "a")
		devices, _ := s.DevicesOf(t.Context(), ownerOf("u"))
		devices[0].ID = "scribbled"
		s.want(t, "u", 1, "a")
		s.Forget(ownerOf("other"))
		s.want(t, "u", 1, "a")
		s.Forget(ownerOf("u"))
		s.want(t, "u", 2, "a", "b")
		s.Clear()
		s.want(t, "u", 3, "a", "b")
		s.want(t, "nobody", 4)
		s.want(t, "nobody", 4)
	})
}

func TestDevicesAreBelievedOnlyWhileTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.put("u", "a")
		pass(time.Hour)
		s.want(t, "u", 1, "a")
		s.want(t, "u", 2, "a")
		s.Trust(time.Now().Add(time.Second))
		s.want(t, "u", 3, "a") // what was read without trust may be old
		s.want(t, "u", 3, "a")
		s.Trust(time.Now().Add(-time.Second)) // late: it takes nothing away
		s.want(t, "u", 3, "a")
		pass(time.Second)
		s.want(t, "u", 4, "a")
	})
}

func TestAReadThatBeganBeforeAChangeIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.took = time.Second
		for _, forget := range []func(){func() { s.Forget(ownerOf("u")) }, s.Clear} {
			s.reads.Store(0)
			s.put("u", "old")
			s.Forget(ownerOf("u"))
			var early sync.WaitGroup
			early.Go(func() { s.want(t, "u", 2, "old") })
			pass(500 * time.Millisecond)
			s.put("u", "new")
			forget()
			s.want(t, "u", 2, "new") // does not wait for the one under way
			early.Wait()
			s.want(t, "u", 2, "new")
		}
	})
}

func TestAChangeOfALateReadIsNotForgottenByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.took = time.Second
		s.put("u", "old")
		var early sync.WaitGroup
		early.Go(func() { s.want(t, "u", 1, "old") })
		pass(999 * time.Millisecond)
		s.put("u", "new")
		s.Forget(ownerOf("u"))
		early.Wait()
		s.want(t, "u", 2, "new")
	})
}

func TestManyWhoAskAtOnceReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.took = time.Second
		s.put("u", "a")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { s.want(t, "u", 1, "a") })
		}
		all.Wait()
		s.Forget(ownerOf("u"))
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for range 3 { // the first reads, the others wait for it
			all.Go(func() {
				if _, err := s.DevicesOf(hurried, ownerOf("u")); !errors.Is(err, bell.Unavailable) {
					t.Errorf("in a hurry: %v", err)
				}
			})
		}
		synctest.Wait()
		all.Go(func() { // and has more time than whoever reads
			if d, err := s.DevicesOf(t.Context(), ownerOf("u")); err != nil || len(d) != 1 {
				t.Errorf("with time: %v, %v", d, err)
			}
		})
		all.Wait()
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.took = time.Second
		s.put("u", "a")
		s.err = bell.E(bell.Unavailable, "The disk is full.", nil)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := s.DevicesOf(t.Context(), ownerOf("u")); !errors.Is(err, s.err) {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if n := s.reads.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
		s.err = nil
		s.want(t, "u", 2, "a")
	})
}

func TestDevicesThatMayNotRingAnyMoreAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(0, 0)
		s.devices[ownerOf("u")] = []bell.Device{{ID: "long over", ExpiresAt: time.Now().Add(-time.Hour)}, {ID: "a", ExpiresAt: time.Now().Add(time.Minute)}}
		s.want(t, "u", 1, "long over", "a")
		pass(59 * time.Second)
		s.want(t, "u", 1, "long over", "a")
		s.put("u", "a")
		pass(time.Second)
		s.want(t, "u", 2, "a")
		pass(11 * time.Minute) // nothing is believed for ever
		s.want(t, "u", 3, "a")
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(10, 20)
		for i := range 15 {
			s.want(t, fmt.Sprint("nobody-", i), int32(i+1))
		}
		s.want(t, "nobody-14", 15)
		s.want(t, "nobody-4", 16)
		for i := range 5 {
			user := fmt.Sprint("rich-", i)
			s.put(user, "1", "2", "3", "4", "5", "6")
			s.want(t, user, int32(17+i), "1", "2", "3", "4", "5", "6")
		}
		if got := testutil.ToFloat64(metricOf(t, s.reg, "planetbell_device_cache_devices")); got != 18 {
			t.Errorf("%v devices are cached", got)
		}
		s.put("too-rich", make([]string, 21)...)
		for i := range int32(2) {
			s.want(t, "too-rich", 22+i, make([]string, 21)...)
		}
		s.want(t, "rich-4", 23, "1", "2", "3", "4", "5", "6")
		s.want(t, "rich-1", 24, "1", "2", "3", "4", "5", "6")
	})
}

func TestAPanicInAReadLetsNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		c := cluster.NewDeviceCache(cluster.CacheConfig{Read: func(context.Context, bell.Owner) ([]bell.Device, error) {
			if first {
				first = false
				panic("in a read")
			}
			return nil, nil
		}})
		func() {
			defer func() { _ = recover() }()
			_, _ = c.DevicesOf(t.Context(), ownerOf("u"))
		}()
		if _, err := c.DevicesOf(t.Context(), ownerOf("u")); err != nil {
			t.Error(err)
		}
	})
}

func TestOtherNodesForgetChangedDevices(t *testing.T) {
	tell(t, 2, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		d := bell.Device{ID: "d", Owner: ownerOf("u"), PushToken: "first"}
		token := func(n *node) planet.Secret {
			devices, err := n.cache.DevicesOf(t.Context(), ownerOf("u"))
			if err != nil || len(devices) != 1 {
				t.Fatalf("%s: %v, %v", n.name, devices, err)
			}
			return devices[0].PushToken
		}
		write := func(token planet.Secret) {
			d.PushToken = token
			a.do(func() { w.db.PutDevice(d) })
			a.worker.DevicesChanged(d.Owner)
		}
		write("first")
		for _, n := range w.nodes {
			if got := token(n); got != "first" {
				t.Fatalf("%s: %q", n.name, got)
			}
		}
		write("second")
		pass(2 * time.Millisecond)
		if token(a) != "second" || token(b) != "second" {
			t.Error("a hint did not make the devices forgotten")
		}
		w.bus.set(1, 0, false)
		write("third")
		if token(a) != "third" || token(b) != "second" {
			t.Error("the story is not as it should be: the other node cannot know yet")
		}
		pass(withinSweep)
		if token(b) != "third" {
			t.Error("the sweep did not make the devices forgotten")
		}
		if before := time.Now(); token(b) != "third" || !time.Now().Equal(before) {
			t.Error("what was read after the sweep is not remembered, or is forgotten again")
		}
	})
}

func TestANodeThatHearsOfNoChangesBelievesNothing(t *testing.T) {
	tell(t, 1, func(t *testing.T, w *world) {
		n := w.nodes[0]
		n.do(func() { w.db.PutDevice(bell.Device{ID: "d", Owner: ownerOf("u")}) })
		pass(withinSweep)
		read := func() bool {
			before := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := n.cache.DevicesOf(ctx, ownerOf("u"))
			return err != nil || !time.Now().Equal(before)
		}
		if read(); read() {
			t.Fatal("it is not remembered")
		}
		n.setLink(true, false)
		pass(7 * time.Second)
		if !read() {
			t.Error("it is believed although no changes are heard of")
		}
		n.setLink(false, false)
		pass(4 * time.Second)
		if read() {
			t.Error("what was remembered was lost, though no change can have been missed")
		}
		n.setLink(true, false)
		pass(4*time.Minute + 10*time.Second)
		n.setLink(false, false)
		pass(4 * time.Second)
		if !read() {
			t.Error("it is believed although changes may have been deleted meanwhile")
		}
	})
}
