package mailbox

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// step is one thing that happens in a story, after a pause.
type step struct {
	pause  time.Duration
	kind   string // put, poll, listen, withdraw, acknowledge
	device string
	call   int
	rings  time.Duration // put: how long
	fate   string        // poll: written, lost, slowly lost, gone
	gone   time.Duration // poll: when the device goes away
	acks   bool          // poll: the client acknowledges, and so may get a call again
}

func stories() *rapid.Generator[[]step] {
	seconds := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, most*2).Draw(t, "half seconds")) * 500 * time.Millisecond
		})
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			pause:  seconds(4).Draw(t, "pause"),
			kind:   rapid.SampledFrom([]string{"put", "put", "put", "poll", "poll", "listen", "listen", "withdraw", "acknowledge"}).Draw(t, "kind"),
			device: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "device"),
			call:   rapid.IntRange(0, 5).Draw(t, "call"),
			rings:  seconds(30).Draw(t, "rings"),
			fate:   rapid.SampledFrom([]string{"written", "written", "lost", "slowly lost", "gone"}).Draw(t, "fate"),
			gone:   seconds(6).Draw(t, "gone"),
			acks:   rapid.Bool().Draw(t, "acks"),
		}
	}), 0, 40)
}

// play is a story under way, and what is true of each delivery.
type play struct {
	*desk
	work sync.WaitGroup

	mu        sync.Mutex
	deadlines map[string]time.Time // of what was put in
	delivered map[string]int       // to plain polls
	handed    map[string]time.Time // to polls that acknowledge: when last
	received  map[string]bool      // acknowledged
	withdrawn map[planet.SessionID]bool
	drained   map[string]time.Time                 // when a device began to ask for all that is left
	shaken    map[string]time.Time                 // when a stream of a device last began, ended or was given something
	has       map[string]map[planet.SessionID]bool // what a device's client remembers of streams
	watchers  map[*watcher]bool                    // streams that are open
	polling   map[string]int                       // polls that wait, by device
	wrong     []string
}

func (p *play) complain(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

func (p *play) put(s step) {
	r := ring(s.call, s.device, time.Now().Add(s.rings))
	p.mu.Lock()
	defer p.mu.Unlock()
	// Package call makes one delivery per device and call, and none after its end.
	if _, twice := p.deadlines[r.Delivery.ID]; twice || p.withdrawn[sid(s.call)] {
		return
	}
	p.deadlines[r.Delivery.ID] = r.Delivery.Deadline
	if o := p.Send(context.Background(), r, delivery.Try{Number: 1}); o.Verdict != bell.Deposited {
		p.complain("%s was not put in: %+v", r.Delivery.ID, o)
	}
}

func (p *play) wait(s step) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.fate == "gone" {
		stop := time.AfterFunc(s.gone, cancel)
		defer stop.Stop()
	}
	p.mu.Lock()
	p.polling[s.device]++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.polling[s.device]--
	}()
	letter, err := p.Wait(ctx, bell.Poll{DeviceID: s.device, Hold: 10 * time.Second, Acknowledges: s.acks})
	if letter == nil {
		if (err != nil) != (s.fate == "gone" && ctx.Err() != nil) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.complain("a poll ended with error %v", err)
		}
		return
	}
	n := letter.Payload.(planet.Notification)
	id := fmt.Sprintf("%s/%s", s.device, n.SessionID[len("call-"):])
	p.mu.Lock()
	p.rings(id, n.SessionID)
	if last, again := p.handed[id]; again && time.Since(last) < unseen && p.shaken[s.device].Before(last) {
		p.complain("%s was handed out again after %v", id, time.Since(last))
	}
	switch written := s.fate == "written" || s.fate == "gone"; {
	case written && s.acks:
		p.handed[id] = time.Now()
	case written:
		p.delivered[id]++
	}
	p.mu.Unlock()
	if s.fate == "slowly lost" {
		pass(1500 * time.Millisecond)
	}
	letter.Done(s.fate == "written" || s.fate == "gone")
}

func (p *play) run(story []step) {
	for _, s := range story {
		pass(s.pause)
		synctest.Wait() // what is true now is true before the step
		switch s.kind {
		case "put":
			p.put(s)
			synctest.Wait()
			p.heard(s)
		case "listen":
			p.work.Go(func() { p.listens(s) })
		case "poll":
			p.work.Go(func() { p.wait(s) })
		case "acknowledge":
			p.acknowledge(fmt.Sprintf("%s/%d", s.device, s.call))
		case "withdraw":
			p.Withdraw(planet.Evaluation, sid(s.call))
			p.mu.Lock()
			p.withdrawn[sid(s.call)] = true
			p.mu.Unlock()
		}
	}
	p.work.Wait()
	for _, device := range []string{"a", "b", "c"} { // what still rings is had by the next polls, or a stream
		p.drained[device] = time.Now()
		if device == "c" {
			p.has[device] = map[planet.SessionID]bool{}
			p.listens(step{device: device, fate: "written"})
			continue
		}
		for range 6 {
			p.wait(step{device: device, fate: "written", acks: device == "a"})
		}
	}
}

// acknowledge is a receipt for something that the device has, or for nothing at all: both
// happen.
func (p *play) acknowledge(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Acknowledge(planet.Evaluation, planet.SessionID("call-"+id[len("a/"):]), id[:1])
	if _, put := p.deadlines[id]; put {
		p.received[id] = true
	}
}

func (p *play) check(t *testing.T) {
	for id, deadline := range p.deadlines {
		n, asked := p.delivered[id], p.drained[id[:1]]
		last, handed := p.handed[id]
		if handed && id[:1] != "c" {
			asked = asked.Add(unseen) // it may have been invisible at first
		}
		excused := p.withdrawn[planet.SessionID("call-"+id[len("a/"):])] || p.received[id] || !deadline.After(asked)
		// What was handed out and not acknowledged is handed out again.
		had := n == 1 || handed && !last.Before(p.drained[id[:1]])
		if n > 1 || !had && !excused {
			p.complain("%s was delivered %d times, handed out: %t", id, n, handed)
		}
	}
	total := 0
	for _, n := range p.delivered {
		total += n
	}
	if got := len(p.reported()); got != total {
		p.complain("%d reported as taken, %d delivered", got, total)
	}
	if got := len(p.handedOut()); got != len(p.handed) {
		p.complain("%d reported as handed out, %d were", got, len(p.handed))
	}
	p.clean(time.Now().Add(time.Hour))
	p.checkEmpty(t)
}

func TestEveryLetterIsDeliveredOnceOrUntilAcknowledgedOrIsOver(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		story := stories().Draw(rt, "story")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			p := &play{
				desk: newDesk(Config{}), deadlines: map[string]time.Time{},
				delivered: map[string]int{}, handed: map[string]time.Time{}, received: map[string]bool{}, withdrawn: map[planet.SessionID]bool{}, drained: map[string]time.Time{},
				shaken: map[string]time.Time{}, watchers: map[*watcher]bool{}, polling: map[string]int{},
				has: map[string]map[planet.SessionID]bool{"a": {}, "b": {}, "c": {}},
			}
			p.run(story)
			p.Close(0)
			p.check(t)
			wrong = p.wrong
		})
		for _, w := range wrong {
			rt.Error(w)
		}
	})
}
