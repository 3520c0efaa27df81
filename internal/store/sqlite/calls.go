package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// BeginCall implements call.Store. Everything that needs no database is done before
// the writer's turn, because there is only one writer.
func (s *Store) BeginCall(ctx context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (call.BeginResult, error) {
	params := sqldb.EncodeParams(sqldb.WithoutCCParam(raw, c.CCParam))
	state := bell.CallRinging
	if c.Purpose != bell.PurposeCall {
		state = bell.CallNotice
	}
	insert := []any{
		string(c.Environment), string(c.SessionID), sqldb.Micros(c.NotifiedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
		string(state), sqldb.Micros(c.NotifiedAt), sqldb.Micros(c.Deadline), params, c.CCParam.Reveal(),
		string(c.Purpose), string(c.About), sqldb.Micros(c.AboutAt), c.Room.ServiceID, c.Room.RoomID, c.CallerName, sqldb.EncodeFields(c.AppFields),
		sqldb.EncodeCircumstances(&c.Circumstances),
	}
	batches := deliveryBatches(deliveries)
	events := append(sqldb.NewEventRows(c.Events), sqldb.NewEventRows(s.FailedEvents(&c, deliveries))...)
	var found call.BeginResult
	err := s.writer.submit(ctx, "begin a call", func(l *link) error {
		result, err := l.result(`INSERT INTO calls (environment, session_id, at, project, label,
			caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
			state, notified_at, deadline, raw, cc_param,
			purpose, about, about_at, room_service, room_id, caller_name, app_fields, circumstances)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, insert...)
		if err != nil {
			return fmt.Errorf("write a call: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				found, err = sqldb.KnownCall(l, &c, params)
			}
			return err
		}
		id, err := result.LastInsertId()
		if err != nil {
			return err
		}
		found = call.Began
		if err := sqldb.MarkSuppressed(l, &c); err != nil {
			return err
		}
		if err := batches.insert(l, id); err != nil {
			return err
		}
		return events.Insert(l)
	})
	if errors.Is(err, errUndecided) {
		s.writer.follow("give up the deliveries of an unanswered call", batches.giveUp)
	}
	if err != nil {
		return 0, err
	}
	return found, nil
}

// deliveriesPerInsert bounds a multi-row insert. Users have a few devices; each number
// of rows is a statement of its own.
const deliveriesPerInsert = 8

// deliveryFieldCount is the number of columns of insertDeliveries.
const deliveryFieldCount = 12

// deliveryRows are the deliveries of one call, ready to be inserted.
type deliveryRows []deliveryBatch

type deliveryBatch struct {
	query string
	args  []any
	size  int
}

func deliveryBatches(deliveries []bell.Delivery) deliveryRows {
	var rows deliveryRows
	for len(deliveries) > 0 {
		n := min(len(deliveries), deliveriesPerInsert)
		batch := deliveryBatch{query: insertDeliveries(n), args: make([]any, 0, n*deliveryFieldCount), size: n}
		for _, d := range deliveries[:n] {
			batch.args = append(batch.args, nil, d.ID, d.DeviceID, string(d.Channel), string(d.State), d.Reason, d.Attempts,
				sqldb.Micros(d.Deadline), d.LeaseOwner, sqldb.Micros(d.LeaseUntil), sqldb.Micros(d.CreatedAt), sqldb.Micros(d.UpdatedAt))
		}
		rows = append(rows, batch)
		deliveries = deliveries[n:]
	}
	return rows
}

func insertDeliveries(n int) string {
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	return `INSERT INTO deliveries (call_id, id, device_id, channel, state, reason, attempts, deadline,
		lease_owner, lease_until, created_at, updated_at) VALUES ` + row + strings.Repeat(`, `+row, n-1)
}

func (rows deliveryRows) insert(l *link, callID int64) error {
	for _, batch := range rows {
		for i := range batch.size {
			batch.args[i*deliveryFieldCount] = callID
		}
		if _, err := l.Exec(batch.query, batch.args...); err != nil {
			return fmt.Errorf("write deliveries: %w", err)
		}
	}
	return nil
}

// giveUp ends the leases of deliveries that nobody works on: their call was recorded after
// its caller had been told that it was not. A lease in a mailbox lasts as long as the ring,
// so without this they would not ring at all, though a repeat of Notify is answered 200.
func (rows deliveryRows) giveUp(l *link) error {
	for _, batch := range rows {
		for i := range batch.size {
			id := batch.args[i*deliveryFieldCount+1]
			if _, err := l.Exec(`UPDATE deliveries SET lease_owner = '', lease_until = 0
				WHERE id = ? AND state IN ('pending', 'sending')`, id); err != nil {
				return fmt.Errorf("give up a delivery: %w", err)
			}
		}
	}
	return nil
}
