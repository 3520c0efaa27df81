package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

// expireBatch bounds one transaction of ExpireDeliveries: after a long pause there may
// be hundreds of thousands, and calls that come in must not wait for all of them.
const expireBatch = 2000

// expireToldBatch is the same when the customer's systems want to be told of each.
const expireToldBatch = 200

// mayMove says whether a delivery takes the state that it is bound to: those that are open
// take any, and accepted, once known, also replaces what was recorded without knowing it.
// Whoever goes on with a delivery must still have it: a record that comes late must not take
// it from somebody who has it now, nor out of a mailbox where it waits for a claim.
const mayMove = `(state IN ('pending', 'sending') AND (?7 NOT IN ('pending', 'sending') OR lease_owner = ?5 OR lease_owner = '' AND channel <> 'longpoll')
	OR ?7 = 'accepted' AND state IN ('failed', 'expired', 'withdrawn'))`

// RecordAttempt implements delivery.Store. A delivery that keeps its state keeps its
// reason too; only its number of attempts grows. A delivery that does not exist is
// bell.NotFound.
func (s *Store) RecordAttempt(ctx context.Context, d bell.Delivery, a bell.Attempt) error {
	update := []any{
		d.Attempts, Micros(d.UpdatedAt), d.ID, d.Reason, d.LeaseOwner, Micros(d.LeaseUntil), string(d.State),
	}
	failed := HasFailed(d.State)
	var insert []any
	if a.Number != 0 {
		o := a.Outcome
		insert = []any{
			d.ID, a.Number, Micros(a.StartedAt), a.Took.Microseconds(), string(o.Verdict), o.Reason, o.Status,
			string(o.Token), string(o.Alarm), o.RetryAfter.Microseconds(), Micros(o.DeadSince), o.ProviderID, o.Detail, string(a.Server),
		}
	}
	return s.Write(ctx, "record an attempt", func(l Tx) error {
		n, err := l.Exec(`UPDATE deliveries SET attempts = ?1, updated_at = ?2, state = ?7, reason = ?4,
			lease_owner = ?5, lease_until = ?6 WHERE id = ?3 AND `+mayMove, update...)
		if err == nil && n > 0 && failed {
			err = s.tellFailed(l, d.ID)
		}
		if err == nil && n == 0 {
			n, err = l.Exec(`UPDATE deliveries SET attempts = CASE WHEN attempts < ?1 THEN ?1 ELSE attempts END,
				updated_at = CASE WHEN updated_at < ?2 THEN ?2 ELSE updated_at END WHERE id = ?3`,
				update[0], update[1], d.ID)
		}
		if err := Must(n > 0, err, "There is no such delivery."); err != nil {
			return Refuse(fmt.Errorf("move delivery %s: %w", d.ID, err))
		}
		if insert == nil {
			return nil
		}
		_, err = l.Exec(`INSERT INTO attempts (delivery_id, number, started_at, took_us, verdict, reason, status,
			token, alarm, retry_after_us, dead_since, provider_id, detail, server)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, insert...)
		if err != nil {
			return fmt.Errorf("write an attempt of delivery %s: %w", d.ID, err)
		}
		return nil
	})
}

// ClaimDeliveries implements delivery.Store. Deliveries whose device is gone are left
// to expire. Rings of one call share it.
func (s *Store) ClaimDeliveries(ctx context.Context, c delivery.Claim) ([]bell.Ring, error) {
	var claimed []bell.Ring
	err := s.Write(ctx, "claim deliveries", func(l Tx) error {
		rings, err := claimable(l, c)
		if err != nil {
			return fmt.Errorf("look for deliveries: %w", err)
		}
		for i := range rings {
			d := &rings[i].Delivery
			if d.LeaseOwner != "" && d.LeaseOwner != c.Owner { // else nobody had it
				d.ContinuedAt = FromMicros(Micros(c.Now))
			}
			d.LeaseOwner, d.LeaseUntil, d.UpdatedAt = c.Owner, FromMicros(Micros(c.LeaseUntil)), FromMicros(Micros(c.Now))
			if d.Channel != bell.LongPoll {
				d.State = bell.DeliverySending
			}
			_, err := l.Exec(`UPDATE deliveries SET state = ?, lease_owner = ?, lease_until = ?, updated_at = ?, continued_at = ? WHERE id = ?`,
				string(d.State), c.Owner, Micros(c.LeaseUntil), Micros(c.Now), Micros(d.ContinuedAt), d.ID)
			if err != nil {
				return fmt.Errorf("claim delivery %s: %w", d.ID, err)
			}
		}
		claimed = rings
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// claimable looks along the leases, because nearly all of them have not run out: a
// claim that finds nothing, as every second, reads nothing. TakeAll looks at all that
// is open, and is asked for at start only.
func claimable(l Tx, c delivery.Claim) ([]bell.Ring, error) {
	where := Conditions{}
	where.add(`d.state IN ('pending', 'sending')`)
	where.add(`d.deadline > ?`, Micros(c.Now))
	if c.TakeAll {
		where.add(`(d.lease_until <= ? OR d.lease_owner <> ?)`, Micros(c.Now), c.Owner)
	} else {
		where.add(`d.lease_until <= ?`, Micros(c.Now))
	}
	var rings []bell.Ring
	calls := map[int64]*bell.Call{}
	err := l.Each(`SELECT c.id, c.cc_param, `+CallColumns+`, `+DeviceColumns+`, `+DeliveryColumns+`
		FROM deliveries d INDEXED BY `+claimIndex(c)+` JOIN calls c ON c.id = d.call_id JOIN devices v ON v.id = d.device_id
		`+where.clause()+` ORDER BY d.created_at, d.id LIMIT ?`+l.SkipLocked("d"), func(row Scanner) error {
		var key int64
		var ring bell.Ring
		read := new(bell.Call)
		fields := append([]any{&key, &read.CCParam}, CallFields(read)...)
		fields = append(fields, DeviceFields(&ring.Device)...)
		if err := row.Scan(append(fields, DeliveryFields(&ring.Delivery)...)...); err != nil {
			return err
		}
		ring.Device = ring.Device.Over(ring.Delivery.Channel)
		if _, known := calls[key]; !known {
			calls[key] = read
		}
		ring.Call = calls[key]
		rings = append(rings, ring)
		return nil
	}, append(where.args, max(c.Limit, 0))...)
	return rings, err
}

// claimIndex names the index of a claim: without statistics, SQLite takes either for
// equally good.
func claimIndex(c delivery.Claim) string {
	if c.TakeAll {
		return `deliveries_deadline`
	}
	return `deliveries_lease`
}

// RecordReceipt implements delivery.Store.
func (s *Store) RecordReceipt(ctx context.Context, r bell.Receipt) (delivery.Received, error) {
	var received delivery.Received
	err := s.Write(ctx, "record a receipt", func(l Tx) error {
		var got delivery.Received
		var key int64
		found, err := l.One(`SELECT c.id, d.id, d.channel, CASE c.purpose WHEN '' THEN c.notified_at ELSE 0 END, c.state IN ('ended', 'lost'), d.deadline FROM calls c JOIN deliveries d ON d.call_id = c.id
			WHERE c.session_id = ? AND c.environment = ? AND d.device_id = ?
			ORDER BY CASE d.channel WHEN ? THEN 0 ELSE 1 END, d.created_at, d.id LIMIT 1`, // a browser may have two: that by which it came
			Into([]any{&key, &got.DeliveryID, &got.Channel, At{&got.NotifiedAt}, &got.Over, At{&got.Deadline}}), string(r.SessionID), string(r.Environment), r.DeviceID, string(r.Channel))
		if err := Must(found, err, "No call with this session ID was for this device."); err != nil {
			return Refuse(err)
		}
		n, err := l.Exec(`INSERT INTO receipts (delivery_id, at, device_at, channel, priority, original_priority, problem)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			got.DeliveryID, Micros(r.At), Micros(r.ReceivedAt), string(r.Channel), r.Priority, r.OriginalPriority, r.Problem)
		if err != nil {
			return fmt.Errorf("write a receipt: %w", err)
		}
		if n == 0 && r.Problem != "" { // what went wrong is known later than that the call is there
			if _, err := l.Exec(`UPDATE receipts SET problem = ? WHERE delivery_id = ? AND problem = ''`, r.Problem, got.DeliveryID); err != nil {
				return fmt.Errorf("add a problem to a receipt: %w", err)
			}
		}
		if got.Repeated = n == 0; !got.Repeated {
			// The other way to the same browser, if it has one that is still open, needs no more.
			if _, err := l.Exec(`UPDATE deliveries SET state = 'received', lease_owner = '', lease_until = 0,
				updated_at = CASE WHEN updated_at < ?1 THEN ?1 ELSE updated_at END
				WHERE call_id = ?2 AND device_id = ?3 AND (id = ?4 OR state IN ('pending', 'sending'))`, Micros(r.At), key, r.DeviceID, got.DeliveryID); err != nil {
				return fmt.Errorf("move a received delivery: %w", err)
			}
			if _, err := l.Exec(`UPDATE devices SET acknowledges_since = ? WHERE id = ? AND acknowledges_since = 0`, Micros(r.At), r.DeviceID); err != nil {
				return fmt.Errorf("note that a device acknowledges: %w", err)
			}
		}
		if got.NotifiedAt.IsZero() { // a notice: its times are not measured
			received = got
			return nil
		}
		_, err = l.One(`SELECT coalesce(min(started_at + took_us), 0) FROM attempts WHERE delivery_id = ? AND verdict = 'accepted'`,
			Into([]any{At{&got.AcceptedAt}}), got.DeliveryID)
		if err != nil {
			return fmt.Errorf("look for the accepted attempt: %w", err)
		}
		received = got
		return nil
	})
	if err != nil {
		return delivery.Received{}, err // not set: the closure may still be at work on it
	}
	return received, nil
}

