// Package clustertest has what tests of several nodes need: a small model of the database
// that cluster.Store is a part of, and the suite that the model and every real store must
// pass.
package clustertest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// DB is a database in memory, with a clock of its own. It is safe for concurrent use.
type DB struct {
	mu      sync.Mutex
	clock   func() time.Time
	rows    map[string]bell.Ring
	ended   map[bell.CallKey]struct{}
	nodes   map[string]cluster.Node
	devices map[string]bell.Device
	changes []cluster.Change
	last    int64
}

// NewDB makes a DB by whose clock everything is.
func NewDB(clock func() time.Time) *DB {
	return &DB{clock: clock, rows: map[string]bell.Ring{}, ended: map[bell.CallKey]struct{}{}, nodes: map[string]cluster.Node{}, devices: map[string]bell.Device{}}
}

// Link is one node's connection to a DB. It implements cluster.Store.
type Link struct {
	db *DB

	mu      sync.Mutex
	latency time.Duration // of a whole round trip
	cut     bool          // nothing goes through, and nobody says so
	lose    bool          // what is asked is done, but the answers are lost
	parked  []func()      // claims that were asked while it was cut; they arrive when it is not
}

// Connect makes a Link.
func (db *DB) Connect(latency time.Duration) *Link { return &Link{db: db, latency: latency} }

// Set changes how a link is.
func (l *Link) Set(cut, lose bool) {
	l.mu.Lock()
	l.cut, l.lose = cut, lose
	var late []func()
	if !cut {
		late, l.parked = l.parked, nil
	}
	l.mu.Unlock()
	for _, run := range late {
		time.AfterFunc(l.latency, func() { // as a proxy that lets go of what it holds
			l.db.mu.Lock()
			defer l.db.mu.Unlock()
			run()
		})
	}
}

// park keeps what could not be asked, to arrive later.
func (l *Link) park(run func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		l.parked = append(l.parked, run)
	}
}

func (l *Link) state() (latency time.Duration, cut, lose bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latency, l.cut, l.lose
}

var errGone = bell.E(bell.Unavailable, "The database did not answer.", errors.New("cut"))

