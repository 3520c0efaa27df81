package postgres

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// keptOf is what is kept for long, by table, in the order in which a batch takes it.
var keptOf = []struct {
	table  string
	forget func(*Store) func(context.Context, time.Time, int) (int, error)
}{
	{"calls", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetCalls }},
	{"journal", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetJournal }},
	{"agent_calls", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetAgentCalls }},
	{"room_runs", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetRooms }},
	{"audit", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetAudit }},
	{"admin_sessions", func(s *Store) func(context.Context, time.Time, int) (int, error) { return s.ForgetSignIns }},
}

// oldRecords keeps n records of each kind, a second apart, with three deliveries a call.
func oldRecords(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		c, deliveries, _ := benchCall(int64(i))
		c.NotifiedAt = time.Unix(int64(i), 0)
		for range 2 {
			d := deliveries[0]
			d.ID = uuid.NewString()
			deliveries = append(deliveries, d)
		}
		if _, err := s.BeginCall(t.Context(), c, deliveries, nil); err != nil {
			t.Fatal(err)
		}
		for _, d := range deliveries {
			d.State = bell.DeliveryAccepted
			if err := s.RecordAttempt(t.Context(), d, bell.Attempt{DeliveryID: d.ID, Number: 1}); err != nil {
				t.Fatal(err)
			}
		}
		entry := bell.JournalEntry{ReceivedAt: c.NotifiedAt, SessionID: c.SessionID, Kind: "agent-call-status", DedupKey: "x", Agent: &bell.AgentStatus{ReceivedAt: c.NotifiedAt}}
		if err := s.AppendJournal(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		if err := s.Audit(t.Context(), audit.New(audit.Entry{At: c.NotifiedAt})); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveSignIn(t.Context(), uuid.NewString(), "", c.NotifiedAt, c.NotifiedAt); err != nil {
			t.Fatal(err)
		}
		e := roomEvent(int64(i), c.NotifiedAt)
		e.SessionID, e.Status, e.Time = planet.SessionID(c.SessionID), planet.RoomEnded, c.NotifiedAt
		if err := room.New(room.Config{Store: s, Keeper: straight{}}).Take(t.Context(), &bell.Project{Environment: planet.Evaluation}, e); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s.location(), `UPDATE room_runs SET state = 'closed', heard_at = last_event_at; DELETE FROM journal WHERE kind <> 'agent-call-status'`)
}

// location is the URL of a test's database.
func (s *Store) location() string { return s.writePool.Config().ConnString() }

// count returns how many rows a table has.
func count(t *testing.T, s *Store, table string) (n int64) {
	t.Helper()
	if err := s.writePool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Nodes that forget at the same time delete each record once, and leave none that is old.
func TestForgetOnTwoNodes(t *testing.T) {
	nodes := two(t)
	const records = 60
	oldRecords(t, nodes[0], records)
	for _, kind := range keptOf {
		var removed atomic.Int64
		together(6, func(i int) {
			forget := kind.forget(nodes[i%2])
			for {
				n, err := forget(context.Background(), time.Unix(records, 0), 7)
				if err != nil {
					t.Errorf("%s: %v", kind.table, err)
				}
				if n > 7 {
					t.Errorf("%s: %d were removed at once, 7 were asked for", kind.table, n)
				}
				if removed.Add(int64(n)); n == 0 {
					return
				}
			}
		})
		if removed.Load() != records || count(t, nodes[0], kind.table) != 0 {
			t.Errorf("%s: %d were removed and %d are left, want %d and none", kind.table, removed.Load(), count(t, nodes[0], kind.table), records)
		}
	}
	for _, table := range []string{"deliveries", "attempts", "room_participants"} {
		if n := count(t, nodes[0], table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

// What another transaction has in hand is left out, and not waited for.
func TestForgetLeavesWhatOthersHold(t *testing.T) {
	s := newStore(t)
	oldRecords(t, s, 4)
	conn, err := s.connect(s.readPool)
	if err != nil {
		t.Fatal(err)
	}
	defer giveBack(conn)
	for _, kind := range keptOf {
		order := map[string]string{"calls": "at", "room_runs": "heard_at", "audit": "at", "admin_sessions": "expires_at"}[kind.table]
		if order == "" {
			order = "received_at"
		}
		held := query{sql: `SELECT FROM ` + kind.table + ` ORDER BY ` + order + ` LIMIT 1 FOR UPDATE`}
		if _, err := exchange(t.Context(), conn.Conn(), []query{{sql: "BEGIN"}, held}); err != nil {
			t.Fatal(err)
		}
		before := count(t, s, kind.table)
		var got []int
		for range 2 {
			n, err := kind.forget(s)(t.Context(), time.Unix(3, 0), 9)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if _, err := exchange(t.Context(), conn.Conn(), []query{{sql: "ROLLBACK"}}); err != nil {
			t.Fatal(err)
		}
		n, err := kind.forget(s)(t.Context(), time.Unix(3, 0), 9)
		if got = append(got, n); err != nil || !slices.Equal(got, []int{2, 0, 1}) || count(t, s, kind.table) != before-3 {
			t.Errorf("%s: %v were removed, %v; want two, none, and the one that was held", kind.table, got, err)
		}
	}
}

// A batch is one statement in one round trip, however many records it holds.
func TestForgettingIsOneRoundTrip(t *testing.T) {
	c := &counter{}
	dialer := &net.Dialer{}
	s, err := Open(t.Context(), Config{
		URL: planet.Secret(emptyDatabase(t)), Log: testlog.New(t), tracer: c,
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &counted{Conn: conn, counter: c}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	oldRecords(t, s, 60)
	for _, kind := range keptOf {
		n := 0
		trips, statements := c.cost(t, func() error {
			removed, err := kind.forget(s)(context.Background(), time.Unix(60, 0), 2)
			n += removed
			return err
		})
		if trips != 1 || statements != 1 || n != 60 {
			t.Errorf("%s: %d round trips and %d statements for 2 records; %d were removed in all", kind.table, trips, statements, n)
		}
	}
}
