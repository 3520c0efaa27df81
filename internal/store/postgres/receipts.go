package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// recordReceipt is what sqldb.Store.RecordReceipt does in five statements. What is first is decided by
// the row that goes in: of two at once, the other one waits for it and is a repeat.
const recordReceipt = `WITH d AS MATERIALIZED (
		SELECT c.id AS call_id, d.id, d.channel, CASE c.purpose WHEN '' THEN c.notified_at ELSE 0 END AS notified_at,
			c.state IN ('ended', 'lost') AS over, d.deadline, coalesce(v.acknowledges_since = 0, FALSE) AS silent
		FROM calls c JOIN deliveries d ON d.call_id = c.id LEFT JOIN devices v ON v.id = d.device_id
		WHERE c.session_id = ?1 AND c.environment = ?2 AND d.device_id = ?3
		ORDER BY CASE d.channel WHEN ?4 THEN 0 ELSE 1 END, d.created_at, d.id LIMIT 1),
	r AS (INSERT INTO receipts (delivery_id, at, device_at, channel, priority, original_priority, problem)
		SELECT d.id, ?5::bigint, ?6::bigint, ?4, ?7::text, ?8::text, '' FROM d ON CONFLICT DO NOTHING RETURNING delivery_id),
	moved AS (UPDATE deliveries SET state = 'received', lease_owner = '', lease_until = 0,
			updated_at = CASE WHEN updated_at < ?5 THEN ?5 ELSE updated_at END
		WHERE call_id = (SELECT call_id FROM d WHERE EXISTS (SELECT FROM r)) AND device_id = ?3
			AND (id = (SELECT id FROM d) OR state IN ('pending', 'sending'))),
	noted AS (UPDATE devices SET acknowledges_since = ?5
		WHERE id = (SELECT ?3 FROM d WHERE silent AND EXISTS (SELECT FROM r)) AND acknowledges_since = 0)
	SELECT id, channel, notified_at, over, deadline, NOT EXISTS (SELECT FROM r), CASE notified_at WHEN 0 THEN 0 ELSE
		(SELECT coalesce(min(started_at + took_us), 0) FROM attempts WHERE delivery_id = d.id AND verdict = 'accepted') END FROM d`

// RecordReceipt implements delivery.Store: one statement, sent together with what else is of the call, unless the device has a problem to tell, which
// may have to be added to what is there.
func (s *Store) RecordReceipt(ctx context.Context, r bell.Receipt) (delivery.Received, error) {
	if r.Problem != "" {
		return s.Store.RecordReceipt(ctx, r)
	}
	var got delivery.Received
	q := query{rewrite(recordReceipt), bind([]any{
		string(r.SessionID), string(r.Environment), r.DeviceID, string(r.Channel), sqldb.Micros(r.At), sqldb.Micros(r.ReceivedAt), r.Priority, r.OriginalPriority,
	})}
	err := s.calls.submit(ctx, &task[*callTask]{
		what: "record a receipt", key: string(r.SessionID), rank: "3" + r.DeviceID, body: &callTask{queue: func(b *pgx.Batch) {
			got = delivery.Received{}
			q.queue(b, sqldb.Into([]any{
				&got.DeliveryID, &got.Channel, sqldb.At{To: &got.NotifiedAt}, &got.Over, sqldb.At{To: &got.Deadline}, &got.Repeated, sqldb.At{To: &got.AcceptedAt},
			}))
		}},
	})
	if err != nil {
		return delivery.Received{}, err // got is not read: the statement may still be under way
	}
	return got, sqldb.Must(got.DeliveryID != "", nil, "No call with this session ID was for this device.")
}
