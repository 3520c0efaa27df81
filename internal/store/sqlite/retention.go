package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/retention"
)

var _ retention.Store = (*Store)(nil)

// deliveriesPerForget bounds one transaction that removes calls: a call may have rung a
// hundred devices, each with some attempts.
const deliveriesPerForget = 400

// ForgetCalls implements retention.Store. Which calls they are is read first, so that the
// writer has only to remove them. The pages are zeroed (secure_delete) and used again; the
// file does not shrink.
func (s *Store) ForgetCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	ids, err := s.oldCalls(ctx, before, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = s.writer.submit(ctx, "forget calls", func(l *link) error {
		for _, id := range ids {
			if err := forgetCall(l, id); err != nil {
				return err
			}
		}
		l.erased = true
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(ids), nil
}

func (s *Store) oldCalls(ctx context.Context, before time.Time, limit int) (ids []int64, err error) {
	total := 0
	err = s.list(ctx, func(l *link) error {
		return l.each(`SELECT c.id, (SELECT count(*) FROM deliveries d WHERE d.call_id = c.id) FROM calls c
			WHERE c.at < ? ORDER BY c.at LIMIT ?`, func(row scanner) error {
			var id int64
			var deliveries int
			if err := row.Scan(&id, &deliveries); err != nil {
				return fmt.Errorf("look for old calls: %w", err)
			}
			total += deliveries
			if total <= deliveriesPerForget || len(ids) == 0 {
				ids = append(ids, id)
			}
			return nil
		}, micros(before), max(limit, 0))
	})
	return ids, err
}

func forgetCall(l *link, id int64) error {
	for _, query := range []string{
		`DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE call_id = ?)`,
		`DELETE FROM receipts WHERE delivery_id IN (SELECT id FROM deliveries WHERE call_id = ?)`,
		`DELETE FROM deliveries WHERE call_id = ?`,
		`DELETE FROM calls WHERE id = ?`,
	} {
		if _, err := l.exec(query, id); err != nil {
			return fmt.Errorf("forget a call: %w", err)
		}
	}
	return nil
}

// ForgetJournal implements retention.Store.
func (s *Store) ForgetJournal(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.writer.submit(ctx, "forget callbacks", func(l *link) error {
		n, err := l.exec(`DELETE FROM journal WHERE id IN
			(SELECT id FROM journal WHERE received_at < ? ORDER BY received_at LIMIT ?)`, micros(before), max(limit, 0))
		if err != nil {
			return fmt.Errorf("forget callbacks: %w", err)
		}
		removed = n
		l.erased = l.erased || n > 0
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}

// participantsPerForget bounds one transaction that removes rooms: a run may have had
// thousands of participants.
const participantsPerForget = 400

// ForgetRooms implements retention.Store.
func (s *Store) ForgetRooms(ctx context.Context, before time.Time, limit int) (int, error) {
	var ids []int64
	err := s.list(ctx, func(l *link) error {
		return l.each(`SELECT id FROM room_runs WHERE heard_at < ? AND state = 'closed' ORDER BY heard_at LIMIT ?`, func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			ids = append(ids, id)
			return err
		}, micros(before), max(limit, 0))
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	worked := 0
	err = s.writer.submit(ctx, "forget rooms", func(l *link) error {
		worked = 0
		left := int64(participantsPerForget)
		if err := l.forgetRooms(); err != nil {
			return err
		}
		for _, id := range ids {
			n, err := forgetRoom(l, id, left)
			if err != nil {
				return fmt.Errorf("forget a room: %w", err)
			}
			worked++
			if left -= n; left <= 0 {
				break
			}
		}
		l.erased = true
		return nil
	})
	if err != nil {
		return 0, err // worked is not read: the closure may still be at work on it
	}
	return worked, nil
}

// forgetRoom removes at most so many participants of a run, and, when none is left, the run.
func forgetRoom(l *link, id, most int64) (int64, error) {
	var closed int
	known, err := l.one(`SELECT state = 'closed' FROM room_runs WHERE id = ?`, into([]any{&closed}), id)
	if err != nil || !known || closed == 0 {
		return 0, err // a late event has opened it again
	}
	n, err := l.exec(`DELETE FROM room_participants WHERE run_id = ?1 AND (user_id, service_id) IN
		(SELECT user_id, service_id FROM room_participants WHERE run_id = ?1 LIMIT ?2)`, id, most)
	if err != nil || n >= most {
		return n, err
	}
	_, err = l.exec(`DELETE FROM room_runs WHERE id = ?`, id)
	return n, err
}

// ForgetAgentCalls implements retention.Store.
func (s *Store) ForgetAgentCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.writer.submit(ctx, "forget agent calls", func(l *link) error {
		n, err := l.exec(`DELETE FROM agent_calls WHERE (session_id, environment) IN
			(SELECT session_id, environment FROM agent_calls WHERE received_at < ? ORDER BY received_at LIMIT ?)`, micros(before), max(limit, 0))
		removed = n
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget agent calls: %w", err)
	}
	return int(removed), nil
}
