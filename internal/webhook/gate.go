package webhook

import (
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

const (
	// failuresToClose is how many tries in a row must fail for an endpoint to count as down.
	// Then one try at a time finds out when it is back, and what waits keeps its tries.
	failuresToClose = 5
	minProbePause   = 5 * time.Second
	maxProbePause   = time.Minute
	// maxPause bounds for how long an endpoint can have all of its events wait.
	maxPause = time.Hour
	// fallbackAfter is how many tries of an event must fail until it goes to the fallback too.
	fallbackAfter = 3
)

// gate knows how one endpoint does. It is safe for concurrent use.
type gate struct {
	limit    int  // tries at once
	fallback bool // there is another way

	mu       sync.Mutex
	inFlight int
	failures int           // in a row
	pause    time.Duration // until the next probe
	probeAt  time.Time
	until    time.Time // it asked to be left alone until then
	gone     bool
	changes  int  // of gone
	marking  bool // that it is gone is being recorded
}

// Health is how an endpoint does.
type Health string

// The values of Health.
const (
	Up     Health = "up"
	Down   Health = "down"   // its last tries failed
	Paused Health = "paused" // it asked for a pause
	Gone   Health = "gone"   // it answered 410 and is told nothing more
)

func (g *gate) health(now time.Time) Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.gone:
		return Gone
	case now.Before(g.until):
		return Paused
	case g.failures >= failuresToClose:
		return Down
	}
	return Up
}

// room is how many tries may begin now.
func (g *gate) room(now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	free := g.limit - g.inFlight
	switch {
	case g.fallback:
		return free
	case g.gone || now.Before(g.until):
		return 0
	case g.failures < failuresToClose:
		return free
	case g.inFlight > 0 || now.Before(g.probeAt):
		return 0
	}
	return 1
}

func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight++
}

func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
}

// route is where a try goes, in order: each only if the one before failed. probe says that it
// is to find out whether an endpoint that is down is back.
func (g *gate) route(e *Endpoint, failed int, now time.Time) (to []planet.Secret, probe bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	down := g.failures >= failuresToClose
	switch {
	case e.Fallback == "":
		return []planet.Secret{e.URL}, down
	case g.gone, now.Before(g.until), down && now.Before(g.probeAt):
		return []planet.Secret{e.Fallback}, false
	case down:
		g.probeAt = now.Add(postTimeout) // one probe, however many tries begin
		return []planet.Secret{e.URL, e.Fallback}, true
	case failed >= fallbackAfter:
		return []planet.Secret{e.URL, e.Fallback}, false
	}
	return []planet.Secret{e.URL}, false
}

// learn notes what the endpoint's own URL answered. It reports whether the endpoint is down
// now and was not, or is back.
func (g *gate) learn(a answer, probe bool, now time.Time) (fell, rose bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	down := g.failures >= failuresToClose
	if a.ok() {
		g.failures, g.pause = 0, 0
		return false, down
	}
	g.failures++
	if until := now.Add(min(a.wait, maxPause)); a.wait > 0 && until.After(g.until) {
		g.until = until
	}
	fell = !down && g.failures >= failuresToClose
	if fell || probe { // what began together fails together, and says nothing new
		g.pause = min(max(2*g.pause, minProbePause), maxProbePause)
		g.probeAt = now.Add(g.pause)
	}
	return fell, false
}

// setGone notes whether the endpoint wants nothing more, and reports whether that is new.
func (g *gate) setGone(gone bool) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.change(gone)
}

// change is setGone. The caller holds g.mu.
func (g *gate) change(gone bool) (changed bool) {
	if g.gone == gone {
		return false
	}
	g.gone = gone
	g.changes++
	if !gone {
		g.failures, g.pause, g.until = 0, 0, time.Time{}
	}
	return true
}

// mark is setGone(true) by somebody who then records it, and calls marked when that is done or failed.
func (g *gate) mark() (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed = g.change(true)
	g.marking = g.marking || changed
	return changed
}

func (g *gate) marked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.marking = false
	g.changes++ // a record that was read before is older than this
}

// seen goes before a look at the record, and with what was found there to takeOver.
func (g *gate) seen() (changes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changes
}

// takeOver is setGone with what the record says, unless this process knew better meanwhile.
func (g *gate) takeOver(gone bool, seen int) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.marking || g.changes != seen {
		return false
	}
	return g.change(gone)
}
