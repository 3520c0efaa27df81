package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/planetbell/planetbell/internal/bell"
)

// Bounds of a DeviceCache, if CacheConfig names none.
const (
	DefaultCachedOwners  = 50_000
	DefaultCachedDevices = 100_000 // of all owners together: some 70 MB
)

// cachedFor bounds how old an entry gets: what is written too often to be told, when a
// device was last seen, is not wrong for ever.
const cachedFor = 10 * time.Minute

// CacheConfig is what a DeviceCache is made of. Read is needed.
type CacheConfig struct {
	// Read asks the database for an owner's devices.
	Read    func(ctx context.Context, owner bell.Owner) ([]bell.Device, error)
	Owners  int // DefaultCachedOwners if 0
	Devices int // DefaultCachedDevices if 0
	Metrics *Metrics
	Clock   func() time.Time // this machine's; time.Now if nil
}

// DeviceCache remembers owners' devices, so that a callback costs no look-up. It is bounded,
// and safe for concurrent use.
//
// # How old an answer can be
//
// A change made on this node is seen by the next look-up; one made on another when its hint
// comes, a few milliseconds later. If the hint is lost, the sweep finds the change within a
// second. If sweeps fail too, the cache is believed for some seconds more and then not used
// until they work. An old answer rings a device that was just removed, or
// moved to another user, or with a push token that was just replaced; or it does not ring a
// device that was just added. The provider refuses an old token, and the device that polls
// has an app token that says who it is.
//
// When a device was last seen and how long it may ring, which change all the time, are not
// told. An entry with a device that may not ring any more is read anew.
type DeviceCache struct {
	CacheConfig

	mu      sync.Mutex // guards all below
	owners  *simplelru.LRU[bell.Owner, cached]
	devices int
	flights map[bell.Owner]*flight
	until   time.Time // entries are believed
}

type cached struct {
	devices []bell.Device
	read    time.Time
}

// flight is a look-up under way. Whoever asks for the same owner waits for it, unless
// something has changed since it began.
type flight struct {
	done    chan struct{}
	devices []bell.Device
	err     error
	left    bool // whoever read went away, or did not get to the end
}

// NewDeviceCache makes a DeviceCache. It is not used before the first Trust.
func NewDeviceCache(c CacheConfig) *DeviceCache {
	if c.Owners == 0 {
		c.Owners = DefaultCachedOwners
	}
	if c.Devices == 0 {
		c.Devices = DefaultCachedDevices
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	d := &DeviceCache{CacheConfig: c, flights: map[bell.Owner]*flight{}}
	owners, err := simplelru.NewLRU(c.Owners, func(_ bell.Owner, was cached) { d.devices -= was.size() })
	if err != nil {
		panic(err) // the size is positive
	}
	d.owners = owners
	return d
}

// size is how many devices an entry counts as: that somebody has none is remembered too.
func (c cached) size() int { return max(1, len(c.devices)) }

// DevicesOf returns an owner's devices, remembered or read. The slice is the caller's. Errors
// are the database's, and are not remembered.
func (d *DeviceCache) DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	for {
		devices, f, mine := d.lookUp(owner)
		switch {
		case f == nil:
			return devices, nil
		case mine:
			return d.read(ctx, owner, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, bell.E(bell.Unavailable, "The database took too long to say which devices there are.", context.Cause(ctx))
		}
		if !f.left {
			return slices.Clone(f.devices), f.err
		}
		// Whoever read had less time, or went away: that is not ours to suffer.
	}
}

// lookUp returns what is remembered; or the look-up that is under way, and whether it is the
// caller's to make.
func (d *DeviceCache) lookUp(owner bell.Owner) (devices []bell.Device, f *flight, mine bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock()
	trusted := now.Before(d.until)
	if was, ok := d.owners.Get(owner); ok && trusted && was.good(now) {
		d.Metrics.lookups.WithLabelValues("hit").Inc()
		return slices.Clone(was.devices), nil, false
	}
	result := "miss"
	if !trusted {
		result = "untrusted"
	}
	d.Metrics.lookups.WithLabelValues(result).Inc()
	if f = d.flights[owner]; f != nil {
		return nil, f, false
	}
	f = &flight{done: make(chan struct{})}
	d.flights[owner] = f
	return nil, f, true
}

// good reports whether an entry is not too old, and no device in it may have a new end.
func (c cached) good(now time.Time) bool {
	if now.Sub(c.read) > cachedFor {
		return false
	}
	for i := range c.devices {
		end := c.devices[i].ExpiresAt
		if !end.IsZero() && c.read.Before(end) && !now.Before(end) {
			return false
		}
	}
	return true
}

// read makes a look-up for all who wait for it. It is remembered only if nothing was
// forgotten meanwhile: then it may have seen what was before the change.
func (d *DeviceCache) read(ctx context.Context, owner bell.Owner, f *flight) ([]bell.Device, error) {
	began := d.Clock()
	f.left = true                   // unless we come to the end: Read may panic
	defer d.finish(owner, f, began) // nobody must wait for ever
	devices, err := d.Read(ctx, owner)
	f.devices, f.err, f.left = devices, err, err != nil && ctx.Err() != nil
	if err != nil {
		return nil, err
	}
	return slices.Clone(devices), nil
}

func (d *DeviceCache) finish(owner bell.Owner, f *flight, began time.Time) {
	defer close(f.done)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flights[owner] != f {
		return
	}
	delete(d.flights, owner)
	entry := cached{f.devices, began}
	if f.err != nil || f.left || !began.Before(d.until) || entry.size() > d.Devices {
		return
	}
	d.owners.Remove(owner)
	d.devices += entry.size()
	d.owners.Add(owner, entry)
	for d.devices > d.Devices {
		d.owners.RemoveOldest()
	}
	d.Metrics.cached.Set(float64(d.devices))
}

// Forget drops what is remembered of an owner's devices. A look-up that is under way is not
// remembered, and whoever asks from now on does not wait for it.
func (d *DeviceCache) Forget(owner bell.Owner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, reading := d.flights[owner]
	delete(d.flights, owner)
	if d.owners.Remove(owner) || reading {
		d.Metrics.forgotten.Inc()
	}
	d.Metrics.cached.Set(float64(d.devices))
}

// Clear drops everything.
func (d *DeviceCache) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owners.Purge()
	clear(d.flights)
	d.Metrics.cached.Set(float64(d.devices))
}

// Trust says until when what is remembered can be believed.
func (d *DeviceCache) Trust(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until.After(d.until) {
		d.until = until
	}
}
