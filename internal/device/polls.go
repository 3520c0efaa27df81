package device

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// pollsMax is how many polling devices are remembered; above the default of limits.long_polls.
	pollsMax = 20_000
	// pollsKept is for how long: clients poll again within a minute.
	pollsKept = 10 * time.Minute
	// refreshBudget is how long a poll may wait for a write. A device that does not poll
	// cannot ring, and the database may be in trouble for longer than a poll lasts.
	refreshBudget = time.Second
)

var errRefreshTooSlow = errors.New("the database took longer than a poll can wait")

// polls remembers which device polls under a session, for polls that come while the store
// cannot say. A mailbox that nobody has any more gets no calls, so what is stale does no harm.
type polls struct {
	mu   sync.Mutex // guards seen
	seen *simplelru.LRU[string, poll]
}

type poll struct {
	deviceID string
	at       time.Time
}

func newPolls() *polls {
	seen, err := simplelru.NewLRU[string, poll](pollsMax, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &polls{seen: seen}
}

func (p *polls) remember(sessionID, deviceID string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Add(sessionID, poll{deviceID, now})
}

func (p *polls) recall(sessionID string, now time.Time) (deviceID string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.seen.Get(sessionID)
	if !ok || now.Sub(last.at) > pollsKept {
		return "", false
	}
	return last.deviceID, true
}

// busy reports whether an error says that the store could not do its work now.
func busy(err error) bool {
	return errors.Is(err, bell.Unavailable) || errors.Is(err, bell.Overload)
}

// patience bounds the write of what a client says of its channel. LINE's Windows client
// says before it polls, and after each call, that it polls: until that is answered it
// cannot ring.
func (s *Service) patience(ctx context.Context, channel bell.Channel) (context.Context, context.CancelFunc) {
	if channel != bell.LongPoll {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, refreshBudget, errRefreshTooSlow)
}

// pollsAlready reports whether a client that says that it polls says nothing new. Then it
// does not matter that it could not be written; LINE's Windows client would stop to poll.
func (s *Service) pollsAlready(ctx context.Context, id bell.Identity) bool {
	known, err := s.Store.DeviceBySession(ctx, id.SessionID)
	if err == nil {
		return known.Channel == bell.LongPoll
	}
	_, ok := s.polls.recall(id.SessionID, s.Now())
	return ok && busy(err)
}
