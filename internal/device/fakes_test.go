package device

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// fakeStore keeps devices by the rules of Store, each method under one lock.
type fakeStore struct {
	mu        sync.Mutex
	devices   map[string]bell.Device // by ID
	writes    int
	reads     int
	amends    int
	prunes    int
	fail      error
	page      Filter
	meanwhile func() // runs before AmendDevice
}

func newService(t *testing.T) (*Service, *fakeStore) {
	t.Helper()
	store := &fakeStore{devices: map[string]bell.Device{}}
	return New(Config{Store: store, Log: testlog.New(t)}), store
}

func (s *fakeStore) put(d bell.Device) {
	for id, other := range s.devices {
		if id != d.ID && d.PushToken != "" && other.PushToken == d.PushToken && other.Channel == d.Channel &&
			other.Owner.Environment == d.Owner.Environment && other.Owner.User.ServiceID == d.Owner.User.ServiceID {
			delete(s.devices, id)
		}
	}
	s.devices[d.ID] = d
	s.writes++
}

func (s *fakeStore) ofSession(id string) *bell.Device {
	for _, d := range s.devices {
		if d.SessionID == id {
			return &d
		}
	}
	return nil
}

func (s *fakeStore) known(key Key) Known {
	known := Known{OfSession: s.ofSession(key.SessionID)}
	for _, d := range s.devices {
		if key.ClientID != "" && d.ClientID == key.ClientID && d.Owner == key.Owner && (known.OfSession == nil || known.OfSession.ID != d.ID) {
			known.OfClient = &d
		}
	}
	return known
}

func (s *fakeStore) ChangeDevice(_ context.Context, key Key, change func(Known) (bell.Device, error)) (bell.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return bell.Device{}, s.fail
	}
	if _, err := change(s.known(key)); err != nil { // it may run more than once
		return bell.Device{}, err
	}
	known := s.known(key)
	d, err := change(known)
	if err != nil {
		return bell.Device{}, err
	}
	for _, old := range []*bell.Device{known.OfSession, known.OfClient} {
		if old != nil && old.ID != d.ID {
			delete(s.devices, old.ID)
		}
	}
	s.put(d)
	return d, nil
}

func (s *fakeStore) AmendDevice(_ context.Context, id string, change func(bell.Device) (bell.Device, bool)) error {
	if s.meanwhile != nil {
		s.meanwhile()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.devices[id]
	switch {
	case s.fail != nil:
		return s.fail
	case !ok:
		return bell.NotFound
	}
	change(current) // it may run more than once
	s.amends++
	if next, write := change(current); write {
		s.put(next)
	}
	return nil
}

func (s *fakeStore) PruneDevices(_ context.Context, since time.Time, limit int) ([]bell.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prunes++
	var gone []bell.Device
	for id, d := range s.devices {
		if len(gone) < limit && d.SessionID != "" && d.LastSeenAt.Before(since) {
			gone = append(gone, d)
			delete(s.devices, id)
		}
	}
	return gone, s.fail
}

func (s *fakeStore) AddDevice(_ context.Context, d bell.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.put(d)
	}
	return s.fail
}

func (s *fakeStore) RemoveDevice(_ context.Context, id string) error {
	if _, ok := s.devices[id]; !ok {
		return bell.NotFound
	}
	delete(s.devices, id)
	return nil
}

func (s *fakeStore) Device(_ context.Context, id string) (bell.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if d, ok := s.devices[id]; ok {
		return d, nil
	}
	return bell.Device{}, bell.NotFound
}

func (s *fakeStore) DeviceBySession(_ context.Context, id string) (bell.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.ofSession(id); d != nil && s.fail == nil {
		return *d, nil
	}
	return bell.Device{}, bell.NotFound
}

func (s *fakeStore) DevicesOf(context.Context, bell.Owner) ([]bell.Device, error) { return nil, s.fail }

func (s *fakeStore) Devices(_ context.Context, f Filter, after string, limit int) ([]bell.Device, error) {
	s.page = f
	return make([]bell.Device, limit, limit+len(after)), s.fail
}
