package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// callTask is a write of a call's: its statements, which note their results where the caller
// looks. They may be sent again when nobody knows what became of the first time.
type callTask struct {
	queue func(*pgx.Batch)
	runs  int // how often it was sent
}

// runCalls sends a group in one round trip, which is one transaction.
func (s *Store) runCalls(group []*task[*callTask]) error {
	conn, err := s.connect(s.writePool)
	if err != nil {
		return err
	}
	defer giveBack(conn)
	var batch pgx.Batch
	batch.Queue(waitNot, milliseconds(s.lockTimeout))
	for _, t := range group {
		t.body.runs++
		t.body.queue(&batch)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	return inward(conn.SendBatch(ctx, &batch).Close())
}

// queue adds a statement to a batch and calls scan for each row that it returns.
func (q query) queue(b *pgx.Batch, scan func(sqldb.Scanner) error) {
	b.Queue(q.sql, q.args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(record{rows.FieldDescriptions(), rows.RawValues()}); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// The statements that record a call: the row and, if it is new, its deliveries and events. It
// returns a row only then. What may be there already is named: a conflict of another key, as
// when a sequence is behind its table, is an error, and no repeat.
const (
	beginCall = `WITH c AS (INSERT INTO calls (environment, session_id, at, project, label,
			caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
			state, notified_at, deadline, raw, cc_param,
			purpose, about, about_at, room_service, room_id, caller_name, app_fields, suppressed, circumstances)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
		ON CONFLICT (session_id, environment) DO NOTHING RETURNING id),
	d AS (INSERT INTO deliveries (call_id, id, device_id, channel, state, reason, attempts, deadline,
			lease_owner, lease_until, created_at, updated_at)
		SELECT c.id, u.* FROM c, unnest($27::text[], $28::text[], $29::text[], $30::text[], $31::text[], $32::bigint[], $33::bigint[],
			$34::text[], $35::bigint[], $36::bigint[], $37::bigint[]) AS u)`
	beginEvents = `, e AS (INSERT INTO events (id, type, project, subject, at, data)
		SELECT u.* FROM c, unnest($38::text[], $39::text[], $40::text[], $41::text[], $42::bigint[], $43::text[]) AS u
		ON CONFLICT (id) DO NOTHING)`
	begun = ` SELECT c.id FROM c`
)

// BeginCall implements call.Store. A new call is one statement, sent together with those of
// others; only a repeat, or a call that has ended already, asks again.
func (s *Store) BeginCall(ctx context.Context, c bell.Call, deliveries []bell.Delivery, raw []planet.RawParam) (call.BeginResult, error) {
	params := sqldb.EncodeParams(sqldb.WithoutCCParam(raw, c.CCParam))
	q := query{beginCall + begun, append(callArgs(&c, params), deliveryArgs(deliveries)...)}
	events := append(sqldb.NewEventRows(c.Events), sqldb.NewEventRows(s.FailedEvents(&c, deliveries))...)
	if len(events) > 0 {
		q = query{beginCall + beginEvents + begun, append(q.args, eventArgs(events)...)}
	}
	q.args = bind(q.args)
	var id int64
	t := &task[*callTask]{what: "begin a call", key: string(c.SessionID), body: &callTask{queue: func(b *pgx.Batch) {
		id = 0
		q.queue(b, sqldb.Into([]any{&id}))
	}}}
	if err := s.calls.submit(ctx, t); err != nil {
		return 0, err // if it is recorded all the same, its deliveries stay those of this process
	}
	if id != 0 {
		return call.Began, nil
	}
	return s.knownCall(ctx, &c, deliveries, params, t.body.runs > 1)
}

// knownCall is one statement, too: while the database recovers from trouble, most of what waited is of
// calls whose end another node has recorded. A call that rang from memory is noted as such: its own
// write was given up, and committed after all.
const knownCall = `WITH done AS (` + sqldb.CompleteCall + ` RETURNING 1),
	noted AS (UPDATE calls SET circumstances = ? WHERE session_id = ?18 AND environment = ?19 AND notified_at = ?2
		AND ?::boolean AND NOT EXISTS (SELECT FROM done))
	SELECT EXISTS (SELECT FROM done), EXISTS (SELECT FROM calls c JOIN deliveries d ON d.call_id = c.id
		WHERE c.session_id = ?18 AND c.environment = ?19 AND d.id = ?)`

// knownCall says what a Notify for a known call is. When it was sent twice, because the
// connection broke, the row may be its own.
func (s *Store) knownCall(ctx context.Context, c *bell.Call, deliveries []bell.Delivery, params string, twice bool) (call.BeginResult, error) {
	first := ""
	if twice && len(deliveries) > 0 {
		first = deliveries[0].ID
	}
	q := query{rewrite(knownCall), bind(append(sqldb.CompleteArgs(c, params),
		sqldb.EncodeCircumstances(&c.Circumstances), c.Circumstances.FromMemory, first))}
	var done, ours bool
	err := s.calls.submit(ctx, &task[*callTask]{
		what: "begin a call that is known", key: string(c.SessionID), rank: "1", body: &callTask{queue: func(b *pgx.Batch) {
			done, ours = false, false
			q.queue(b, sqldb.Into([]any{&done, &ours}))
		}},
	})
	switch {
	case err != nil:
		return 0, err // nothing is read: the statement may still be under way
	case ours:
		return call.Began, nil
	case done:
		return call.AlreadyEnded, nil
	}
	return call.Repeated, nil
}

func callArgs(c *bell.Call, params string) []any {
	state := bell.CallRinging
	if c.Purpose != bell.PurposeCall {
		state = bell.CallNotice
	}
	return []any{
		string(c.Environment), string(c.SessionID), sqldb.Micros(c.NotifiedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
		string(state), sqldb.Micros(c.NotifiedAt), sqldb.Micros(c.Deadline), params, c.CCParam.Reveal(),
		string(c.Purpose), string(c.About), sqldb.Micros(c.AboutAt), c.Room.ServiceID, c.Room.RoomID, c.CallerName,
		sqldb.EncodeFields(c.AppFields), string(c.Suppressed), sqldb.EncodeCircumstances(&c.Circumstances),
	}
}

// deliveryArgs are deliveries by columns.
func deliveryArgs(deliveries []bell.Delivery) []any {
	n := len(deliveries)
	texts, numbers := columns[string](n, 6), columns[int64](n, 5)
	for i := range deliveries {
		d := &deliveries[i]
		put(texts, i, d.ID, d.DeviceID, string(d.Channel), string(d.State), d.Reason, d.LeaseOwner)
		put(numbers, i, int64(d.Attempts), sqldb.Micros(d.Deadline), sqldb.Micros(d.LeaseUntil), sqldb.Micros(d.CreatedAt), sqldb.Micros(d.UpdatedAt))
	}
	return []any{
		texts[0], texts[1], texts[2], texts[3], texts[4], numbers[0], numbers[1], texts[5], numbers[2], numbers[3], numbers[4],
	}
}

// eventArgs are events by columns.
func eventArgs(rows sqldb.EventRows) []any {
	texts, times := columns[string](len(rows), 5), columns[int64](len(rows), 1)
	for i, row := range rows {
		put(texts, i, row[0].(string), row[1].(string), row[2].(string), row[3].(string), row[5].(string))
		put(times, i, row[4].(int64))
	}
	return []any{texts[0], texts[1], texts[2], texts[3], times[0], texts[4]}
}

// insertEvents records events in one statement.
func insertEvents(rows sqldb.EventRows) query {
	return query{`INSERT INTO events (id, type, project, subject, at, data)
		SELECT u.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]) AS u
		ON CONFLICT (id) DO NOTHING`, bind(eventArgs(rows))}
}

func columns[T any](rows, n int) [][]T {
	all := make([][]T, n)
	for i := range all {
		all[i] = make([]T, rows)
	}
	return all
}

func put[T any](to [][]T, row int, values ...T) {
	for i, v := range values {
		to[i][row] = v
	}
}

// EndCall implements call.Store. It is one round trip, shared with others, unless the
// customer's systems want to be told: what they are told is made of the merged row.
func (s *Store) EndCall(ctx context.Context, c bell.Call, entry bell.JournalEntry) error {
	told := c.Wanted.Has(bell.EventCallEnded) || c.Wanted.Has(bell.EventCallMissed)
	statements := endCall(&c, entry, told)
	if !told {
		return s.calls.submit(ctx, &task[*callTask]{
			what: "end a call", key: string(c.SessionID), body: &callTask{queue: func(b *pgx.Batch) {
				for _, q := range statements {
					b.Queue(q.sql, q.args...)
				}
			}},
		})
	}
	return s.ends.submit(ctx, &task[*endTask]{what: "end a call", key: string(c.SessionID), body: &endTask{statements, c.Wanted}})
}

// endTask is a Call Event that is to be told.
type endTask struct {
	statements []query
	wanted     bell.EventSet
}

// runEnds runs a group in one transaction of two round trips: what is told of a call is made of
// the row that the first one returns.
func (s *Store) runEnds(group []*task[*endTask]) error {
	l := s.ownLink()
	defer l.end()
	var queries []query
	for _, t := range group {
		queries = append(queries, t.body.statements...)
	}
	results, err := l.send(queries...)
	if err != nil {
		return err
	}
	var events sqldb.EventRows
	for _, t := range group {
		var ended bell.Call
		known, err := results[0].first(sqldb.CallFields(&ended))
		if err != nil {
			return fmt.Errorf("read a call that has ended: %w", err)
		}
		if known { // else it is a repeat
			events = append(events, sqldb.NewEventRows(bell.EndedEvents(&ended, t.body.wanted))...)
		}
		results = results[len(t.body.statements):]
	}
	var last []query
	if len(events) > 0 {
		last = append(last, insertEvents(events))
	}
	_, err = l.sendLast(last...)
	return err
}

// The statements of a Call Event. The second has eyes of its own for what is in the database:
// when the first had to wait for a Notify, it sees that one's deliveries. Whoever has rows of
// a call and its deliveries in hand takes the call's first, and then the deliveries by ID.
var (
	endCallRow = `WITH j AS (INSERT INTO journal (received_at, project, environment, kind, session_id, dedup_key, params)
		VALUES ($27, $28, $29, $30, $31, $32, $33) ON CONFLICT (session_id, (nullif(dedup_key, '')), kind, project) DO NOTHING)
	INSERT INTO calls AS c (environment, session_id, at, project, label,
		caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
		state, outcome, started_at, ended_at, duration_us, rel_terminate, rel_disconnect, rel_call_end,
		rel_releaser_type, rel_releaser, rel_code, rel_code_name, rel_user_code, missed_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
	ON CONFLICT (session_id, environment) DO UPDATE SET cc_param = '',
		caller_service = CASE c.caller_service WHEN '' THEN excluded.caller_service ELSE c.caller_service END,
		caller_user = CASE c.caller_user WHEN '' THEN excluded.caller_user ELSE c.caller_user END,
		app_server_data = CASE c.app_server_data WHEN '' THEN excluded.app_server_data ELSE c.app_server_data END,
		stid = CASE c.stid WHEN '' THEN excluded.stid ELSE c.stid END,
		state = excluded.state, outcome = excluded.outcome, started_at = excluded.started_at, ended_at = excluded.ended_at,
		duration_us = excluded.duration_us, rel_terminate = excluded.rel_terminate, rel_disconnect = excluded.rel_disconnect,
		rel_call_end = excluded.rel_call_end, rel_releaser_type = excluded.rel_releaser_type, rel_releaser = excluded.rel_releaser,
		rel_code = excluded.rel_code, rel_code_name = excluded.rel_code_name, rel_user_code = excluded.rel_user_code,
		missed_at = CASE c.suppressed WHEN '' THEN excluded.missed_at ELSE 0 END
	WHERE c.state NOT IN ('` + string(bell.CallEnded) + `', '` + string(bell.CallNotice) + `') RETURNING `
	endCallQuiet = endCallRow + `c.id`
	endCallTold  = endCallRow + sqldb.CallColumns
)

const withdraw = `UPDATE deliveries SET state = 'withdrawn', lease_owner = '', lease_until = 0, updated_at = $3 WHERE id IN
	(SELECT d.id FROM calls c JOIN deliveries d ON d.call_id = c.id WHERE c.session_id = $1 AND c.environment = $2 AND c.state = 'ended'
		AND d.state IN ('pending', 'sending') ORDER BY d.id FOR UPDATE OF d)`

// endCall makes the statements; the first returns the merged row if it is to be told.
func endCall(c *bell.Call, entry bell.JournalEntry, told bool) []query {
	text := endCallQuiet
	if told {
		text = endCallTold
	}
	when := entry.ReceivedAt
	if when.IsZero() {
		when = c.EndedAt
	}
	args := append([]any{
		string(c.Environment), string(c.SessionID), sqldb.Micros(c.EndedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
	}, sqldb.EndArgs(c)...)
	return []query{
		{text, bind(append(args, sqldb.NewJournalRow(entry)...))},
		{withdraw, bind([]any{string(c.SessionID), string(c.Environment), sqldb.Micros(when)})},
	}
}

// AppendJournal implements call.Store. An entry that cannot be told from another is not sent
// with others, because those may be sent again.
func (s *Store) AppendJournal(ctx context.Context, entry bell.JournalEntry) error {
	if entry.DedupKey == "" {
		return s.Store.AppendJournal(ctx, entry)
	}
	queries := []query{appendJournal(entry)}
	if entry.Agent != nil {
		text, args := sqldb.AgentStatement(&entry)
		queries = append(queries, query{rewrite(text), bind(args)})
	}
	return s.calls.submit(ctx, &task[*callTask]{
		what: "keep a callback", key: string(entry.SessionID), rank: "0" + entry.DedupKey,
		body: &callTask{queue: func(b *pgx.Batch) {
			for _, q := range queries {
				b.Queue(q.sql, q.args...)
			}
		}},
	})
}

func appendJournal(entry bell.JournalEntry) query {
	return query{`INSERT INTO journal (received_at, project, environment, kind, session_id, dedup_key, params)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (session_id, (nullif(dedup_key, '')), kind, project) DO NOTHING`, bind(sqldb.NewJournalRow(entry))}
}
