package mailbox

import (
	"context"
	"slices"
	"time"
)

// This file is how a mailbox is kept clean, and how it ends.

// clean removes letters whose ring is over.
func (m *Mailbox) clean(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleanHad(now)
	for _, letters := range m.calls {
		for _, l := range slices.Clone(letters) {
			if !l.taken && !now.Before(l.ring.Delivery.Deadline) {
				m.discard(l)
			}
		}
	}
}

// Run removes letters whose ring is over, until ctx ends. Their record is the sweep of
// package delivery's business.
func (m *Mailbox) Run(ctx context.Context) error {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			m.clean(m.Now())
		}
	}
}

// Close ends all waiting polls with nothing, spread over stagger so that their clients
// do not come back all at once. It returns when they have ended, every letter in hand
// is done, and what was taken is reported: a report that came later would be lost with
// the database, and the device would ring again after the restart.
func (m *Mailbox) Close(stagger time.Duration) {
	m.mu.Lock()
	if !m.closed {
		m.closed, m.stagger = true, stagger
		close(m.closing)
		for _, letters := range m.calls {
			for _, l := range letters {
				m.forget(l)
			}
		}
	}
	m.mu.Unlock()
	m.work.Wait()
	m.giveBackAll()
}

// pause waits, and returns ctx's error if the device goes away meanwhile.
func (m *Mailbox) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
