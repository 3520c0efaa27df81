package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// Of one subject, and of those that come at once, only the first that is open goes out.
const spreadNew = `INSERT INTO tellings (seq, endpoint, subject, state, attempts, due, lease_owner, since, updated_at, reason, status)
	SELECT n.seq, n.endpoint, n.subject, CASE WHEN row_number() OVER (PARTITION BY n.endpoint, n.subject ORDER BY n.seq) > 1
			OR EXISTS (SELECT FROM tellings t WHERE t.endpoint = n.endpoint AND t.subject = n.subject AND t.state IN ('waiting', 'behind'))
		THEN 'behind' ELSE 'waiting' END, 0, $4, '', $4, $4, '', 0
	FROM unnest($1::bigint[], $2::text[], $3::text[]) AS n (seq, endpoint, subject) ON CONFLICT (seq, endpoint) DO NOTHING`

// fresh are events that nobody has looked at, by column.
type fresh struct {
	seqs                []int64 // of all
	unwanted            []int64 // of those that nobody wants to be told of
	tellings            []int64 // and, for each telling, to whom and about what:
	endpoints, subjects []string
}

// SpreadEvents implements webhook.Store, in two round trips: it holds locks for which the end of
// other tellings waits.
func (s *Store) SpreadEvents(ctx context.Context, now time.Time, limit int, to func(string, bell.EventType) []string) (int, error) {
	some := false
	err := s.List(ctx, func(tx sqldb.Tx) (err error) {
		some, err = tx.One(`SELECT 1 FROM events WHERE spread = 0 LIMIT 1`, sqldb.Into([]any{new(int)}))
		return err
	})
	if err != nil || !some {
		return 0, err
	}
	looked := 0
	err = s.write(ctx, "spread events", "BEGIN", func(l *link) error {
		if err := l.Lock("events"); err != nil { // one at a time, or a subject's events lose their order
			return err
		}
		results, err := l.send(query{`SELECT seq, project, subject, type FROM events WHERE spread = 0 ORDER BY seq LIMIT $1`, bind([]any{max(limit, 0)})})
		if err != nil {
			return fmt.Errorf("look for new events: %w", err)
		}
		f, err := readFresh(results[0], to)
		if err != nil {
			return err
		}
		looked = len(f.seqs)
		return f.spread(l, now)
	})
	if err != nil {
		return 0, err
	}
	return looked, nil
}

func readFresh(r result, to func(string, bell.EventType) []string) (f fresh, err error) {
	for _, row := range r.rows {
		var seq int64
		var project, subject string
		var kind bell.EventType
		if err := (record{r.columns, row}).Scan(&seq, &project, &subject, &kind); err != nil {
			return fresh{}, fmt.Errorf("read a new event: %w", err)
		}
		f.seqs = append(f.seqs, seq)
		endpoints := to(project, kind)
		if len(endpoints) == 0 {
			f.unwanted = append(f.unwanted, seq)
		}
		for _, endpoint := range endpoints {
			f.tellings, f.endpoints, f.subjects = append(f.tellings, seq), append(f.endpoints, endpoint), append(f.subjects, subject)
		}
	}
	return f, nil
}

// spread writes to whom they are to be told, and commits. The locks are those of package sqldb's
// lockSubjects, sent before the statement that looks for what is open.
func (f *fresh) spread(l *link, now time.Time) error {
	names := make([][2]string, len(f.tellings))
	for i := range f.tellings {
		names[i] = [2]string{f.endpoints[i], f.subjects[i]}
	}
	slices.SortFunc(names, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, name := range slices.Compact(names) {
		if err := l.Lock("telling", name[:]...); err != nil {
			return err
		}
	}
	_, err := l.sendLast(
		query{spreadNew, bind([]any{f.tellings, f.endpoints, f.subjects, sqldb.Micros(now)})},
		query{`UPDATE events SET spread = 1 WHERE seq = ANY($1::bigint[])`, bind([]any{f.seqs})},
		query{`DELETE FROM events WHERE seq = ANY($1::bigint[])`, bind([]any{f.unwanted})},
	)
	if err != nil {
		return fmt.Errorf("spread events: %w", err)
	}
	return nil
}
