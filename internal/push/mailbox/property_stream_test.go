package mailbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// watcher is a stream in a story.
type watcher struct {
	device string
	honest bool // what is written to it arrives, and it lives
	wrote  map[planet.SessionID]bool
}

// listens is a stream: its client says what it has, from streams before. Its fate: written
// and gone are a client that gets everything, lost is one whose connection takes nothing after
// s.gone, slowly lost is one whose connection dies then without a word.
func (p *play) listens(s step) {
	ctx, cancel := context.WithTimeout(context.Background(), max(s.rings, time.Second)) // the client leaves
	defer cancel()
	w := &watcher{device: s.device, honest: s.fate == "written" || s.fate == "gone", wrote: map[planet.SessionID]bool{}}
	start := time.Now()
	sub := bell.Stream{
		Poll: bell.Poll{DeviceID: s.device, Hold: 10 * time.Second, Acknowledges: true}, Environment: planet.Evaluation, Beat: 4 * time.Second,
		Arrived: func(_ context.Context, id planet.SessionID) bell.Arrival {
			p.acknowledge(s.device + "/" + string(id[len("call-"):]))
			p.mu.Lock()
			defer p.mu.Unlock()
			return bell.Arrival{Over: p.withdrawn[id]}
		},
	}
	p.mu.Lock()
	for id := range p.has[s.device] {
		if len(sub.Known) < maxNamed {
			sub.Known = append(sub.Known, id)
			w.wrote[id] = true
		}
	}
	p.shaken[s.device] = start
	p.mu.Unlock()
	err := p.Stream(ctx, &sub, func(e bell.StreamEvent) bool { return p.written(s, w, start, e) })
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watchers, w)
	p.shaken[s.device] = time.Now()
	if err != nil && ctx.Err() == nil && bell.KindOf(err) != bell.Unavailable {
		p.complain("a stream ended with %v", err)
	}
}

// written is a stream's write, and what its client does.
func (p *play) written(s step, w *watcher, start time.Time, e bell.StreamEvent) bool {
	dead := !w.honest && time.Since(start) >= s.gone
	p.mu.Lock()
	defer p.mu.Unlock()
	id := fmt.Sprintf("%s/%s", s.device, strings.TrimPrefix(string(e.SessionID), "call-"))
	switch e.Kind {
	case bell.StreamOpened:
		p.watchers[w] = true
	case bell.StreamEnded:
		if !w.wrote[e.SessionID] {
			p.complain("a stream was told of the end of %s, of which it was not told", id)
		}
		if deadline, put := p.deadlines[id]; put && !p.withdrawn[e.SessionID] && time.Now().Before(deadline) {
			p.complain("a stream was told of the end of %s, which rings", id)
		}
		if !dead {
			delete(p.has[s.device], e.SessionID)
		}
	case bell.StreamLetter:
		p.rings(id, e.SessionID)
		if w.wrote[e.SessionID] {
			p.complain("%s came twice over one stream", id)
		}
		if dead && s.fate == "lost" {
			return false
		}
		w.wrote[e.SessionID] = true
		p.handed[id], p.shaken[s.device] = time.Now(), time.Now()
		if dead {
			return true
		}
		p.has[s.device][e.SessionID] = true
		if s.acks {
			p.work.Go(func() {
				pass(s.pause)
				p.acknowledge(id)
			})
		}
	}
	return !dead || s.fate != "lost"
}

// rings complains of a letter that must not be handed out now. The caller holds p.mu.
func (p *play) rings(id string, call planet.SessionID) {
	if p.withdrawn[call] {
		p.complain("%s was handed out after its call had ended", id)
	}
	if now := time.Now(); !now.Before(p.deadlines[id]) {
		p.complain("%s was handed out %v after its deadline", id, now.Sub(p.deadlines[id]))
	}
	if p.delivered[id] > 0 || p.received[id] {
		p.complain("%s was handed out although it was delivered %d times, acknowledged: %t", id, p.delivered[id], p.received[id])
	}
}

// heard complains if a call that was just put in reached nobody although somebody listens.
func (p *play) heard(s step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := fmt.Sprintf("%s/%d", s.device, s.call)
	deadline, put := p.deadlines[id]
	if !put || p.withdrawn[sid(s.call)] || p.received[id] || p.delivered[id] > 0 || !time.Now().Before(deadline) {
		return
	}
	for w := range p.watchers {
		if w.device == s.device && w.honest && p.handed[id].IsZero() && p.polling[s.device] == 0 {
			p.complain("%s reached nobody although somebody listens", id)
		}
	}
}
