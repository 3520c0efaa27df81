package sqldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// CompleteCall gives the row of a call whose Call Event overtook its Notify what only Notify knows, and
// that it was overtaken; cc_param is not among it, nothing rings anymore. What Notify left out stays
// as the event has it, so that the order of the two makes no difference. Of any other call it
// changes nothing.
const CompleteCall = `UPDATE calls SET at = ?, notified_at = ?, deadline = ?, project = ?, label = ?,
	caller_service = CASE ?6 WHEN '' THEN caller_service ELSE ?6 END, caller_user = CASE ?7 WHEN '' THEN caller_user ELSE ?7 END,
	callee_service = ?, callee_user = ?, type = ?,
	app_server_data = CASE ?11 WHEN '' THEN app_server_data ELSE ?11 END, stid = CASE ?12 WHEN '' THEN stid ELSE ?12 END, raw = ?,
	caller_name = ?, app_fields = ?, circumstances = ?, suppressed = CASE ?17 WHEN '' THEN suppressed ELSE ?17 END
	WHERE session_id = ? AND environment = ? AND state = 'ended' AND notified_at = 0`

// CompleteArgs are its arguments.
func CompleteArgs(c *bell.Call, params string) []any {
	overtaken := EncodeCircumstances(&bell.Circumstances{FromMemory: c.Circumstances.FromMemory, Overtaken: true})
	return []any{
		Micros(c.NotifiedAt), Micros(c.NotifiedAt), Micros(c.Deadline), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type),
		c.AppServerData, c.STID, params, c.CallerName, EncodeFields(c.AppFields), overtaken, string(c.Suppressed), string(c.SessionID), string(c.Environment),
	}
}

// KnownCall says what a Notify for a known call is, and completes the call; see CompleteCall.
func KnownCall(l Tx, c *bell.Call, params string) (call.BeginResult, error) {
	n, err := l.Exec(CompleteCall, CompleteArgs(c, params)...)
	switch {
	case err != nil:
		return 0, fmt.Errorf("complete a call that has ended: %w", err)
	case n > 0:
		return call.AlreadyEnded, nil
	}
	return call.Repeated, noteFromMemory(l, c)
}

// noteFromMemory adds to a known call that it rang from memory: its own write was given up,
// and committed after all.
func noteFromMemory(l Tx, c *bell.Call) error {
	if !c.Circumstances.FromMemory {
		return nil
	}
	_, err := l.Exec(`UPDATE calls SET circumstances = ? WHERE session_id = ? AND environment = ? AND notified_at = ?`,
		EncodeCircumstances(&c.Circumstances), string(c.SessionID), string(c.Environment), Micros(c.NotifiedAt))
	if err != nil {
		return fmt.Errorf("note that a call rang from memory: %w", err)
	}
	return nil
}

// EndCall implements call.Store.
func (s *Store) EndCall(ctx context.Context, c bell.Call, entry bell.JournalEntry) error {
	row := NewJournalRow(entry)
	said := EndArgs(&c)
	when := entry.ReceivedAt
	if when.IsZero() {
		when = c.EndedAt
	}
	return s.Write(ctx, "end a call", func(l Tx) error {
		if err := row.Insert(l); err != nil {
			return err
		}
		var id int64
		var state bell.CallState
		var suppressed bell.Suppression
		known, err := l.One(`SELECT id, state, suppressed FROM calls WHERE session_id = ? AND environment = ?`+l.ForUpdate("calls"),
			Into([]any{&id, &state, &suppressed}), string(c.SessionID), string(c.Environment))
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
func tellEnded(l Tx, c *bell.Call) error {
	if !c.Wanted.Has(bell.EventCallEnded) && !c.Wanted.Has(bell.EventCallMissed) {
		return nil
	}
	var ended bell.Call
	_, err := l.One(`SELECT `+CallColumns+` FROM calls c WHERE c.session_id = ? AND c.environment = ?`,
		Into(CallFields(&ended)), string(c.SessionID), string(c.Environment))
	if err != nil {
		return fmt.Errorf("read a call that has ended: %w", err)
	}
	return NewEventRows(bell.EndedEvents(&ended, c.Wanted)).Insert(l)
}

// endKnown ends a call whose Notify was seen: what Notify said stays, gaps are filled.
func endKnown(l Tx, id int64, args []any, when time.Time) error {
	_, err := l.Exec(`UPDATE calls SET cc_param = '',
		app_server_data = CASE app_server_data WHEN '' THEN ? ELSE app_server_data END, stid = CASE stid WHEN '' THEN ? ELSE stid END,
		state = ?, outcome = ?, started_at = ?, ended_at = ?, duration_us = ?,
		rel_terminate = ?, rel_disconnect = ?, rel_call_end = ?, rel_releaser_type = ?, rel_releaser = ?,
		rel_code = ?, rel_code_name = ?, rel_user_code = ?, missed_at = ? WHERE id = ?`, append(args, id)...)
	if err != nil {
		return fmt.Errorf("end a call: %w", err)
	}
	_, err = l.Exec(`UPDATE deliveries SET state = 'withdrawn', lease_owner = '', lease_until = 0, updated_at = ?
		WHERE call_id = ? AND state IN ('pending', 'sending')`, Micros(when), id)
	if err != nil {
		return fmt.Errorf("withdraw deliveries: %w", err)
	}
	l.Erased()
	return nil
}

// fillCaller names the caller of a call whose Notify did not.
func fillCaller(l Tx, id int64, caller planet.UserRef) error {
	_, err := l.Exec(`UPDATE calls SET caller_service = CASE caller_service WHEN '' THEN ? ELSE caller_service END,
		caller_user = CASE caller_user WHEN '' THEN ? ELSE caller_user END
		WHERE id = ? AND (caller_service = '' OR caller_user = '')`, caller.ServiceID, caller.UserID, id)
	if err != nil {
		return fmt.Errorf("name the caller of a call: %w", err)
	}
	return nil
}

// insertEnded records a call that is known by its Call Event only.
func insertEnded(l Tx, c *bell.Call, said []any) error {
	args := append([]any{
		string(c.Environment), string(c.SessionID), Micros(c.EndedAt), c.Project, c.Label,
		c.Caller.ServiceID, c.Caller.UserID, c.Callee.ServiceID, c.Callee.UserID, string(c.Type), c.AppServerData, c.STID,
	}, said...)
	_, err := l.Exec(`INSERT INTO calls (environment, session_id, at, project, label,
		caller_service, caller_user, callee_service, callee_user, type, app_server_data, stid,
		state, outcome, started_at, ended_at, duration_us, rel_terminate, rel_disconnect, rel_call_end,
		rel_releaser_type, rel_releaser, rel_code, rel_code_name, rel_user_code, missed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, args...)
	if err != nil {
		return fmt.Errorf("write a call that has ended: %w", err)
	}
	return nil
}

// EndArgs are what a Call Event says, from state to missed_at. They are copied
// before the writer's turn, because the caller may leave first.
func EndArgs(c *bell.Call) []any {
	r := c.Release
	return []any{
		string(bell.CallEnded), string(c.Outcome), Micros(c.StartedAt), Micros(c.EndedAt), c.Duration.Microseconds(),
		Number(r.Terminate), Number(r.DisconnectReason), Number(r.CallEndReason), Number(r.ReleaserType), r.Releaser,
		Number(r.Code), r.CodeName, r.UserCode, Micros(c.MissedAt),
	}
}

// Number is a number that may be missing.
func Number(n *int) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}
