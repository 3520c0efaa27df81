package sqldb

import (
	"context"
	"fmt"
	"time"
)

// DeliveriesPerForget bounds one transaction that removes calls: a call may have rung a
// hundred devices, each with some attempts.
const DeliveriesPerForget = 400

// ForgetCalls implements retention.Store. Which calls they are is read first, so that the
// writer has only to remove them. The pages are zeroed (secure_delete) and used again; the
// file does not shrink.
func (s *Store) ForgetCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	ids, err := s.oldCalls(ctx, before, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = s.Write(ctx, "forget calls", func(l Tx) error {
		for _, id := range ids {
			if err := forgetCall(l, id); err != nil {
				return err
			}
		}
		l.Erased()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(ids), nil
}

func (s *Store) oldCalls(ctx context.Context, before time.Time, limit int) (ids []int64, err error) {
	total := 0
	err = s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT c.id, (SELECT count(*) FROM deliveries d WHERE d.call_id = c.id) FROM calls c
			WHERE c.at < ? ORDER BY c.at LIMIT ?`, func(row Scanner) error {
			var id int64
			var deliveries int
			if err := row.Scan(&id, &deliveries); err != nil {
				return fmt.Errorf("look for old calls: %w", err)
			}
			total += deliveries
			if total <= DeliveriesPerForget || len(ids) == 0 {
				ids = append(ids, id)
			}
			return nil
		}, Micros(before), max(limit, 0))
	})
	return ids, err
}

func forgetCall(l Tx, id int64) error {
	for _, query := range []string{
		`DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE call_id = ?)`,
		`DELETE FROM receipts WHERE delivery_id IN (SELECT id FROM deliveries WHERE call_id = ?)`,
		`DELETE FROM deliveries WHERE call_id = ?`,
		`DELETE FROM calls WHERE id = ?`,
	} {
		if _, err := l.Exec(query, id); err != nil {
			return fmt.Errorf("forget a call: %w", err)
		}
	}
	return nil
}

// ForgetJournal implements retention.Store.
func (s *Store) ForgetJournal(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.Write(ctx, "forget callbacks", func(l Tx) error {
		n, err := l.Exec(`DELETE FROM journal WHERE id IN
			(SELECT id FROM journal WHERE received_at < ? ORDER BY received_at LIMIT ?)`, Micros(before), max(limit, 0))
		if err != nil {
			return fmt.Errorf("forget callbacks: %w", err)
		}
		removed = n
		if n > 0 {
			l.Erased()
		}
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
	err := s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT id FROM room_runs WHERE heard_at < ? AND state = 'closed' ORDER BY heard_at LIMIT ?`, func(row Scanner) error {
			var id int64
			err := row.Scan(&id)
			ids = append(ids, id)
			return err
		}, Micros(before), max(limit, 0))
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	worked := 0
	err = s.Write(ctx, "forget rooms", func(l Tx) error {
		worked = 0
		left := int64(participantsPerForget)
		l.RoomsForgotten()
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
		l.Erased()
		return nil
	})
	if err != nil {
		return 0, err // worked is not read: the closure may still be at work on it
	}
	return worked, nil
}

// forgetRoom removes at most so many participants of a run, and, when none is left, the run.
func forgetRoom(l Tx, id, most int64) (int64, error) {
	var closed bool
	known, err := l.One(`SELECT state = 'closed' FROM room_runs WHERE id = ?`+l.ForUpdate("room_runs"), Into([]any{&closed}), id)
	if err != nil || !known || !closed {
		return 0, err // a late event has opened it again
	}
	n, err := l.Exec(`DELETE FROM room_participants WHERE run_id = ?1 AND (user_id, service_id) IN
		(SELECT user_id, service_id FROM room_participants WHERE run_id = ?1 LIMIT ?2)`, id, most)
	if err != nil || n >= most {
		return n, err
	}
	_, err = l.Exec(`DELETE FROM room_runs WHERE id = ?`, id)
	return n, err
}

// ForgetAgentCalls implements retention.Store.
func (s *Store) ForgetAgentCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.Write(ctx, "forget agent calls", func(l Tx) error {
		n, err := l.Exec(`DELETE FROM agent_calls WHERE (session_id, environment) IN
			(SELECT session_id, environment FROM agent_calls WHERE received_at < ? ORDER BY received_at LIMIT ?)`, Micros(before), max(limit, 0))
		removed = n
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget agent calls: %w", err)
	}
	return int(removed), nil
}
