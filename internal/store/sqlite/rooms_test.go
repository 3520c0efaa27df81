package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// roomStatements runs every statement about rooms, for the test that explains them.
func roomStatements(ctx context.Context, s *Store) error {
	ref, user := planet.RoomRef{ServiceID: "s", RoomID: "r"}, planet.UserRef{ServiceID: "s", UserID: "u"}
	write := func(room.Known) room.Change {
		return room.Change{
			Run: bell.RoomRun{SessionID: "1", Room: ref, State: bell.RoomOpen}, WriteRun: true,
			Participant: bell.Participant{User: user}, WriteParticipant: true,
		}
	}
	key := room.RunKey{Environment: "e", SessionID: "1"}
	cursor := room.Cursor{HeardAt: time.Unix(1, 0), SessionID: "1"}
	entry := bell.JournalEntry{Kind: room.KindGroupCallEvent}
	return errors.Join(
		failed(s.ChangeRun(ctx, room.Touched{RunKey: key, User: user}, entry, write)),
		failed(s.ChangeRun(ctx, room.Touched{RunKey: key, User: user}, entry, write)),
		failed(s.ChangeRun(ctx, room.Touched{RunKey: room.RunKey{Environment: "e"}, Room: ref, User: user}, entry, write)),
		failed(s.Runs(ctx, room.Filter{}, cursor, 1)),
		failed(s.Runs(ctx, room.Filter{Open: true}, cursor, 1)),
		failed(s.Runs(ctx, room.Filter{Environment: "e", ServiceID: "s", RoomID: "r"}, cursor, 1)),
		failed(s.Runs(ctx, room.Filter{Environment: "e", User: user}, cursor, 1)),
		failed(s.Run(ctx, "e", "1")), failed(s.Run(ctx, "", "1")),
		failed(s.Participants(ctx, key, user, 1)),
		failed(s.SilentRuns(ctx, time.Unix(1, 0), 1)), failed(s.RunsToInvite(ctx, 1)),
		failedTwice(s.Invite(ctx, room.Invitation{Run: key, Room: ref, User: user})),
		failed(s.InvitationsOf(ctx, key, time.Unix(1, 0), 1)), failed(s.PruneInvitations(ctx, time.Unix(1, 0), 1)),
	)
}

func failedTwice[A, B any](_ A, _ B, err error) error { return err }

// BenchmarkRoomEvent is one event in the middle of a run: a participant of 200 comes or
// changes media.
func BenchmarkRoomEvent(b *testing.B) {
	s := newStore(b)
	service := room.New(room.Config{Store: s, Keeper: straight{}})
	project := &bell.Project{Name: "demo", Environment: planet.Evaluation}
	start := time.Now()
	concurrently(b, func(n int64) error {
		online := 200
		return service.Take(context.Background(), project, planet.GroupCallEvent{
			SessionID: planet.SessionID(fmt.Sprintf("%032x", n%50)), Room: planet.RoomRef{ServiceID: "s", RoomID: fmt.Sprint(n % 50)},
			Participant: planet.UserRef{ServiceID: "s", UserID: fmt.Sprint(n / 50 % 200)}, Host: planet.UserRef{ServiceID: "s", UserID: "0"},
			Status: planet.RoomChanged, ParticipantStatus: planet.ParticipantConnected, Online: &online,
			Time: start.Add(time.Duration(n) * time.Millisecond), MediaType: planet.AudioCall, UEType: "IOS",
			Raw: []planet.RawParam{{Name: "sid", Value: "59db2167e13911ea83a8213945545d1c"}, {Name: "svc_id", Value: "planetkit-inhouse"}, {Name: "ts", Value: "1599463610820"}},
		})
	})
}

// straight is a backlog of a healthy store.
type straight struct{}

func (straight) Keep(ctx context.Context, _ bell.JournalEntry, write func(context.Context) error) error {
	return write(ctx)
}

