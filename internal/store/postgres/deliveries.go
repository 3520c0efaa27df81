package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// mayMove says whether a delivery takes the state that it is bound to, $3: those that are open
// take any, and accepted, once known, also replaces what was recorded without knowing it.
// Whoever goes on with a delivery must still have it: a record that comes late must not take
// it from somebody who has it now, nor out of a mailbox where it waits for a claim.
const mayMove = `(state IN ('pending', 'sending') AND ($3 NOT IN ('pending', 'sending') OR lease_owner = $5 OR lease_owner = '' AND channel <> 'longpoll')
	OR $3 = 'accepted' AND state IN ('failed', 'expired', 'withdrawn'))`

const (
	moveDelivery = `WITH moved AS (UPDATE deliveries SET
		attempts = CASE WHEN ` + mayMove + ` OR attempts < $1 THEN $1 ELSE attempts END,
		updated_at = CASE WHEN ` + mayMove + ` OR updated_at < $2 THEN $2 ELSE updated_at END,
		state = CASE WHEN ` + mayMove + ` THEN $3 ELSE state END, reason = CASE WHEN ` + mayMove + ` THEN $4 ELSE reason END,
		lease_owner = CASE WHEN ` + mayMove + ` THEN $5 ELSE lease_owner END, lease_until = CASE WHEN ` + mayMove + ` THEN $6 ELSE lease_until END
		WHERE id = $7 RETURNING id)`
	keepAttempt = `, kept AS (INSERT INTO attempts (delivery_id, number, started_at, took_us, verdict, reason, status,
			token, alarm, retry_after_us, dead_since, provider_id, detail, server)
		SELECT moved.id, $8::bigint, $9::bigint, $10::bigint, $11::text, $12::text, $13::bigint,
			$14::text, $15::text, $16::bigint, $17::bigint, $18::text, $19::text, $20::text FROM moved ON CONFLICT DO NOTHING)`
	moved = ` SELECT 1 FROM moved`
)

// RecordAttempt implements delivery.Store: one statement, sent together with those of others.
// A delivery that fails, when somebody may want to be told, takes its time.
func (s *Store) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) error {
	if s.Events != nil && sqldb.HasFailed(d.State) {
		return s.Store.RecordAttempt(ctx, d, a)
	}
	q := query{moveDelivery + moved, []any{
		d.Attempts, sqldb.Micros(d.UpdatedAt), string(d.State), d.Reason, d.LeaseOwner, sqldb.Micros(d.LeaseUntil), d.ID,
	}}
	if a.Number != 0 {
		o := a.Outcome
		q = query{moveDelivery + keepAttempt + moved, append(q.args,
			a.Number, sqldb.Micros(a.StartedAt), a.Took.Microseconds(), string(o.Verdict), o.Reason, o.Status,
			string(o.Token), string(o.Alarm), o.RetryAfter.Microseconds(), sqldb.Micros(o.DeadSince), o.ProviderID, o.Detail, string(a.Server))}
	}
	q.args = bind(q.args)
	found := 0
	err := s.calls.submit(ctx, &task[*callTask]{
		what: "record an attempt", key: string(d.SessionID), rank: "2" + d.ID, body: &callTask{queue: func(b *pgx.Batch) {
			found = 0
			q.queue(b, sqldb.Into([]any{&found}))
		}},
	})
	if err != nil {
		return err // found is not read: the statement may still be under way
	}
	return sqldb.Must(found > 0, nil, "There is no such delivery.")
}

// A claim leaves out what another node has in hand, and what a node that lives holds though its
// lease has run out: an attempt may wait for its turn for longer than a lease, and nothing
// renews it meanwhile. Whoever is not heard of any more is not waited for, and neither is the
// claimer: what it holds in memory it knows. TakeAll, at the start, takes from everybody. What
// a claim returns is as it is after it.
//
// The sum keeps the planner from the index by deadline: it knows that nearly all leases are 0,
// but not that this is so of what has ended only, and would read all that rings.
const (
	claimStart = `taken AS (SELECT d.id FROM deliveries d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id
		WHERE d.state IN ('pending', 'sending') AND `
	claimEnd = ` ORDER BY d.created_at, d.id LIMIT $4 FOR UPDATE OF d SKIP LOCKED),
	d AS (UPDATE deliveries SET lease_owner = $2, lease_until = $3, updated_at = $1,
		continued_at = CASE WHEN lease_owner IN ('', $2) THEN continued_at ELSE $1 END,
		state = CASE channel WHEN '` + string(bell.LongPoll) + `' THEN state ELSE 'sending' END
		FROM taken WHERE deliveries.id = taken.id RETURNING deliveries.*)
	SELECT c.id, c.cc_param, ` + sqldb.CallColumns + `, ` + sqldb.DeviceColumns + `, ` + sqldb.DeliveryColumns + `
		FROM d JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id ORDER BY d.created_at, d.id`
	claimFree = `WITH living AS MATERIALIZED (SELECT owner FROM nodes WHERE owner <> $2 AND seen_at >= ` + clock + ` - $5), ` +
		claimStart + `d.lease_until <= $1 AND d.deadline + 0 > $1 AND d.lease_owner NOT IN (SELECT owner FROM living)` + claimEnd
	claimAll = `WITH ` + claimStart + `d.deadline > $1 AND (d.lease_until <= $1 OR d.lease_owner <> $2)` + claimEnd
)

