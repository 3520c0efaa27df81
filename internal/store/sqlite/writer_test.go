package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
)

// numbers is a store with a table of unique numbers to write to.
func numbers(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	err := s.writer.submit(t.Context(), "prepare", func(l *link) error {
		_, err := l.Exec(`CREATE TABLE numbers (n INTEGER PRIMARY KEY)`)
		return err
	})
	if err != nil {
		t.Fatalf("make the table: %v", err)
	}
	return s
}

func insertNumber(n int) func(*link) error {
	return func(l *link) error {
		_, err := l.Exec(`INSERT INTO numbers (n) VALUES (?)`, n)
		return err
	}
}

func wantNumbers(t *testing.T, s *Store, want string) {
	t.Helper()
	var got string
	err := s.readers.read(t.Context(), func(l *link) error {
		_, err := l.One(`SELECT ifnull(group_concat(n ORDER BY n), '') FROM numbers`, sqldb.Into([]any{&got}))
		return err
	})
	if err != nil || got != want {
		t.Errorf("numbers are %q, %v; want %q", got, err, want)
	}
}

func wantUnavailable(t *testing.T, what string, err error, says string) {
	t.Helper()
	if !errors.Is(err, bell.Unavailable) {
		t.Fatalf("%s = %v, want kind unavailable", what, err)
	}
	testlog.Keep(t, what, err.Error())
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%s = %q, want it to say %q", what, err, says)
	}
}

// hold keeps the writer busy until release is called, so that what is submitted
// meanwhile becomes one group.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.writer.submit(context.Background(), "hold", func(*link) error {
			close(busy)
			<-free
			return nil
		})
	}()
	<-busy
	return func() {
		t.Helper()
		close(free)
		if err := <-done; err != nil {
			t.Errorf("hold: %v", err)
		}
	}
}

// group submits operations so that they run in one group, in this order, and returns
// their errors.
func group(t *testing.T, s *Store, runs ...func(*link) error) []error {
	t.Helper()
	release := hold(t, s)
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i, run := range runs {
		wg.Go(func() { errs[i] = s.writer.submit(context.Background(), fmt.Sprintf("operation %d", i), run) })
		waitQueued(s, i+1)
	}
	release()
	wg.Wait()
	return errs
}

// waitQueued returns when n operations wait.
func waitQueued(s *Store, n int) {
	for {
		s.writer.mu.Lock()
		have := len(s.writer.queue)
		s.writer.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

var errTest = errors.New("failed by the test")

// A failure of any kind, at any place, undoes its own operation only.
func TestGroupIsolatesFailures(t *testing.T) {
	failures := map[string]func(*link) error{
		"an error after a write": func(l *link) error {
			if err := insertNumber(100)(l); err != nil {
				return err
			}
			return errTest
		},
		"a constraint": func(l *link) error {
			return errors.Join(insertNumber(200)(l), insertNumber(200)(l))
		},
		"a panic": func(l *link) error {
			if err := insertNumber(300)(l); err != nil {
				return err
			}
			panic(testlog.TextSecret("panic value"))
		},
		"a refusal": func(*link) error { return sqldb.Unchanged{Err: errTest} },
		"bad SQL":   func(l *link) error { _, err := l.Exec(`INSERT INTO nowhere VALUES (1)`); return err },
	}
	for name, fails := range failures {
		for place := range 3 {
			t.Run(fmt.Sprintf("%s at %d", name, place), func(t *testing.T) {
				s := numbers(t)
				runs := []func(*link) error{insertNumber(1), insertNumber(2), insertNumber(3)}
				runs[place] = fails
				want := []string{"2,3", "1,3", "1,2"}[place]
				for i, err := range group(t, s, runs...) {
					if (err != nil) != (i == place) {
						t.Errorf("operation %d: %v", i, err)
					}
					if err != nil {
						testlog.Keep(t, "operation", err.Error())
					}
				}
				wantNumbers(t, s, want)
			})
		}
	}
}

func TestFailureAloneIsRolledBack(t *testing.T) {
	s := numbers(t)
	runs := 0
	err := s.writer.submit(t.Context(), "fail", func(l *link) error {
		runs++
		return errors.Join(insertNumber(1)(l), errTest)
	})
	if !errors.Is(err, errTest) || runs != 1 {
		t.Errorf("submit = %v after %d runs, want the operation's error after 1", err, runs)
	}
	wantNumbers(t, s, "")
}

// A refusal wrote nothing, so nobody pays for a rollback.
func TestRefusalDoesNotRepeatItsGroup(t *testing.T) {
	s := numbers(t)
	runs := 0
	errs := group(t, s, func(l *link) error { runs++; return insertNumber(1)(l) }, func(*link) error { return sqldb.Unchanged{Err: errTest} })
	if errs[0] != nil || errs[1] != errTest || runs != 1 {
		t.Errorf("errors %v after %d runs", errs, runs)
	}
	wantNumbers(t, s, "1")
}

// A write whose turn has not come is taken back when its caller leaves: what was said to
// be refused must not happen later.
func TestWriteOfACallerWhoLeftIsTakenBack(t *testing.T) {
	s := numbers(t)
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- s.writer.submit(ctx, "left alone", insertNumber(1)) }()
	waitQueued(s, 1)
	cancel()
	err := <-left
	wantUnavailable(t, "submit", err, "nothing was written")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("submit = %v, want the context's error as its cause", err)
	}
	release()
	if err := s.writer.submit(t.Context(), "follow", insertNumber(2)); err != nil {
		t.Fatalf("submit: %v", err)
	}
	wantNumbers(t, s, "2")
}

