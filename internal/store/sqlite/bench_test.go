package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// callers is how many goroutines write at once in the benchmarks.
const callers = 256

// concurrently runs b.N operations in callers goroutines.
func concurrently(b *testing.B, operation func(n int64) error) {
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := operation(n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkBareGroupCommit is the limit of this machine: the same grouped writer with
// one trivial row for each caller.
func BenchmarkBareGroupCommit(b *testing.B) {
	s := newStore(b)
	if err := s.writer.submit(b.Context(), "prepare", func(l *link) error {
		_, err := l.Exec(`CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("x", 300)
	concurrently(b, func(int64) error {
		return s.writer.submit(context.Background(), "bare", func(l *link) error {
			_, err := l.Exec(`INSERT INTO bare (text) VALUES (?)`, text)
			return err
		})
	})
}

func benchCall(n int64) (bell.Call, []bell.Delivery, []planet.RawParam) {
	now := time.Now()
	c := bell.Call{
		Environment: planet.Evaluation, SessionID: planet.SessionID(uuid.NewString()), Project: "bench", Label: "evaluation",
		Caller: planet.UserRef{ServiceID: "service", UserID: fmt.Sprintf("caller-%d", n%5000)},
		Callee: planet.UserRef{ServiceID: "service", UserID: fmt.Sprintf("callee-%d", n%5000)},
		Type:   planet.AudioCall, CCParam: planet.CCParam(strings.Repeat(testlog.CCParam(int(n)), 10)),
		NotifiedAt: now, Deadline: now.Add(30 * time.Second),
	}
	d := bell.Delivery{
		ID: uuid.Must(uuid.NewV7()).String(), DeviceID: uuid.Must(uuid.NewV7()).String(), Channel: bell.APNsVoIP,
		State: bell.DeliveryPending, Deadline: c.Deadline, LeaseOwner: "bench", LeaseUntil: now.Add(5 * time.Second),
		CreatedAt: now, UpdatedAt: now,
	}
	raw := []planet.RawParam{
		{Name: "sid", Value: string(c.SessionID)},
		{Name: "from_user_id", Value: c.Caller.UserID},
		{Name: "from_service_id", Value: "service"},
		{Name: "to_user_id", Value: c.Callee.UserID},
		{Name: "to_service_id", Value: "service"},
		{Name: "type", Value: "A"},
	}
	return c, []bell.Delivery{d}, raw
}

// BenchmarkBeginCall records calls with one delivery each.
func BenchmarkBeginCall(b *testing.B) {
	s := newStore(b)
	concurrently(b, func(n int64) error {
		c, deliveries, raw := benchCall(n)
		_, err := s.BeginCall(context.Background(), c, deliveries, raw)
		return err
	})
}

// BenchmarkRecordAttempt records the accepted first attempt of a delivery.
func BenchmarkRecordAttempt(b *testing.B) {
	s := newStore(b)
	pending := make(chan bell.Delivery, b.N)
	concurrently(b, func(n int64) error { // not measured: see ResetTimer below
		c, deliveries, raw := benchCall(n)
		_, err := s.BeginCall(context.Background(), c, deliveries, raw)
		pending <- deliveries[0]
		return err
	})
	concurrently(b, func(int64) error {
		d := <-pending
		d.State, d.Attempts, d.UpdatedAt = bell.DeliveryAccepted, 1, time.Now()
		return s.RecordAttempt(context.Background(), d, bell.Attempt{
			DeliveryID: d.ID, Number: 1, StartedAt: d.CreatedAt, Took: 12 * time.Millisecond,
			Outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep, ProviderID: d.ID},
		})
	})
}

// BenchmarkEndCall ends calls that ring: it erases cc_param and withdraws a delivery.
func BenchmarkEndCall(b *testing.B) {
	s := newStore(b)
	ringing := make(chan bell.Call, b.N)
	concurrently(b, func(n int64) error {
		c, deliveries, raw := benchCall(n)
		_, err := s.BeginCall(context.Background(), c, deliveries, raw)
		ringing <- c
		return err
	})
	concurrently(b, func(int64) error {
		c := <-ringing
		c.Outcome, c.EndedAt = planet.OutcomeCompleted, time.Now()
		return s.EndCall(context.Background(), c, bell.JournalEntry{
			ReceivedAt: c.EndedAt, Kind: "call-event", SessionID: c.SessionID, DedupKey: string(c.SessionID),
		})
	})
}

// BenchmarkSweep is what happens every second beside the calls, with many devices that
// have not yet asked for their call: nothing to claim, nothing to expire.
func BenchmarkSweep(b *testing.B) {
	const waiting = 40_000
	s := newStore(b)
	now := time.Now()
	for begun := 0; begun < waiting; {
		c, deliveries, raw := benchCall(int64(begun))
		template := deliveries[0]
		deliveries = nil
		for range 500 {
			d := template
			d.ID, d.LeaseUntil = uuid.Must(uuid.NewV7()).String(), c.Deadline
			deliveries = append(deliveries, d)
		}
		if _, err := s.BeginCall(b.Context(), c, deliveries, raw); err != nil {
			b.Fatal(err)
		}
		begun += len(deliveries)
	}
	b.ResetTimer()
	for b.Loop() {
		if n, err := s.ExpireDeliveries(b.Context(), now); err != nil || n != 0 {
			b.Fatal(n, err)
		}
		rings, err := s.ClaimDeliveries(b.Context(), delivery.Claim{Owner: "b", Now: now, LeaseUntil: now, Limit: 100})
		if err != nil || len(rings) != 0 {
			b.Fatal(len(rings), err)
		}
	}
}
