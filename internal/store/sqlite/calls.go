package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// BeginCall implements call.Store. Everything that needs no database is done before
// the writer's turn, because there is only one writer.
func (s *Store) BeginCall(ctx context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (call.BeginResult, error) {
	params := encodeParams(withoutCCParam(raw, c.CCParam))
	state := bell.CallRinging
	if c.Purpose != bell.PurposeCall {
		state = bell.CallNotice
	}
	insert := []any{
		string(c.Environment), string(c.SessionID), micros(c.NotifiedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
		string(state), micros(c.NotifiedAt), micros(c.Deadline), params, c.CCParam.Reveal(),
		string(c.Purpose), string(c.About), micros(c.AboutAt), c.Room.ServiceID, c.Room.RoomID, c.CallerName, encodeFields(c.AppFields),
	}
	batches := deliveryBatches(deliveries)
	events := append(newEventRows(c.Events), newEventRows(s.failedEvents(&c, deliveries))...)
	var found call.BeginResult
	err := s.writer.submit(ctx, "begin a call", func(l *link) error {
		result, err := l.result(`INSERT INTO calls (environment, session_id, at, project, label,
			caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
			state, notified_at, deadline, raw, cc_param,
			purpose, about, about_at, room_service, room_id, caller_name, app_fields)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, insert...)
		if err != nil {
			return fmt.Errorf("write a call: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				found, err = knownCall(l, &c, params)
			}
			if err == nil && found == call.AlreadyEnded {
				err = markSuppressed(l, &c)
			}
			return err
		}
		id, err := result.LastInsertId()
		if err != nil {
			return err
		}
		found = call.Began
		if err := markSuppressed(l, &c); err != nil {
			return err
		}
		if err := batches.insert(l, id); err != nil {
			return err
		}
		return events.insert(l)
	})
	if errors.Is(err, errUndecided) {
		s.writer.follow("give up the deliveries of an unanswered call", batches.giveUp)
	}
	if err != nil {
		return 0, err
	}
	return found, nil
}

// knownCall says what a Notify for a known call is. When the Call Event overtook it,
// the row gets what only Notify knows; cc_param is not among it, nothing rings anymore.
// What Notify left out stays as the event has it, so that the order of the two makes no
// difference.
func knownCall(l *link, c *bell.Call, params string) (call.BeginResult, error) {
	n, err := l.exec(`UPDATE calls SET at = ?, notified_at = ?, deadline = ?, project = ?, label = ?,
		caller_service = iif(?6 = '', caller_service, ?6), caller_user = iif(?7 = '', caller_user, ?7),
		callee_service = ?, callee_user = ?, type = ?,
		app_server_data = iif(?11 = '', app_server_data, ?11), stid = iif(?12 = '', stid, ?12), raw = ?,
		caller_name = ?, app_fields = ?
		WHERE session_id = ? AND environment = ? AND state = 'ended' AND notified_at = 0`,
		micros(c.NotifiedAt), micros(c.NotifiedAt), micros(c.Deadline), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type),
		c.AppServerData, c.STID, params, c.CallerName, encodeFields(c.AppFields), string(c.SessionID), string(c.Environment))
	switch {
	case err != nil:
		return 0, fmt.Errorf("complete a call that has ended: %w", err)
	case n > 0:
		return call.AlreadyEnded, nil
	}
	return call.Repeated, nil
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
				micros(d.Deadline), d.LeaseOwner, micros(d.LeaseUntil), micros(d.CreatedAt), micros(d.UpdatedAt))
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
		if _, err := l.exec(batch.query, batch.args...); err != nil {
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
			if _, err := l.exec(`UPDATE deliveries SET lease_owner = '', lease_until = 0
				WHERE id = ? AND state IN ('pending', 'sending')`, id); err != nil {
				return fmt.Errorf("give up a delivery: %w", err)
			}
		}
	}
	return nil
}

// EndCall implements call.Store.
func (s *Store) EndCall(ctx context.Context, c bell.Call, entry bell.JournalEntry) error {
	row := newJournalRow(entry)
	said := endArgs(&c)
	when := entry.ReceivedAt
	if when.IsZero() {
		when = c.EndedAt
	}
	return s.writer.submit(ctx, "end a call", func(l *link) error {
		if err := row.insert(l); err != nil {
			return err
		}
		var id int64
		var state bell.CallState
		var suppressed bell.Suppression
		known, err := l.one(`SELECT id, state, suppressed FROM calls WHERE session_id = ? AND environment = ?`,
			into([]any{&id, &state, &suppressed}), string(c.SessionID), string(c.Environment))
		switch {
		case err != nil:
			return fmt.Errorf("look up a call: %w", err)
		case !known:
			err = insertEnded(l, &c, said)
		case state == bell.CallEnded || state == bell.CallNotice:
			return nil
		default:
			said := said
			if suppressed != bell.RingsAll { // the callee did not want to hear of it
				said = append(slices.Clip(said[:len(said)-1]), 0)
			}
			err = endKnown(l, id, append([]any{c.AppServerData, c.STID}, said...), when)
			if err == nil {
				err = fillCaller(l, id, c.Caller)
			}
		}
		if err != nil {
			return err
		}
		return tellEnded(l, &c)
	})
}

// tellEnded records what the customer's systems want to be told of a call that has ended.
func tellEnded(l *link, c *bell.Call) error {
	if !c.Wanted.Has(bell.EventCallEnded) && !c.Wanted.Has(bell.EventCallMissed) {
		return nil
	}
	var ended bell.Call
	_, err := l.one(`SELECT `+callColumns+` FROM calls c WHERE c.session_id = ? AND c.environment = ?`,
		into(callFields(&ended)), string(c.SessionID), string(c.Environment))
	if err != nil {
		return fmt.Errorf("read a call that has ended: %w", err)
	}
	return newEventRows(bell.EndedEvents(&ended, c.Wanted)).insert(l)
}

// endKnown ends a call whose Notify was seen: what Notify said stays, gaps are filled.
func endKnown(l *link, id int64, args []any, when time.Time) error {
	_, err := l.exec(`UPDATE calls SET cc_param = '',
		app_server_data = iif(app_server_data = '', ?, app_server_data), stid = iif(stid = '', ?, stid),
		state = ?, outcome = ?, started_at = ?, ended_at = ?, duration_us = ?,
		rel_terminate = ?, rel_disconnect = ?, rel_call_end = ?, rel_releaser_type = ?, rel_releaser = ?,
		rel_code = ?, rel_code_name = ?, rel_user_code = ?, missed_at = ? WHERE id = ?`, append(args, id)...)
	if err != nil {
		return fmt.Errorf("end a call: %w", err)
	}
	_, err = l.exec(`UPDATE deliveries SET state = 'withdrawn', lease_owner = '', lease_until = 0, updated_at = ?
		WHERE call_id = ? AND state IN ('pending', 'sending')`, micros(when), id)
	if err != nil {
		return fmt.Errorf("withdraw deliveries: %w", err)
	}
	l.erased = true
	return nil
}

// fillCaller names the caller of a call whose Notify did not.
func fillCaller(l *link, id int64, caller planet.UserRef) error {
	_, err := l.exec(`UPDATE calls SET caller_service = iif(caller_service = '', ?, caller_service),
		caller_user = iif(caller_user = '', ?, caller_user)
		WHERE id = ? AND (caller_service = '' OR caller_user = '')`, caller.ServiceID, caller.UserID, id)
	if err != nil {
		return fmt.Errorf("name the caller of a call: %w", err)
	}
	return nil
}

// insertEnded records a call that is known by its Call Event only.
func insertEnded(l *link, c *bell.Call, said []any) error {
	args := append([]any{
		string(c.Environment), string(c.SessionID), micros(c.EndedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
	}, said...)
	_, err := l.exec(`INSERT INTO calls (environment, session_id, at, project, label,
		caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
		state, outcome, started_at, ended_at, duration_us, rel_terminate, rel_disconnect, rel_call_end,
		rel_releaser_type, rel_releaser, rel_code, rel_code_name, rel_user_code, missed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, args...)
	if err != nil {
		return fmt.Errorf("write a call that has ended: %w", err)
	}
	return nil
}

// endArgs are what a Call Event says, from state to missed_at. They are copied
// before the writer's turn, because the caller may leave first.
func endArgs(c *bell.Call) []any {
	r := c.Release
	return []any{
		string(bell.CallEnded), string(c.Outcome), micros(c.StartedAt), micros(c.EndedAt), c.Duration.Microseconds(),
		number(r.Terminate), number(r.DisconnectReason), number(r.CallEndReason), number(r.ReleaserType), r.Releaser,
		number(r.Code), r.CodeName, r.UserCode, micros(c.MissedAt),
	}
}

// number is a number that may be missing.
func number(n *int) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

// Call implements call.Store.
func (s *Store) Call(ctx context.Context, environment planet.Environment, id planet.SessionID) (record call.Record, err error) {
	err = s.list(ctx, func(l *link) error {
		return snapshot(l, func() error {
			var err error
			record, err = readRecord(l, environment, id)
			return err
		})
	})
	return record, err
}

func readRecord(l *link, environment planet.Environment, id planet.SessionID) (record call.Record, err error) {
	where := conditions{}
	where.add(`c.session_id = ?`, string(id))
	where.addText(`c.environment = ?`, string(environment))
	var key int64
	found, err := l.one(`SELECT c.id, `+callColumns+` FROM calls c `+where.clause()+` ORDER BY c.at DESC LIMIT 1`,
		into(append([]any{&key}, callFields(&record.Call)...)), where.args...)
	if err != nil {
		return call.Record{}, err
	}
	asked, err := readAgent(l, &record, environment, id, found)
	if err := must(found || asked, err, "There is no such call."); err != nil || !found {
		return record, err
	}
	if record.Deliveries, err = readDeliveries(l, key); err != nil {
		return call.Record{}, fmt.Errorf("read the deliveries of call %s: %w", id, err)
	}
	return record, nil
}

func readDeliveries(l *link, key int64) ([]call.DeliveryRecord, error) {
	var records []call.DeliveryRecord
	position := map[string]int{}
	err := l.each(`SELECT `+deliveryColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id
		WHERE d.call_id = ? ORDER BY d.created_at, d.id`, func(row scanner) error {
		var r call.DeliveryRecord
		err := row.Scan(deliveryFields(&r.Delivery)...)
		r.Device.ID = r.Delivery.DeviceID
		position[r.Delivery.ID] = len(records)
		records = append(records, r)
		return err
	}, key)
	devices := l.each(`SELECT d.id, `+deviceColumns+` FROM deliveries d JOIN devices v ON v.id = d.device_id
		WHERE d.call_id = ?`, func(row scanner) error {
		var id string
		var device bell.Device
		err := row.Scan(append([]any{&id}, deviceFields(&device)...)...)
		records[position[id]].Device = device
		return err
	}, key)
	attempts := l.each(`SELECT `+attemptColumns+` FROM deliveries d JOIN attempts a ON a.delivery_id = d.id
		WHERE d.call_id = ? ORDER BY a.delivery_id, a.number, a.started_at`, func(row scanner) error {
		var a bell.Attempt
		err := row.Scan(attemptFields(&a)...)
		r := &records[position[a.DeliveryID]]
		r.Attempts = append(r.Attempts, a)
		return err
	}, key)
	receipts := l.each(`SELECT `+receiptColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id
		JOIN receipts r ON r.delivery_id = d.id WHERE d.call_id = ?`, func(row scanner) error {
		var id string
		var receipt bell.Receipt
		err := row.Scan(receiptFields(&id, &receipt)...)
		records[position[id]].Receipt = receipt
		return err
	}, key)
	return records, errors.Join(err, devices, attempts, receipts)
}

// Calls implements call.Store.
func (s *Store) Calls(ctx context.Context, f call.Filter, before call.Cursor, limit int) ([]bell.Call, error) {
	query, args := listCalls(f, before, max(limit, 0))
	var calls []bell.Call
	err := s.list(ctx, func(l *link) error {
		return l.each(query, func(row scanner) error {
			var c bell.Call
			err := row.Scan(callFields(&c)...)
			calls = append(calls, c)
			return err
		}, args...)
	})
	if err != nil {
		return nil, err
	}
	return calls, nil
}

// listCalls builds the query of a page. A user's calls are looked up by side, each
// along its index, because SQLite would read the whole list for an OR.
func listCalls(f call.Filter, before call.Cursor, limit int) (string, []any) {
	const order = ` ORDER BY c.at DESC, c.session_id DESC LIMIT ?`
	side := func(user, service string) (string, []any) {
		where := conditions{}
		if f.About == "" {
			where.add(`c.purpose = ?`, string(bell.PurposeCall))
		} else {
			where.add(`c.about = ?`, string(f.About))
		}
		where.addText(user+` = ?`, f.User.UserID)
		where.addText(service+` = ?`, f.User.ServiceID)
		where.addText(`c.environment = ?`, string(f.Environment))
		where.addRest(f)
		if before != (call.Cursor{}) {
			where.add(`(c.at, c.session_id) < (?, ?)`, micros(before.At), string(before.SessionID))
		}
		return where.clause() + order, append(where.args, limit)
	}
	if f.User == (planet.UserRef{}) {
		where, args := side("", "")
		return `SELECT ` + callColumns + ` FROM calls c ` + where, args
	}
	out, outArgs := side(`c.caller_user`, `c.caller_service`)
	in, inArgs := side(`c.callee_user`, `c.callee_service`)
	return `SELECT ` + callColumns + ` FROM calls c WHERE c.id IN (SELECT id FROM (SELECT c.id FROM calls c ` + out +
		`) UNION SELECT id FROM (SELECT c.id FROM calls c ` + in + `))` + order, append(append(outArgs, inArgs...), limit)
}