// A write that has begun goes on: a transaction is never broken by who waits for it.
func TestWriteThatHasBegunGoesOnWithoutItsCaller(t *testing.T) {
	s := numbers(t)
	begun, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		left <- s.writer.submit(ctx, "left alone", func(l *link) error {
			close(begun)
			<-release
			return insertNumber(1)(l)
		})
	}()
	<-begun
	cancel()
	wantUnavailable(t, "submit", <-left, "the write may still happen")
	close(release)
	if err := s.writer.submit(t.Context(), "follow", insertNumber(2)); err != nil {
		t.Fatalf("submit: %v", err)
	}
	wantNumbers(t, s, "1,2")
}

func TestEndedContextIsRefusedAtOnce(t *testing.T) {
	s := numbers(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantUnavailable(t, "submit", s.writer.submit(ctx, "late", insertNumber(1)), "Nothing was written")
	_, err := s.Device(ctx, "any")
	wantUnavailable(t, "Device", err, "ended before")
	wantNumbers(t, s, "")
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := Open(t.Context(), Config{
		Path: filepath.Join(t.TempDir(), "full.db"), Log: testlog.New(t), Queue: 2, Registry: registry,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	release := hold(t, s)
	nothing := func(*link) error { return nil }
	errs := make(chan error, 2)
	for n := range 2 {
		go func() { errs <- s.writer.submit(context.Background(), "wait", nothing) }()
		waitQueued(s, n+1)
	}
	// Nothing is wrong with the database, so nobody may take it for trouble.
	err = s.writer.submit(t.Context(), "too many", nothing)
	if bell.KindOf(err) != bell.Overload || errors.Is(err, bell.Unavailable) || !strings.Contains(err.Error(), "Too many writes") {
		t.Errorf("submit = %v, want kind overload", err)
	}
	release()
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("a waiting write: %v", err)
		}
	}
	if n := testutil.ToFloat64(s.writer.metrics.Refused); n != 1 {
		t.Errorf("%v refused writes were counted, want 1", n)
	}
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 3 {
		t.Errorf("%d metrics, %v; want 3", n, err)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	s := numbers(t)
	release := hold(t, s)
	var wg sync.WaitGroup
	for n := range maxGroup + 50 {
		wg.Go(func() {
			if err := s.writer.submit(context.Background(), "many", insertNumber(n)); err != nil {
				t.Errorf("submit: %v", err)
			}
		})
	}
	waitQueued(s, maxGroup+50)
	release()
	wg.Wait()
	var count int
	err := s.readers.read(t.Context(), func(l *link) error {
		_, err := l.One(`SELECT count(*) FROM numbers`, sqldb.Into([]any{&count}))
		return err
	})
	if err != nil || count != maxGroup+50 {
		t.Errorf("%d numbers, %v; want %d", count, err, maxGroup+50)
	}
}

func TestCloseFinishesWhatWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	s := openStore(t, path)
	release := hold(t, s)
	waiting := make(chan error, 1)
	go func() { waiting <- s.AddDevice(context.Background(), bell.Device{ID: "waited"}) }()
	waitQueued(s, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for accepting := true; accepting; { // until Close has begun
		s.writer.mu.Lock()
		accepting = !s.writer.closed
		s.writer.mu.Unlock()
		runtime.Gosched()
	}
	wantUnavailable(t, "AddDevice", s.AddDevice(t.Context(), bell.Device{ID: "late"}), "closed")
	release()
	if err := errors.Join(<-waiting, <-closed, s.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	_, err := s.Device(t.Context(), "waited")
	wantUnavailable(t, "Device", err, "closed")

	s = openStore(t, path)
	if _, err := s.Device(t.Context(), "waited"); err != nil {
		t.Errorf("the write that waited is lost: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A full disk fails the whole group, each caller learns why, and the store recovers.
func TestFullDisk(t *testing.T) {
	s := numbers(t)
	full := func(l *link) error {
		if _, err := l.Exec(`PRAGMA max_page_count = 1`); err != nil { // cut down to the present size
			return err
		}
		_, err := l.Exec(`INSERT INTO users VALUES ('e', 's', 'u', hex(zeroblob(1000000)), '', 0)`)
		return err
	}
	for i, err := range group(t, s, insertNumber(1), full, insertNumber(2)) {
		wantUnavailable(t, fmt.Sprintf("operation %d", i), err, "disk is full")
	}
	wantNumbers(t, s, "")
	if err := s.writer.submit(t.Context(), "again", insertNumber(3)); err != nil {
		t.Errorf("the store did not recover: %v", err)
	}
	wantNumbers(t, s, "3")
}

// Trouble that shows only while a group is repeated counts as trouble all the same.
func TestFullDiskWhileIsolated(t *testing.T) {
	s := numbers(t)
	run := 0
	full := func(l *link) error {
		if run++; run == 1 {
			return errTest
		}
		_, _ = l.Exec(`PRAGMA max_page_count = 1`)
		_, err := l.Exec(`INSERT INTO users VALUES ('e', 's', 'u', hex(zeroblob(1000000)), '', 0)`)
		return err
	}
	for i, err := range group(t, s, insertNumber(1), full) {
		wantUnavailable(t, fmt.Sprintf("operation %d", i), err, "disk is full")
	}
	wantNumbers(t, s, "")
}

func TestLockedByAnotherProgram(t *testing.T) {
	s := numbers(t)
	if err := s.writer.submit(t.Context(), "patience", func(l *link) error {
		_, err := l.Exec(`PRAGMA busy_timeout = 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, "submit", s.writer.submit(t.Context(), "locked out", insertNumber(1)), "locked by another program")
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.submit(t.Context(), "again", insertNumber(2)); err != nil {
		t.Errorf("the store did not recover: %v", err)
	}
	wantNumbers(t, s, "2")
}

func TestLostConnections(t *testing.T) {
	s := numbers(t)
	connect := s.writer.connect
	err := s.writer.submit(t.Context(), "lose it", func(l *link) error { // on the writer's goroutine
		s.writer.connect = func() (*link, error) { return nil, errTest }
		l.discard()
		return nil
	})
	wantUnavailable(t, "submit on a lost connection", err, "cannot be used")
	err = s.writer.submit(t.Context(), "no connection", func(*link) error { return nil })
	wantUnavailable(t, "submit without a connection", err, "cannot be used")

	// Once there is a connection again, everything goes on.
	s.writer.mu.Lock() // run takes it before each group
	s.writer.connect = connect
	s.writer.mu.Unlock()
	if err := s.writer.submit(t.Context(), "again", insertNumber(1)); err != nil {
		t.Errorf("the store did not recover: %v", err)
	}

	for range readers { // each of them once
		err = s.readers.read(t.Context(), func(l *link) error {
			l.discard()
			_, err := l.One(`SELECT 1`, sqldb.Into([]any{new(int)}))
			return err
		})
		wantUnavailable(t, "read on a lost connection", err, "cannot be used")
	}
	wantNumbers(t, s, "1")
}

// A read that has to wait for a connection waits no longer than its caller.
func TestReadersAreBounded(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	free, busy := make(chan struct{}), make(chan struct{})
	for range readers {
		wg.Go(func() {
			err := s.readers.read(context.Background(), func(*link) error {
				busy <- struct{}{}
				<-free
				return nil
			})
			if err != nil {
				t.Errorf("read: %v", err)
			}
		})
		<-busy
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Device(ctx, "any")
		waiting <- err
	}()
	cancel()
	wantUnavailable(t, "Device", <-waiting, "database")
	close(free)
	wg.Wait()
}
