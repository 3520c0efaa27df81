//go:build !race

package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/testlog"
)

const (
	// inFlight bounds how many Notifies are under way: where the machine cannot keep up, calls
	// are left out and counted, and those that are made are not late.
	inFlight = 200
	// notifyTries and eventTries are how often a callback is sent that is answered 503, or not
	// at all, whatever the load balancer did before.
	notifyTries = 3
	eventTries  = 30
	// sentAgain is the pause before.
	sentAgain = 500 * time.Millisecond
)

// placed is a call.
type placed struct {
	sid, param string
	callee     *callee
	early      bool // it is ended by the caller while it rings

	begun  time.Time // when Notify was sent first
	taken  time.Time // when it was answered 200; zero if it never was
	node   string    // which answered
	ending time.Time // when its Call Event was sent first
	ended  time.Time // when that was answered 200
	other  string    // and by which node
}

// owed reports whether the call had to ring all devices: its Call Event was not even sent before
// the window was over.
func (c *placed) owed() bool { return !c.taken.IsZero() && c.ending.Sub(c.taken) >= nodesWindow }

// load is Planet Cloud, at a rate.
type load struct {
	n       *nodes
	fleet   *fleet
	rate    int
	span    time.Duration
	work    sync.WaitGroup
	done    chan struct{} // closed when all calls were begun
	skipped atomic.Int64

	mu    sync.Mutex
	calls []*placed
	tries map[string]int // answers other than 200, by callback and status
	lost  int            // Call Events that were never answered 200
}

// begin starts to call the fleet's users. The caller waits for done, and then calls finish.
func (n *nodes) begin(f *fleet, rate int, span time.Duration) *load {
	l := &load{n: n, fleet: f, rate: rate, span: span, done: make(chan struct{}), tries: map[string]int{}}
	numbers := make(chan int, 2*rate)
	for range inFlight {
		l.work.Go(func() {
			for i := range numbers {
				l.call(i)
			}
		})
	}
	l.work.Go(func() {
		defer close(l.done)
		defer close(numbers)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		begun, sent := time.Now(), 0
		for time.Since(begun) < span && n.ctx.Err() == nil {
			<-ticker.C
			for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due; sent++ {
				select {
				case numbers <- sent:
				default:
					l.skipped.Add(1)
				}
			}
		}
	})
	return l
}

// finish waits until all calls are over.
func (l *load) finish() { l.work.Wait() }

// call makes one call: Notify, and after a while the Call Event. Two of five are ended by the
// caller; the others ring until Planet Cloud gives up.
func (l *load) call(i int) {
	c := &placed{
		sid: uuid.NewString(), param: testlog.CCParam(i), callee: l.fleet.callees[i%len(l.fleet.callees)],
		early: i%5 < 2, begun: time.Now(),
	}
	values := notify(c.sid, c.callee.project.service(), c.callee.user)
	values.Set("param", c.param)
	c.node, c.taken = l.tell(c.callee.project, "notify", values, notifyTries)
	l.mu.Lock()
	l.calls = append(l.calls, c)
	l.mu.Unlock()
	life := nodesRing
	switch {
	case c.taken.IsZero():
		life = 0 // 1302 PUSH_ERROR, at once
	case c.early:
		life = 300*time.Millisecond + rand.N(6*time.Second)
	}
	l.work.Add(1)
	time.AfterFunc(life, func() {
		defer l.work.Done()
		l.end(c)
	})
}

// end sends the Call Event.
func (l *load) end(c *placed) {
	values := callEvent(c.sid, c.callee.project.service(), c.callee.user)
	switch {
	case c.taken.IsZero():
		values.Set("disconnect_reason", "1302")
	case !c.early:
		values.Set("disconnect_reason", "1203")
	}
	ending := time.Now()
	node, ended := l.tell(c.callee.project, "call-event", values, eventTries)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.ending, c.ended, c.other = ending, ended, node
	if ended.IsZero() {
		l.lost++
	}
}

// tell sends a callback until it is answered 200, and returns by whom and when.
func (l *load) tell(p nodesProject, kind string, values url.Values, tries int) (node string, at time.Time) {
	for try := range tries {
		if try > 0 && rest(l.n.ctx, sentAgain) != nil {
			return "", time.Time{}
		}
		status, node := l.send(p.callbackURL(kind) + "?" + values.Encode())
		if status == http.StatusOK {
			return node, time.Now()
		}
		l.mu.Lock()
		l.tries[fmt.Sprintf("%s %d", kind, status)]++
		l.mu.Unlock()
	}
	return "", time.Time{}
}

// send sends a callback once; the status is 0 without an answer.
func (l *load) send(target string) (status int, node string) {
	ctx, cancel := context.WithTimeout(l.n.ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, ""
	}
	resp, err := l.n.client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get(nodeHeader)
}

// answered are the calls whose Notify was answered 200. Only after finish.
func (l *load) answered() (calls []*placed) {
	for _, c := range l.calls {
		if !c.taken.IsZero() {
			calls = append(calls, c)
		}
	}
	return calls
}