// Do is one transaction on the way there and back.
func (l *Link) Do(ctx context.Context, run func()) error {
	latency, cut, _ := l.state()
	if cut || !sleep(ctx, latency/2) {
		<-ctx.Done()
		return errors.Join(errGone, context.Cause(ctx))
	}
	l.db.mu.Lock()
	run()
	l.db.mu.Unlock()
	_, cut, lose := l.state()
	if cut || lose || !sleep(ctx, latency/2) {
		<-ctx.Done()
		return errors.Join(errGone, context.Cause(ctx))
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func micros(t time.Time) time.Time { return t.Round(0).Truncate(time.Microsecond).UTC() }

func (db *DB) now() time.Time { return micros(db.clock()) }

// Insert records a delivery with its call. The caller is in Do, or has the DB to itself.
func (db *DB) Insert(r bell.Ring) {
	r.Delivery.CreatedAt, r.Delivery.UpdatedAt = micros(r.Delivery.CreatedAt), micros(r.Delivery.UpdatedAt)
	db.rows[r.Delivery.ID] = r
}

// Delivery returns what is recorded. The caller is in Do, or has the DB to itself.
func (db *DB) Delivery(id string) bell.Delivery { return db.rows[id].Delivery }

// Rows lists what is recorded. The caller is in Do, or has the DB to itself.
func (db *DB) Rows() []bell.Ring { return slices.Collect(maps.Values(db.rows)) }

// Record is delivery.Store.RecordAttempt without an attempt. The caller is in Do, or has the
// DB to itself.
func (db *DB) Record(d bell.Delivery) {
	r, ok := db.rows[d.ID]
	late := d.State == bell.DeliveryAccepted && r.Delivery.State != bell.DeliveryReceived
	if !ok || r.Delivery.State.Final() && !late {
		return
	}
	d.UpdatedAt = micros(d.UpdatedAt)
	r.Delivery = d
	db.rows[d.ID] = r
}

// End ends a call and withdraws what is open of it. The caller is in Do, or has the DB to itself.
func (db *DB) End(environment planet.Environment, id planet.SessionID) {
	db.ended[bell.CallKey{Environment: environment, SessionID: id}] = struct{}{}
	for key, r := range db.rows {
		if r.Call.Environment == environment && r.Call.SessionID == id && !r.Delivery.State.Final() {
			r.Delivery.State = bell.DeliveryWithdrawn
			db.rows[key] = r
		}
	}
}

// Receive records a device's receipt. The caller is in Do, or has the DB to itself.
func (db *DB) Receive(environment planet.Environment, id planet.SessionID, device string) {
	for key, r := range db.rows {
		if r.Call.Environment == environment && r.Call.SessionID == id && r.Device.ID == device {
			r.Delivery.State, r.Delivery.LeaseOwner = bell.DeliveryReceived, ""
			db.rows[key] = r
		}
	}
}

// PutDevice writes a device, new or not. The caller is in Do, or has the DB to itself.
func (db *DB) PutDevice(d bell.Device) {
	was, known := db.devices[d.ID]
	db.devices[d.ID] = d
	touched := was
	touched.LastSeenAt, touched.ExpiresAt = d.LastSeenAt, d.ExpiresAt
	if known && touched == d {
		return
	}
	db.change(d.Owner)
	if known && was.Owner != d.Owner {
		db.change(was.Owner)
	}
}

// RemoveDevice deletes a device. The caller is in Do, or has the DB to itself.
func (db *DB) RemoveDevice(id string) {
	if was, known := db.devices[id]; known {
		db.change(was.Owner)
		delete(db.devices, id)
	}
}

// DevicesOf reads an owner's devices. The caller is in Do, or has the DB to itself.
func (db *DB) DevicesOf(owner bell.Owner) (devices []bell.Device) {
	for _, id := range slices.Sorted(maps.Keys(db.devices)) {
		if db.devices[id].Owner == owner {
			devices = append(devices, db.devices[id])
		}
	}
	return devices
}

func (db *DB) change(owner bell.Owner) {
	db.last++
	db.changes = append(db.changes, cluster.Change{ID: db.last, Owner: owner, At: db.now()})
}

// unowned reports whether a delivery lies in a mailbox and is nobody's.
func unowned(d *bell.Delivery) bool {
	return d.Channel == bell.LongPoll && d.State == bell.DeliveryPending && d.LeaseOwner == ""
}

// Beat implements cluster.Store.
func (l *Link) Beat(ctx context.Context, n cluster.Node) (nodes []cluster.Node, now time.Time, err error) {
	err = l.Do(ctx, func() {
		now = l.db.now()
		n.SeenAt, n.StartedAt = now, micros(n.StartedAt)
		l.db.nodes[n.Owner] = n
		for owner, other := range l.db.nodes {
			if now.Sub(other.SeenAt) > time.Hour {
				delete(l.db.nodes, owner)
				continue
			}
			nodes = append(nodes, other)
		}
	})
	return nodes, now, err
}

// Leave implements cluster.Store.
func (l *Link) Leave(ctx context.Context, owner string) error {
	return l.Do(ctx, func() {
		delete(l.db.nodes, owner)
		l.db.free(func(holder string) bool { return holder == owner })
	})
}

// FreeDead implements cluster.Store.
func (l *Link) FreeDead(ctx context.Context, since time.Time) (n int, err error) {
	err = l.Do(ctx, func() {
		n = l.db.free(func(holder string) bool {
			node, known := l.db.nodes[holder]
			return known && node.SeenAt.Before(since) || !known && l.db.heldBefore(holder, since)
		})
	})
	return n, err
}

// heldBefore reports whether somebody has held an open delivery since before a time.
func (db *DB) heldBefore(holder string, since time.Time) bool {
	for _, r := range db.rows {
		if d := r.Delivery; !d.State.Final() && d.LeaseOwner == holder && !d.LeaseUntil.IsZero() && d.UpdatedAt.Before(since) {
			return true
		}
	}
	return false
}

func (db *DB) free(dead func(string) bool) (n int) {
	for id, r := range db.rows {
		d := &r.Delivery
		if d.State.Final() || d.LeaseOwner == "" || d.LeaseUntil.IsZero() || !dead(d.LeaseOwner) {
			continue
		}
		if d.Channel == bell.LongPoll {
			d.LeaseOwner, d.LeaseUntil, d.UpdatedAt = "", d.Deadline, db.now()
		} else {
			d.LeaseUntil = time.Time{}
		}
		db.rows[id] = r
		n++
	}
	return n
}

// ClaimMailbox implements cluster.Store.
func (l *Link) ClaimMailbox(ctx context.Context, c cluster.Claim) (rings []bell.Ring, err error) {
	if _, cut, _ := l.state(); cut {
		l.park(func() { l.db.claim(c) })
	}
	err = l.Do(ctx, func() { rings = l.db.claim(c) })
	return rings, err
}

func (db *DB) claim(c cluster.Claim) (rings []bell.Ring) {
	now := micros(c.Now)
	if db.now().After(c.Until) {
		return nil
	}
	for id, r := range db.rows {
		d := &r.Delivery
		given := c.Again && d.Channel == bell.LongPoll && d.State == bell.DeliveryPending && d.LeaseOwner == c.Owner && d.UpdatedAt.Equal(now)
		if !unowned(d) && !given || !now.Before(d.Deadline) || !slices.Contains(c.Devices, d.DeviceID) {
			continue
		}
		d.LeaseOwner, d.LeaseUntil, d.UpdatedAt = c.Owner, d.Deadline, now
		db.rows[id] = r
		rings = append(rings, r)
	}
	slices.SortFunc(rings, func(a, b bell.Ring) int {
		return cmp.Or(a.Delivery.CreatedAt.Compare(b.Delivery.CreatedAt), cmp.Compare(a.Delivery.ID, b.Delivery.ID))
	})
	return rings
}

// GiveBack implements cluster.Store.
func (l *Link) GiveBack(ctx context.Context, owner string, deliveries []string) (unknown []string, err error) {
	err = l.Do(ctx, func() {
		for _, id := range deliveries {
			r, known := l.db.rows[id]
			d := &r.Delivery
			switch {
			case !known:
				unknown = append(unknown, id)
			case d.LeaseOwner == owner && d.Channel == bell.LongPoll && d.State == bell.DeliveryPending:
				d.LeaseOwner, d.LeaseUntil, d.UpdatedAt = "", d.Deadline, l.db.now()
				l.db.rows[id] = r
			}
		}
	})
	return unknown, err
}

// MailboxSince implements cluster.Store.
func (l *Link) MailboxSince(ctx context.Context, after cluster.Mark, limit int) (letters []cluster.Letter, err error) {
	err = l.Do(ctx, func() { letters = l.db.letters(after, limit, unowned) })
	return letters, err
}

// LettersOf implements cluster.Store.
func (l *Link) LettersOf(ctx context.Context, owner string, before time.Time, after cluster.Mark, limit int) (letters []cluster.Letter, err error) {
	err = l.Do(ctx, func() {
		letters = l.db.letters(after, limit, func(d *bell.Delivery) bool {
			return d.Channel == bell.LongPoll && d.State == bell.DeliveryPending && d.LeaseOwner == owner && d.UpdatedAt.Before(before)
		})
	})
	return letters, err
}

func (db *DB) letters(after cluster.Mark, limit int, are func(*bell.Delivery) bool) (letters []cluster.Letter) {
	order := func(a, b cluster.Mark) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Delivery, b.Delivery))
	}
	for id, r := range db.rows {
		mark := cluster.Mark{At: r.Delivery.UpdatedAt, Delivery: id}
		if are(&r.Delivery) && order(mark, after) > 0 {
			letters = append(letters, cluster.Letter{Mark: mark, DeviceID: r.Delivery.DeviceID})
		}
	}
	slices.SortFunc(letters, func(a, b cluster.Letter) int { return order(a.Mark, b.Mark) })
	return letters[:min(limit, len(letters))]
}

// Gone implements cluster.Store.
func (l *Link) Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error) {
	gone := map[string]bell.DeliveryState{}
	err := l.Do(ctx, func() {
		for _, id := range deliveries {
			r, known := l.db.rows[id]
			switch {
			case known && r.Delivery.State.Final():
				gone[id] = r.Delivery.State
			case known && r.Delivery.LeaseOwner != owner:
				gone[id] = ""
			}
		}
	})
	return gone, err
}

// DevicesChanged implements cluster.Store.
func (l *Link) DevicesChanged(ctx context.Context, since time.Time, after int64, limit int) (changes []cluster.Change, now time.Time, err error) {
	err = l.Do(ctx, func() {
		now = l.db.now()
		for _, c := range l.db.changes {
			if !c.At.Before(since) && c.ID > after && len(changes) < limit {
				changes = append(changes, c)
			}
		}
	})
	return changes, now, err
}

// ForgetChanges implements cluster.Store.
func (l *Link) ForgetChanges(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = l.Do(ctx, func() {
		l.db.changes = slices.DeleteFunc(l.db.changes, func(c cluster.Change) bool {
			old := c.At.Before(before) && n < limit
			if old {
				n++
			}
			return old
		})
	})
	return n, err
}