// ClaimDeliveries implements delivery.Store.
func (s *Store) ClaimDeliveries(ctx context.Context, c delivery.Claim) ([]bell.Ring, error) {
	text, args := claimFree, bind([]any{sqldb.Micros(c.Now), c.Owner, sqldb.Micros(c.LeaseUntil), max(c.Limit, 0), cluster.DeadAfter.Microseconds()})
	if c.TakeAll {
		text, args = claimAll, args[:4]
	}
	var rings []bell.Ring
	err := s.write(ctx, "claim deliveries", "", func(l *link) error {
		results, err := l.send(query{text, args})
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

// readRings reads claimed deliveries. Rings of one call share it.
func readRings(r result) ([]bell.Ring, error) {
	var rings []bell.Ring
	calls := map[int64]*bell.Call{}
	for _, row := range r.rows {
		var key int64
		var ring bell.Ring
		read := new(bell.Call)
		fields := append([]any{&key, &read.CCParam}, sqldb.CallFields(read)...)
		fields = append(fields, sqldb.DeviceFields(&ring.Device)...)
		if err := (record{r.columns, row}).Scan(append(fields, sqldb.DeliveryFields(&ring.Delivery)...)...); err != nil {
			return nil, fmt.Errorf("read a claimed delivery: %w", err)
		}
		ring.Device = ring.Device.Over(ring.Delivery.Channel)
		if _, known := calls[key]; !known {
			calls[key] = read
		}
		ring.Call = calls[key]
		rings = append(rings, ring)
	}
	return rings, nil
}

// expireBatch bounds one transaction of ExpireDeliveries, so that no row is held for long.
const expireBatch = 1000

const (
	expireStart = `WITH over AS (SELECT id FROM deliveries WHERE state IN ('pending', 'sending') AND deadline <= $1 AND deadline > $3
		ORDER BY deadline, id LIMIT $2 FOR UPDATE SKIP LOCKED)`
	expireUpdate = `UPDATE deliveries SET state = 'expired', lease_owner = '', lease_until = 0, updated_at = $1,
		reason = CASE WHEN reason <> '' THEN reason WHEN channel = '` + string(bell.LongPoll) + `' THEN 'not_polled' ELSE 'deadline' END
		FROM over WHERE deliveries.id = over.id`
	expireQuiet = expireStart + ` ` + expireUpdate
	expireTold  = expireStart + `, d AS (` + expireUpdate + ` RETURNING deliveries.*)
		SELECT ` + sqldb.CallColumns + `, ` + sqldb.DeliveryColumns + ` FROM d JOIN calls c ON c.id = d.call_id`
	eraseOver = `WITH over AS MATERIALIZED (SELECT id FROM calls WHERE cc_param <> '' AND deadline <= $1 AND deadline > $3
		ORDER BY deadline LIMIT $2 FOR UPDATE SKIP LOCKED)
		UPDATE calls SET cc_param = '' FROM over WHERE calls.id = over.id`
)

// ExpireDeliveries implements delivery.Store. What another node has in hand is left to it. Each
// batch is one round trip, and another for what is to be told.
func (s *Store) ExpireDeliveries(ctx context.Context, now time.Time) (int, error) {
	total, since := 0, s.expiredSince(now)
	for more := true; more; {
		var expired, erased int64
		err := s.write(ctx, "expire deliveries", "BEGIN", func(l *link) (err error) {
			expired, erased, err = s.expire(l, sqldb.Micros(now), since)
			return err
		})
		if err != nil {
			return total, err
		}
		total += int(expired)
		more = max(expired, erased) >= expireBatch
	}
	s.lastExpired.Store(sqldb.Micros(now))
	return total, nil
}

// How far ExpireDeliveries looks back, and how often it looks at everything. What was over
// before is dealt with, but its entries stay in the index until vacuum can remove them: while
// somebody has an old snapshot, such as pg_dump, each look would walk through all of them.
const (
	expireBack = time.Hour
	expireAll  = time.Minute
)

// expiredSince is the time from which on deadlines are looked at, in microseconds: a while before
// this process looked last.
func (s *Store) expiredSince(now time.Time) int64 {
	last, clock := s.allExpired.Load(), time.Now().UnixNano()
	if (last == 0 || clock-last >= int64(expireAll)) && s.allExpired.CompareAndSwap(last, clock) {
		return -1
	}
	return min(s.lastExpired.Load(), sqldb.Micros(now)) - expireBack.Microseconds()
}

func (s *Store) expire(l *link, now, since int64) (expired, erased int64, err error) {
	args := []any{now, int64(expireBatch), since}
	erase := query{eraseOver, args}
	if s.Events == nil {
		results, err := l.sendLast(query{expireQuiet, args}, erase)
		if err != nil {
			return 0, 0, err
		}
		return results[0].affected, results[1].affected, nil
	}
	results, err := l.send(query{expireTold, args})
	if err != nil {
		return 0, 0, err
	}
	var events sqldb.EventRows
	for _, row := range results[0].rows {
		var c bell.Call
		var d bell.Delivery
		if err := (record{results[0].columns, row}).Scan(append(sqldb.CallFields(&c), sqldb.DeliveryFields(&d)...)...); err != nil {
			return 0, 0, fmt.Errorf("read a delivery that has expired: %w", err)
		}
		if s.Events(c.Project).Has(bell.EventDeliveryFailed) {
			events = append(events, sqldb.NewEventRows([]bell.Event{bell.DeliveryFailedEvent(&c, &d)})...)
		}
	}
	last := []query{erase}
	if len(events) > 0 {
		last = append(last, insertEvents(events))
	}
	ends, err := l.sendLast(last...)
	if err != nil {
		return 0, 0, err
	}
	return int64(len(results[0].rows)), ends[0].affected, nil
}
