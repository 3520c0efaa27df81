package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Missed implements call.Store.
func (s *Store) Missed(ctx context.Context, limit int) ([]bell.Call, error) {
	var calls []bell.Call
	err := s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT coalesce(u.display_name, ''), `+CallColumns+`
			FROM calls c INDEXED BY calls_missed LEFT JOIN users u
			ON u.environment = c.environment AND u.service_id = c.caller_service AND u.user_id = c.caller_user
			WHERE c.missed_at <> 0 ORDER BY c.missed_at LIMIT ?`, func(row Scanner) error {
			var c bell.Call
			var registered string
			err := row.Scan(append([]any{&registered}, CallFields(&c)...)...)
			if c.CallerName == "" {
				c.CallerName = registered
			}
			calls = append(calls, c)
			return err
		}, max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("look for missed calls: %w", err)
	}
	return calls, nil
}

// MissedTold implements call.Store.
func (s *Store) MissedTold(ctx context.Context, calls []bell.Call) error {
	keys := make([][]any, len(calls))
	for i := range calls {
		keys[i] = []any{string(calls[i].SessionID), string(calls[i].Environment)}
	}
	if len(keys) == 0 {
		return nil
	}
	return s.Write(ctx, "note that missed calls were told", func(l Tx) error {
		for _, key := range keys {
			if _, err := l.Exec(`UPDATE calls SET missed_at = 0 WHERE session_id = ? AND environment = ? AND missed_at <> 0`, key...); err != nil {
				return fmt.Errorf("note that a missed call was told: %w", err)
			}
		}
		return nil
	})
}

// lost is a call that is to be lost, with what is recorded of it.
type lost struct {
	id     int64
	call   bell.Call
	events EventRows
}

// LoseCalls implements call.Store. The calls are read, and their events made, before the
// writer's turn; one that has ended meanwhile is left alone.
func (s *Store) LoseCalls(ctx context.Context, before time.Time, limit int, events func(bell.Call) []bell.Event) ([]bell.Call, error) {
	found, err := s.ringingSince(ctx, before, limit, events)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var total []bell.Call
	err = s.Write(ctx, "lose calls", func(l Tx) error {
		var calls []bell.Call
		for i := range found {
			changed, err := found[i].lose(l)
			if err != nil {
				return err
			}
			if changed {
				calls = append(calls, found[i].call)
			}
		}
		total = calls
		return nil
	})
	if err != nil {
		return nil, err // total is not read: the closure may still be at work on it
	}
	return total, nil
}

func (s *Store) ringingSince(ctx context.Context, before time.Time, limit int, events func(bell.Call) []bell.Event) ([]lost, error) {
	var found []lost
	err := s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT c.id, `+CallColumns+` FROM calls c INDEXED BY calls_ringing
			WHERE c.state = 'ringing' AND c.notified_at < ? ORDER BY c.notified_at LIMIT ?`, func(row Scanner) error {
			var one lost
			var c bell.Call
			if err := row.Scan(append([]any{&one.id}, CallFields(&c)...)...); err != nil {
				return err
			}
			if c.State = bell.CallLost; events != nil {
				one.events = NewEventRows(events(c))
			}
			one.call, one.call.CCParam = c, ""
			found = append(found, one)
			return nil
		}, Micros(before), max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("look for calls that never ended: %w", err)
	}
	return found, nil
}

// lose reports whether the call was still ringing.
func (o *lost) lose(l Tx) (bool, error) {
	n, err := l.Exec(`UPDATE calls SET state = 'lost', cc_param = '' WHERE id = ? AND state = 'ringing'`, o.id)
	if err != nil || n == 0 {
		return false, err
	}
	l.Erased()
	return true, o.events.Insert(l)
}
