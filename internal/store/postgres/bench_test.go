package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

// concurrently runs b.N operations at 1, 8 and 64 callers, each on a database whose commits
// are on disk.
func concurrently(b *testing.B, prepare func(b *testing.B, s *Store) func(n int64) error) {
	server := testpg.Start(b)
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := openStore(b, server.Database(b))
			operation := prepare(b, s)
			b.ReportAllocs()
			b.ResetTimer()
			runAll(b, callers, int64(b.N), operation)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// runAll runs an operation n times, so many at once.
func runAll(b *testing.B, callers int, n int64, operation func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	for range callers {
		work.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if err := operation(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
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
		ID: uuid.Must(uuid.NewV7()).String(), Environment: c.Environment, SessionID: c.SessionID,
		DeviceID: uuid.Must(uuid.NewV7()).String(), Channel: bell.APNsVoIP,
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

// ringing records b.N calls.
func ringing(b *testing.B, s *Store) (chan bell.Call, chan bell.Delivery) {
	b.Helper()
	calls, deliveries := make(chan bell.Call, b.N), make(chan bell.Delivery, b.N)
	runAll(b, 64, int64(b.N), func(n int64) error {
		c, ds, raw := benchCall(n)
		_, err := s.BeginCall(context.Background(), c, ds, raw)
		calls <- c
		deliveries <- ds[0]
		return err
	})
	return calls, deliveries
}

// BenchmarkBare is what this machine and PostgreSQL allow: round trips without work, commits of
// one row, and rows that share a commit with 99 others.
func BenchmarkBare(b *testing.B) {
	text := strings.Repeat("x", 300)
	for name, operation := range map[string]func(*pgxpool.Pool) error{
		"RoundTrip": func(p *pgxpool.Pool) error {
			_, err := p.Exec(context.Background(), `SELECT 1`)
			return err
		},
		"Commit": func(p *pgxpool.Pool) error {
			_, err := p.Exec(context.Background(), `INSERT INTO bare (text) VALUES ($1)`, text)
			return err
		},
		"Batch100": func(p *pgxpool.Pool) error {
			var batch pgx.Batch
			for range 100 {
				batch.Queue(`INSERT INTO bare (text) VALUES ($1)`, text)
			}
			return p.SendBatch(context.Background(), &batch).Close()
		},
	} {
		b.Run(name, func(b *testing.B) {
			concurrently(b, func(b *testing.B, s *Store) func(int64) error {
				config := s.writePool.Config()
				config.MaxConns = 64
				pool, err := pgxpool.NewWithConfig(b.Context(), config)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(pool.Close)
				if _, err := pool.Exec(b.Context(), `CREATE TABLE IF NOT EXISTS bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT)`); err != nil {
					b.Fatal(err)
				}
				return func(int64) error { return operation(pool) }
			})
		})
	}
}

// BenchmarkBeginCall records calls with one delivery each.
func BenchmarkBeginCall(b *testing.B) {
	concurrently(b, func(_ *testing.B, s *Store) func(int64) error {
		return func(n int64) error {
			c, deliveries, raw := benchCall(n)
			_, err := s.BeginCall(context.Background(), c, deliveries, raw)
			return err
		}
	})
}

// BenchmarkRecordAttempt records the accepted first attempt of a delivery.
func BenchmarkRecordAttempt(b *testing.B) {
	concurrently(b, func(b *testing.B, s *Store) func(int64) error {
		_, pending := ringing(b, s)
		return func(int64) error {
			d := <-pending
			d.State, d.Attempts, d.UpdatedAt = bell.DeliveryAccepted, 1, time.Now()
			return s.RecordAttempt(context.Background(), d, bell.Attempt{
				DeliveryID: d.ID, Number: 1, StartedAt: d.CreatedAt, Took: 12 * time.Millisecond,
				Outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep, ProviderID: d.ID},
			})
		}
	})
}

// BenchmarkEndCall ends calls that ring: it erases cc_param and withdraws a delivery.
func BenchmarkEndCall(b *testing.B) {
	for name, wanted := range map[string]bell.EventSet{"Quiet": 0, "Told": bell.Events(bell.EventTypes()...)} {
		b.Run(name, func(b *testing.B) {
			concurrently(b, func(b *testing.B, s *Store) func(int64) error {
				calls, _ := ringing(b, s)
				return func(int64) error {
					c := <-calls
					c.Outcome, c.EndedAt, c.Wanted = planet.OutcomeCompleted, time.Now(), wanted
					return s.EndCall(context.Background(), c, bell.JournalEntry{
						ReceivedAt: c.EndedAt, Kind: "call-event", SessionID: c.SessionID, DedupKey: string(c.SessionID),
					})
				}
			})
		})
	}
}

// BenchmarkChangeRun is one event in the middle of a run, of 50 rooms with 200 participants.
func BenchmarkChangeRun(b *testing.B) {
	concurrently(b, func(_ *testing.B, s *Store) func(int64) error {
		service := room.New(room.Config{Store: s, Keeper: straight{}})
		project := &bell.Project{Name: "demo", Environment: planet.Evaluation}
		start := time.Now()
		return func(n int64) error { return service.Take(context.Background(), project, roomEvent(n, start)) }
	})
}

func roomEvent(n int64, start time.Time) planet.GroupCallEvent {
	online := 200
	return planet.GroupCallEvent{
		SessionID: planet.SessionID(fmt.Sprintf("%032x", n%50)), Room: planet.RoomRef{ServiceID: "s", RoomID: fmt.Sprint(n % 50)},
		Participant: planet.UserRef{ServiceID: "s", UserID: fmt.Sprint(n / 50 % 200)}, Host: planet.UserRef{ServiceID: "s", UserID: "0"},
		Status: planet.RoomChanged, ParticipantStatus: planet.ParticipantConnected, Online: &online,
		Time: start.Add(time.Duration(n) * time.Millisecond), MediaType: planet.AudioCall, UEType: "IOS",
		Raw: []planet.RawParam{{Name: "sid", Value: "59db2167e13911ea83a8213945545d1c"}, {Name: "ts", Value: fmt.Sprint(n)}},
	}
}

// straight is a backlog of a healthy store.
type straight struct{}

func (straight) Keep(ctx context.Context, _ bell.JournalEntry, write func(context.Context) error) error {
	return write(ctx)
}

// BenchmarkSweep is what happens every second on each node: nothing to claim or to expire.
func BenchmarkSweep(b *testing.B) {
	s := openStore(b, testpg.Start(b).Database(b))
	for b.Loop() {
		if _, err := s.ExpireDeliveries(b.Context(), time.Now()); err != nil {
			b.Fatal(err)
		}
		if _, err := s.ClaimDeliveries(b.Context(), delivery.Claim{Owner: "b", Now: time.Now(), LeaseUntil: time.Now(), Limit: 100}); err != nil {
			b.Fatal(err)
		}
	}
}
