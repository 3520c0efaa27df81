package call_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var errDisk = errors.New("the disk is full")

type callKey struct {
	environment planet.Environment
	id          planet.SessionID
}

// fakeStore keeps calls by the rules of call.Store, and deliveries by those of
// delivery.Store as far as one call goes.
type fakeStore struct {
	mu         sync.Mutex
	devices    map[bell.Owner][]bell.Device
	calls      map[callKey]bell.Call
	deliveries map[string]bell.Delivery
	attempts   map[string]map[int]bool // by delivery, the numbers of those recorded
	begun      [][]bell.Delivery
	raw        []planet.RawParam
	journal    []bell.JournalEntry
	history    []bell.Call
	asked      []any
	fail       map[string]error // by method
	pause      func(method string)
}

func newStore() *fakeStore {
	return &fakeStore{
		devices: map[bell.Owner][]bell.Device{}, calls: map[callKey]bell.Call{},
		deliveries: map[string]bell.Delivery{}, attempts: map[string]map[int]bool{}, fail: map[string]error{}, pause: func(string) {},
	}
}

// enter takes the lock for a method, or returns what it has to fail with.
func (s *fakeStore) enter(method string) (leave func(), err error) {
	s.pause(method)
	s.mu.Lock()
	return s.mu.Unlock, s.fail[method]
}

func (s *fakeStore) DevicesOf(_ context.Context, owner bell.Owner) ([]bell.Device, error) {
	leave, err := s.enter("DevicesOf")
	defer leave()
	return s.devices[owner], err
}

func (s *fakeStore) BeginCall(_ context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (call.BeginResult, error) {
	leave, err := s.enter("BeginCall")
	defer leave()
	if err != nil {
		return 0, err
	}
	key := callKey{c.Environment, c.SessionID}
	if old, ok := s.calls[key]; ok {
		if old.State == bell.CallEnded && old.NotifiedAt.IsZero() {
			old.NotifiedAt, old.Deadline = c.NotifiedAt, c.Deadline
			s.calls[key] = old
			return call.AlreadyEnded, nil
		}
		return call.Repeated, nil
	}
	s.calls[key], s.raw = c, raw
	s.begun = append(s.begun, deliveries)
	for _, d := range deliveries {
		s.deliveries[d.ID] = d
	}
	return call.Began, nil
}

func (s *fakeStore) EndCall(_ context.Context, c bell.Call, entry bell.JournalEntry) error {
	leave, err := s.enter("EndCall")
	defer leave()
	if err != nil {
		return err
	}
	key := callKey{c.Environment, c.SessionID}
	if old, ok := s.calls[key]; ok {
		if old.State == bell.CallEnded {
			return nil
		}
		c.NotifiedAt, c.Deadline = old.NotifiedAt, old.Deadline
	}
	c.Events = bell.EndedEvents(&c, c.Wanted)
	s.calls[key] = c
	s.journal = append(s.journal, entry)
	for id, d := range s.deliveries {
		if d.Environment == c.Environment && d.SessionID == c.SessionID && !d.State.Final() {
			d.State = bell.DeliveryWithdrawn
			s.deliveries[id] = d
		}
	}
	return nil
}

func (s *fakeStore) AppendJournal(_ context.Context, entry bell.JournalEntry) error {
	leave, err := s.enter("AppendJournal")
	defer leave()
	for _, old := range s.journal {
		if old.DedupKey == entry.DedupKey && old.Kind == entry.Kind && old.Project == entry.Project {
			return err
		}
	}
	s.journal = append(s.journal, entry)
	return err
}

func (s *fakeStore) Missed(_ context.Context, limit int) ([]bell.Call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var marked []bell.Call
	for _, c := range s.calls {
		if !c.MissedAt.IsZero() {
			marked = append(marked, c)
		}
	}
	slices.SortFunc(marked, func(a, b bell.Call) int { return a.MissedAt.Compare(b.MissedAt) })
	return marked[:min(limit, len(marked))], s.fail["Missed"]
}

func (s *fakeStore) MissedTold(_ context.Context, calls []bell.Call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail["MissedTold"]; err != nil {
		return err
	}
	for _, told := range calls {
		key := callKey{told.Environment, told.SessionID}
		c := s.calls[key]
		c.MissedAt = time.Time{}
		s.calls[key] = c
	}
	return nil
}

func (s *fakeStore) LoseCalls(_ context.Context, before time.Time, limit int, events func(bell.Call) []bell.Event) (lost []bell.Call, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.calls {
		if c.State == bell.CallRinging && c.NotifiedAt.Before(before) && len(lost) < limit {
			c.State, c.CCParam = bell.CallLost, ""
			if events != nil {
				c.Events = events(c)
			}
			s.calls[key] = c
			lost = append(lost, c)
		}
	}
	return lost, s.fail["LoseCalls"]
}

func (s *fakeStore) Call(_ context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
	c, ok := s.calls[callKey{e, id}]
	if !ok {
		return call.Record{}, bell.NotFound
	}
	return call.Record{Call: c}, nil
}

func (s *fakeStore) Calls(_ context.Context, f call.Filter, before call.Cursor, limit int) ([]bell.Call, error) {
	s.asked = []any{f, before, limit}
	return slices.Collect(maps.Values(s.calls)), nil
}

func (s *fakeStore) History(_ context.Context, q call.HistoryQuery) ([]bell.Call, error) {
	leave, err := s.enter("History")
	defer leave()
	s.asked = []any{q}
	return s.history[:min(q.Limit, len(s.history))], err
}

func (s *fakeStore) Journal(context.Context, planet.SessionID) ([]bell.JournalEntry, error) {
	return s.journal, nil
}

// fakeBells notes what it is told.
type fakeBells struct {
	mu      sync.Mutex
	events  []string // admit, dismiss, start, withdraw, and what the store noted between
	room    int
	started []bell.Ring
	full    error
}

func (b *fakeBells) note(event string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, event)
}

