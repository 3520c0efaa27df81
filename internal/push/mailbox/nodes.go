package mailbox

import (
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// This file is for a mailbox that is one of several, each in a process of its own on the same
// database. A letter lies here only while a poll of its device waits here, or has it in hand.
//
// Entered is called when a poll begins to wait and there is nothing for it here: there may
// be something in the database. Idle is called for a letter that nobody waits for here: it is
// to be given back, and is whoever's that is told so: here it is invisible from then on, until
// Remove takes it out. Both functions must return at once and must not call the mailbox.

// index lets a letter be found by its delivery. The caller holds m.mu.
func (m *Mailbox) index(l *letter) {
	if m.Idle != nil {
		l.since = m.Now()
		m.byID[l.ring.Delivery.ID] = l
	}
}

// entered says that a poll waits and has nothing.
func (m *Mailbox) entered(p *poll, device string) {
	if m.Entered != nil && len(p.got) == 0 {
		m.Entered(device)
	}
}

// giveBackAll reports what is left when all polls have ended, also what is hidden.
func (m *Mailbox) giveBackAll() {
	if m.Idle == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.byID {
		if !l.leaving && !l.over {
			l.leaving = true
			m.Idle(l.ring)
		}
	}
}

// giveBack reports the letters of a box for which no poll is there. A poll that has
// another letter in hand counts: its device asks again. The caller holds m.mu.
func (m *Mailbox) giveBack(b *box, now time.Time) {
	if m.Idle == nil {
		return
	}
	for _, l := range b.letters {
		if l.visible(now) && !b.awaits(l) {
			l.leaving = true
			m.Idle(l.ring)
		}
	}
}

// settle takes a letter out that is over: its device has it, or its call has ended. The
// record of that may still be on its way. The caller holds m.mu.
func (m *Mailbox) settle(l *letter) {
	if m.Idle != nil && !l.over && len(m.had) < m.MaxLetters {
		m.had[l.ring.Delivery.ID] = l.ring.Delivery.Deadline
	}
	m.discard(l)
}

// Had reports whether a delivery came to its end here, until its deadline: a plain poll has
// it, or its device acknowledged it, or its call is over. What the database says of it may be
// older; it is not put in again.
func (m *Mailbox) Had(delivery string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, had := m.had[delivery]
	return had
}

// cleanHad forgets what has no deadline ahead. The caller holds m.mu.
func (m *Mailbox) cleanHad(now time.Time) {
	for delivery, deadline := range m.had {
		if !now.Before(deadline) {
			delete(m.had, delivery)
		}
	}
}

func (b *box) awaits(l *letter) bool {
	for _, p := range b.polls {
		if p.takes(l) {
			return true
		}
	}
	return false
}

// Waits reports whether a poll of a device waits here.
func (m *Mailbox) Waits(device string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[device]
	return b != nil && len(b.polls) > 0 && !m.closed
}

// endWithin is over how long polls end that EndPolls ends: their devices ask again at once.
const endWithin = 2 * time.Second

// EndPolls ends all polls that wait now with nothing, within endWithin, as Close does. The mailbox
// stays open: their devices ask again, perhaps another process. It returns at once.
func (m *Mailbox) EndPolls() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		close(m.ending)
		m.ending = make(chan struct{})
	}
}

// Letters lists the deliveries that have lain here since before a time.
func (m *Mailbox) Letters(since time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, l := range m.byID {
		if l.since.Before(since) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Remove takes a delivery out, because it is over, or belongs to nobody or to somebody else.
// It is not reported.
func (m *Mailbox) Remove(delivery string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.byID[delivery]; l != nil {
		m.discard(l)
	}
}

// Untold lists calls that streams have told their devices of, and not the end of, at most so
// many: of more, any. Whoever finds out that one is over must call Withdraw.
func (m *Mailbox) Untold(most int) []bell.CallKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	var calls []bell.CallKey
	for key, streams := range m.hears {
		if len(calls) >= most {
			break
		}
		if slices.ContainsFunc(streams, func(s *stream) bool { return s.rings(key) }) {
			calls = append(calls, key)
		}
	}
	return calls
}
