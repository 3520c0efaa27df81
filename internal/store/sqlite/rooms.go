package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
)

// ChangeRun implements room.Store. An event in the middle of a run is one row of the
// journal, two reads by key and one write by key, however large the room is, and one write
// of the run for all its events of a transaction.
func (s *Store) ChangeRun(ctx context.Context, touched room.Touched, entry bell.JournalEntry, change func(room.Known) room.Change) (room.Change, error) {
	row := newJournalRow(entry)
	var done room.Change
	err := s.writer.submit(ctx, "record an event of a room", func(l *link) error {
		done = room.Change{}
		var known room.Known
		if entry.Kind != "" {
			fresh, err := row.add(l)
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
	known.ParticipantKnown, err = l.one(`SELECT `+participantColumns+` FROM room_participants p
		WHERE p.run_id = ? AND p.user_id = ? AND p.service_id = ?`,
		into(participantFields(&known.Participant)), id, touched.User.UserID, touched.User.ServiceID)
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
	fields := append([]any{&id}, runFields(&known.Run)...)
	if touched.SessionID != "" {
		known.RunKnown, err = l.one(`SELECT r.id, `+runColumns+` FROM room_runs r WHERE r.session_id = ? AND r.environment = ?`,
			into(fields), string(touched.SessionID), string(touched.Environment))
	} else if err = l.writeRuns(); err == nil {
		known.RunKnown, err = l.one(`SELECT r.id, `+runColumns+` FROM room_runs r
			WHERE r.room_id = ? AND r.service_id = ? AND r.environment = ? AND r.state = 'open'
			ORDER BY r.heard_at DESC, r.session_id DESC LIMIT 1`,
			into(fields), touched.Room.RoomID, touched.Room.ServiceID, string(touched.Environment))
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
	return newEventRows(c.Events).insert(l)
}

// writeParticipant writes how somebody left only if that has changed: most events are of
// others, and what is bound to a statement is half of its price.
func writeParticipant(l *link, id int64, known *room.Known, c *room.Change) (err error) {
	p, before := &c.Participant, &known.Participant
	key := []any{id, p.User.UserID, p.User.ServiceID}
	switch {
	case !known.ParticipantKnown:
		_, err = l.exec(insertParticipant, slices.Concat(presentArgs(p), leaveArgs(p), key, []any{micros(c.Run.HeardAt)})...)
	case p.TimedOut == before.TimedOut && p.BillingSeconds == before.BillingSeconds && p.Release == before.Release:
		_, err = l.exec(updatePresence, slices.Concat(presentArgs(p), key)...)
	default:
		_, err = l.exec(updateParticipant, slices.Concat(presentArgs(p), leaveArgs(p), key)...)
	}
	return err
}

func addRun(l *link, r *bell.RoomRun) (id int64, err error) {
	result, err := l.result(insertRun, append(runArgs(r), string(r.Environment), string(r.SessionID), micros(r.HeardAt))...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

const (
	updateRun = `UPDATE room_runs SET service_id = ?, room_id = ?, project = ?, seen_at = ?, state = ?, reason = ?, ended_at = ?,
		host_service = ?, host_user = ?, setup_at = ?, started_at = ?, online = ?, present = ?, participants = ?, crowded = ?,
		first_event_at = ?, last_event_at = ?, online_at = ?, online_rank = ?, end_event_at = ?, silent_at = ?, invite_by = ?
		WHERE id = ?`
	insertRun = `INSERT INTO room_runs (service_id, room_id, project, seen_at, state, reason, ended_at,
		host_service, host_user, setup_at, started_at, online, present, participants, crowded,
		first_event_at, last_event_at, online_at, online_rank, end_event_at, silent_at, invite_by,
		environment, session_id, heard_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertParticipant = `INSERT INTO room_participants (state, first_joined_at, joined_at, seen_in_at, left_at,
		media, media_at, ue_type, ue_type_at, display_name, display_name_at, timed_out, billing_seconds,
		rel_terminate, rel_disconnect, rel_call_end, rel_releaser_type, rel_releaser, rel_code, rel_code_name, rel_user_code,
		run_id, user_id, service_id, heard_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	setPresence = `UPDATE room_participants SET state = ?, first_joined_at = ?, joined_at = ?, seen_in_at = ?, left_at = ?,
		media = ?, media_at = ?, ue_type = ?, ue_type_at = ?, display_name = ?, display_name_at = ?`
	ofParticipant     = ` WHERE run_id = ? AND user_id = ? AND service_id = ?`
	updatePresence    = setPresence + ofParticipant
	updateParticipant = setPresence + `, timed_out = ?, billing_seconds = ?, rel_terminate = ?, rel_disconnect = ?, rel_call_end = ?,
		rel_releaser_type = ?, rel_releaser = ?, rel_code = ?, rel_code_name = ?, rel_user_code = ?` + ofParticipant
)

// runArgs are what can change of a run, in the order of updateRun.
func runArgs(r *bell.RoomRun) []any {
	return []any{
		r.Room.ServiceID, r.Room.RoomID, r.Project, micros(r.SeenAt), string(r.State), string(r.Reason), micros(r.EndedAt),
		r.Host.ServiceID, r.Host.UserID, micros(r.SetupAt), micros(r.StartedAt), r.Online, r.Present, r.Participants, r.Crowded,
		micros(r.FirstEventAt), micros(r.LastEventAt), micros(r.OnlineAt), r.OnlineRank,
		micros(r.EndEventAt), micros(r.SilentAt), micros(r.InviteBy),
	}
}

const runColumns = "r.environment, r.session_id, r.heard_at, r.service_id, r.room_id, r.project, r.seen_at, r.state, r.reason, r.ended_at, " +
	"r.host_service, r.host_user, r.setup_at, r.started_at, r.online, r.present, r.participants, r.crowded, " +
	"r.first_event_at, r.last_event_at, r.online_at, r.online_rank, r.end_event_at, r.silent_at, r.invite_by"

func runFields(r *bell.RoomRun) []any {
	return []any{
		&r.Environment, &r.SessionID,
		at{&r.HeardAt},
		&r.Room.ServiceID, &r.Room.RoomID, &r.Project,
		at{&r.SeenAt},
		&r.State, &r.Reason,
		at{&r.EndedAt},
		&r.Host.ServiceID, &r.Host.UserID,
		at{&r.SetupAt},
		at{&r.StartedAt},
		&r.Online, &r.Present, &r.Participants, &r.Crowded,
		at{&r.FirstEventAt},
		at{&r.LastEventAt},
		at{&r.OnlineAt},
		&r.OnlineRank,
		at{&r.EndEventAt},
		at{&r.SilentAt},
		at{&r.InviteBy},
	}
}

// presentArgs are what any event may change of a participant, in the order of setPresence.
func presentArgs(p *bell.Participant) []any {
	return []any{
		string(p.State), micros(p.FirstJoinedAt), micros(p.JoinedAt), micros(p.SeenInAt), micros(p.LeftAt),
		string(p.Media), micros(p.MediaAt), p.UEType, micros(p.UETypeAt), p.DisplayName, micros(p.DisplayNameAt),
	}
}

// leaveArgs are how a participant left, in the order of updateParticipant.
func leaveArgs(p *bell.Participant) []any {
	r := &p.Release
	var billing any
	if p.BillingSeconds != nil {
		billing = *p.BillingSeconds
	}
	return []any{
		p.TimedOut, billing, number(r.Terminate), number(r.DisconnectReason), number(r.CallEndReason),
		number(r.ReleaserType), r.Releaser, number(r.Code), r.CodeName, r.UserCode,
	}
}

const participantColumns = "p.user_id, p.service_id, p.state, p.first_joined_at, p.joined_at, p.seen_in_at, p.left_at, " +
	"p.timed_out, p.billing_seconds, p.rel_terminate, p.rel_disconnect, p.rel_call_end, p.rel_releaser_type, p.rel_releaser, " +
	"p.rel_code, p.rel_code_name, p.rel_user_code, p.media, p.media_at, p.ue_type, p.ue_type_at, p.display_name, p.display_name_at"

func participantFields(p *bell.Participant) []any {
	r := &p.Release
	return []any{
		&p.User.UserID, &p.User.ServiceID, &p.State,
		at{&p.FirstJoinedAt},
		at{&p.JoinedAt},
		at{&p.SeenInAt},
		at{&p.LeftAt},
		&p.TimedOut, &p.BillingSeconds, &r.Terminate, &r.DisconnectReason, &r.CallEndReason, &r.ReleaserType, &r.Releaser,
		&r.Code, &r.CodeName, &r.UserCode, &p.Media,
		at{&p.MediaAt},
		&p.UEType,
		at{&p.UETypeAt},
		&p.DisplayName,
		at{&p.DisplayNameAt},
	}
}
