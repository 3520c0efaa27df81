package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// Runs implements room.Store.
func (s *Store) Runs(ctx context.Context, f room.Filter, before room.Cursor, limit int) ([]bell.RoomRun, error) {
	query, args := listRuns(f, before, max(limit, 0))
	return s.readRuns(ctx, query, args...)
}

// listRuns builds the query of a page; each filter has an index that gives the order.
func listRuns(f room.Filter, before room.Cursor, limit int) (string, []any) {
	where := Conditions{}
	from, heard := `room_runs r`, `r.heard_at`
	if f.User.UserID != "" {
		from, heard = `room_participants p CROSS JOIN room_runs r ON r.id = p.run_id`, `p.heard_at`
		where.addText(`p.user_id = ?`, f.User.UserID)
		where.addText(`p.service_id = ?`, f.User.ServiceID)
	}
	where.addText(`r.room_id = ?`, f.RoomID)
	where.addText(`r.service_id = ?`, f.ServiceID)
	where.addText(`r.environment = ?`, string(f.Environment))
	if f.Open {
		where.add(`r.state = 'open'`)
	}
	if before != (room.Cursor{}) {
		where.add(`(`+heard+`, r.session_id) < (?, ?)`, Micros(before.HeardAt), string(before.SessionID))
	}
	return `SELECT ` + RunColumns + ` FROM ` + from + ` ` + where.clause() +
		` ORDER BY ` + heard + ` DESC, r.session_id DESC LIMIT ?`, append(where.args, limit)
}

func (s *Store) readRuns(ctx context.Context, query string, args ...any) (runs []bell.RoomRun, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Each(query, func(row Scanner) error {
			var r bell.RoomRun
			err := row.Scan(RunFields(&r)...)
			runs = append(runs, r)
			return err
		}, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("list runs of rooms: %w", err)
	}
	return runs, nil
}

// Run implements room.Store.
func (s *Store) Run(ctx context.Context, environment planet.Environment, id planet.SessionID) (bell.RoomRun, error) {
	where := Conditions{}
	where.addText(`r.session_id = ?`, string(id))
	where.addText(`r.environment = ?`, string(environment))
	runs, err := s.readRuns(ctx, `SELECT `+RunColumns+` FROM room_runs r `+where.clause()+` ORDER BY r.heard_at DESC LIMIT 1`, where.args...)
	if err != nil {
		return bell.RoomRun{}, err
	}
	if len(runs) == 0 || id == "" {
		return bell.RoomRun{}, bell.E(bell.NotFound, "There is no run of a room with this session ID.", nil)
	}
	return runs[0], nil
}

// Participants implements room.Store.
func (s *Store) Participants(ctx context.Context, run room.RunKey, after planet.UserRef, limit int) (found []bell.Participant, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT `+ParticipantColumns+` FROM room_runs r JOIN room_participants p ON p.run_id = r.id
			WHERE r.session_id = ? AND r.environment = ? AND (p.user_id, p.service_id) > (?, ?)
			ORDER BY p.user_id, p.service_id LIMIT ?`, func(row Scanner) error {
			var p bell.Participant
			err := row.Scan(ParticipantFields(&p)...)
			found = append(found, p)
			return err
		}, string(run.SessionID), string(run.Environment), after.UserID, after.ServiceID, max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("list the participants of %s: %w", run.SessionID, err)
	}
	return found, nil
}

// SilentRuns implements room.Store. It looks at the open runs only, and those are few.
func (s *Store) SilentRuns(ctx context.Context, since time.Time, limit int) (keys []room.RunKey, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT environment, session_id FROM room_runs 
			WHERE state = 'open' AND heard_at < ? AND seen_at < ? ORDER BY heard_at LIMIT ?`,
			func(row Scanner) error {
				var key room.RunKey
				err := row.Scan(&key.Environment, &key.SessionID)
				keys = append(keys, key)
				return err
			}, Micros(since), Micros(since), max(limit, 0)) // none is seen before it is heard of
	})
	if err != nil {
		return nil, fmt.Errorf("look for rooms that are silent: %w", err)
	}
	return keys, nil
}

// RunsToInvite implements room.Store.
func (s *Store) RunsToInvite(ctx context.Context, limit int) ([]bell.RoomRun, error) {
	return s.readRuns(ctx, `SELECT `+RunColumns+` FROM room_runs r WHERE r.invite_by > 0 ORDER BY r.invite_by LIMIT ?`, max(limit, 0))
}
