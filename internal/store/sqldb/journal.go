package sqldb

import (
	"context"
	"fmt"
	"slices"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// maxJournal bounds what is read of one session. A room of many participants may have
// thousands of events; nobody reads more than this at once.
const maxJournal = 1000

// JournalRow is an entry, ready to be inserted.
type JournalRow []any

// NewJournalRow copies an entry before the writer's turn.
func NewJournalRow(e bell.JournalEntry) JournalRow {
	return JournalRow{
		Micros(e.ReceivedAt), e.Project, string(e.Environment), e.Kind, string(e.SessionID), e.DedupKey,
		EncodeParams(WithoutCCParam(e.Params, "")),
	}
}

// Insert drops a repeat, as the unique index finds it.
func (r JournalRow) Insert(l Tx) error {
	_, err := r.Add(l)
	return err
}

// Add is Insert, and says whether it was no repeat.
func (r JournalRow) Add(l Tx) (fresh bool, err error) {
	n, err := l.Exec(`INSERT INTO journal (received_at, project, environment, kind, session_id, dedup_key, params)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, (nullif(dedup_key, '')), kind, project) DO NOTHING`, r...)
	if err != nil {
		return false, fmt.Errorf("keep a callback: %w", err)
	}
	return n > 0, nil
}

// AppendJournal implements call.Store.
func (s *Store) AppendJournal(ctx context.Context, entry bell.JournalEntry) error {
	row, agent := NewJournalRow(entry), newAgentRow(&entry)
	return s.Write(ctx, "keep a callback", func(l Tx) error {
		if err := row.Insert(l); err != nil {
			return err
		}
		return agent.insert(l)
	})
}

// Journal implements call.Store. Notify's parameters are kept with the call, which saves
// a row on the busiest path, and come back here as the entry that they are.
func (s *Store) Journal(ctx context.Context, id planet.SessionID) ([]bell.JournalEntry, error) {
	var entries []bell.JournalEntry
	add := func(row Scanner) error {
		var e bell.JournalEntry
		var params string
		err := row.Scan(At{&e.ReceivedAt}, &e.Project, &e.Environment, &e.Kind, &e.SessionID, &e.DedupKey, &params)
		if err == nil {
			e.Params, err = decodeParams(params)
		}
		entries = append(entries, e)
		return err
	}
	err := s.List(ctx, func(l Tx) error {
		return l.Snapshot(func() error {
			err := l.Each(`SELECT notified_at, project, environment, 'notify', session_id, session_id, raw
				FROM calls WHERE session_id = ? AND notified_at <> 0 AND purpose = ''`, add, string(id))
			if err != nil {
				return err
			}
			// The inner order is the index's, so that no more is read than there is to return.
			return l.Each(`SELECT received_at, project, environment, kind, session_id, dedup_key, params FROM journal
				WHERE id IN (SELECT id FROM journal WHERE session_id = ? ORDER BY nullif(dedup_key, '') LIMIT ?)
				ORDER BY received_at, id`, add, string(id), maxJournal)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal of session %s: %w", id, err)
	}
	slices.SortStableFunc(entries, func(a, b bell.JournalEntry) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	return entries, nil
}
