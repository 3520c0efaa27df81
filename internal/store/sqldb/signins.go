package sqldb

import (
	"context"
	"fmt"
	"time"
)

// SaveSignIn implements signin.Store.
func (s *Store) SaveSignIn(ctx context.Context, key, data string, expires, seen time.Time) error {
	return s.Write(ctx, "save a sign-in", func(l Tx) error {
		_, err := l.Exec(`INSERT INTO admin_sessions (id, data, expires_at, seen_at) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at, seen_at = excluded.seen_at`,
			key, data, Micros(expires), Micros(seen))
		if err != nil {
			return fmt.Errorf("save a sign-in: %w", err)
		}
		return nil
	})
}

// FindSignIn implements signin.Store.
func (s *Store) FindSignIn(ctx context.Context, key string, now, seenSince time.Time) (data string, seen time.Time, found bool, err error) {
	err = s.Read(ctx, func(l Tx) (err error) {
		found, err = l.One(`SELECT data, seen_at FROM admin_sessions WHERE id = ? AND expires_at > ? AND seen_at >= ?`,
			Into([]any{&data, At{&seen}}), key, Micros(now), Micros(seenSince))
		return err
	})
	if err != nil {
		return "", time.Time{}, false, fmt.Errorf("find a sign-in: %w", err)
	}
	return data, seen, found, nil
}

// TouchSignIn implements signin.Store.
func (s *Store) TouchSignIn(ctx context.Context, key string, seen time.Time) error {
	return s.Write(ctx, "touch a sign-in", func(l Tx) error {
		if _, err := l.Exec(`UPDATE admin_sessions SET seen_at = ? WHERE id = ? AND seen_at < ?`, Micros(seen), key, Micros(seen)); err != nil {
			return fmt.Errorf("touch a sign-in: %w", err)
		}
		return nil
	})
}

// EndSignIn implements signin.Store.
func (s *Store) EndSignIn(ctx context.Context, key string) error {
	return s.Write(ctx, "end a sign-in", func(l Tx) error {
		if _, err := l.Exec(`DELETE FROM admin_sessions WHERE id = ?`, key); err != nil {
			return fmt.Errorf("end a sign-in: %w", err)
		}
		l.Erased()
		return nil
	})
}

// ForgetSignIns implements retention.Store. They are few.
func (s *Store) ForgetSignIns(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.Write(ctx, "forget sign-ins", func(l Tx) (err error) {
		removed, err = l.Exec(`DELETE FROM admin_sessions WHERE id IN (SELECT id FROM admin_sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			Micros(before), max(limit, 0))
		if err != nil {
			return fmt.Errorf("forget sign-ins: %w", err)
		}
		if removed > 0 {
			l.Erased()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}
