package call

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of a Watch.
const (
	// MaxWatched is how many users can be watched at once.
	MaxWatched = 20
	// MaxWatch is how long a user can be watched.
	MaxWatch = time.Hour
	// watchedCalls is how many of their calls are known; the log of a callee with more loses
	// those that began first.
	watchedCalls = 1000
)

// Watch says about whose calls everything is logged at the moment, and not only what went wrong:
// an operator looks for the reason why one user's phone does not ring. It is in memory, of this
// process alone, and ends by itself. The zero value is nobody; nil too. Safe for concurrent use.
type Watch struct {
	any   atomic.Bool // somebody may be watched; while it is false nothing else is looked at
	mu    sync.Mutex  // guards all below
	users map[bell.Owner]time.Time
	calls *simplelru.LRU[callKey, time.Time] // of theirs, with when they are no longer watched
}

// Watched is a user who is watched.
type Watched struct {
	Owner bell.Owner
	Until time.Time
}

// Add watches a user from now on for a time, of at most MaxWatch. Who is watched already is
// watched until the new time. The error kind is bell.Invalid for another time, and
// bell.TooMany when MaxWatched others are watched.
func (w *Watch) Add(owner bell.Owner, now time.Time, long time.Duration) (Watched, error) {
	if long <= 0 || long > MaxWatch {
		return Watched{}, bell.E(bell.Invalid, "minutes: want a number from 1 to 60.", nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	if _, known := w.users[owner]; !known && len(w.users) >= MaxWatched {
		return Watched{}, bell.E(bell.TooMany, "20 users are watched already; stop one of them first.", nil)
	}
	if w.users == nil {
		w.users = map[bell.Owner]time.Time{}
		calls, err := simplelru.NewLRU[callKey, time.Time](watchedCalls, nil)
		if err != nil {
			panic(err) // the size is a positive constant
		}
		w.calls = calls
	}
	w.users[owner] = now.Add(long)
	w.any.Store(true)
	return Watched{owner, w.users[owner]}, nil
}

// Remove stops to watch a user, and reports whether it was watched. Calls that ring already are
// logged to their end.
func (w *Watch) Remove(owner bell.Owner, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	_, known := w.users[owner]
	delete(w.users, owner)
	return known
}

// List returns who is watched, by environment, service and user.
func (w *Watch) List(now time.Time) []Watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	list := make([]Watched, 0, len(w.users))
	for owner, until := range w.users {
		list = append(list, Watched{owner, until})
	}
	slices.SortFunc(list, func(a, b Watched) int {
		return strings.Compare(sortKey(a.Owner), sortKey(b.Owner))
	})
	return list
}

func sortKey(o bell.Owner) string {
	return string(o.Environment) + "\x00" + o.User.ServiceID + "\x00" + o.User.UserID
}

// Call reports whether a call is of a user who was watched when it began.
func (w *Watch) Call(environment planet.Environment, id planet.SessionID) bool {
	if w == nil || !w.any.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls.Contains(callKey{environment, id})
}

// begins notes a call, and reports whether its callee is watched.
func (w *Watch) begins(c *bell.Call, now time.Time) bool {
	if w == nil || !w.any.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	until, watched := w.users[c.CalleeOwner()]
	if watched {
		w.calls.Add(callKey{c.Environment, c.SessionID}, until.Add(watchedAfter))
	}
	return watched
}

// watchedAfter is how long a call is logged after its callee is no longer watched: its devices
// may send their receipts late.
const watchedAfter = 2 * time.Minute

// prune forgets what is over. The caller holds w.mu.
func (w *Watch) prune(now time.Time) {
	for owner, until := range w.users {
		if !now.Before(until) {
			delete(w.users, owner)
		}
	}
	if w.calls == nil {
		return
	}
	for {
		key, until, ok := w.calls.GetOldest()
		if !ok || now.Before(until) {
			break
		}
		w.calls.Remove(key)
	}
	w.any.Store(len(w.users) > 0 || w.calls.Len() > 0)
}

// sayRung logs what became of the Notify of a watched callee. Users are not named.
func (s *Service) sayRung(c *bell.Call, result *RingResult, err error) {
	s.log.Info("watched call", "sid", c.SessionID, "project", c.Project, "devices", result.Devices, "skipped", result.Skipped,
		"repeated", result.Repeated, "from_memory", result.FromMemory, "suppressed", c.Suppressed, "failed", bell.KindOf(err),
		"took", s.now().Sub(c.NotifiedAt))
}

// sayDevices logs which devices were chosen for a watched callee, and for which there was no room.
func (s *Service) sayDevices(rings []bell.Ring) {
	for i := range rings {
		c, d, to := rings[i].Call, &rings[i].Delivery, &rings[i].Device
		s.log.Info("watched device", "sid", c.SessionID, "device", to.ID, "delivery", d.ID, "channel", to.Channel, "server", to.APNsServer,
			"fingerprint", to.PushToken.Fingerprint(), "state", d.State, "reason", d.Reason, "last_seen", to.LastSeenAt)
	}
}
