package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/webhook"
)

// tellingKey names a telling.
type tellingKey struct {
	seq               int64
	endpoint, subject string
}

// tellingKeys reads keys; query selects seq, endpoint and subject.
func tellingKeys(l Tx, query string, args ...any) ([]tellingKey, error) {
	var keys []tellingKey
	err := l.Each(query, func(row Scanner) error {
		var k tellingKey
		err := row.Scan(&k.seq, &k.endpoint, &k.subject)
		keys = append(keys, k)
		return err
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("look for events that were to be told: %w", err)
	}
	return keys, nil
}

const (
	countOpen = `SELECT count(*) FROM tellings INDEXED BY tellings_open WHERE state IN ('waiting', 'behind')`
	countDead = `SELECT count(*) FROM tellings INDEXED BY tellings_final WHERE state IN ('told', 'dead') AND state = 'dead'`
)

// countTellings counts what is open and what is dead.
func countTellings(l Tx) (open, dead int, err error) {
	if _, err := l.One(countOpen, Into([]any{&open})); err != nil {
		return 0, 0, err
	}
	_, err = l.One(countDead, Into([]any{&dead}))
	return open, dead, err
}

// SweepTellings implements webhook.Store. What is too much is counted by a reader. Where there
// are several writers, what it finds is counted again by one at a time: else each node would
// give up the same excess once more.
func (s *Store) SweepTellings(ctx context.Context, b webhook.Bounds) (webhook.Swept, error) {
	var open, dead int
	err := s.List(ctx, func(l Tx) (err error) {
		open, dead, err = countTellings(l)
		return err
	})
	if err != nil {
		return webhook.Swept{}, fmt.Errorf("count events that were to be told: %w", err)
	}
	var swept webhook.Swept
	err = s.Write(ctx, "sweep events", func(l Tx) error {
		var did webhook.Swept
		var err error
		open, dead := open, dead
		if severalWriters(l) && (open > b.Open || dead > b.Dead) {
			if err := l.Lock("sweep"); err != nil {
				return err
			}
			if open, dead, err = countTellings(l); err != nil {
				return fmt.Errorf("count events that were to be told: %w", err)
			}
		}
		if did.GivenUp, err = giveUpTellings(l, b, `state = 'waiting' AND since <= ?`, b.Now.Add(-b.OpenFor), b.Limit, "too_old"); err != nil {
			return err
		}
		if did.Crowded, err = giveUpTellings(l, b, `since <= ?`, b.Now, min(b.Limit, open-b.Open-did.GivenUp), "too_many"); err != nil {
			return err
		}
		if did.Dropped, err = deleteTellings(l, "dead", b.Now.Add(-b.DeadFor), b.Limit); err != nil {
			return err
		}
		more, err := deleteTellings(l, "dead", b.Now, min(b.Limit, dead-b.Dead-did.Dropped))
		if err != nil {
			return err
		}
		did.Dropped += more
		did.Deleted, err = deleteTellings(l, "told", b.Now.Add(-b.Keep), b.Limit)
		swept = did
		return err
	})
	if err != nil {
		return webhook.Swept{}, err
	}
	return swept, nil
}

// severalWriters reports whether other transactions write at the same time.
func severalWriters(l Tx) bool { return l.ForUpdate("tellings") != "" }

// giveUpTellings ends the oldest open ones that which, a constant text, selects by since, apart
// from what is just being told.
func giveUpTellings(l Tx, b webhook.Bounds, which string, since time.Time, limit int, reason string) (int, error) {
	if limit <= 0 {
		return 0, nil
	}
	// Who tells takes the lock of a subject first and then the row, so the rows are not taken yet.
	keys, err := tellingKeys(l, `SELECT seq, endpoint, subject FROM tellings INDEXED BY tellings_open
		WHERE state IN ('waiting', 'behind') AND `+which+` AND (lease_owner = '' OR due <= ?) ORDER BY since, seq LIMIT ?`,
		Micros(since), Micros(b.Now), limit)
	if err != nil {
		return 0, err
	}
	if err := lockSubjects(l, keys); err != nil {
		return 0, err
	}
	given := 0
	for _, k := range keys {
		n, err := l.Exec(`UPDATE tellings SET state = 'dead', lease_owner = '', updated_at = ?1, reason = CASE reason WHEN '' THEN ?2 ELSE reason END
			WHERE seq = ?3 AND endpoint = ?4 AND state IN ('waiting', 'behind') AND (lease_owner = '' OR due <= ?1)`, Micros(b.Now), reason, k.seq, k.endpoint)
		if err != nil {
			return 0, fmt.Errorf("give up an event: %w", err)
		}
		if n == 0 {
			continue // it has been told meanwhile, or is being told
		}
		given++
		if err := advance(l, k.endpoint, k.subject, Micros(b.Now)); err != nil {
			return 0, err
		}
	}
	return given, nil
}

// deleteTellings deletes the oldest of a final state that have not changed since, and events
// with their last telling.
func deleteTellings(l Tx, state string, since time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, nil
	}
	keys, err := tellingKeys(l, `SELECT seq, endpoint, subject FROM tellings INDEXED BY tellings_final
		WHERE state IN ('told', 'dead') AND state = ? AND updated_at <= ? ORDER BY updated_at, seq LIMIT ?`+l.SkipLocked("tellings"), state, Micros(since), limit)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		if _, err := l.Exec(`DELETE FROM tellings WHERE seq = ? AND endpoint = ?`, k.seq, k.endpoint); err != nil {
			return 0, fmt.Errorf("forget what was told: %w", err)
		}
		_, err := l.Exec(`DELETE FROM events WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM tellings WHERE seq = ?1)`, k.seq)
		if err != nil {
			return 0, fmt.Errorf("forget an event: %w", err)
		}
	}
	return len(keys), nil
}

