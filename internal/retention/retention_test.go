package retention

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore keeps times only.
type fakeStore struct {
	mu             sync.Mutex
	calls, journal []time.Time
	rooms, agents  []time.Time
	audit, signIns []time.Time
	batches        []time.Time // when each batch was asked for
	largest        int
	fail           error
	hang           bool
}

func (s *fakeStore) ForgetCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.calls, before, limit)
}

func (s *fakeStore) ForgetJournal(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.journal, before, limit)
}

func (s *fakeStore) ForgetRooms(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.rooms, before, limit)
}

func (s *fakeStore) ForgetAgentCalls(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.agents, before, limit)
}

func (s *fakeStore) ForgetAudit(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.audit, before, limit)
}

func (s *fakeStore) ForgetSignIns(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.forget(ctx, &s.signIns, before, limit)
}

func (s *fakeStore) forget(ctx context.Context, kept *[]time.Time, before time.Time, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, time.Now())
	if s.hang {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	if s.fail != nil {
		return 0, s.fail
	}
	removed := 0
	*kept = slices.DeleteFunc(*kept, func(at time.Time) bool {
		if removed == limit || !at.Before(before) {
			return false
		}
		removed++
		return true
	})
	s.largest = max(s.largest, removed)
	return removed, nil
}

func (s *fakeStore) left() (calls, journal, batches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls), len(s.journal), len(s.batches)
}

// running runs a service in a bubble until the test ends.
func running(t *testing.T, c Config) (*Metrics, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	c.Metrics = NewMetrics(prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { New(c).Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return c.Metrics, &log
}

func ages(n int, age time.Duration) []time.Time {
	all := make([]time.Time, n)
	for i := range all {
		all[i] = time.Now().Add(-age)
	}
	return all
}

const day = 24 * time.Hour

func TestOldRecordsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{
			calls:   append(ages(2*batch+1, 91*day), ages(5, 89*day)...),
			journal: append(ages(3, 31*day), ages(4, 29*day)...),
			rooms:   append(ages(2, 91*day), ages(1, 89*day)...),
			agents:  append(ages(1, 91*day), ages(1, 89*day)...),
			audit:   append(ages(1, 366*day), ages(2, 364*day)...),
			signIns: append(ages(1, 2*time.Minute), ages(3, -time.Hour)...),
		}
		metrics, log := running(t, Config{Store: s, Calls: 90 * day, Journal: 30 * day, Audit: 365 * day})

		<-time.After(firstSweep - 1)
		synctest.Wait()
		if calls, journal, batches := s.left(); batches != 0 || calls != 2*batch+6 || journal != 7 {
			t.Fatalf("before the first sweep: %d, %d left after %d batches", calls, journal, batches)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if calls, journal, _ := s.left(); calls != 5 || journal != 4 {
			t.Fatalf("after the first sweep: %d calls, %d callbacks", calls, journal)
		}
		s.mu.Lock()
		if len(s.rooms) != 1 || len(s.agents) != 1 {
			t.Errorf("after the first sweep: %d rooms, %d agent calls", len(s.rooms), len(s.agents))
		}
		if len(s.audit) != 2 || len(s.signIns) != 3 {
			t.Errorf("after the first sweep: %d entries of the audit log, %d sign-ins", len(s.audit), len(s.signIns))
		}
		if s.largest > batch {
			t.Errorf("a batch of %d", s.largest)
		}
		for i := range s.batches[1:] {
			if apart := s.batches[i+1].Sub(s.batches[i]); apart < pause && i != 3 && i != 5 && i != 7 && i != 9 && i != 11 { // from one kind to the next
				t.Errorf("batch %d came %v after the one before", i+1, apart)
			}
		}
		s.mu.Unlock()
		if got := testutil.ToFloat64(metrics.removed.WithLabelValues("call")); got != 2*batch+1 {
			t.Errorf("%v calls counted", got)
		}
		if got := testutil.ToFloat64(metrics.removed.WithLabelValues("callback")); got != 3 {
			t.Errorf("%v callbacks counted", got)
		}
		if testutil.ToFloat64(metrics.swept) == 0 {
			t.Error("the sweep is not noted")
		}
		// What was young then is old a day later.
		<-time.After(2 * day)
		synctest.Wait()
		if calls, journal, _ := s.left(); calls != 0 || journal != 0 {
			t.Errorf("two days later: %d calls, %d callbacks", calls, journal)
		}
		if !strings.Contains(log.String(), "old records were removed") {
			t.Error("nothing in the log")
		}
	})
}

func TestZeroKeepsForEver(t *testing.T) {
	for _, c := range []struct {
		calls, journal         time.Duration
		leftCalls, leftJournal int
	}{{0, day, 3, 0}, {day, 0, 0, 3}, {0, 0, 3, 3}} {
		synctest.Test(t, func(t *testing.T) {
			s := &fakeStore{calls: ages(3, 10000*day), journal: ages(3, 10000*day)}
			running(t, Config{Store: s, Calls: c.calls, Journal: c.journal})
			<-time.After(3 * sweepEvery)
			synctest.Wait()
			if calls, journal, _ := s.left(); calls != c.leftCalls || journal != c.leftJournal {
				t.Errorf("%v, %v: %d calls, %d callbacks", c.calls, c.journal, calls, journal)
			}
		})
	}
}

// A store in trouble is left alone until the next hour, and one kind's trouble does not
// keep the other.
func TestTroubleIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{calls: ages(3, 91*day), journal: ages(3, 91*day), fail: errors.New("the disk is full")}
		metrics, log := running(t, Config{Store: s, Calls: day, Journal: day})
		<-time.After(firstSweep + sweepEvery/2)
		synctest.Wait()
		if _, _, batches := s.left(); batches != 5 {
			t.Errorf("%d batches, want one of each kind", batches)
		}
		if got := strings.Count(log.String(), "the disk is full"); got != 5 || testutil.ToFloat64(metrics.swept) != 0 {
			t.Errorf("%d log lines, swept %v", got, testutil.ToFloat64(metrics.swept))
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		<-time.After(sweepEvery)
		synctest.Wait()
		if calls, journal, _ := s.left(); calls != 0 || journal != 0 || testutil.ToFloat64(metrics.swept) == 0 {
			t.Errorf("%d calls, %d callbacks left", calls, journal)
		}
	})
}

// A store that hangs holds neither the sweep nor the stop.
func TestAHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{calls: ages(3, 91*day), hang: true}
		_, log := running(t, Config{Store: s, Calls: day})
		<-time.After(firstSweep + batchTimeout + time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), errBatchTimeout.Error()) {
			t.Errorf("log %q", log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{calls: ages(3, 91*day), hang: true}
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		var done sync.WaitGroup
		done.Go(func() {
			New(Config{Store: s, Calls: day, Log: slog.New(slog.NewTextHandler(&log, nil))}).Run(ctx)
		})
		<-time.After(firstSweep + time.Second)
		cancel()
		done.Wait()
		if log.Len() != 0 {
			t.Errorf("a stop is no error: %s", log.String())
		}
	})
}
