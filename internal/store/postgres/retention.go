package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// Old records are deleted in batches, each one statement: what another node is deleting, or
// has in hand, is left to it, and nothing waits. A batch is chosen in a WITH that is computed
// once: a subquery with LIMIT and SKIP LOCKED that the planner joins may be run again for every
// row, and gives others each time. And it is looked up through arrays, so that no estimate of
// its size ever reads a whole table.

// participantsPerForget bounds one batch of rooms: a run may have had thousands of participants.
const participantsPerForget = 400

// forgetCalls counts the deliveries of the calls, oldest first, and takes as many calls as stay
// within the bound, but one at least. A call's row is taken before its deliveries, and those by
// ID, as everybody does.
var forgetCalls = `WITH old AS MATERIALIZED (SELECT id, at FROM calls WHERE at < $1 ORDER BY at, session_id LIMIT $2 FOR UPDATE SKIP LOCKED),
	sized AS MATERIALIZED (SELECT old.id, row_number() OVER upward AS nth,
			sum((SELECT count(*) FROM deliveries d WHERE d.call_id = old.id)) OVER upward AS total
		FROM old WINDOW upward AS (ORDER BY old.at, old.id)),
	batch AS MATERIALIZED (SELECT id FROM sized WHERE nth = 1 OR total <= ` + strconv.Itoa(sqldb.DeliveriesPerForget) + `),
	rung AS MATERIALIZED (SELECT d.id FROM deliveries d WHERE d.call_id = ANY(ARRAY(SELECT id FROM batch)) ORDER BY d.id FOR UPDATE),
	a AS (DELETE FROM attempts WHERE delivery_id = ANY(ARRAY(SELECT id FROM rung))),
	r AS (DELETE FROM receipts WHERE delivery_id = ANY(ARRAY(SELECT id FROM rung))),
	d AS (DELETE FROM deliveries WHERE id = ANY(ARRAY(SELECT id FROM rung)))
	DELETE FROM calls WHERE id = ANY(ARRAY(SELECT id FROM batch))`

// ForgetCalls implements retention.Store.
func (s *Store) ForgetCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget calls", forgetCalls, before, limit)
}

const forgetJournal = `WITH old AS MATERIALIZED (SELECT id FROM journal WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM journal WHERE id = ANY(ARRAY(SELECT id FROM old))`

// ForgetJournal implements retention.Store.
func (s *Store) ForgetJournal(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget callbacks", forgetJournal, before, limit)
}

const forgetAgentCalls = `WITH old AS MATERIALIZED (SELECT session_id, environment FROM agent_calls
		WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM agent_calls USING old WHERE agent_calls.session_id = old.session_id AND agent_calls.environment = old.environment`

// ForgetAgentCalls implements retention.Store.
func (s *Store) ForgetAgentCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget agent calls", forgetAgentCalls, before, limit)
}

// forgetRooms counts participants, oldest run first, and no further than the bound. Of the run
// that passes it a part goes; the run itself goes with its last participants. A late event that
// opens a run again has its row in hand, or has changed it, and then it is not taken.
var forgetRooms = `WITH old AS MATERIALIZED (SELECT id, heard_at FROM room_runs
		WHERE heard_at < $1 AND state = 'closed' ORDER BY heard_at LIMIT $2 FOR UPDATE SKIP LOCKED),
	counted AS MATERIALIZED (SELECT old.id, old.heard_at, (SELECT count(*) FROM
			(SELECT FROM room_participants p WHERE p.run_id = old.id LIMIT ` + most + ` + 1) AS known) AS n FROM old),
	sized AS MATERIALIZED (SELECT id, n, sum(n) OVER (ORDER BY heard_at, id) AS total FROM counted),
	batch AS MATERIALIZED (SELECT id, total, ` + most + ` - (total - n) AS room FROM sized WHERE total - n < ` + most + `),
	people AS MATERIALIZED (SELECT p.* FROM batch, LATERAL (SELECT p.run_id, p.user_id, p.service_id FROM room_participants p
		WHERE p.run_id = batch.id LIMIT batch.room) AS p),
	p AS (DELETE FROM room_participants p USING people
		WHERE p.run_id = people.run_id AND p.user_id = people.user_id AND p.service_id = people.service_id),
	r AS (DELETE FROM room_runs WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE total <= ` + most + `)))
	SELECT id FROM batch`

var most = strconv.Itoa(participantsPerForget)

// ForgetRooms implements retention.Store.
func (s *Store) ForgetRooms(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget rooms", forgetRooms, before, limit)
}

// forget runs a batch and says how many records it deleted, or worked on.
func (s *Store) forget(ctx context.Context, what, text string, before time.Time, limit int) (int, error) {
	r, err := s.statementAt(ctx, s.writes, what, text, sqldb.Micros(before), max(limit, 0))
	return int(r.affected), err
}

const forgetAudit = `WITH old AS MATERIALIZED (SELECT id FROM audit WHERE at < $1 ORDER BY at, id LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM audit WHERE id = ANY(ARRAY(SELECT id FROM old))`

// ForgetAudit implements retention.Store.
func (s *Store) ForgetAudit(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget the audit log", forgetAudit, before, limit)
}

const forgetSignIns = `WITH old AS MATERIALIZED (SELECT id FROM admin_sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM admin_sessions WHERE id = ANY(ARRAY(SELECT id FROM old))`

// ForgetSignIns implements retention.Store.
func (s *Store) ForgetSignIns(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget sign-ins", forgetSignIns, before, limit)
}