// Backlogs implements webhook.Store.
func (s *Store) Backlogs(ctx context.Context) (map[string]webhook.Backlog, int, error) {
	open, dead := map[string]webhook.Backlog{}, 0
	err := s.List(ctx, func(l Tx) error {
		err := l.Each(`SELECT endpoint, count(*), min(since) FROM tellings INDEXED BY tellings_open
			WHERE state IN ('waiting', 'behind') GROUP BY endpoint`, func(row Scanner) error {
			var endpoint string
			var b webhook.Backlog
			err := row.Scan(&endpoint, &b.Open, At{&b.Oldest})
			open[endpoint] = b
			return err
		})
		if err != nil {
			return err
		}
		_, err = l.One(countDead, Into([]any{&dead}))
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("count events that were to be told: %w", err)
	}
	return open, dead, nil
}

// Tellings implements webhook.Store. What is open or dead is bounded, and found along its
// index; the list of all is read along the key.
func (s *Store) Tellings(ctx context.Context, f webhook.Filter, before webhook.Cursor, limit int) ([]webhook.Telling, error) {
	where, index := Conditions{}, ""
	switch f.State {
	case webhook.Waiting, webhook.Behind:
		index = ` INDEXED BY tellings_open`
		where.add(`t.state IN ('waiting', 'behind')`)
	case webhook.Dead:
		index = ` INDEXED BY tellings_final`
		where.add(`t.state IN ('told', 'dead')`)
		where.add(`t.state = 'dead'`)
	case webhook.Told:
		where.add(`t.state = 'told'`)
	}
	where.addText(`t.endpoint = ?`, f.Endpoint)
	if before != (webhook.Cursor{}) {
		where.add(`(t.seq, t.endpoint) < (?, ?)`, before.Seq, before.Endpoint)
	}
	var tellings []webhook.Telling
	err := s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT `+tellingColumns+` FROM tellings t`+index+` JOIN events e ON e.seq = t.seq `+where.clause()+`
			ORDER BY t.seq DESC, t.endpoint DESC LIMIT ?`, func(row Scanner) error {
			var t webhook.Telling
			err := row.Scan(tellingFields(&t)...)
			tellings = append(tellings, t)
			return err
		}, append(where.args, max(limit, 0))...)
	})
	if err != nil {
		return nil, err
	}
	return tellings, nil
}

// ReplayEvent implements webhook.Store.
func (s *Store) ReplayEvent(ctx context.Context, id, endpoint string, now time.Time) (int, error) {
	opened := 0
	err := s.Write(ctx, "replay an event", func(l Tx) error {
		known, err := l.One(`SELECT 1 FROM events WHERE id = ?`, Into([]any{new(int)}), id)
		if err := Must(known, err, "There is no event with this ID; told ones are forgotten after webhooks.keep."); err != nil {
			return Refuse(err)
		}
		where := Conditions{}
		where.add(`e.id = ?`, id)
		where.add(`t.state IN ('told', 'dead')`)
		where.addText(`t.endpoint = ?`, endpoint)
		keys, err := tellingKeys(l, `SELECT t.seq, t.endpoint, t.subject FROM events e CROSS JOIN tellings t ON t.seq = e.seq `+where.clause(), where.args...)
		if err != nil {
			return err
		}
		n, err := reopen(l, keys, Micros(now))
		opened = n
		return err
	})
	if err != nil {
		return 0, err
	}
	return opened, nil
}

// ReplayDead implements webhook.Store. The dead are found by a reader: there may be many.
func (s *Store) ReplayDead(ctx context.Context, endpoint string, now time.Time, limit int) (int, error) {
	var keys []tellingKey
	err := s.List(ctx, func(l Tx) error {
		var err error
		keys, err = tellingKeys(l, `SELECT seq, endpoint, subject FROM tellings INDEXED BY tellings_final
			WHERE state IN ('told', 'dead') AND state = 'dead' AND endpoint = ? ORDER BY seq LIMIT ?`, endpoint, max(limit, 0))
		return err
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	opened := 0
	err = s.Write(ctx, "replay events", func(l Tx) error {
		n, err := reopen(l, keys, Micros(now))
		opened = n
		return err
	})
	if err != nil {
		return 0, err
	}
	return opened, nil
}

// reopen opens final tellings anew, as if they were new.
func reopen(l Tx, keys []tellingKey, now int64) (int, error) {
	opened := 0
	if err := lockSubjects(l, keys); err != nil {
		return 0, err
	}
	for _, k := range keys {
		state, err := place(l, k.endpoint, k.subject)
		if err != nil {
			return 0, fmt.Errorf("look for other events of a subject: %w", err)
		}
		n, err := l.Exec(`UPDATE tellings SET state = ?1, attempts = 0, due = ?2, since = ?2, updated_at = ?2, lease_owner = '', reason = '', status = 0
			WHERE seq = ?3 AND endpoint = ?4 AND state IN ('told', 'dead')`, string(state), now, k.seq, k.endpoint)
		if err != nil {
			return 0, fmt.Errorf("open an event anew: %w", err)
		}
		opened += int(n)
	}
	return opened, nil
}
