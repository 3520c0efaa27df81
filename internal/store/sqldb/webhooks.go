package sqldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
)

// AddEvent implements webhook.Store.
func (s *Store) AddEvent(ctx context.Context, e bell.Event) error {
	rows := NewEventRows([]bell.Event{e})
	return s.Write(ctx, "add an event", rows.Insert)
}

// found reports whether a query has a row. It asks a reader, so that looking for work costs
// the writer nothing while there is none.
func (s *Store) found(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = s.List(ctx, func(l Tx) error {
		var err error
		found, err = l.One(query, Into([]any{new(int)}), args...)
		return err
	})
	return found, err
}

// fresh is an event that nobody has looked at.
type fresh struct {
	seq              int64
	project, subject string
	kind             bell.EventType
}

// SpreadEvents implements webhook.Store.
func (s *Store) SpreadEvents(ctx context.Context, now time.Time, limit int, to func(string, bell.EventType) []string) (int, error) {
	some, err := s.found(ctx, `SELECT 1 FROM events INDEXED BY events_new WHERE spread = 0 LIMIT 1`)
	if err != nil || !some {
		return 0, err
	}
	looked := 0
	err = s.Write(ctx, "spread events", func(l Tx) error {
		if err := l.Lock("events"); err != nil { // one at a time, or a subject's events lose their order
			return err
		}
		var events []fresh
		err := l.Each(`SELECT seq, project, subject, type FROM events INDEXED BY events_new WHERE spread = 0 ORDER BY seq LIMIT ?`,
			func(row Scanner) error {
				var e fresh
				err := row.Scan(&e.seq, &e.project, &e.subject, &e.kind)
				events = append(events, e)
				return err
			}, max(limit, 0))
		if err != nil {
			return fmt.Errorf("look for new events: %w", err)
		}
		endpoints := make([][]string, len(events))
		var keys []tellingKey
		for i, e := range events {
			endpoints[i] = to(e.project, e.kind)
			for _, endpoint := range endpoints[i] {
				keys = append(keys, tellingKey{e.seq, endpoint, e.subject})
			}
		}
		if err := lockSubjects(l, keys); err != nil {
			return err
		}
		for i, e := range events {
			if err := spread(l, e, endpoints[i], Micros(now)); err != nil {
				return fmt.Errorf("spread an event: %w", err)
			}
		}
		looked = len(events)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return looked, nil
}

// lockSubjects keeps for this transaction which telling of a subject is the first that is
// open: one that opens and one that ends must not miss each other. It is for each subject and
// not for each endpoint, or all that is told would wait for one disk write after the other, and
// calls for the connections on which it waits.
func lockSubjects(l Tx, keys []tellingKey) error {
	names := make([][2]string, len(keys))
	for i, k := range keys {
		names[i] = [2]string{k.endpoint, k.subject}
	}
	slices.SortFunc(names, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, name := range slices.Compact(names) {
		if err := l.Lock("telling", name[:]...); err != nil {
			return err
		}
	}
	return nil
}

func spread(l Tx, e fresh, endpoints []string, now int64) error {
	if len(endpoints) == 0 {
		_, err := l.Exec(`DELETE FROM events WHERE seq = ?`, e.seq)
		return err
	}
	for _, endpoint := range endpoints {
		state, err := place(l, endpoint, e.subject)
		if err != nil {
			return err
		}
		_, err = l.Exec(`INSERT INTO tellings (seq, endpoint, subject, state, attempts, due, lease_owner, since, updated_at, reason, status)
			VALUES (?1, ?2, ?3, ?4, 0, ?5, '', ?5, ?5, '', 0) ON CONFLICT DO NOTHING`, e.seq, endpoint, e.subject, string(state), now)
		if err != nil {
			return err
		}
	}
	_, err := l.Exec(`UPDATE events SET spread = 1 WHERE seq = ?`, e.seq)
	return err
}

// place is how a telling that opens begins: behind another of its subject, or not.
func place(l Tx, endpoint, subject string) (webhook.State, error) {
	open, err := l.One(`SELECT 1 FROM tellings INDEXED BY tellings_subject
		WHERE endpoint = ? AND subject = ? AND state IN ('waiting', 'behind') LIMIT 1`, Into([]any{new(int)}), endpoint, subject)
	if open {
		return webhook.Behind, err
	}
	return webhook.Waiting, err
}

// advance lets the next telling of a subject go on, once the one before it is final. Its time
// begins then.
func advance(l Tx, endpoint, subject string, now int64) error {
	_, err := l.Exec(`UPDATE tellings SET state = 'waiting', due = ?1, since = ?1 WHERE endpoint = ?2 AND state = 'behind' AND seq =
		(SELECT seq FROM tellings INDEXED BY tellings_subject WHERE endpoint = ?2 AND subject = ?3
			AND state IN ('waiting', 'behind') ORDER BY seq LIMIT 1)`, now, endpoint, subject)
	if err != nil {
		return fmt.Errorf("let the next event of a subject go on: %w", err)
	}
	return nil
}

const tellingColumns = `t.seq, t.endpoint, t.state, t.attempts, t.due, t.since, t.updated_at, t.reason, t.status,
	e.id, e.type, e.project, e.subject, e.at`

func tellingFields(t *webhook.Telling) []any {
	return []any{
		&t.Seq, &t.Endpoint, &t.State, &t.Attempts,
		At{&t.Due},
		At{&t.Since},
		At{&t.UpdatedAt},
		&t.Reason, &t.Status,
		&t.Event.ID, &t.Event.Type, &t.Event.Project, &t.Event.Subject,
		At{&t.Event.At},
	}
}

// ClaimTellings implements webhook.Store.
func (s *Store) ClaimTellings(ctx context.Context, c webhook.Claim) ([]webhook.Telling, error) {
	some, err := s.found(ctx, `SELECT 1 FROM tellings INDEXED BY tellings_due
		WHERE state = 'waiting' AND endpoint = ? AND due <= ? LIMIT 1`, c.Endpoint, Micros(c.Now))
	if err != nil || !some {
		return nil, err
	}
	var claimed []webhook.Telling
	err = s.Write(ctx, "claim events to tell", func(l Tx) error {
		var tellings []webhook.Telling
		err := l.Each(`SELECT e.data, `+tellingColumns+` FROM tellings t INDEXED BY tellings_due JOIN events e ON e.seq = t.seq
			WHERE t.state = 'waiting' AND t.endpoint = ? AND t.due <= ? ORDER BY t.due, t.seq LIMIT ?`+l.SkipLocked("t"),
			func(row Scanner) error {
				var t webhook.Telling
				err := row.Scan(append([]any{&t.Event.Data}, tellingFields(&t)...)...)
				tellings = append(tellings, t)
				return err
			}, c.Endpoint, Micros(c.Now), max(c.Limit, 0))
		if err != nil {
			return fmt.Errorf("look for events to tell: %w", err)
		}
		for i := range tellings {
			tellings[i].Due = FromMicros(Micros(c.LeaseUntil))
			_, err := l.Exec(`UPDATE tellings SET due = ?, lease_owner = ? WHERE seq = ? AND endpoint = ?`,
				Micros(c.LeaseUntil), c.Owner, tellings[i].Seq, c.Endpoint)
			if err != nil {
				return fmt.Errorf("lease an event to tell: %w", err)
			}
		}
		claimed = tellings
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// RecordTelling implements webhook.Store.
func (s *Store) RecordTelling(ctx context.Context, r webhook.Result) (bool, error) {
	held := false
	err := s.Write(ctx, "record what became of an event", func(l Tx) error {
		var subject string
		if r.State.Final() {
			known, err := l.One(`SELECT subject FROM tellings WHERE seq = ? AND endpoint = ?`, Into([]any{&subject}), r.Seq, r.Endpoint)
			if err != nil || !known {
				return err
			}
			if err := lockSubjects(l, []tellingKey{{r.Seq, r.Endpoint, subject}}); err != nil {
				return err
			}
		}
		n, err := l.Exec(`UPDATE tellings SET state = ?, attempts = ?, due = ?, lease_owner = '', updated_at = ?, reason = ?, status = ?
			WHERE seq = ? AND endpoint = ? AND lease_owner = ? AND state = 'waiting'`,
			string(r.State), r.Attempts, Micros(r.Due), Micros(r.Now), r.Reason, r.Status, r.Seq, r.Endpoint, r.Owner)
		if err != nil {
			return fmt.Errorf("record what became of an event: %w", err)
		}
		if n > 0 && r.State.Final() {
			if err := advance(l, r.Endpoint, subject, Micros(r.Now)); err != nil {
				return err
			}
		}
		held = n > 0
		return nil
	})
	if err != nil {
		return false, err
	}
	return held, nil
}

// FreeTellings implements webhook.Store.
func (s *Store) FreeTellings(ctx context.Context, owner string, now time.Time) (int, error) {
	var freed int64
	err := s.Write(ctx, "free events to tell", func(l Tx) error {
		n, err := l.Exec(`UPDATE tellings INDEXED BY tellings_leased SET lease_owner = '', due = ?
			WHERE lease_owner <> '' AND lease_owner <> ? AND state = 'waiting'`, Micros(now), owner)
		freed = n
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(freed), nil
}

// MarkGone implements webhook.Store.
func (s *Store) MarkGone(ctx context.Context, endpoint, print string, now time.Time) error {
	return s.Write(ctx, "mark an endpoint as gone", func(l Tx) error {
		_, err := l.Exec(`INSERT INTO gone_endpoints (endpoint, print, at) VALUES (?, ?, ?)
			ON CONFLICT (endpoint) DO UPDATE SET print = excluded.print, at = excluded.at`, endpoint, print, Micros(now))
		return err
	})
}

// ClearGone implements webhook.Store.
func (s *Store) ClearGone(ctx context.Context, endpoint string) error {
	return s.Write(ctx, "enable an endpoint", func(l Tx) error {
		n, err := l.Exec(`DELETE FROM gone_endpoints WHERE endpoint = ?`, endpoint)
		return Refuse(Must(n > 0, err, "This endpoint is not disabled."))
	})
}

// GoneEndpoints implements webhook.Store.
func (s *Store) GoneEndpoints(ctx context.Context) (map[string]string, error) {
	gone := map[string]string{}
	err := s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT endpoint, print FROM gone_endpoints`, func(row Scanner) error {
			var endpoint, print string
			err := row.Scan(&endpoint, &print)
			gone[endpoint] = print
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}
