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

// clock is this server's time, also within a long transaction.
const clock = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// silentFor is how long a node is remembered that is not heard of.
const silentFor = time.Hour

const beat = `WITH forgotten AS (DELETE FROM nodes WHERE owner <> $1 AND seen_at < ` + clock + ` - $5),
	me AS (INSERT INTO nodes (owner, host, version, started_at, seen_at) VALUES ($1, $2, $3, $4, ` + clock + `)
		ON CONFLICT (owner) DO UPDATE SET host = excluded.host, version = excluded.version,
			started_at = excluded.started_at, seen_at = excluded.seen_at
		RETURNING owner, host, version, started_at, seen_at)
	SELECT owner, host, version, started_at, seen_at, seen_at FROM me
	UNION ALL SELECT owner, host, version, started_at, seen_at, 0 FROM nodes WHERE owner <> $1 AND seen_at >= ` + clock + ` - $5`

// Beat implements cluster.Store.
func (s *Store) Beat(ctx context.Context, n cluster.Node) (nodes []cluster.Node, now time.Time, err error) {
	r, err := s.statement(ctx, "say that this node is alive", beat, n.Owner, n.Host, n.Version, sqldb.Micros(n.StartedAt), silentFor.Microseconds())
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, row := range r.rows {
		var node cluster.Node
		var clock time.Time
		err := record{r.columns, row}.Scan(&node.Owner, &node.Host, &node.Version, sqldb.At{To: &node.StartedAt}, sqldb.At{To: &node.SeenAt}, sqldb.At{To: &clock})
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read a node: %w", err)
		}
		if !clock.IsZero() {
			now = clock
		}
		nodes = append(nodes, node)
	}
	return nodes, now, nil
}

// statement runs what needs no transaction around it and returns its rows. It has connections of
// its own: a node that cannot say that it lives, because others wait for locks, counts as dead.
func (s *Store) statement(ctx context.Context, what, text string, args ...any) (result, error) {
	return s.statementAt(ctx, s.beats, what, text, args...)
}

// statementAt is statement in one of these places.
func (s *Store) statementAt(ctx context.Context, at places, what, text string, args ...any) (result, error) {
	bound := bind(args)
	var r result
	err := s.writeAt(ctx, what, "", at, func(l *link) error {
		results, err := l.send(query{text, bound})
		if err == nil {
			r = results[0]
		}
		return err
	})
	if err != nil {
		return result{}, err
	}
	return r, nil
}

// What frees deliveries, and events on their way, of nodes named in "dead". What another
// transaction has in hand is freed the next time.
const (
	voidLeases = `open AS (SELECT d.id FROM deliveries d WHERE d.state IN ('pending', 'sending') AND d.lease_owner <> ''
		AND d.lease_owner IN (SELECT owner FROM dead) AND d.lease_until <> 0 ORDER BY d.id FOR UPDATE SKIP LOCKED),
	freed AS (UPDATE deliveries SET
		lease_owner = CASE channel WHEN '` + string(bell.LongPoll) + `' THEN '' ELSE lease_owner END,
		lease_until = CASE channel WHEN '` + string(bell.LongPoll) + `' THEN deadline ELSE 0 END,
		updated_at = CASE channel WHEN '` + string(bell.LongPoll) + `' THEN ` + clock + ` ELSE updated_at END
		FROM open WHERE deliveries.id = open.id RETURNING deliveries.id),
	told AS (SELECT t.seq, t.endpoint FROM tellings t WHERE t.lease_owner <> '' AND t.lease_owner IN (SELECT owner FROM dead)
		AND t.state = 'waiting' ORDER BY t.seq, t.endpoint FOR UPDATE SKIP LOCKED),
	untold AS (UPDATE tellings SET lease_owner = '', due = ` + clock + ` FROM told
		WHERE tellings.seq = told.seq AND tellings.endpoint = told.endpoint)
	SELECT id FROM freed`
	leave = `WITH dead AS (SELECT $1::text AS owner), gone AS (DELETE FROM nodes WHERE owner = $1), ` + voidLeases
	// Owners without a row have left, or are of a database that was moved: Leave frees neither
	// what another transaction has in hand nor what is committed after it. One that is about to
	// beat for the first time has nothing that old.
	freeDead = `WITH dead AS MATERIALIZED (SELECT owner FROM nodes WHERE seen_at < $1
		UNION SELECT d.lease_owner FROM deliveries d WHERE d.state IN ('pending', 'sending') AND d.lease_owner <> '' AND d.lease_until <> 0
			AND d.updated_at < $1 AND NOT EXISTS (SELECT FROM nodes n WHERE n.owner = d.lease_owner)), ` + voidLeases
)

