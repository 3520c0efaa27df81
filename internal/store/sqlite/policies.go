package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// markSuppressed notes why a call rings nothing. A call that rings costs no statement.
func markSuppressed(l *link, c *bell.Call) error {
	if c.Suppressed == bell.RingsAll {
		return nil
	}
	_, err := l.exec(`UPDATE calls SET suppressed = ? WHERE session_id = ? AND environment = ?`,
		string(c.Suppressed), string(c.SessionID), string(c.Environment))
	if err != nil {
		return fmt.Errorf("note why a call rings nothing: %w", err)
	}
	return nil
}

// The parts of a look, one row each at most, told apart by their first column.
const (
	lookName    = `SELECT 0, display_name, 0, 0, 0, 0 FROM users WHERE environment = ? AND service_id = ? AND user_id = ?`
	lookBlocked = `SELECT 1, '', 0, 0, 0, 0 FROM blocked_users
		WHERE environment = ? AND service_id = ? AND user_id = ? AND blocked_service = ? AND blocked_user = ?`
	lookQuiet = `SELECT 2, quiet_zone, is_on, until_at, quiet_from, quiet_to FROM do_not_disturb
		WHERE environment = ? AND service_id = ? AND user_id = ?`
)

// Look implements policy.Store. It is one statement of look-ups by primary key.
func (s *Store) Look(ctx context.Context, q policy.Question) (facts policy.Facts, err error) {
	var parts []string
	var args []any
	if q.Name {
		parts = append(parts, lookName)
		args = append(args, string(q.Callee.Environment), q.Caller.ServiceID, q.Caller.UserID)
	}
	if q.Rules {
		parts = append(parts, lookBlocked, lookQuiet)
		args = append(append(args, ownerArgs(q.Callee)...), q.Caller.ServiceID, q.Caller.UserID)
		args = append(args, ownerArgs(q.Callee)...)
	}
	if len(parts) == 0 {
		return policy.Facts{}, nil
	}
	err = s.readers.read(ctx, func(l *link) error {
		return l.each(strings.Join(parts, ` UNION ALL `), func(row scanner) error {
			var kind int
			var text string
			var d policy.DoNotDisturb
			if err := row.Scan(&kind, &text, &d.On, at{&d.Until}, &d.Quiet.From, &d.Quiet.To); err != nil {
				return err
			}
			switch kind {
			case 0:
				facts.CallerName = text
			case 1:
				facts.Blocked = true
			default:
				d.Quiet.Zone = text
				facts.DoNotDisturb = d
			}
			return nil
		}, args...)
	})
	if err != nil {
		return policy.Facts{}, err
	}
	return facts, nil
}

func ownerArgs(o bell.Owner) []any {
	return []any{string(o.Environment), o.User.ServiceID, o.User.UserID}
}

// Block implements policy.Store.
func (s *Store) Block(ctx context.Context, owner bell.Owner, b policy.Blocked, limit int) error {
	return s.writer.submit(ctx, "block a user", func(l *link) error {
		var blocked int
		_, err := l.one(`SELECT count(*) FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?
			AND NOT (blocked_service = ? AND blocked_user = ?)`,
			into([]any{&blocked}), append(ownerArgs(owner), b.User.ServiceID, b.User.UserID)...)
		if err != nil {
			return fmt.Errorf("count blocked users: %w", err)
		}
		if blocked >= limit {
			return unchanged{bell.E(bell.Invalid, fmt.Sprintf("The block list is full: %d users at most; unblock somebody first.", limit), nil)}
		}
		return insertBlocked(l, owner, b)
	})
}

