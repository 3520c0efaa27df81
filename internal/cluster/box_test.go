package cluster_test

import (
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// unseen is how long a letter is out of sight after a poll that acknowledges had it.
const unseen = 3 * time.Second

// box is a small mailbox: cluster.Mailbox as package mailbox is one.
type box struct {
	node *node

	mu      sync.Mutex
	letters map[string]*letter
	polls   map[string][]*poll
	closing chan struct{}
	closed  bool
	ended   int                   // how often all polls were to end
	had     map[string]bool       // over here, or in a poll's hand
	idles   int                   // how often something was given to the worker
	hears   map[bell.CallKey]bool // streams have told their devices of these calls; true: of the end too
}

type letter struct {
	ring   bell.Ring
	since  time.Time
	hidden bool // a poll had it and has not acknowledged
	out    bool // the worker has it
	back   *time.Timer
}

type poll struct {
	began time.Time
	got   chan *letter
	acks  bool
}

// poll waits for a call as a device does, and reports whether one came.
func (b *box) poll(device string, hold time.Duration, acks bool) (bell.Ring, bool) {
	p := &poll{began: time.Now(), got: make(chan *letter, 1), acks: acks}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return bell.Ring{}, false
	}
	b.node.work.Add(1) // before the end of the node can wait for it: what the poll hands out is work too
	defer b.node.work.Done()
	b.polls[device] = append(b.polls[device], p)
	b.offer(device)
	if len(p.got) == 0 {
		b.node.worker.Entered(device)
	}
	b.mu.Unlock()
	timer := time.NewTimer(hold)
	defer timer.Stop()
	defer b.leave(device, p)
	select {
	case l := <-p.got:
		return b.hand(p, l), true
	case <-timer.C:
	case <-b.closing:
	}
	return bell.Ring{}, false
}

func (b *box) leave(device string, p *poll) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.polls[device] = slices.DeleteFunc(b.polls[device], func(other *poll) bool { return other == p })
	if len(b.polls[device]) == 0 {
		delete(b.polls, device)
	}
	select {
	case l := <-p.got:
		b.letters[l.ring.Delivery.ID] = l
		delete(b.had, l.ring.Delivery.ID)
	default:
	}
	if !b.closed {
		b.offer(device)
	}
}

// offer hands out what is visible, or lets it be given back. The caller holds b.mu.
func (b *box) offer(device string) {
	for id, l := range b.letters {
		if l.ring.Device.ID != device || l.hidden || l.out || b.closed || !b.node.worker.Now().Before(l.ring.Delivery.Deadline) {
			continue
		}
		if len(b.polls[device]) == 0 || l.ring.Call.Purpose != bell.PurposeCall { // these polls do not know notices
			l.out = true
			b.idles++
			b.node.worker.Idle(l.ring)
			continue
		}
		for _, p := range b.polls[device] {
			if len(p.got) == 0 {
				delete(b.letters, id) // in the poll's hand
				b.had[id] = true
				p.got <- l
				break
			}
		}
	}
}

// hand gives a letter to a poll, whose device has it from then on.
func (b *box) hand(p *poll, l *letter) bell.Ring {
	n, id := b.node, l.ring.Delivery.ID
	if !n.is(down) {
		n.world.handedOut(n, l.ring)
	}
	n.mu.Lock()
	over := n.withdrawn[l.ring.Call.SessionID]
	n.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.acks && !over && !b.closed {
		l.hidden = true
		b.letters[id] = l
		delete(b.had, id)
		l.back = time.AfterFunc(unseen, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.letters[id] == l {
				l.hidden = false
				b.offer(l.ring.Device.ID)
			}
		})
		return l.ring
	}
	if p.acks {
		return l.ring
	}
	n.work.Go(func() {
		d := l.ring.Delivery
		d.State, d.UpdatedAt = bell.DeliveryAccepted, n.worker.Now()
		n.do(func() { n.db.Record(d) })
	})
	return l.ring
}

// hold puts a letter in that polls do not get.
func (b *box) hold(r bell.Ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters[r.Delivery.ID] = &letter{ring: r, since: b.node.worker.Now(), hidden: true}
}

func (b *box) put(r bell.Ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.letters[r.Delivery.ID] != nil || b.had[r.Delivery.ID] || b.closed {
		return
	}
	b.letters[r.Delivery.ID] = &letter{ring: r, since: b.node.worker.Now()}
	b.offer(r.Device.ID)
}

func (b *box) remove(over func(*letter) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, l := range b.letters {
		if over(l) {
			if l.back != nil {
				l.back.Stop()
			}
			delete(b.letters, id)
		}
	}
}

func (b *box) withdraw(environment planet.Environment, id planet.SessionID) {
	b.remove(func(l *letter) bool { return l.ring.Call.SessionID == id })
	b.mu.Lock()
	defer b.mu.Unlock()
	key := bell.CallKey{Environment: environment, SessionID: id}
	if _, heard := b.hears[key]; heard {
		b.hears[key] = true
	}
}

func (b *box) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.closing)
		for _, l := range b.letters {
			if l.back != nil {
				l.back.Stop()
			}
		}
	}
}

// visible lists deliveries that lie here.
func (b *box) visible() (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, l := range b.letters {
		if !l.out && !b.closed {
			ids = append(ids, id)
		}
	}
	return ids
}

// waiting returns since when a device's oldest poll waits.
func (b *box) waiting(device string) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.polls[device]) == 0 || b.closed {
		return time.Time{}, false
	}
	return b.polls[device][0].began, true
}

// Waits implements cluster.Mailbox.
func (b *box) Waits(device string) bool {
	_, waits := b.waiting(device)
	return waits
}

// Letters implements cluster.Mailbox.
func (b *box) Letters(before time.Time) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, l := range b.letters {
		if l.since.Before(before) {
			ids = append(ids, id)
		}
	}
	return ids
}

// hear is a stream that has told its device of a call.
func (b *box) hear(f *fate) bell.CallKey {
	key := bell.CallKey{Environment: planet.Evaluation, SessionID: f.ring.Call.SessionID}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hears == nil {
		b.hears = map[bell.CallKey]bool{}
	}
	b.hears[key] = false
	return key
}

// told reports whether streams have told of the end of a call.
func (b *box) told(key bell.CallKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hears[key]
}

// Untold implements cluster.Mailbox.
func (b *box) Untold(most int) (calls []bell.CallKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, told := range b.hears {
		if !told && len(calls) < most {
			calls = append(calls, key)
		}
	}
	return calls
}

// EndPolls implements cluster.Mailbox, without ending them.
func (b *box) EndPolls() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended++
}

func (b *box) ends() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// Had implements cluster.Mailbox.
func (b *box) Had(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.had[id]
}

// Remove implements cluster.Mailbox.
func (b *box) Remove(id string) {
	b.remove(func(l *letter) bool { return l.ring.Delivery.ID == id })
}

// Acknowledge implements cluster.Mailbox.
func (b *box) Acknowledge(_ planet.Environment, id planet.SessionID, device string) {
	b.remove(func(l *letter) bool { return l.ring.Call.SessionID == id && l.ring.Device.ID == device })
}
