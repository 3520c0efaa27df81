package room

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore is a store in memory; storetest holds real ones to the same contract.
type fakeStore struct {
	mu          sync.Mutex
	runs        map[RunKey]bell.RoomRun
	people      map[RunKey]map[planet.UserRef]bell.Participant
	journal     map[string]bool
	events      []bell.Event
	invitations map[Invitation]Invitation // by what identifies one
	withdrawn   []planet.SessionID        // notices
	writes      []int                     // how many notices each withdrawal had
	failure     error
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		runs: map[RunKey]bell.RoomRun{}, people: map[RunKey]map[planet.UserRef]bell.Participant{},
		journal: map[string]bool{}, invitations: map[Invitation]Invitation{},
	}
}

func (s *fakeStore) ChangeRun(_ context.Context, touched Touched, entry bell.JournalEntry, change func(Known) Change) (Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return Change{}, s.failure
	}
	var known Known
	if entry.Kind != "" {
		known.Repeat = s.journal[entry.DedupKey]
		s.journal[entry.DedupKey] = true
	}
	key := touched.RunKey
	if key.SessionID == "" {
		open := s.open(touched.Room)
		if len(open) == 0 {
			return Change{}, nil
		}
		key.SessionID = open[0].SessionID
	}
	known.Run, known.RunKnown = s.runs[key]
	known.Participant, known.ParticipantKnown = s.people[key][touched.User]
	c := change(known)
	if again := change(known); c.Run != again.Run || len(c.Events) != len(again.Events) {
		panic("the change is not the same when it is asked twice")
	}
	if c.WriteRun {
		c.Run.Environment = key.Environment
		s.runs[key] = c.Run
		if c.WriteParticipant {
			if s.people[key] == nil {
				s.people[key] = map[planet.UserRef]bell.Participant{}
			}
			s.people[key][c.Participant.User] = c.Participant
		}
		s.events = append(s.events, c.Events...)
	}
	return c, nil
}

func (s *fakeStore) open(ref planet.RoomRef) (open []bell.RoomRun) {
	for _, r := range s.runs {
		if r.State == bell.RoomOpen && (ref == planet.RoomRef{} || r.Room == ref) {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b bell.RoomRun) int { return b.HeardAt.Compare(a.HeardAt) })
	return open
}

func (s *fakeStore) Runs(_ context.Context, f Filter, _ Cursor, limit int) ([]bell.RoomRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.open(planet.RoomRef{ServiceID: f.ServiceID, RoomID: f.RoomID})
	return open[:min(limit, len(open))], s.failure
}

func (s *fakeStore) Run(_ context.Context, environment planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.runs[RunKey{environment, id}]
	if !ok {
		return r, bell.E(bell.NotFound, "There is none.", nil)
	}
	return r, nil
}

func (s *fakeStore) Participants(_ context.Context, run RunKey, after planet.UserRef, limit int) ([]bell.Participant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedFunc(maps.Values(s.people[run]), func(a, b bell.Participant) int { return cmp.Compare(a.User.UserID, b.User.UserID) })
	all = slices.DeleteFunc(all, func(p bell.Participant) bool { return p.User.UserID <= after.UserID })
	return all[:min(limit, len(all))], s.failure
}

func (s *fakeStore) SilentRuns(_ context.Context, since time.Time, limit int) (keys []RunKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.open(planet.RoomRef{}) {
		if r.SeenAt.Before(since) && len(keys) < limit {
			keys = append(keys, RunKey{r.Environment, r.SessionID})
		}
	}
	return keys, s.failure
}

func (s *fakeStore) RunsToInvite(_ context.Context, limit int) (runs []bell.RoomRun, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		if !r.InviteBy.IsZero() && len(runs) < limit {
			runs = append(runs, r)
		}
	}
	return runs, s.failure
}

func (s *fakeStore) Invite(_ context.Context, i Invitation) (Invitation, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := i
	key.At, key.Deadline = time.Time{}, time.Time{}
	if earlier := s.invitations[key]; earlier.Deadline.After(i.At) {
		return earlier, false, s.failure
	}
	s.invitations[key] = i
	return i, true, s.failure
}

func (s *fakeStore) InvitationsOf(_ context.Context, run RunKey, now time.Time, limit int) (found []Invitation, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.invitations {
		if i.Run == run && i.Deadline.After(now) && len(found) < limit {
			found = append(found, i)
		}
	}
	return found, s.failure
}

func (s *fakeStore) WithdrawNotices(_ context.Context, _ planet.Environment, ids []planet.SessionID, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withdrawn, s.writes = append(s.withdrawn, ids...), append(s.writes, len(ids))
	return s.failure
}

func (s *fakeStore) PruneInvitations(_ context.Context, before time.Time, limit int) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, i := range s.invitations {
		if i.Deadline.Before(before) && n < limit {
			delete(s.invitations, key)
			n++
		}
	}
	return n, s.failure
}

// straight is a backlog of a healthy store.
type straight struct{}

func (straight) Keep(ctx context.Context, _ bell.JournalEntry, write func(context.Context) error) error {
	return write(ctx)
}

// teller tells everybody on two devices, but for "nobody", who has none.
type teller struct {
	mu        sync.Mutex
	told      []bell.Call
	known     map[planet.SessionID]bool
	withdrawn []planet.SessionID
	failure   error
}

func (t *teller) Tell(_ context.Context, notice bell.Call) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure != nil {
		return 0, t.failure
	}
	if t.known[notice.SessionID] || notice.Callee.UserID == "nobody" {
		return 0, nil
	}
	if t.known == nil {
		t.known = map[planet.SessionID]bool{}
	}
	t.known[notice.SessionID] = true
	t.told = append(t.told, notice)
	return 2, nil
}

func (t *teller) Withdraw(_ planet.Environment, id planet.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.withdrawn = append(t.withdrawn, id)
}

// gone is how many notices were withdrawn.
func (t *teller) gone() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.withdrawn)
}

// names are who was told, in alphabetical order.
func (t *teller) names() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.told {
		names = append(names, t.told[i].Callee.UserID)
	}
	slices.Sort(names)
	return names
}

// list are the members of every room.
type list struct {
	mu      sync.Mutex
	users   []planet.UserRef
	failure error
	asked   int
}

func (l *list) Invites(string, planet.RoomRef) bool { return true }

func (l *list) Of(context.Context, *bell.Project, *bell.RoomRun) ([]planet.UserRef, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.users, l.failure
}

func (l *list) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

var project = &bell.Project{Name: "demo", Environment: planet.Evaluation, ServiceID: service, EnvironmentLabel: "evaluation"}

type projects struct{}

func (projects) ByName(name string) (*bell.Project, bool) { return project, name == project.Name }

// pass lets time go by, and what it wakes run.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *fakeStore) invited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.invitations)
}

func (l *list) times() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}