// ExpireDeliveries implements delivery.Store. It works in batches, each one
// transaction: repeating it or stopping in between does no harm.
func (s *Store) ExpireDeliveries(ctx context.Context, now time.Time) (int, error) {
	batch := expireBatch
	if s.told() {
		batch = expireToldBatch
	}
	total, err := s.inBatches(ctx, "expire deliveries", batch, func(l Tx) (int64, error) {
		if s.told() {
			return s.expireTold(l, now, batch)
		}
		return l.Exec(expire+`id IN (`+overdueDeliveries+l.SkipLocked("deliveries")+`)`, Micros(now), batch)
	})
	if err != nil {
		return total, err
	}
	_, err = s.inBatches(ctx, "erase what is over", expireBatch, func(l Tx) (int64, error) {
		return l.Exec(`UPDATE calls SET cc_param = ''
			WHERE id IN (SELECT id FROM calls WHERE cc_param <> '' AND deadline <= ?1 LIMIT ?2)`, Micros(now), expireBatch)
	})
	return total, err
}

const (
	expire = `UPDATE deliveries SET state = 'expired', lease_owner = '', lease_until = 0, updated_at = ?1,
		reason = CASE WHEN reason <> '' THEN reason WHEN channel = 'longpoll' THEN 'not_polled' ELSE 'deadline' END WHERE `
	overdueDeliveries = `SELECT id FROM deliveries WHERE state IN ('pending', 'sending') AND deadline <= ?1 ORDER BY deadline, id LIMIT ?2`
)

// expireTold is a batch of ExpireDeliveries when somebody wants to be told of each.
func (s *Store) expireTold(l Tx, now time.Time, limit int) (int64, error) {
	var ids []string
	err := l.Each(overdueDeliveries+l.SkipLocked("deliveries"), func(row Scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, Micros(now), limit)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if _, err := l.Exec(expire+`id = ?2`, Micros(now), id); err != nil {
			return 0, err
		}
		if err := s.tellFailed(l, id); err != nil {
			return 0, err
		}
	}
	return int64(len(ids)), nil
}

func (s *Store) inBatches(ctx context.Context, what string, batch int, run func(Tx) (int64, error)) (int, error) {
	total := 0
	for {
		var n int64
		err := s.Write(ctx, what, func(l Tx) (err error) {
			if n, err = run(l); n > 0 {
				l.Erased()
			}
			return err
		})
		if err != nil {
			return total, fmt.Errorf("%s: %w", what, err)
		}
		total += int(n)
		if n < int64(batch) {
			return total, nil
		}
	}
}
