package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// addRest adds what is neither of the user nor the environment.
func (c *Conditions) addRest(f call.Filter) {
	c.addText(`c.project = ?`, f.Project)
	c.addText(`c.state = ?`, string(f.State))
	// The second half says that the index of outcomes has it.
	c.addText(`c.outcome = ? AND c.outcome <> ''`, string(f.Outcome))
	if !f.Since.IsZero() {
		c.add(`c.at >= ?`, Micros(f.Since))
	}
	if !f.Until.IsZero() {
		c.add(`c.at < ?`, Micros(f.Until))
	}
}

// History implements call.Store. What it may show, and the calls, are read in one snapshot,
// so that nobody sees the calls of a user ID that is taken over at this moment.
func (s *Store) History(ctx context.Context, q call.HistoryQuery) (calls []bell.Call, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Snapshot(func() error {
			registered, err := registeredAt(l, q)
			if err != nil {
				return err
			}
			query, args := listHistory(q, registered)
			return l.Each(query, func(row Scanner) error {
				var c bell.Call
				err := row.Scan(CallFields(&c)...)
				calls = append(calls, c)
				return err
			}, args...)
		})
	})
	return calls, err
}

// registeredAt is when the user ID was given to the holder of the session.
func registeredAt(l Tx, q call.HistoryQuery) (registered time.Time, err error) {
	var revoked time.Time
	found, err := l.One(`SELECT s.revoked_at, u.registered_at FROM sessions s
		JOIN users u ON u.environment = s.environment AND u.service_id = s.service_id AND u.user_id = s.user_id
		WHERE s.id = ? AND s.environment = ? AND s.service_id = ? AND s.user_id = ?`,
		Into([]any{At{&revoked}, At{&registered}}),
		q.SessionID, string(q.Owner.Environment), q.Owner.User.ServiceID, q.Owner.User.UserID)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("look up whose calls to show: %w", err)
	case !found:
		return time.Time{}, bell.E(bell.Unavailable, "The app token has still to be recorded; try again soon.", nil)
	case !revoked.IsZero():
		return time.Time{}, bell.E(bell.Unauthorized, "The app token was revoked because its user ID was registered anew.", nil)
	}
	return registered, nil
}

func listHistory(q call.HistoryQuery, registered time.Time) (string, []any) {
	const order = ` ORDER BY c.at DESC, c.session_id DESC LIMIT ?`
	limit := max(q.Limit, 0)
	side := func(user, service string) (string, []any) {
		where := Conditions{}
		where.add(user+` = ?`, q.Owner.User.UserID)
		where.add(service+` = ?`, q.Owner.User.ServiceID)
		where.add(`c.environment = ?`, string(q.Owner.Environment))
		where.add(`c.purpose = ''`)
		where.addOutcomes(q.Outcomes)
		if q.Wanted {
			where.add(`c.suppressed = ''`)
		}
		where.addSince(q.Since, registered)
		if q.Before != (call.Cursor{}) {
			where.add(`(c.at, c.session_id) < (?, ?)`, Micros(q.Before.At), string(q.Before.SessionID))
		}
		return where.clause() + order, append(where.args, limit)
	}
	out, outArgs := side(`c.caller_user`, `c.caller_service`)
	in, inArgs := side(`c.callee_user`, `c.callee_service`)
	switch q.Direction {
	case call.Outgoing:
		return `SELECT ` + CallColumns + ` FROM calls c ` + out, outArgs
	case call.Incoming:
		return `SELECT ` + CallColumns + ` FROM calls c ` + in, inArgs
	}
	return `SELECT ` + CallColumns + ` FROM calls c WHERE c.id IN (SELECT id FROM (SELECT c.id FROM calls c ` + out +
		`) AS outgoing UNION SELECT id FROM (SELECT c.id FROM calls c ` + in + `) AS incoming)` + order, append(append(outArgs, inArgs...), limit)
}

func (c *Conditions) addOutcomes(outcomes []planet.Outcome) {
	if len(outcomes) == 0 {
		return
	}
	marks := `?` + strings.Repeat(`, ?`, len(outcomes)-1)
	args := make([]any, len(outcomes))
	for i, outcome := range outcomes {
		args[i] = string(outcome)
	}
	c.add(`c.outcome IN (`+marks+`)`, args...)
}

// addSince leaves out what is too old. Of a call without Notify only its end is known, in
// whole seconds, cut off, so that it may seem to lie before a registration in that second.
func (c *Conditions) addSince(since, registered time.Time) {
	from := registered.Truncate(time.Second)
	if since.After(from) {
		from = since
	}
	c.add(`c.at >= ? AND (c.notified_at = 0 OR c.notified_at >= ?)`, Micros(from), Micros(registered))
}
