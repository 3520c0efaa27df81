package call

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of the memory of devices.
const (
	memoryOwners  = 20_000
	memoryDevices = 60_000 // of all owners together: some 40 MB
	memoryKept    = 10 * time.Minute
)

// memory holds the devices of owners who were called lately, for calls that come while
// they cannot be read. It is used for nothing else.
//
// What it holds must not outlive a change: whoever writes a device tells it (DeviceWritten
// and the like), and then the device's owner, and the owner who had that device or its
// push token before, are forgotten. A read that was under way meanwhile is not kept.
type memory struct {
	mu      sync.Mutex // guards all below
	owners  *simplelru.LRU[bell.Owner, known]
	byID    map[string]bell.Owner
	byToken map[tokenKey]bell.Owner
	changes uint64 // how often something was forgotten because it changed
}

type known struct {
	devices []bell.Device
	at      time.Time
}

// tokenKey is within what a push token stands for one device (device.Store).
type tokenKey struct {
	environment planet.Environment
	service     string
	channel     bell.Channel
	token       planet.Secret
}

func tokenOf(d *bell.Device) tokenKey {
	return tokenKey{d.Owner.Environment, d.Owner.User.ServiceID, d.Channel, d.PushToken}
}

func newMemory() *memory {
	m := &memory{byID: map[string]bell.Owner{}, byToken: map[tokenKey]bell.Owner{}}
	owners, err := simplelru.NewLRU(memoryOwners, m.unindex)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	m.owners = owners
	return m
}

// unindex forgets whose an owner's devices are. It runs with m.mu held.
func (m *memory) unindex(owner bell.Owner, k known) {
	for i := range k.devices {
		d := &k.devices[i]
		if m.byID[d.ID] == owner {
			delete(m.byID, d.ID)
		}
		if m.byToken[tokenOf(d)] == owner {
			delete(m.byToken, tokenOf(d))
		}
	}
}

// state is to be asked before devices are read, and given to keep.
func (m *memory) state() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// keep remembers an owner's devices, unless something has changed since state.
func (m *memory) keep(owner bell.Owner, devices []bell.Device, state uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes != state {
		return
	}
	m.owners.Remove(owner)
	if len(devices) == 0 {
		return
	}
	for i := range devices {
		d := &devices[i]
		m.byID[d.ID] = owner
		if d.PushToken != "" {
			m.byToken[tokenOf(d)] = owner
		}
	}
	m.owners.Add(owner, known{slices.Clone(devices), now})
	for len(m.byID) > memoryDevices {
		m.owners.RemoveOldest()
	}
}

// recall returns an owner's devices as they were read lately.
func (m *memory) recall(owner bell.Owner, now time.Time) ([]bell.Device, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.owners.Get(owner)
	if !ok || now.Sub(k.at) > memoryKept {
		return nil, false
	}
	return slices.Clone(k.devices), true
}

// clear forgets everybody.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.owners.Purge()
}

// written forgets whom a device that was written belongs to now, and belonged to before.
func (m *memory) written(d *bell.Device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.owners.Remove(d.Owner)
	if before, ok := m.byID[d.ID]; ok {
		m.owners.Remove(before)
	}
	if d.PushToken == "" {
		return
	}
	if before, ok := m.byToken[tokenOf(d)]; ok {
		m.owners.Remove(before)
	}
}

// removed forgets the owner of a device.
func (m *memory) removed(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	if before, ok := m.byID[id]; ok {
		m.owners.Remove(before)
	}
}

// changed forgets an owner.
func (m *memory) changed(owner bell.Owner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.owners.Remove(owner)
}

// DeviceWritten must be told of every device that was written, or may have been: a push
// token that moved must not ring its former owner from memory.
func (s *Service) DeviceWritten(d bell.Device) { s.memory.written(&d) }

// DeviceRemoved must be told of every device that was removed, or may have been.
func (s *Service) DeviceRemoved(id string) { s.memory.removed(id) }

// DevicesChanged must be told of every owner of whose devices any may have changed in
// another way.
func (s *Service) DevicesChanged(owner bell.Owner) { s.memory.changed(owner) }

// ForgetDevices must be called when changes of devices may have been missed.
func (s *Service) ForgetDevices() { s.memory.clear() }
