package device

import (
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// The guard against a wrong configuration.
const (
	shareMinutes = 10          // how far back shares look
	minJudged    = 20          // answers below which a share says nothing
	maxShare     = 10          // percent of refusals from which the configuration is suspected
	maxGuesses   = 50          // the same, of guessed APNs servers
	alertEvery   = time.Minute // how often at most a route is complained about
	maxRoutes    = 256         // a configuration has a handful; each takes about 400 bytes
	maxStruck    = 1000        // strikes of a route that can be taken back
)

// trust says whether a refusal may be held against a device.
type trust struct {
	strikes bool // most other tokens of the route are taken, so the token is to blame
	guesses bool // it is not so that no server takes any guessed token
}

// way is what shares are kept for. The outcomes of guesses are kept under the project with
// guesses as the server: the two servers may have a credential each.
type way struct {
	credential string
	channel    bell.Channel
	server     string
}

const guesses = "guesses"

// shares counts what providers said about push tokens in the last minutes. It is safe for
// concurrent use, and bounded.
type shares struct {
	mu     sync.Mutex // guards all below
	routes map[way]*share
	lifted []strikeOf    // to be taken back by Run
	wake   chan struct{} // lifted has grown
}

// share is one route's last minutes.
type share struct {
	minutes [shareMinutes]struct{ judged, failed int }
	newest  int64 // the minute since 1970 of the newest entry
	said    time.Time
	struck  []strikeOf
}

// strikeOf is a strike that may have to be taken back.
type strikeOf struct {
	device string
	token  planet.Secret
	at     time.Time
}

func newShares() *shares {
	return &shares{routes: map[way]*share{}, wake: make(chan struct{}, 1)}
}

func routeOf(l *bell.Lesson) way {
	return way{l.Credential, l.Device.Channel, string(l.Device.APNsServer)}
}

func guessOf(l *bell.Lesson) way { return way{l.Device.Project, l.Device.Channel, guesses} }

// count takes a lesson into the shares and says what refusals are worth now.
//
// Only answers about tokens count: outages would thin the share of refusals out. That a
// server refuses a token of the other one says nothing about the route, so refusals of
// guesses and of the server that was asked second do not count against it.
func (s *shares) count(l *bell.Lesson) trust {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := l.Outcome.Verdict == bell.Accepted
	environment := l.Outcome.Token == bell.TokenCheck && l.Outcome.Reason == badToken
	guess := guessed(&l.Device)
	t := trust{guesses: true}
	route := s.share(routeOf(l), l.At)
	if route != nil && !(environment && (guess || l.OtherTried)) {
		route.add(l.Outcome.Token == bell.TokenCheck)
	}
	if route != nil {
		judged, failed := route.sums()
		t.strikes = judged >= minJudged && failed*100 < maxShare*judged
	}
	if guess && (accepted || environment && l.OtherTried) {
		if share := s.share(guessOf(l), l.At); share != nil {
			share.add(!accepted)
			judged, failed := share.sums()
			t.guesses = judged < minJudged || failed*100 < maxGuesses*judged
		}
	}
	return t
}

// share returns a route's share, brought up to now; nil when there are too many. The
// caller holds s.mu.
func (s *shares) share(key way, now time.Time) *share {
	minute := now.Unix() / 60
	r := s.routes[key]
	if r == nil {
		if len(s.routes) >= maxRoutes && !s.tidy(minute) {
			return nil
		}
		r = &share{newest: minute}
		s.routes[key] = r
	}
	r.advance(minute)
	return r
}

// tidy removes routes of which nothing was heard, and reports whether there is room now.
func (s *shares) tidy(minute int64) bool {
	for key, r := range s.routes {
		if r.newest <= minute-shareMinutes {
			delete(s.routes, key)
		}
	}
	return len(s.routes) < maxRoutes
}

// advance empties the minutes between the newest and now. A clock that was set back
// counts into the newest.
func (r *share) advance(minute int64) {
	for range min(minute-r.newest, shareMinutes) {
		r.newest++
		r.minutes[r.newest%shareMinutes] = struct{ judged, failed int }{}
	}
	r.newest = max(r.newest, minute) // after a longer pause all are empty
}

func (r *share) add(failed bool) {
	m := &r.minutes[r.newest%shareMinutes]
	m.judged++
	if failed {
		m.failed++
	}
}

func (r *share) sums() (judged, failed int) {
	for _, m := range r.minutes {
		judged, failed = judged+m.judged, failed+m.failed
	}
	return judged, failed
}

// remember notes a strike, for the case that its route turns out to be misconfigured.
func (s *shares) remember(l *bell.Lesson) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.share(routeOf(l), l.At)
	if r == nil {
		return
	}
	old := 0
	for old < len(r.struck) && l.At.Sub(r.struck[old].at) > shareMinutes*time.Minute {
		old++
	}
	r.struck = append(r.struck[:0], r.struck[old:]...)
	if len(r.struck) < maxStruck {
		r.struck = append(r.struck, strikeOf{l.Device.ID, l.Device.PushToken, l.At})
	}
}

// suspect returns the share that made a refusal not count, and whether to say so now. If a
// route is misconfigured, its last strikes are handed to Run to be taken back.
func (s *shares) suspect(l *bell.Lesson) (judged, failed int, say bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := routeOf(l)
	if guessed(&l.Device) && l.Outcome.Reason == badToken {
		key = guessOf(l)
	}
	r := s.share(key, l.At)
	if r == nil {
		return 0, 0, false
	}
	judged, failed = r.sums()
	if judged >= minJudged && len(r.struck) > 0 && len(s.lifted) < 10*maxStruck {
		s.lifted, r.struck = append(s.lifted, r.struck...), nil
		select {
		case s.wake <- struct{}{}:
		default: // it is awake
		}
	}
	if !r.said.IsZero() && l.At.Sub(r.said) < alertEvery {
		return judged, failed, false
	}
	r.said = l.At
	return judged, failed, true
}

// takeBack returns the strikes to be taken back, once.
func (s *shares) takeBack() []strikeOf {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.lifted
	s.lifted = nil
	return all
}
