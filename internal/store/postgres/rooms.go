package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// roomTask is an event of a run.
type roomTask struct {
	touched room.Touched
	open    bool    // only if the run is still open
	journal []query // none, or the entry
	change  func(room.Known) room.Change
	done    room.Change
}

// ChangeRun implements room.Store. It is two round trips: one locks and reads, one writes and
// commits. Events of rooms that wait at the same time share both, and of one run only the last
// state is written.
func (s *Store) ChangeRun(ctx context.Context, touched room.Touched, entry bell.JournalEntry, change func(room.Known) room.Change) (room.Change, error) {
	t := &roomTask{touched: touched, change: change}
	if entry.Kind != "" {
		t.journal = []query{appendJournal(entry)}
	}
	if touched.SessionID == "" {
		key, err := s.newestOpen(ctx, touched)
		if err != nil {
			return room.Change{}, err
		}
		t.touched.SessionID, t.open = key, true
	}
	err := s.rooms.submit(ctx, &task[*roomTask]{what: "record an event of a room", key: string(t.touched.SessionID), body: t})
	if err != nil {
		return room.Change{}, err
	}
	return t.done, nil
}

// newestOpen finds the run that an event without session ID means; "" if there is none.
func (s *Store) newestOpen(ctx context.Context, touched room.Touched) (id planet.SessionID, err error) {
	err = s.Read(ctx, func(l sqldb.Tx) error {
		_, err := l.One(`SELECT r.session_id FROM room_runs r WHERE r.room_id = ? AND r.service_id = ? AND r.environment = ? AND r.state = 'open'
			ORDER BY r.heard_at DESC, r.session_id DESC LIMIT 1`, sqldb.Into([]any{&id}), touched.Room.RoomID, touched.Room.ServiceID, string(touched.Environment))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("look for the open run of a room: %w", err)
	}
	return id, nil
}

const (
	readRun         = `SELECT ` + sqldb.RunColumns + ` FROM room_runs r WHERE r.session_id = $1 AND r.environment = $2 FOR UPDATE`
	readParticipant = `SELECT ` + sqldb.ParticipantColumns + ` FROM room_runs r JOIN room_participants p ON p.run_id = r.id
		WHERE r.session_id = $1 AND r.environment = $2 AND p.user_id = $3 AND p.service_id = $4`
)

// updateRun and insertRun are those of package sqldb, the former by the run's key.
var (
	updateRun = strings.TrimSuffix(rewrite(sqldb.UpdateRun), `WHERE id = $23`) + `WHERE session_id = $23 AND environment = $24`
	insertRun = rewrite(sqldb.InsertRun)
)

// participantColumns are those of sqldb.ParticipantArgs, with their types.
var participantColumns = []struct{ name, kind string }{
	{"state", "text"},
	{"first_joined_at", "bigint"},
	{"joined_at", "bigint"},
	{"seen_in_at", "bigint"},
	{"left_at", "bigint"},
	{"timed_out", "boolean"},
	{"billing_seconds", "bigint"},
	{"rel_terminate", "bigint"},
	{"rel_disconnect", "bigint"},
	{"rel_call_end", "bigint"},
	{"rel_releaser_type", "bigint"},
	{"rel_releaser", "text"},
	{"rel_code", "bigint"},
	{"rel_code_name", "text"},
	{"rel_user_code", "text"},
	{"media", "text"},
	{"media_at", "bigint"},
	{"ue_type", "text"},
	{"ue_type_at", "bigint"},
	{"display_name", "text"},
	{"display_name_at", "bigint"},
}

// putParticipant writes a participant whether it is known or not, of a run that is named by its
// key: what was just inserted has no ID here yet.
var putParticipant = func() string {
	var names, values, sets []string
	for i, c := range participantColumns {
		names = append(names, c.name)
		values = append(values, fmt.Sprintf("$%d::%s", i+1, c.kind))
		sets = append(sets, c.name+" = excluded."+c.name)
	}
	n := len(participantColumns)
	return fmt.Sprintf(`INSERT INTO room_participants (%s, run_id, user_id, service_id, heard_at)
		SELECT %s, r.id, $%d::text, $%d::text, $%d::bigint FROM room_runs r WHERE r.session_id = $%d AND r.environment = $%d
		ON CONFLICT (run_id, user_id, service_id) DO UPDATE SET %s`,
		strings.Join(names, ", "), strings.Join(values, ", "), n+1, n+2, n+3, n+4, n+5, strings.Join(sets, ", "))
}()

// runState is a run as a group knows it.
type runState struct {
	run          bell.RoomRun
	known        bool // there is one, here or in the database
	stored       bool // in the database
	dirty        bool
	participants map[planet.UserRef]*participantState
}

type participantState struct {
	participant  bell.Participant
	known, dirty bool
}

// runRooms runs a group in one transaction. The changes are asked one after the other, each
// with what those before it have done.
func (s *Store) runRooms(group []*task[*roomTask]) error {
	l := s.ownLink()
	defer l.end()
	runs, repeats, err := readRuns(l, group)
	if err != nil {
		return err
	}
	var events sqldb.EventRows
	for i, t := range group {
		events = append(events, t.body.apply(runs[runOf(t)], repeats[i])...)
	}
	_, err = l.sendLast(writeRuns(runs, group, events)...)
	return err
}

func runOf(t *task[*roomTask]) room.RunKey { return t.body.touched.RunKey }

// readRuns locks and reads what a group touches, and keeps the journal's entries; repeats says
// of which task it was a repeat. The locks are there for runs that have no row yet.
func readRuns(l *link, group []*task[*roomTask]) (map[room.RunKey]*runState, []bool, error) {
	runs := map[room.RunKey]*runState{}
	var queries []query
	var read []func(result) error
	ask := func(q query, then func(result) error) {
		queries, read = append(queries, q), append(read, then)
	}
	for _, t := range group {
		if key := runOf(t); runs[key] == nil && key.SessionID != "" {
			runs[key] = &runState{participants: map[planet.UserRef]*participantState{}}
			l.locks = append(l.locks, lockQuery("run", string(key.Environment), string(key.SessionID)))
		}
	}
	asked := map[room.RunKey]bool{}
	repeats := make([]bool, len(group))
	for i, t := range group {
		key := runOf(t)
		for _, q := range t.body.journal {
			ask(q, func(r result) error { repeats[i] = r.affected == 0; return nil })
		}
		state := runs[key]
		if state == nil {
			continue
		}
		if !asked[key] {
			asked[key] = true
			ask(query{readRun, bind([]any{string(key.SessionID), string(key.Environment)})}, func(r result) (err error) {
				state.known, err = r.first(sqldb.RunFields(&state.run))
				state.stored = state.known
				return err
			})
		}
		user := t.body.touched.User
		if user.UserID == "" || state.participants[user] != nil {
			continue
		}
		p := &participantState{}
		state.participants[user] = p
		ask(query{readParticipant, bind([]any{string(key.SessionID), string(key.Environment), user.UserID, user.ServiceID})}, func(r result) (err error) {
			p.known, err = r.first(sqldb.ParticipantFields(&p.participant))
			return err
		})
	}
	if len(queries) == 0 {
		return runs, repeats, nil
	}
	results, err := l.send(queries...)
	if err != nil {
		return nil, nil, err
	}
	for i, r := range results {
		if err := read[i](r); err != nil {
			return nil, nil, fmt.Errorf("read a run of a room: %w", err)
		}
	}
	return runs, repeats, nil
}

// first reads the first row, and reports whether there was one.
func (r result) first(fields []any) (bool, error) {
	if len(r.rows) == 0 {
		return false, nil
	}
	return true, record{r.columns, r.rows[0]}.Scan(fields...)
}

// apply asks what is to become of an event's run, and returns the events that go with it.
func (t *roomTask) apply(state *runState, repeat bool) sqldb.EventRows {
	t.done = room.Change{}
	if state == nil || t.open && (!state.known || state.run.State != bell.RoomOpen) {
		return nil
	}
	known := room.Known{Run: state.run, RunKnown: state.known, Repeat: repeat}
	if !state.known {
		known.Run = bell.RoomRun{}
	}
	if p := state.participants[t.touched.User]; p != nil && p.known && state.known {
		known.Participant, known.ParticipantKnown = p.participant, true
	}
	c := t.change(known)
	t.done = c
	if !c.WriteRun {
		return nil
	}
	c.Run.Environment = t.touched.Environment
	t.done.Run.Environment = t.touched.Environment
	state.run, state.known, state.dirty = c.Run, true, true
	if c.WriteParticipant {
		state.participants[c.Participant.User] = &participantState{participant: c.Participant, known: true, dirty: true}
	}
	return sqldb.NewEventRows(c.Events)
}

// writeRuns are the statements that write what a group has changed, in the group's order.
func writeRuns(runs map[room.RunKey]*runState, group []*task[*roomTask], events sqldb.EventRows) []query {
	var queries []query
	for _, t := range group {
		key := runOf(t)
		state := runs[key]
		if state == nil || !state.dirty {
			continue
		}
		state.dirty = false
		r := &state.run
		if state.stored {
			queries = append(queries, query{updateRun, bind(append(sqldb.RunArgs(r), string(key.SessionID), string(key.Environment)))})
		} else {
			queries = append(queries, query{insertRun, bind(append(sqldb.RunArgs(r), string(key.Environment), string(key.SessionID), sqldb.Micros(r.HeardAt)))})
		}
		for _, p := range state.participants {
			if p.dirty {
				queries = append(queries, query{putParticipant, bind(append(sqldb.ParticipantArgs(&p.participant),
					p.participant.User.UserID, p.participant.User.ServiceID, sqldb.Micros(r.HeardAt), string(key.SessionID), string(key.Environment)))})
			}
		}
	}
	if len(events) > 0 {
		queries = append(queries, insertEvents(events))
	}
	return queries
}
