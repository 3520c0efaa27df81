package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

var _ cluster.Store = (*Store)(nil)

const (
	// clock is the database's time, of the moment and not of the transaction's beginning.
	clock = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
	// nodesKept is for how long a silent node is known.
	nodesKept = time.Hour
	// freedFor is for how long a silent node's leases are looked for: it may have been writing
	// one when it died. If it comes back it can die again.
	freedFor = 30 * time.Second
)

const (
	beat = `INSERT INTO nodes (owner, host, version, started_at, seen_at) VALUES ($1, $2, $3, $4, ` + clock + `)
		ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at, freed_at = 0`
	forgetNodes = `DELETE FROM nodes WHERE owner <> $1 AND seen_at < ` + clock + ` - $2`
	listNodes   = `SELECT owner, host, version, started_at, seen_at, ` + clock + ` FROM nodes ORDER BY owner`
)

// Beat implements cluster.Store.
func (s *Store) Beat(ctx context.Context, n cluster.Node) (nodes []cluster.Node, now time.Time, err error) {
	args := bind([]any{n.Owner, n.Host, n.Version, sqldb.Micros(n.StartedAt)})
	err = s.write(ctx, "say that this node is alive", "", func(l *link) error {
		results, err := l.send(query{beat, args}, query{forgetNodes, []any{args[0], nodesKept.Microseconds()}}, query{listNodes, nil})
		if err != nil {
			return err
		}
		nodes = nil
		for _, row := range results[2].rows {
			var node cluster.Node
			err := record{results[2].columns, row}.Scan(&node.Owner, &node.Host, &node.Version,
				sqldb.At{To: &node.StartedAt}, sqldb.At{To: &node.SeenAt}, sqldb.At{To: &now})
			if err != nil {
				return fmt.Errorf("read a node: %w", err)
			}
			nodes = append(nodes, node)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return nodes, now, nil
}

// freeLeases ends the leases of the nodes that "dead" names, which the statement begins with.
const freeLeases = `, told AS (UPDATE tellings SET lease_owner = '', due = ` + clock + ` FROM dead
		WHERE tellings.lease_owner = dead.owner AND tellings.lease_owner <> '' AND tellings.state = 'waiting'),
	freed AS (UPDATE deliveries SET lease_owner = '', updated_at = ` + clock + `,
			lease_until = CASE channel WHEN '` + string(bell.LongPoll) + `' THEN deadline ELSE 0 END
		FROM dead WHERE deliveries.state IN ('pending', 'sending') AND deliveries.lease_owner = dead.owner RETURNING 1)
	SELECT count(*) FROM freed`

// Leave implements cluster.Store.
func (s *Store) Leave(ctx context.Context, owner string) error {
	_, err := s.count(ctx, "leave the other nodes", query{
		`WITH dead AS (DELETE FROM nodes WHERE owner = $1 RETURNING owner)` + freeLeases, bind([]any{owner}),
	})
	return err
}

// FreeDead implements cluster.Store.
func (s *Store) FreeDead(ctx context.Context, since time.Time) (int, error) {
	return s.count(ctx, "free what dead nodes held", query{
		`WITH dead AS (UPDATE nodes SET freed_at = CASE freed_at WHEN 0 THEN ` + clock + ` ELSE freed_at END
			WHERE seen_at < $1 AND (freed_at = 0 OR freed_at > ` + clock + ` - $2) RETURNING owner)` + freeLeases,
		[]any{sqldb.Micros(since), freedFor.Microseconds()},
	})
}

// count runs a statement that writes, and returns a number.
func (s *Store) count(ctx context.Context, what string, q query) (n int, err error) {
	err = s.write(ctx, what, "", func(l *link) error {
		results, err := l.send(q)
		if err != nil {
			return err
		}
		return record{results[0].columns, results[0].rows[0]}.Scan(&n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// A claim that was made before finds what it got then by the time it wrote.
const claimMailbox = `WITH free AS (SELECT d.id FROM deliveries d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id
		WHERE d.device_id = ANY($3) AND d.channel = '` + string(bell.LongPoll) + `' AND d.state = 'pending' AND d.deadline > $1
			AND (d.lease_owner = '' OR $4 AND d.lease_owner = $2 AND d.updated_at = $1)
		ORDER BY d.id FOR UPDATE OF d SKIP LOCKED),
	d AS (UPDATE deliveries SET lease_owner = $2, lease_until = deadline, updated_at = $1
		FROM free WHERE deliveries.id = free.id RETURNING deliveries.*)
	SELECT c.id, c.cc_param, ` + sqldb.CallColumns + `, ` + sqldb.DeviceColumns + `, ` + sqldb.DeliveryColumns + `
		FROM d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id ORDER BY d.created_at, d.id`

// ClaimMailbox implements cluster.Store.
func (s *Store) ClaimMailbox(ctx context.Context, c cluster.Claim) (rings []bell.Ring, err error) {
	args := bind([]any{sqldb.Micros(c.Now), c.Owner, c.Devices, c.Again})
	err = s.write(ctx, "claim what lies in mailboxes", "", func(l *link) error {
		results, err := l.send(query{claimMailbox, args})
		if err != nil {
			return err
		}
		rings, err = readRings(results[0])
		return err
	})
	if err != nil {
		return nil, err
	}
	return rings, nil
}

// GiveBack implements cluster.Store.
func (s *Store) GiveBack(ctx context.Context, owner string, deliveries []string) (unknown []string, err error) {
	args := bind([]any{owner, deliveries})
	known := map[string]bool{}
	err = s.write(ctx, "give back what lies in mailboxes", "", func(l *link) error {
		results, err := l.send(query{`WITH held AS (SELECT id FROM deliveries WHERE id = ANY($2) AND lease_owner = $1
				AND state IN ('pending', 'sending') ORDER BY id FOR UPDATE),
			given AS (UPDATE deliveries SET lease_owner = '', lease_until = deadline, state = 'pending', updated_at = ` + clock + `
				FROM held WHERE deliveries.id = held.id)
			SELECT id FROM deliveries WHERE id = ANY($2)`, args})
		if err != nil {
			return err
		}
		for _, row := range results[0].rows {
			var id string
			if err := (record{results[0].columns, row}).Scan(&id); err != nil {
				return err
			}
			known[id] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range deliveries {
		if !known[id] {
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}

// MailboxSince implements cluster.Store.
func (s *Store) MailboxSince(ctx context.Context, after cluster.Mark, limit int) (letters []cluster.Letter, err error) {
	err = s.Read(ctx, func(tx sqldb.Tx) error {
		return tx.Each(`SELECT updated_at, id, device_id FROM deliveries
			WHERE channel = 'longpoll' AND state = 'pending' AND lease_owner = '' AND (updated_at, id) > (?, ?)
			ORDER BY updated_at, id LIMIT ?`, func(row sqldb.Scanner) error {
			var l cluster.Letter
			err := row.Scan(sqldb.At{To: &l.At}, &l.Delivery, &l.DeviceID)
			letters = append(letters, l)
			return err
		}, sqldb.Micros(after.At), after.Delivery, max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("look for what lies in mailboxes: %w", err)
	}
	return letters, nil
}

// Gone implements cluster.Store.
func (s *Store) Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error) {
	gone := map[string]bell.DeliveryState{}
	err := s.Read(ctx, func(tx sqldb.Tx) error {
		results, err := tx.(*link).send(query{`SELECT id, state, lease_owner FROM deliveries WHERE id = ANY($1)`, bind([]any{deliveries})})
		if err != nil {
			return err
		}
		for _, row := range results[0].rows {
			var id, holder string
			var state bell.DeliveryState
			if err := (record{results[0].columns, row}).Scan(&id, &state, &holder); err != nil {
				return err
			}
			switch {
			case state.Final():
				gone[id] = state
			case holder != owner:
				gone[id] = ""
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for deliveries that others continue: %w", err)
	}
	return gone, nil
}

// DevicesChanged implements cluster.Store.
func (s *Store) DevicesChanged(ctx context.Context, since time.Time, after int64, limit int) (changes []cluster.Change, now time.Time, err error) {
	err = s.Read(ctx, func(tx sqldb.Tx) error {
		results, err := tx.(*link).send(query{`SELECT ` + clock, nil},
			query{
				`SELECT id, environment, service_id, user_id, at FROM device_changes WHERE at >= $1 AND id > $2 ORDER BY id LIMIT $3`,
				[]any{sqldb.Micros(since), after, int64(max(limit, 0))},
			})
		if err != nil {
			return err
		}
		if err := (record{results[0].columns, results[0].rows[0]}).Scan(sqldb.At{To: &now}); err != nil {
			return err
		}
		for _, row := range results[1].rows {
			var c cluster.Change
			err := record{results[1].columns, row}.Scan(&c.ID, &c.Owner.Environment, &c.Owner.User.ServiceID, &c.Owner.User.UserID, sqldb.At{To: &c.At})
			if err != nil {
				return err
			}
			changes = append(changes, c)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("look for devices that others changed: %w", err)
	}
	return changes, now, nil
}

// ForgetChanges implements cluster.Store.
func (s *Store) ForgetChanges(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.count(ctx, "forget changes of devices", query{
		`WITH old AS (SELECT id FROM device_changes WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM device_changes USING old WHERE device_changes.id = old.id RETURNING 1)
			SELECT count(*) FROM gone`, []any{sqldb.Micros(before), int64(max(limit, 0))},
	})
}