// What was rolled back must not come back from memory: not the operation's that failed, nor,
// when the group is run again, what others wrote before it.
func TestARollbackEmptiesTheRoomCache(t *testing.T) {
	s := newStore(t)
	key := room.RunKey{Environment: "e", SessionID: "1"}
	change := room.Change{Run: bell.RoomRun{SessionID: "1", State: bell.RoomOpen, Participants: 7}, WriteRun: true}
	failure := errors.New("of its own")
	err := s.writer.submit(t.Context(), "fail", func(l *link) error {
		if err := writeRun(l, 0, &room.Known{}, room.Touched{RunKey: key}, &change); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("the write failed with %v", err)
	}
	_, err = s.ChangeRun(t.Context(), room.Touched{RunKey: key}, bell.JournalEntry{}, func(known room.Known) room.Change {
		if known.RunKnown {
			t.Errorf("a run that was rolled back is known: %+v", known.Run)
		}
		return room.Change{}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A run's row is written once for a group, and with it what the last event said. A failure
// among them undoes its own event only, also when the row itself is what fails.
func TestRunsAreWrittenOnceForAGroup(t *testing.T) {
	s := numbers(t)
	id := openRun(t, s)
	if err := s.writer.submit(t.Context(), "count", func(l *link) error {
		_, err := l.Exec(`CREATE TRIGGER counts AFTER UPDATE ON room_runs BEGIN
			INSERT INTO numbers (n) VALUES (NEW.online); SELECT raise(ABORT, 'refused by the test') WHERE NEW.online = 13; END`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	fail := func(*link) error { return errTest }
	for _, test := range []struct {
		name    string
		runs    []func(*link) error
		failed  int // the operation that fails; -1: none
		numbers string
		online  int
	}{
		{"three events", []func(*link) error{online(id, 1), online(id, 2), online(id, 3)}, -1, "3", 3},
		{"another fails last", []func(*link) error{online(id, 4), fail}, 1, "3,4", 4},
		{"another fails between", []func(*link) error{online(id, 5), fail, online(id, 6)}, 1, "3,4,5,6", 6},
		{"the row fails", []func(*link) error{online(id, 7), online(id, 13)}, 1, "3,4,5,6,7", 7},
		{"the last row fails", []func(*link) error{insertNumber(9), online(id, 13)}, 1, "3,4,5,6,7,9", 7},
		{"the row fails before rooms are deleted", []func(*link) error{online(id, 13), func(l *link) error { l.RoomsForgotten(); return nil }}, 0, "3,4,5,6,7,9", 7},
		{"the only row fails", []func(*link) error{online(id, 13)}, 0, "3,4,5,6,7,9", 7},
	} {
		for i, err := range group(t, s, test.runs...) {
			if (err != nil) != (i == test.failed) {
				t.Errorf("%s: operation %d: %v", test.name, i, err)
			}
		}
		wantNumbers(t, s, test.numbers)
		run, err := s.Run(t.Context(), "e", "1")
		_, known := s.ChangeRun(t.Context(), room.Touched{RunKey: room.RunKey{Environment: "e", SessionID: "1"}}, bell.JournalEntry{},
			func(known room.Known) room.Change {
				if known.Run.Online != test.online {
					t.Errorf("%s: the next event finds %d online, want %d", test.name, known.Run.Online, test.online)
				}
				return room.Change{}
			})
		if err := errors.Join(err, known); err != nil || run.Online != test.online {
			t.Errorf("%s: %d online, %v; want %d", test.name, run.Online, err, test.online)
		}
	}
}

// openRun makes a run, and returns its row's ID.
func openRun(t *testing.T, s *Store) (id int64) {
	t.Helper()
	err := s.writer.submit(t.Context(), "open a run", func(l *link) error {
		c := room.Change{Run: bell.RoomRun{SessionID: "1", State: bell.RoomOpen}, WriteRun: true}
		if err := writeRun(l, 0, &room.Known{}, room.Touched{RunKey: room.RunKey{Environment: "e"}}, &c); err != nil {
			return err
		}
		known, _ := l.rooms.runs.get(room.RunKey{Environment: "e", SessionID: "1"})
		id = known.id
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// online is an event that says how many are.
func online(id int64, n int) func(*link) error {
	return func(l *link) error {
		c := room.Change{Run: bell.RoomRun{SessionID: "1", State: bell.RoomOpen, Online: n}, WriteRun: true}
		return writeRun(l, id, &room.Known{RunKnown: true}, room.Touched{RunKey: room.RunKey{Environment: "e"}}, &c)
	}
}

// Who looks for runs in the turn of the writer sees what was changed before it in the group.
func TestUnwrittenRunsAreSeen(t *testing.T) {
	s := newStore(t)
	id := openRun(t, s)
	state := func(l *link, state bell.RoomState) error {
		c := room.Change{Run: bell.RoomRun{SessionID: "1", State: state}, WriteRun: true}
		return writeRun(l, id, &room.Known{RunKnown: true}, room.Touched{RunKey: room.RunKey{Environment: "e"}}, &c)
	}
	newest := func(l *link, want bool) error {
		var known room.Known
		_, err := readRun(l, room.Touched{RunKey: room.RunKey{Environment: "e"}}, &known)
		if known.RunKnown != want {
			t.Errorf("an open run is there: %t, want %t", known.RunKnown, want)
		}
		return err
	}
	err := s.writer.submit(t.Context(), "look", func(l *link) error {
		closed := errors.Join(state(l, bell.RoomClosed), newest(l, false))
		open := errors.Join(state(l, bell.RoomOpen), newest(l, true))
		again := errors.Join(state(l, bell.RoomClosed), l.writeRuns(), state(l, bell.RoomOpen))
		l.RoomsForgotten()
		var row string
		_, read := l.One(`SELECT state FROM room_runs`, sqldb.Into([]any{&row}))
		if row != string(bell.RoomOpen) {
			t.Errorf("who deletes closed rooms finds it %s", row)
		}
		return errors.Join(closed, open, again, read)
	})
	if err != nil {
		t.Error(err)
	}
}

// A participant whom the cache has forgotten is read, and one who is not there is not taken
// for another run's.
func TestForgottenParticipantsAreRead(t *testing.T) {
	s := newStore(t)
	user := planet.UserRef{ServiceID: "s", UserID: "u"}
	touched := room.Touched{RunKey: room.RunKey{Environment: "e", SessionID: "1"}, User: user}
	asked := 0
	see := func(want bool) func(room.Known) room.Change {
		return func(known room.Known) room.Change {
			if asked++; known.ParticipantKnown != want || want && known.Participant.User != user {
				t.Errorf("question %d: known %t, want %t: %+v", asked, known.ParticipantKnown, want, known.Participant)
			}
			return room.Change{
				Run: bell.RoomRun{SessionID: touched.SessionID, State: bell.RoomOpen}, WriteRun: true,
				Participant: bell.Participant{User: user}, WriteParticipant: true,
			}
		}
	}
	ask := func(want bool) {
		if _, err := s.ChangeRun(t.Context(), touched, bell.JournalEntry{}, see(want)); err != nil {
			t.Fatal(err)
		}
	}
	ask(false)
	others := 0
	for range 6 {
		err := s.writer.submit(t.Context(), "others", func(l *link) error {
			for range cachedParticipants / 3 {
				others++
				l.rooms.participants.put(participantKey{run: 99, user: planet.UserRef{UserID: strconv.Itoa(others)}}, bell.Participant{})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask(true)
	touched.User.UserID, user.UserID = "another", "another"
	ask(false)
	touched.SessionID = "2"
	ask(false)
}

// The cache is bounded, and keeps what is used.
func TestRecent(t *testing.T) {
	r := recent[int, int]{half: 10}
	for i := range 1000 {
		r.put(i, i)
		if v, ok := r.get(0); !ok || v != 0 {
			t.Fatalf("after %d others, what is used all the time is forgotten", i)
		}
		if n := len(r.younger) + len(r.older); n > 20 {
			t.Fatalf("%d are kept, want 20 at most", n)
		}
	}
	if _, ok := r.get(5); ok {
		t.Error("what is long unused is kept")
	}
}
