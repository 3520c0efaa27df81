package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// MarkSuppressed notes why a call rings nothing. A call that rings costs no statement.
func MarkSuppressed(l Tx, c *bell.Call) error {
	if c.Suppressed == bell.RingsAll {
		return nil
	}
	_, err := l.Exec(`UPDATE calls SET suppressed = ? WHERE session_id = ? AND environment = ?`,
		string(c.Suppressed), string(c.SessionID), string(c.Environment))
	if err != nil {
		return fmt.Errorf("note why a call rings nothing: %w", err)
	}
	return nil
}

// The parts of a look, one row each at most, told apart by their first column.
const (
	lookName    = `SELECT 0, display_name, FALSE, 0, 0, 0 FROM users WHERE environment = ? AND service_id = ? AND user_id = ?`
	lookBlocked = `SELECT 1, '', FALSE, 0, 0, 0 FROM blocked_users
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
	err = s.Read(ctx, func(l Tx) error {
		return l.Each(strings.Join(parts, ` UNION ALL `), func(row Scanner) error {
			var kind int
			var text string
			var d policy.DoNotDisturb
			if err := row.Scan(&kind, &text, &d.On, At{&d.Until}, &d.Quiet.From, &d.Quiet.To); err != nil {
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

// lockOwner keeps the rows of a user for this transaction.
func lockOwner(l Tx, o bell.Owner) error {
	return l.Lock("user", string(o.Environment), o.User.ServiceID, o.User.UserID)
}

// Block implements policy.Store.
func (s *Store) Block(ctx context.Context, owner bell.Owner, b policy.Blocked, limit int) error {
	return s.Write(ctx, "block a user", func(l Tx) error {
		var blocked int
		if err := lockOwner(l, owner); err != nil {
			return err
		}
		_, err := l.One(`SELECT count(*) FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?
			AND NOT (blocked_service = ? AND blocked_user = ?)`,
			Into([]any{&blocked}), append(ownerArgs(owner), b.User.ServiceID, b.User.UserID)...)
		if err != nil {
			return fmt.Errorf("count blocked users: %w", err)
		}
		if blocked >= limit {
			return Unchanged{bell.E(bell.Invalid, fmt.Sprintf("The block list is full: %d users at most; unblock somebody first.", limit), nil)}
		}
		return insertBlocked(l, owner, b)
	})
}

func insertBlocked(l Tx, owner bell.Owner, b policy.Blocked) error {
	_, err := l.Exec(`INSERT INTO blocked_users (environment, service_id, user_id, blocked_service, blocked_user, blocked_at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		append(ownerArgs(owner), b.User.ServiceID, b.User.UserID, Micros(b.At))...)
	if err != nil {
		return fmt.Errorf("write a blocked user: %w", err)
	}
	return nil
}

// Unblock implements policy.Store.
func (s *Store) Unblock(ctx context.Context, owner bell.Owner, user planet.UserRef) error {
	return s.Write(ctx, "unblock a user", func(l Tx) error {
		_, err := l.Exec(`DELETE FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?
			AND blocked_service = ? AND blocked_user = ?`, append(ownerArgs(owner), user.ServiceID, user.UserID)...)
		if err != nil {
			return fmt.Errorf("remove a blocked user: %w", err)
		}
		return nil
	})
}

// SetDoNotDisturb implements policy.Store.
func (s *Store) SetDoNotDisturb(ctx context.Context, owner bell.Owner, d policy.DoNotDisturb) error {
	return s.Write(ctx, "set do not disturb", func(l Tx) error { return writeQuiet(l, owner, d) })
}

// writeQuiet keeps a row only for who has something set.
func writeQuiet(l Tx, owner bell.Owner, d policy.DoNotDisturb) error {
	var err error
	if d == (policy.DoNotDisturb{}) {
		_, err = l.Exec(`DELETE FROM do_not_disturb WHERE environment = ? AND service_id = ? AND user_id = ?`, ownerArgs(owner)...)
	} else {
		_, err = l.Exec(`INSERT INTO do_not_disturb
			(environment, service_id, user_id, is_on, until_at, quiet_from, quiet_to, quiet_zone) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (environment, service_id, user_id) DO UPDATE SET is_on = excluded.is_on, until_at = excluded.until_at,
			quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to, quiet_zone = excluded.quiet_zone`,
			append(ownerArgs(owner), d.On, Micros(d.Until), d.Quiet.From, d.Quiet.To, d.Quiet.Zone)...)
	}
	if err != nil {
		return fmt.Errorf("write do not disturb: %w", err)
	}
	return nil
}

// RulesOf implements policy.Store.
func (s *Store) RulesOf(ctx context.Context, owner bell.Owner) (rules policy.Rules, err error) {
	err = s.Read(ctx, func(l Tx) error {
		return l.Snapshot(func() error {
			d := &rules.DoNotDisturb
			_, err := l.One(`SELECT is_on, until_at, quiet_from, quiet_to, quiet_zone FROM do_not_disturb
				WHERE environment = ? AND service_id = ? AND user_id = ?`,
				Into([]any{&d.On, At{&d.Until}, &d.Quiet.From, &d.Quiet.To, &d.Quiet.Zone}), ownerArgs(owner)...)
			if err != nil {
				return fmt.Errorf("read do not disturb: %w", err)
			}
			return l.Each(`SELECT blocked_service, blocked_user, blocked_at FROM blocked_users
				WHERE environment = ? AND service_id = ? AND user_id = ? ORDER BY blocked_service, blocked_user`, func(row Scanner) error {
				var b policy.Blocked
				err := row.Scan(&b.User.ServiceID, &b.User.UserID, At{&b.At})
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
	return s.Write(ctx, "replace a user's rules", func(l Tx) error {
		known := map[planet.UserRef]time.Time{}
		if err := lockOwner(l, owner); err != nil {
			return err
		}
		err := l.Each(`SELECT blocked_service, blocked_user, blocked_at FROM blocked_users
			WHERE environment = ? AND service_id = ? AND user_id = ?`, func(row Scanner) error {
			var b policy.Blocked
			err := row.Scan(&b.User.ServiceID, &b.User.UserID, At{&b.At})
			known[b.User] = b.At
			return err
		}, ownerArgs(owner)...)
		if err != nil {
			return fmt.Errorf("read blocked users: %w", err)
		}
		_, err = l.Exec(`DELETE FROM blocked_users WHERE environment = ? AND service_id = ? AND user_id = ?`, ownerArgs(owner)...)
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
