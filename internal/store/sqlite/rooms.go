package sqlite

import (
	"context"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// ChangeRun implements room.Store. An event in the middle of a run is one row of the
// journal, two reads by key and two writes by key, however large the room is.
func (s *Store) ChangeRun(ctx context.Context, touched room.Touched, entry bell.JournalEntry, change func(room.Known) room.Change) (room.Change, error) {
	row := sqldb.NewJournalRow(entry)
	var done room.Change
	err := s.writer.submit(ctx, "record an event of a room", func(l *link) error {
		done = room.Change{}
		var known room.Known
		if entry.Kind != "" {
			fresh, err := row.Add(l)
			if err != nil {
				return err
			}
			known.Repeat = !fresh
		}
		id, err := readTouched(l, touched, &known)
		if err != nil || !known.RunKnown && touched.SessionID == "" {
			return err
		}
		c := change(known)
		if err := writeRun(l, id, &known, touched, &c); err != nil {
			return err
		}
		done = c
		return nil
	})
	if err != nil {
		return room.Change{}, err
	}
	return done, nil
}

// readTouched reads what the event is about, and the run's row ID; 0 when it is not there.
func readTouched(l *link, touched room.Touched, known *room.Known) (id int64, err error) {
	if id, err = readRun(l, touched, known); err != nil || touched.User.UserID == "" || !known.RunKnown {
		return id, err
	}
	if known.Participant, known.ParticipantKnown = l.rooms.participants.get(participantKey{id, touched.User}); known.ParticipantKnown {
		return id, nil
	}
	known.ParticipantKnown, err = l.One(`SELECT `+sqldb.ParticipantColumns+` FROM room_participants p
		WHERE p.run_id = ? AND p.user_id = ? AND p.service_id = ?`,
		sqldb.Into(sqldb.ParticipantFields(&known.Participant)), id, touched.User.UserID, touched.User.ServiceID)
	if err != nil {
		return 0, fmt.Errorf("read a participant: %w", err)
	}
	return id, nil
}

func readRun(l *link, touched room.Touched, known *room.Known) (id int64, err error) {
	if cached, ok := l.rooms.runs.get(touched.RunKey); ok {
		known.Run, known.RunKnown = cached.run, true
		return cached.id, nil
	}
	fields := append([]any{&id}, sqldb.RunFields(&known.Run)...)
	if touched.SessionID != "" {
		known.RunKnown, err = l.One(`SELECT r.id, `+sqldb.RunColumns+` FROM room_runs r WHERE r.session_id = ? AND r.environment = ?`,
			sqldb.Into(fields), string(touched.SessionID), string(touched.Environment))
	} else {
		known.RunKnown, err = l.One(`SELECT r.id, `+sqldb.RunColumns+` FROM room_runs r
			WHERE r.room_id = ? AND r.service_id = ? AND r.environment = ? AND r.state = 'open'
			ORDER BY r.heard_at DESC, r.session_id DESC LIMIT 1`,
			sqldb.Into(fields), touched.Room.RoomID, touched.Room.ServiceID, string(touched.Environment))
	}
	if err != nil {
		return 0, fmt.Errorf("read a run of a room: %w", err)
	}
	return id, nil
}

// writeRun writes what change decided.
func writeRun(l *link, id int64, known *room.Known, touched room.Touched, c *room.Change) error {
	if !c.WriteRun {
		return nil
	}
	c.Run.Environment = touched.Environment
	var err error
	if known.RunKnown {
		_, err = l.Exec(sqldb.UpdateRun, append(sqldb.RunArgs(&c.Run), id)...)
	} else {
		id, err = addRun(l, &c.Run)
	}
	if err != nil {
		return fmt.Errorf("write a run of a room: %w", err)
	}
	l.rooms.runs.put(room.RunKey{Environment: c.Run.Environment, SessionID: c.Run.SessionID}, cachedRun{id, c.Run})
	if c.WriteParticipant {
		query := sqldb.InsertParticipant
		if known.ParticipantKnown {
			query = sqldb.UpdateParticipant
		}
		if _, err := l.Exec(query, append(sqldb.ParticipantArgs(&c.Participant), id, c.Participant.User.UserID, c.Participant.User.ServiceID, sqldb.Micros(c.Run.HeardAt))...); err != nil {
			return fmt.Errorf("write a participant: %w", err)
		}
		l.rooms.participants.put(participantKey{id, c.Participant.User}, c.Participant)
	}
	return sqldb.NewEventRows(c.Events).Insert(l)
}

func addRun(l *link, r *bell.RoomRun) (id int64, err error) {
	result, err := l.result(sqldb.InsertRun, append(sqldb.RunArgs(r), string(r.Environment), string(r.SessionID), sqldb.Micros(r.HeardAt))...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}