// Leave implements cluster.Store.
func (s *Store) Leave(ctx context.Context, owner string) error {
	_, err := s.statement(ctx, "leave the other nodes", leave, owner)
	return err
}

// FreeDead implements cluster.Store.
func (s *Store) FreeDead(ctx context.Context, since time.Time) (int, error) {
	r, err := s.statement(ctx, "free what dead nodes hold", freeDead, sqldb.Micros(since))
	return len(r.rows), err
}

// A letter lies in a mailbox and is nobody's: the condition of the indexes that hold just these.
const aLetter = `d.channel = '` + string(bell.LongPoll) + `' AND d.state = 'pending' AND d.lease_owner = ''`

// A claim that is made again waits for the one before, if that is still at work, and sees then
// what it has written; so it does not leave out what somebody else has in hand.
const (
	claimLettersStart = `WITH taken AS (SELECT d.id FROM deliveries d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id WHERE `
	claimLettersEnd   = ` AND d.device_id = ANY($3::text[]) AND d.deadline > $1 AND ` + clock + ` <= $4 ORDER BY d.id FOR UPDATE OF d`
	claimLettersGive  = `), d AS (UPDATE deliveries SET lease_owner = $2, lease_until = deadline, updated_at = $1
		FROM taken WHERE deliveries.id = taken.id RETURNING deliveries.*)
	SELECT c.id, c.cc_param, ` + sqldb.CallColumns + `, ` + sqldb.DeviceColumns + `, ` + sqldb.DeliveryColumns + `
		FROM d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id ORDER BY d.created_at, d.id`
	claimLetters      = claimLettersStart + aLetter + claimLettersEnd + ` SKIP LOCKED` + claimLettersGive
	claimLettersAgain = claimLettersStart + `d.channel = '` + string(bell.LongPoll) + `' AND d.state = 'pending'
		AND (d.lease_owner = '' OR d.lease_owner = $2 AND d.updated_at = $1)` + claimLettersEnd + claimLettersGive
)

// ClaimMailbox implements cluster.Store. When there is nothing, nothing is written.
func (s *Store) ClaimMailbox(ctx context.Context, c cluster.Claim) ([]bell.Ring, error) {
	if len(c.Devices) == 0 {
		return nil, nil
	}
	text := claimLetters
	if c.Again {
		text = claimLettersAgain
	}
	r, err := s.statement(ctx, "claim calls for polls", text, sqldb.Micros(c.Now), c.Owner, c.Devices, sqldb.Micros(c.Until))
	if err != nil {
		return nil, err
	}
	return readRings(r)
}

const giveBackLetters = `WITH mine AS (SELECT d.id FROM deliveries d WHERE d.id = ANY($2::text[]) AND d.lease_owner = $1
		AND d.channel = '` + string(bell.LongPoll) + `' AND d.state = 'pending' ORDER BY d.id FOR UPDATE),
	back AS (UPDATE deliveries SET lease_owner = '', lease_until = deadline, updated_at = ` + clock + ` FROM mine WHERE deliveries.id = mine.id)
	SELECT g.id FROM unnest($2::text[]) AS g (id) WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.id = g.id)`

// GiveBack implements cluster.Store.
func (s *Store) GiveBack(ctx context.Context, owner string, deliveries []string) ([]string, error) {
	r, err := s.statement(ctx, "give calls back", giveBackLetters, owner, deliveries)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, row := range r.rows {
		var id string
		if err := (record{r.columns, row}).Scan(&id); err != nil {
			return nil, fmt.Errorf("read what could not be given back: %w", err)
		}
		unknown = append(unknown, id)
	}
	return unknown, nil
}