func (b *fakeBells) Admit(rings []bell.Ring) error {
	b.note("admit")
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full == nil {
		b.room += len(rings)
	}
	return b.full
}

func (b *fakeBells) Dismiss(rings []bell.Ring) {
	b.note("dismiss")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room -= len(rings)
}

func (b *fakeBells) Start(rings []bell.Ring) {
	b.note("start")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room -= len(rings)
	b.started = append(b.started, rings...)
}

func (b *fakeBells) Withdraw(e planet.Environment, id planet.SessionID) {
	b.note("withdraw " + string(e) + " " + string(id))
}

func (b *fakeBells) Keep([]bell.Ring) { b.note("keep") }

func (b *fakeBells) Hold(d *bell.Device, now, deadline time.Time) (bell.DeliveryState, string, time.Time) {
	if d.Channel == bell.LongPoll {
		return bell.DeliveryPending, "this", deadline
	}
	return bell.DeliverySending, "this", now.Add(15 * time.Second)
}

// exchange is a service with everything around it pretended.
type exchange struct {
	*call.Service
	store      *fakeStore
	bells      *fakeBells
	acme, beta *bell.Project
	projects   *bell.Projects
}

func newExchange(t *testing.T, bells call.Bells) *exchange {
	t.Helper()
	x := &exchange{
		store: newStore(), bells: &fakeBells{},
		acme: &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc", EnvironmentLabel: "acme-test", CallbackSecret: "a"},
		beta: &bell.Project{Name: "beta", Environment: planet.Evaluation, ServiceID: "svc2", EnvironmentLabel: "beta-test", CallbackSecret: "b"},
	}
	projects, err := bell.NewProjects([]*bell.Project{x.acme, x.beta})
	if err != nil {
		t.Fatal(err)
	}
	if bells == nil {
		bells = x.bells
		x.store.pause = x.bells.note
	}
	x.Service = call.New(call.Config{Store: x.store, Bells: bells, Projects: projects})
	x.projects = projects
	return x
}

func bob() bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
}

func device(id string, channel bell.Channel) bell.Device {
	d := bell.Device{ID: id, Owner: bob(), Project: "acme", Channel: channel}
	if channel != bell.LongPoll {
		d.PushToken = planet.Secret(testlog.HexSecret(len(id), 64))
	}
	return d
}

func notify(id planet.SessionID) planet.NotifyCallback {
	return planet.NotifyCallback{
		SessionID: id, Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: bob().User, Type: planet.VideoCall,
		CCParam: planet.CCParam(testlog.CCParam(1)), AppServerData: "data", STID: "stid", Raw: []planet.RawParam{{Name: "sid", Value: string(id)}},
	}
}

func event(id planet.SessionID) planet.CallEvent {
	return planet.CallEvent{
		SessionID: id, Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: bob().User, Type: planet.VideoCall,
		AppServerData: "data", STID: "stid", Raw: []planet.RawParam{{Name: "sid", Value: string(id)}},
	}
}