func insertBlocked(l *link, owner bell.Owner, b policy.Blocked) error {
	_, err := l.exec(`INSERT INTO blocked_users (environment, service_id, user_id, blocked_service, blocked_user, blocked_at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		append(ownerArgs(owner), b.User.ServiceID, b.User.UserID, micros(b.At))...)
	if err != nil {
		return fmt.Errorf("write a blocked user: %w", err)
	}
	return nil
}

// Unblock implements policy.Store.
func (s *Store) Unblock(ctx context.Context, owner bell.Owner, user planet.UserRef) error {
	return s.writer.submit(ctx, "unblock a user", func(l *link) error {
		_, err := l.exec(`DELETE FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?
			AND blocked_service = ? AND blocked_user = ?`, append(ownerArgs(owner), user.ServiceID, user.UserID)...)
		if err != nil {
			return fmt.Errorf("remove a blocked user: %w", err)
		}
		return nil
	})
}

// SetDoNotDisturb implements policy.Store.
func (s *Store) SetDoNotDisturb(ctx context.Context, owner bell.Owner, d policy.DoNotDisturb) error {
	return s.writer.submit(ctx, "set do not disturb", func(l *link) error { return writeQuiet(l, owner, d) })
}

// writeQuiet keeps a row only for who has something set.
func writeQuiet(l *link, owner bell.Owner, d policy.DoNotDisturb) error {
	var err error
	if d == (policy.DoNotDisturb{}) {
		_, err = l.exec(`DELETE FROM do_not_disturb WHERE environment = ? AND service_id = ? AND user_id = ?`, ownerArgs(owner)...)
	} else {
		_, err = l.exec(`INSERT OR REPLACE INTO do_not_disturb
			(environment, service_id, user_id, is_on, until_at, quiet_from, quiet_to, quiet_zone) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			append(ownerArgs(owner), d.On, micros(d.Until), d.Quiet.From, d.Quiet.To, d.Quiet.Zone)...)
	}
	if err != nil {
		return fmt.Errorf("write do not disturb: %w", err)
	}
	return nil
}

// RulesOf implements policy.Store.
func (s *Store) RulesOf(ctx context.Context, owner bell.Owner) (rules policy.Rules, err error) {
	err = s.readers.read(ctx, func(l *link) error {
		return snapshot(l, func() error {
			d := &rules.DoNotDisturb
			_, err := l.one(`SELECT is_on, until_at, quiet_from, quiet_to, quiet_zone FROM do_not_disturb
				WHERE environment = ? AND service_id = ? AND user_id = ?`,
				into([]any{&d.On, at{&d.Until}, &d.Quiet.From, &d.Quiet.To, &d.Quiet.Zone}), ownerArgs(owner)...)
			if err != nil {
				return fmt.Errorf("read do not disturb: %w", err)
			}
			return l.each(`SELECT blocked_service, blocked_user, blocked_at FROM blocked_users
				WHERE environment = ? AND service_id = ? AND user_id = ? ORDER BY blocked_service, blocked_user`, func(row scanner) error {
				var b policy.Blocked
				err := row.Scan(&b.User.ServiceID, &b.User.UserID, at{&b.At})
				rules.Blocked = append(rules.Blocked, b)
				return err
			}, ownerArgs(owner)...)
		})
	})
	if err != nil {
		return policy.Rules{}, err
	}
	return rules, nil
}

// ReplaceRules implements policy.Store.
func (s *Store) ReplaceRules(ctx context.Context, owner bell.Owner, rules policy.Rules, now time.Time) error {
	return s.writer.submit(ctx, "replace a user's rules", func(l *link) error {
		known := map[planet.UserRef]time.Time{}
		err := l.each(`SELECT blocked_service, blocked_user, blocked_at FROM blocked_users
			WHERE environment = ? AND service_id = ? AND user_id = ?`, func(row scanner) error {
			var b policy.Blocked
			err := row.Scan(&b.User.ServiceID, &b.User.UserID, at{&b.At})
			known[b.User] = b.At
			return err
		}, ownerArgs(owner)...)
		if err != nil {
			return fmt.Errorf("read blocked users: %w", err)
		}
		_, err = l.exec(`DELETE FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?`, ownerArgs(owner)...)
		if err != nil {
			return fmt.Errorf("remove blocked users: %w", err)
		}
		for _, b := range rules.Blocked {
			if b.At = known[b.User]; b.At.IsZero() {
				b.At = now
			}
			if err := insertBlocked(l, owner, b); err != nil {
				return err
			}
		}
		return writeQuiet(l, owner, rules.DoNotDisturb)
	})
}
