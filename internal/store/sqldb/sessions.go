package sqldb

import (
	"context"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
)

// OpenSession implements account.Store.
func (s *Store) OpenSession(ctx context.Context, user bell.User, session bell.Session, rule account.SessionRule) error {
	return s.Write(ctx, "open a session", func(l Tx) error {
		if rule.Exclusive {
			if err := lockOwner(l, session.Owner); err != nil {
				return err
			}
			if err := s.takeOver(l, session, rule); err != nil {
				return err
			}
		}
		_, err := l.Exec(`INSERT INTO users (environment, service_id, user_id, display_name, region, registered_at)
			VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (environment, service_id, user_id) DO UPDATE SET display_name = excluded.display_name, region = excluded.region,
				registered_at = CASE WHEN ? THEN excluded.registered_at ELSE users.registered_at END`, append(userArgs(user), rule.Exclusive)...)
		if err != nil {
			return fmt.Errorf("write the user: %w", err)
		}
		if _, err = l.Exec(insertSession, sessionArgs(session)...); err != nil {
			return fmt.Errorf("write the session: %w", err)
		}
		return nil
	})
}

// takeOver revokes the owner's other living sessions, unless one of them keeps the user
// ID: because it has a device, or is so new that its device may still be on its way. The
// devices and call rules of earlier holders go with their sessions; an operator's devices stay.
func (s *Store) takeOver(l Tx, session bell.Session, rule account.SessionRule) error {
	owner := []any{
		string(session.Owner.Environment), session.Owner.User.ServiceID, session.Owner.User.UserID, Micros(rule.Now), session.ID,
	}
	const living = `environment = ? AND service_id = ? AND user_id = ? AND expires_at > ? AND revoked_at = 0 AND id <> ?`
	taken, err := l.One(`SELECT 1 FROM sessions WHERE `+living+`
		AND (issued_at > ? OR EXISTS (SELECT 1 FROM devices WHERE session_id <> '' AND session_id = sessions.id)) LIMIT 1`,
		Into([]any{new(int)}), append(owner, Micros(rule.FreeIssuedBefore))...)
	if err != nil {
		return fmt.Errorf("look for other sessions: %w", err)
	}
	if taken {
		return Unchanged{bell.E(bell.Taken, "The user ID is in use on another device.", nil)}
	}
	if _, err := l.Exec(`UPDATE sessions SET revoked_at = ? WHERE `+living, append([]any{Micros(rule.Now)}, owner...)...); err != nil {
		return fmt.Errorf("revoke other sessions: %w", err)
	}
	err = s.tellRemoved(l, bell.RemovedTakenOver, `WHERE v.environment = ? AND v.service_id = ? AND v.user_id = ?
		AND v.session_id <> '' AND v.session_id <> ?`, owner[0], owner[1], owner[2], session.ID)
	if err != nil {
		return err
	}
	_, err = l.Exec(`DELETE FROM devices WHERE environment = ? AND service_id = ? AND user_id = ? AND session_id <> ''
		AND session_id <> ?`, owner[0], owner[1], owner[2], session.ID)
	if err != nil {
		return fmt.Errorf("remove devices of earlier holders: %w", err)
	}
	for _, table := range []string{"blocked_users", "do_not_disturb"} { // whom they did not want to hear is theirs
		if _, err := l.Exec(`DELETE FROM `+table+` WHERE environment = ? AND service_id = ? AND user_id = ?`, owner[:3]...); err != nil {
			return fmt.Errorf("remove the rules of earlier holders: %w", err)
		}
	}
	return nil
}

// Session implements account.Store.
func (s *Store) Session(ctx context.Context, id string) (session bell.Session, err error) {
	err = s.Read(ctx, func(l Tx) error {
		found, err := l.One(`SELECT `+sessionColumns+` FROM sessions s WHERE s.id = ?`, Into(sessionFields(&session)), id)
		return Must(found, err, "There is no such session.")
	})
	return session, err
}

// RestoreSession implements account.Store.
func (s *Store) RestoreSession(ctx context.Context, user bell.User, session bell.Session) error {
	return s.Write(ctx, "restore a session", func(l Tx) error {
		_, err := l.Exec(`INSERT INTO users (environment, service_id, user_id, display_name, region, registered_at)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, userArgs(user)...)
		if err != nil {
			return fmt.Errorf("write the user: %w", err)
		}
		if _, err = l.Exec(insertSession+` ON CONFLICT DO NOTHING`, sessionArgs(session)...); err != nil {
			return fmt.Errorf("write the session: %w", err)
		}
		return nil
	})
}

const insertSession = `INSERT INTO sessions (id, environment, service_id, user_id, project, issued_at, expires_at, revoked_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

func sessionArgs(s bell.Session) []any {
	return []any{
		s.ID, string(s.Owner.Environment), s.Owner.User.ServiceID, s.Owner.User.UserID, s.Project,
		Micros(s.IssuedAt), Micros(s.ExpiresAt), Micros(s.RevokedAt),
	}
}

func userArgs(u bell.User) []any {
	return []any{
		string(u.Environment), u.User.ServiceID, u.User.UserID, u.DisplayName, u.Region, Micros(u.RegisteredAt),
	}
}

// Must turns a row that is not there into bell.NotFound.
func Must(found bool, err error, message string) error {
	if err == nil && !found {
		return bell.E(bell.NotFound, message, nil)
	}
	return err
}

// Refuse marks a missing row as an error that changed nothing; see Unchanged.
func Refuse(err error) error {
	if errors.Is(err, bell.NotFound) {
		return Unchanged{err}
	}
	return err
}
