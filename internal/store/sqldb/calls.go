package sqldb

import (
	"context"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// Call implements call.Store.
func (s *Store) Call(ctx context.Context, environment planet.Environment, id planet.SessionID) (record call.Record, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Snapshot(func() error {
			var err error
			record, err = readRecord(l, environment, id)
			return err
		})
	})
	return record, err
}

func readRecord(l Tx, environment planet.Environment, id planet.SessionID) (record call.Record, err error) {
	where := Conditions{}
	where.add(`c.session_id = ?`, string(id))
	where.addText(`c.environment = ?`, string(environment))
	var key int64
	found, err := l.One(`SELECT c.id, `+CallColumns+` FROM calls c `+where.clause()+` ORDER BY c.at DESC LIMIT 1`,
		Into(append([]any{&key}, CallFields(&record.Call)...)), where.args...)
	if err != nil {
		return call.Record{}, err
	}
	asked, err := readAgent(l, &record, environment, id, found)
	if err := Must(found || asked, err, "There is no such call."); err != nil || !found {
		return record, err
	}
	if record.Deliveries, err = readDeliveries(l, key); err != nil {
		return call.Record{}, fmt.Errorf("read the deliveries of call %s: %w", id, err)
	}
	return record, nil
}

func readDeliveries(l Tx, key int64) ([]call.DeliveryRecord, error) {
	var records []call.DeliveryRecord
	position := map[string]int{}
	err := l.Each(`SELECT `+DeliveryColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id
		WHERE d.call_id = ? ORDER BY d.created_at, d.id`, func(row Scanner) error {
		var r call.DeliveryRecord
		err := row.Scan(DeliveryFields(&r.Delivery)...)
		r.Device.ID = r.Delivery.DeviceID
		position[r.Delivery.ID] = len(records)
		records = append(records, r)
		return err
	}, key)
	devices := l.Each(`SELECT d.id, `+DeviceColumns+` FROM deliveries d JOIN devices v ON v.id = d.device_id
		WHERE d.call_id = ?`, func(row Scanner) error {
		var id string
		var device bell.Device
		err := row.Scan(append([]any{&id}, DeviceFields(&device)...)...)
		records[position[id]].Device = device
		return err
	}, key)
	attempts := l.Each(`SELECT `+attemptColumns+` FROM deliveries d JOIN attempts a ON a.delivery_id = d.id
		WHERE d.call_id = ? ORDER BY a.delivery_id, a.number, a.started_at`, func(row Scanner) error {
		var a bell.Attempt
		err := row.Scan(attemptFields(&a)...)
		r := &records[position[a.DeliveryID]]
		r.Attempts = append(r.Attempts, a)
		return err
	}, key)
	receipts := l.Each(`SELECT `+receiptColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id
		JOIN receipts r ON r.delivery_id = d.id WHERE d.call_id = ?`, func(row Scanner) error {
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
	err := s.List(ctx, func(l Tx) error {
		return l.Each(query, func(row Scanner) error {
			var c bell.Call
			err := row.Scan(CallFields(&c)...)
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
		where := Conditions{}
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
			where.add(`(c.at, c.session_id) < (?, ?)`, Micros(before.At), string(before.SessionID))
		}
		return where.clause() + order, append(where.args, limit)
	}
	if f.User == (planet.UserRef{}) {
		where, args := side("", "")
		return `SELECT ` + CallColumns + ` FROM calls c ` + where, args
	}
	out, outArgs := side(`c.caller_user`, `c.caller_service`)
	in, inArgs := side(`c.callee_user`, `c.callee_service`)
	return `SELECT ` + CallColumns + ` FROM calls c WHERE c.id IN (SELECT id FROM (SELECT c.id FROM calls c ` + out +
		`) AS outgoing UNION SELECT id FROM (SELECT c.id FROM calls c ` + in + `) AS incoming)` + order, append(append(outArgs, inArgs...), limit)
}
