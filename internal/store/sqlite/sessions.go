package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
)

// OpenSession implements account.Store.
func (s *Store) OpenSession(ctx context.Context, user bell.User, session bell.Session, rule account.SessionRule) error {
	return s.writer.submit(ctx, "open a session", func(l *link) error {
		if rule.Exclusive {
			if err := s.takeOver(l, session, rule); err != nil {
				return err
			}
		}
		_, err := l.exec(`INSERT INTO users (environment, service_id, user_id, display_name, region, registered_at)
			VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET display_name = excluded.display_name, region = excluded.region,
				registered_at = iif(?, excluded.registered_at, registered_at)`, append(userArgs(user), rule.Exclusive)...)
		if err != nil {
			return fmt.Errorf("write the user: %w", err)
		}
		if _, err = l.exec(insertSession, sessionArgs(session)...); err != nil {
			return fmt.Errorf("write the session: %w", err)
		}
		return nil
	})
}

// takeOver revokes the owner's other living sessions, unless one of them keeps the user
// ID: because it has a device, or is so new that its device may still be on its way. The
// devices and call rules of earlier holders go with their sessions; an operator's devices stay.
func (s *Store) takeOver(l *link, session bell.Session, rule account.SessionRule) error {
	owner := []any{
		string(session.Owner.Environment), session.Owner.User.ServiceID, session.Owner.User.UserID, micros(rule.Now), session.ID,
	}
	const living = `environment = ? AND service_id = ? AND user_id = ? AND expires_at > ? AND revoked_at = 0 AND id <> ?`
	taken, err := l.one(`SELECT 1 FROM sessions WHERE `+living+`
		AND (issued_at > ? OR EXISTS (SELECT 1 FROM devices WHERE session_id <> '' AND session_id = sessions.id)) LIMIT 1`,
		into([]any{new(int)}), append(owner, micros(rule.FreeIssuedBefore))...)
	if err != nil {
		return fmt.Errorf("look for other sessions: %w", err)
	}
	if taken {
		return unchanged{bell.E(bell.Taken, "The user ID is in use on another device.", nil)}
	}
	if _, err := l.exec(`UPDATE sessions SET revoked_at = ? WHERE `+living, append([]any{micros(rule.Now)}, owner...)...); err != nil {
		return fmt.Errorf("revoke other sessions: %w", err)
	}
	err = s.tellRemoved(l, bell.RemovedTakenOver, `WHERE v.environment = ? AND v.service_id = ? AND v.user_id = ?
		AND v.session_id <> '' AND v.session_id <> ?`, owner[0], owner[1], owner[2], session.ID)
	if err != nil {
		return err
	}
	_, err = l.exec(`DELETE FROM devices WHERE environment = ? AND service_id = ? AND user_id = ? AND session_id <> ''
		AND session_id <> ?`, owner[0], owner[1], owner[2], session.ID)
	if err != nil {
		return fmt.Errorf("remove devices of earlier holders: %w", err)
	}
	for _, table := range []string{"blocked_users", "do_not_disturb"} { // whom they did not want to hear is theirs
		if _, err := l.exec(`DELETE FROM `+table+` WHERE environment = ? AND service_id = ? AND user_id = ?`, owner[:3]...); err != nil {
			return fmt.Errorf("remove the rules of earlier holders: %w", err)
		}
	}
	return nil
}

// Session implements account.Store.
func (s *Store) Session(ctx context.Context, id string) (session bell.Session, err error) {
	err = s.readers.read(ctx, func(l *link) error {
		found, err := l.one(`SELECT `+sessionColumns+` FROM sessions s WHERE s.id = ?`, into(sessionFields(&session)), id)
		return must(found, err, "There is no such session.")
	})
	return session, err
}

// RestoreSession implements account.Store.
func (s *Store) RestoreSession(ctx context.Context, user bell.User, session bell.Session) error {
	return s.writer.submit(ctx, "restore a session", func(l *link) error {
		_, err := l.exec(`INSERT INTO users (environment, service_id, user_id, display_name, region, registered_at)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, userArgs(user)...)
		if err != nil {
			return fmt.Errorf("write the user: %w", err)
		}
		if _, err = l.exec(insertSession+` ON CONFLICT DO NOTHING`, sessionArgs(session)...); err != nil {
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
		micros(s.IssuedAt), micros(s.ExpiresAt), micros(s.RevokedAt),
	}
}

func userArgs(u bell.User) []any {
	return []any{
		string(u.Environment), u.User.ServiceID, u.User.UserID, u.DisplayName, u.Region, micros(u.RegisteredAt),
	}
}

// must turns a row that is not there into bell.NotFound.
func must(found bool, err error, message string) error {
	if err == nil && !found {
		return bell.E(bell.NotFound, message, nil)
	}
	return err
}

// refuse marks a missing row as an error that changed nothing; see unchanged.
func refuse(err error) error {
	if errors.Is(err, bell.NotFound) {
		return unchanged{err}
	}
	return err
}