// ask runs a query that only reads.
func (s *Store) ask(ctx context.Context, queries ...query) (results []result, err error) {
	err = s.read(ctx, statementTimeout, func(tx sqldb.Tx) error {
		got, err := tx.(*link).send(queries...)
		if err == nil {
			results = got
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// MailboxSince implements cluster.Store.
func (s *Store) MailboxSince(ctx context.Context, after cluster.Mark, limit int) ([]cluster.Letter, error) {
	return s.letters(ctx, listLetters+aLetter+lettersAfter, sqldb.Micros(after.At), after.Delivery, limit)
}

// What is an owner's are few rows: those that polls here have not taken yet, and pushes under way.
const (
	listLetters  = `SELECT d.updated_at, d.id, d.device_id FROM deliveries d WHERE `
	lettersAfter = ` AND (d.updated_at, d.id) > ($1, $2) ORDER BY d.updated_at, d.id LIMIT $3`
	lettersOf    = listLetters + `d.channel = '` + string(bell.LongPoll) + `' AND d.state = 'pending'
		AND d.lease_owner <> '' AND d.lease_owner = $4 AND d.updated_at < $5` + lettersAfter
)

// LettersOf implements cluster.Store.
func (s *Store) LettersOf(ctx context.Context, owner string, before time.Time, after cluster.Mark, limit int) ([]cluster.Letter, error) {
	return s.letters(ctx, lettersOf, sqldb.Micros(after.At), after.Delivery, limit, owner, sqldb.Micros(before))
}

func (s *Store) letters(ctx context.Context, text string, args ...any) ([]cluster.Letter, error) {
	results, err := s.ask(ctx, query{text, bind(args)})
	if err != nil {
		return nil, err
	}
	var letters []cluster.Letter
	for _, row := range results[0].rows {
		var l cluster.Letter
		if err := (record{results[0].columns, row}).Scan(sqldb.At{To: &l.At}, &l.Delivery, &l.DeviceID); err != nil {
			return nil, fmt.Errorf("read a letter: %w", err)
		}
		letters = append(letters, l)
	}
	return letters, nil
}

// Gone implements cluster.Store.
func (s *Store) Gone(ctx context.Context, owner string, deliveries []string) (map[string]bell.DeliveryState, error) {
	results, err := s.ask(ctx, query{`SELECT d.id, CASE WHEN d.state IN ('pending', 'sending') THEN '' ELSE d.state END FROM deliveries d
		WHERE d.id = ANY($2::text[]) AND (d.lease_owner <> $1 OR d.state NOT IN ('pending', 'sending'))`, bind([]any{owner, deliveries})})
	if err != nil {
		return nil, err
	}
	gone := map[string]bell.DeliveryState{}
	for _, row := range results[0].rows {
		var id string
		var state bell.DeliveryState
		if err := (record{results[0].columns, row}).Scan(&id, &state); err != nil {
			return nil, fmt.Errorf("read what is gone: %w", err)
		}
		gone[id] = state
	}
	return gone, nil
}

// Ended implements cluster.Store.
func (s *Store) Ended(ctx context.Context, calls []bell.CallKey) ([]bell.CallKey, error) {
	sessions, environments := make([]string, len(calls)), make([]string, len(calls))
	for i, key := range calls {
		sessions[i], environments[i] = string(key.SessionID), string(key.Environment)
	}
	results, err := s.ask(ctx, query{`SELECT c.environment, c.session_id FROM unnest($1::text[], $2::text[]) AS k (session_id, environment)
		JOIN calls c ON c.session_id = k.session_id AND c.environment = k.environment WHERE c.state = 'ended'`, bind([]any{sessions, environments})})
	if err != nil {
		return nil, err
	}
	var ended []bell.CallKey
	for _, row := range results[0].rows {
		var key bell.CallKey
		if err := (record{results[0].columns, row}).Scan(&key.Environment, &key.SessionID); err != nil {
			return nil, fmt.Errorf("read which calls have ended: %w", err)
		}
		ended = append(ended, key)
	}
	return ended, nil
}

// DevicesChanged implements cluster.Store. The clock is read first: what is committed after that is told
// the next time.
func (s *Store) DevicesChanged(ctx context.Context, since time.Time, after int64, limit int) (changes []cluster.Change, now time.Time, err error) {
	results, err := s.ask(ctx, query{sql: `SELECT ` + clock}, query{`SELECT id, environment, service_id, user_id, at FROM device_changes
		WHERE at >= $1 AND id > $2 ORDER BY id LIMIT $3`, bind([]any{sqldb.Micros(since), after, limit})})
	if err != nil {
		return nil, time.Time{}, err
	}
	if err := (record{results[0].columns, results[0].rows[0]}).Scan(sqldb.At{To: &now}); err != nil {
		return nil, time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	for _, row := range results[1].rows {
		var c cluster.Change
		err := record{results[1].columns, row}.Scan(&c.ID, &c.Owner.Environment, &c.Owner.User.ServiceID, &c.Owner.User.UserID, sqldb.At{To: &c.At})
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read a change of a device: %w", err)
		}
		changes = append(changes, c)
	}
	return changes, now, nil
}

// ForgetChanges implements cluster.Store. What another node is deleting is left to it.
func (s *Store) ForgetChanges(ctx context.Context, before time.Time, limit int) (int, error) {
	r, err := s.statement(ctx, "forget changes of devices", `WITH old AS MATERIALIZED (SELECT id FROM device_changes
		WHERE at < $1 ORDER BY at, id LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM device_changes WHERE id = ANY(ARRAY(SELECT id FROM old))`, sqldb.Micros(before), limit)
	return int(r.affected), err
}
