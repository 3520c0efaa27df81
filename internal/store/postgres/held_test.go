package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// holdRow locks a call's row, as a machine does that has vanished in a transaction.
func holdRow(t *testing.T, s *Store, c *bell.Call) {
	t.Helper()
	conn, err := s.connect(s.readPool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { giveBack(conn) })
	queries := []query{{sql: "BEGIN"}, {`SELECT id FROM calls WHERE session_id = $1 FOR UPDATE`, []any{string(c.SessionID)}}}
	if _, err := exchange(t.Context(), conn.Conn(), queries); err != nil {
		t.Fatal(err)
	}
}

// One locked row is told to whoever wants to write it, as what can be tried again, and costs
// the calls that share its group nothing. The database is not called sick for it.
func TestLockedRow(t *testing.T) {
	location := emptyDatabase(t)
	s := openStore(t, location)
	locked, deliveries, raw := benchCall(1)
	if _, err := s.BeginCall(t.Context(), locked, deliveries, raw); err != nil {
		t.Fatal(err)
	}
	holdRow(t, s, &locked)
	end := func(told bool) error {
		c := locked
		c.EndedAt = time.Now()
		if told {
			c.Wanted = bell.Events(bell.EventTypes()...)
		}
		return s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event", SessionID: c.SessionID, DedupKey: "k"})
	}
	wantHeld := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, bell.Overload) || !errors.Is(err, call.ErrHeld) {
			t.Errorf("%s = %v, want bell.Overload and call.ErrHeld", what, err)
		}
	}
	wantHeld("EndCall", end(false))
	wantHeld("EndCall that is told", end(true))
	lane := s.calls.of(string(locked.SessionID))
	together(20, func(i int) {
		if i == 0 {
			wantHeld("EndCall in a group", end(false))
			return
		}
		c, d, raw := benchCall(int64(i))
		for s.calls.of(string(c.SessionID)) != lane {
			c, d, raw = benchCall(int64(i))
		}
		if got, err := s.BeginCall(context.Background(), c, d, raw); err != nil || got != call.Began {
			t.Errorf("another call: %v, %v", got, err)
		}
	})
	if s.health.lost != 0 {
		t.Errorf("%d operations are called lost", s.health.lost)
	}
}

// A locked table is waited for a few times, and not by each of a group.
func TestLockedTable(t *testing.T) {
	runs := 0
	refused := &refusal{code: lockNotAvailable, message: "canceling statement due to lock timeout"}
	l := &lanes[int]{
		run:   func([]*task[int]) error { runs++; return refused },
		stale: func(error) {}, log: testlog.New(t), metrics: newMetrics(nil, nil), health: &health{log: testlog.New(t)},
	}
	group := make([]*task[int], 20)
	for i := range group {
		group[i] = &task[int]{}
	}
	l.commit(group)
	if runs != 1+maxHeld {
		t.Errorf("it was tried %d times", runs)
	}
	for i, one := range group {
		if err := written("write", one.err); errors.Is(err, bell.Overload) != (i < maxHeld) || errors.Is(err, bell.Unavailable) != (i >= maxHeld) {
			t.Errorf("task %d: %v", i, err)
		}
	}
	if l.health.lost != 20-maxHeld {
		t.Errorf("%d are told to be lost", l.health.lost)
	}
}

// PostgreSQL ends transactions of machines that are gone, and does so through a pooler.
func TestTimeoutsOfTransactions(t *testing.T) {
	for _, settings := range []string{"", "&default_query_exec_mode=exec"} {
		s := openStore(t, emptyDatabase(t)+settings)
		show := func(l sqldb.Tx) (idle, lock string) {
			_, err := l.One(`SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')`, sqldb.Into([]any{&idle, &lock}))
			if err != nil {
				t.Error(err)
			}
			return idle, lock
		}
		check := func(what, idle, lock, wantIdle, wantLock string) {
			t.Helper()
			if idle != wantIdle || lock != wantLock {
				t.Errorf("%s%s: the timeouts are %s and %s, want %s and %s", what, settings, idle, lock, wantIdle, wantLock)
			}
		}
		err := engine{s}.Write(t.Context(), "look", func(l sqldb.Tx) error {
			idle, lock := show(l)
			check("a write", idle, lock, "5s", "0")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		own := s.ownLink()
		idle, lock := show(own)
		check("a lane", idle, lock, "5s", "250ms")
		own.end()
		after := s.ownLink()
		after.begin = ""
		idle, lock = show(after)
		check("afterwards", idle, lock, "0", "0")
		after.end()
	}
}

// The answer is lost and nobody can be reached any more: the call may be recorded.
func TestLostAnswerAndNoOther(t *testing.T) {
	var cut, refuse atomic.Bool
	dialer := &net.Dialer{}
	s, err := Open(t.Context(), Config{
		URL: planet.Secret(emptyDatabase(t)), Log: testlog.New(t),
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if refuse.Load() {
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &cutting{Conn: conn, cut: &cut}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, deliveries, raw := benchCall(1)
	if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil { // its statements are prepared
		t.Fatal(err)
	}
	refuse.Store(true)
	cut.Store(true)
	c, deliveries, raw = benchCall(2)
	_, err = s.BeginCall(t.Context(), c, deliveries, raw)
	if !errors.Is(err, errUndecided) {
		t.Errorf("BeginCall = %v, want errUndecided", err)
	}
	wantUnavailable(t, "BeginCall", err, "the write may still happen")
}

// What a server says that ends may come in place of the answer to a commit.
func TestUnknownRefusals(t *testing.T) {
	for code, want := range map[string]bool{"08006": true, "08P01": true, "57P01": true, "57P02": true, "57P03": false, "40001": false, "25P03": false} {
		err := inward(fmt.Errorf("commit: %w", &pgconn.PgError{Code: code}))
		if unknown(err) != want {
			t.Errorf("%s: unknown is %v", code, !want)
		}
		if unknown(&unsent{err}) {
			t.Errorf("%s before anything was sent is unknown", code)
		}
	}
	if err := unsettled(&refusal{code: "23505"}); !errors.Is(err, bell.Unavailable) {
		t.Errorf("a conflict that does not end is %v", err)
	}
}

// A node says that it lives though everything else waits for a lock.
func TestHeartbeatHasItsOwnPlace(t *testing.T) {
	s := newStore(t)
	if err := s.AddDevice(t.Context(), bell.Device{ID: "d"}); err != nil {
		t.Fatal(err)
	}
	release := hold(t, s, "devices")
	var work sync.WaitGroup
	for range cap(s.writes) {
		work.Go(func() {
			err := s.AmendDevice(context.Background(), "d", func(d bell.Device) (bell.Device, bool) { return d, false })
			if err != nil {
				t.Error(err)
			}
		})
	}
	waitBlocked(t, s, cap(s.writes))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than the locks are held for
	defer cancel()
	if nodes, _, err := s.Beat(ctx, cluster.Node{Owner: "me"}); err != nil || len(nodes) != 1 {
		t.Errorf("Beat = %v, %v", nodes, err)
	}
	release()
	work.Wait()
}

// The operator's list of devices waits for other lists; the devices that ring do not.
func TestListOfDevicesHoldsUpNoRing(t *testing.T) {
	s := newStore(t)
	for range cap(s.lists) {
		s.lists <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantUnavailable(t, "Devices", failed(s.Devices(ctx, device.Filter{}, "", 10)), "too long to answer")
	if _, err := s.DevicesOf(t.Context(), bell.Owner{}); err != nil {
		t.Error(err)
	}
}
