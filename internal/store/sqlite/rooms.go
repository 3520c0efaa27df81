package sqlite

import (
	"context"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
)

// ChangeRun implements room.Store. An event in the middle of a run is one row of the
// journal, two reads by key and one write by key, however large the room is, and one write
// of the run for all its events of a transaction.
func (s *Store) ChangeRun(ctx context.Context, touched room.Touched, entry bell.JournalEntry, change func(room.Known) room.Change) (room.Change, error) {
	row, kept := sqldb.NewJournalRow(entry), entry.Kind != ""
	var done room.Change
	err := s.writer.submit(ctx, "record an event of a room", func(l *link) error {
		done = room.Change{}
		var known room.Known
		if kept {
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
	if l.rooms.participant(touched, id, known) {
		return id, nil
	}
	var p bell.Participant // and not known's, which then need not be on the heap
	known.ParticipantKnown, err = l.One(`SELECT `+sqldb.ParticipantColumns+` FROM room_participants p
		WHERE p.run_id = ? AND p.user_id = ? AND p.service_id = ?`,
		sqldb.Into(sqldb.ParticipantFields(&p)), id, touched.User.UserID, touched.User.ServiceID)
	if err != nil {
		return 0, fmt.Errorf("read a participant: %w", err)
	}
	known.Participant = p
	return id, nil
}

func readRun(l *link, touched room.Touched, known *room.Known) (id int64, err error) {
	if cached, ok := l.rooms.runs.get(touched.RunKey); ok {
		known.Run, known.RunKnown = cached.run, true
		return cached.id, nil
	}
	id, known.Run, known.RunKnown, err = lookForRun(l, touched)
	return id, err
}

func lookForRun(l *link, touched room.Touched) (id int64, run bell.RoomRun, found bool, err error) {
	fields := append([]any{&id}, sqldb.RunFields(&run)...)
	if touched.SessionID != "" {
		found, err = l.One(`SELECT r.id, `+sqldb.RunColumns+` FROM room_runs r WHERE r.session_id = ? AND r.environment = ?`,
			sqldb.Into(fields), string(touched.SessionID), string(touched.Environment))
	} else if err = l.writeRuns(); err == nil {
		found, err = l.One(`SELECT r.id, `+sqldb.RunColumns+` FROM room_runs r
			WHERE r.room_id = ? AND r.service_id = ? AND r.environment = ? AND r.state = 'open'
			ORDER BY r.heard_at DESC, r.session_id DESC LIMIT 1`,
			sqldb.Into(fields), touched.Room.RoomID, touched.Room.ServiceID, string(touched.Environment))
	}
	if err != nil {
		return 0, bell.RoomRun{}, false, fmt.Errorf("read a run of a room: %w", err)
	}
	return id, run, found, nil
}

// writeRun writes what change decided.
func writeRun(l *link, id int64, known *room.Known, touched room.Touched, c *room.Change) error {
	if !c.WriteRun {
		return nil
	}
	c.Run.Environment = touched.Environment
	key := room.RunKey{Environment: c.Run.Environment, SessionID: c.Run.SessionID}
	if known.RunKnown {
		l.rooms.putRun(key, id, &c.Run)
	} else {
		var err error
		if id, err = addRun(l, &c.Run); err != nil {
			return fmt.Errorf("write a run of a room: %w", err)
		}
		l.rooms.runs.put(key, cachedRun{id: id, run: c.Run, young: true, turn: l.rooms.participants.turns})
	}
	if c.WriteParticipant {
		if err := writeParticipant(l, id, known, c); err != nil {
			return fmt.Errorf("write a participant: %w", err)
		}
		l.rooms.participants.put(participantKey{id, c.Participant.User}, c.Participant)
	}
	return sqldb.NewEventRows(c.Events).Insert(l)
}

// writeParticipant writes how somebody left only if that has changed: most events are of
// others, and what is bound to a statement is half of its price.
func writeParticipant(l *link, id int64, known *room.Known, c *room.Change) (err error) {
	p, before := &c.Participant, &known.Participant
	if known.ParticipantKnown && p.TimedOut == before.TimedOut && p.BillingSeconds == before.BillingSeconds && p.Release == before.Release {
		_, err = l.Exec(updatePresence, presenceArgs(p, id)...)
		return err
	}
	query := sqldb.InsertParticipant
	if known.ParticipantKnown {
		query = sqldb.UpdateParticipant
	}
	_, err = l.Exec(query, append(sqldb.ParticipantArgs(p), id, p.User.UserID, p.User.ServiceID, sqldb.Micros(c.Run.HeardAt))...)
	return err
}

func addRun(l *link, r *bell.RoomRun) (id int64, err error) {
	result, err := l.result(sqldb.InsertRun, append(sqldb.RunArgs(r), string(r.Environment), string(r.SessionID), sqldb.Micros(r.HeardAt))...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

const updatePresence = `UPDATE room_participants SET state = ?, first_joined_at = ?, joined_at = ?, seen_in_at = ?, left_at = ?,
	media = ?, media_at = ?, ue_type = ?, ue_type_at = ?, display_name = ?, display_name_at = ?
	WHERE run_id = ? AND user_id = ? AND service_id = ?`

// presenceArgs are the arguments of updatePresence.
func presenceArgs(p *bell.Participant, id int64) []any {
	return []any{
		string(p.State), sqldb.Micros(p.FirstJoinedAt), sqldb.Micros(p.JoinedAt), sqldb.Micros(p.SeenInAt), sqldb.Micros(p.LeftAt),
		string(p.Media), sqldb.Micros(p.MediaAt), p.UEType, sqldb.Micros(p.UETypeAt), p.DisplayName, sqldb.Micros(p.DisplayNameAt),
		id, p.User.UserID, p.User.ServiceID,
	}
}
