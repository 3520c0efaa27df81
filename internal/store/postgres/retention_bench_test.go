package postgres

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testpg"
)

// These compare two ways to be rid of old calls: batches, which the store deletes, and
// partitions by day, which would be dropped. What came out is in DESIGN.md. Run each once:
//
//	go test -run '^$' -bench 'Forget|Partitions' -benchtime 1x ./internal/store/postgres/

// oldCalls fills the tables with calls of ten days ago, with three deliveries for two calls and
// an attempt each.
const oldCalls = `INSERT INTO calls (id, environment, session_id, at, project, label, caller_service, caller_user,
		callee_service, callee_user, type, app_server_data, stid, state, outcome, notified_at, ended_at, raw)
	SELECT -n, 'real', md5(n::text), %[1]d + n, 'bench', 'real', 'service', 'caller-' || n %% 5000, 'service', 'callee-' || n %% 5000, 'A', '', '',
		'ended', 'completed', %[1]d + n, %[1]d + n, repeat('x', 300) FROM generate_series(1, %[2]d) AS n;
INSERT INTO deliveries (id, call_id, device_id, channel, state, reason, attempts, deadline, lease_owner, lease_until, created_at, updated_at)
	SELECT md5(n::text), -(n * 2 + 2) / 3, '', 'fcm', 'accepted', '', 1, %[1]d, '', 0, %[1]d, %[1]d FROM generate_series(1, %[2]d * 3 / 2) AS n;
INSERT INTO attempts (delivery_id, number, started_at, took_us, verdict, reason, status, token, alarm, retry_after_us, dead_since, provider_id, detail)
	SELECT id, 1, created_at, 20000, 'accepted', '', 200, 'keep', '', 0, 0, id, '' FROM deliveries WHERE device_id = '';
ANALYZE; CHECKPOINT`

// rateOfCalls begins calls at a steady rate, whether or not the earlier ones are answered,
// until stop, and returns how long each took.
func rateOfCalls(b *testing.B, s *Store, perSecond int, stop <-chan struct{}) []time.Duration {
	b.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var work sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for n := int64(0); ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			work.Wait()
			slices.Sort(took)
			return took
		}
		work.Go(func() {
			c, deliveries, raw := benchCall(n)
			start := time.Now()
			if _, err := s.BeginCall(context.Background(), c, deliveries, raw); err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
		})
	}
}

// ringWhile begins 200 calls a second while it runs something, and reports on both.
func ringWhile(b *testing.B, s *Store, run func() (rows int)) {
	b.Helper()
	stop := make(chan struct{})
	var rows int
	var worked time.Duration
	go func() {
		defer close(stop)
		start := time.Now()
		rows = run()
		worked = time.Since(start)
	}()
	took := rateOfCalls(b, s, 200, stop)
	<-stop
	if len(took) == 0 {
		return
	}
	at := func(part float64) float64 { return float64(took[int(part*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	if rows > 0 {
		b.ReportMetric(float64(rows)/worked.Seconds(), "calls-removed/s")
	}
	b.ReportMetric(0, "ns/op")
}

// await returns after a time; a bench may wait for the clock.
func await(d time.Duration) { <-time.After(d) }

func forgetAll(b *testing.B, s *Store, most int, pause time.Duration) (rows int) {
	for rows < most {
		n, err := s.ForgetCalls(context.Background(), time.Now().Add(-24*time.Hour), 100)
		if err != nil {
			b.Error(err)
		}
		if n == 0 {
			break
		}
		rows += n
		if pause > 0 {
			await(pause)
		}
	}
	return rows
}

func sizes(b *testing.B, s *Store, when string) {
	b.Helper()
	rows, err := s.writePool.Query(context.Background(), `SELECT relname || ' ' || pg_size_pretty(pg_relation_size(relid)) || ' + indexes '
		|| pg_size_pretty(pg_indexes_size(relid)) || ', live ' || n_live_tup || ', dead ' || n_dead_tup
		FROM pg_stat_user_tables WHERE relname IN ('calls', 'deliveries', 'attempts') ORDER BY relname`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %s", when, line)
	}
}

// BenchmarkForget removes 200,000 calls of ten days ago while calls come in.
func BenchmarkForget(b *testing.B) {
	const records = 200_000
	location := testpg.Start(b, "autovacuum_naptime=5s", "track_counts=on").Database(b)
	s := openStore(b, location)
	b.Run("nothing", func(b *testing.B) {
		ringWhile(b, s, func() int { await(10 * time.Second); return 0 })
	})
	exec(b, location, fmt.Sprintf(oldCalls, time.Now().Add(-10*24*time.Hour).UnixMicro(), records))
	b.Run("kept", func(b *testing.B) {
		ringWhile(b, s, func() int { await(10 * time.Second); return 0 })
	})
	sizes(b, s, "before")
	b.Run("paced", func(b *testing.B) { // as package retention does
		ringWhile(b, s, func() int { return forgetAll(b, s, 10_000, 100*time.Millisecond) })
	})
	b.Run("atOnce", func(b *testing.B) {
		ringWhile(b, s, func() int { return forgetAll(b, s, records, 0) })
	})
	sizes(b, s, "deleted")
	await(15 * time.Second)
	sizes(b, s, "after autovacuum")
	exec(b, location, fmt.Sprintf(strings.NewReplacer("md5(n::text)", "md5(n::text || 'again')", "-n,", "-n - 1000000,", "-(n *", "-1000000 - (n *").Replace(oldCalls), time.Now().Add(-9*24*time.Hour).UnixMicro(), records))
	await(10 * time.Second)
	sizes(b, s, "filled again")
}

// partitions are copies of the three tables in a schema of their own, with a partition for each
// of the last thirty days and for today. A unique index must hold the column that they are
// divided by.
const partitions = `CREATE SCHEMA parts;
CREATE TABLE parts.calls (LIKE public.calls INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE UNIQUE INDEX ON parts.calls (session_id, environment, at);
CREATE INDEX ON parts.calls (at, session_id);
CREATE INDEX ON parts.calls (caller_user, at);
CREATE INDEX ON parts.calls (callee_user, at);
CREATE INDEX ON parts.calls (deadline) WHERE cc_param <> '';
CREATE INDEX ON parts.calls (about, at) WHERE about <> '';
CREATE INDEX ON parts.calls (notified_at) WHERE state = 'ringing';
CREATE INDEX ON parts.calls (missed_at) WHERE missed_at <> 0;
CREATE INDEX ON parts.calls (outcome, at, session_id) WHERE outcome <> '';
CREATE TABLE parts.deliveries (LIKE public.deliveries, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE INDEX ON parts.deliveries (call_id);
CREATE INDEX ON parts.deliveries (deadline) WHERE state IN ('pending', 'sending');
CREATE INDEX ON parts.deliveries (lease_until) WHERE state IN ('pending', 'sending');
CREATE INDEX ON parts.deliveries (updated_at, id) WHERE channel = 'longpoll' AND state = 'pending' AND lease_owner = '';
CREATE INDEX ON parts.deliveries (device_id) WHERE channel = 'longpoll' AND state = 'pending' AND lease_owner = '';
CREATE INDEX ON parts.deliveries (lease_owner) WHERE state IN ('pending', 'sending') AND lease_owner <> '';
CREATE TABLE parts.attempts (LIKE public.attempts, PRIMARY KEY (delivery_id, number, started_at)) PARTITION BY RANGE (started_at);
DO $$ DECLARE name text; start bigint; BEGIN
	FOR day IN 0..30 LOOP
		start := (extract(epoch FROM now())::bigint / 86400 - day) * 86400000000;
		FOREACH name IN ARRAY ARRAY['calls', 'deliveries', 'attempts'] LOOP
			EXECUTE format('CREATE TABLE parts.%I PARTITION OF parts.%I FOR VALUES FROM (%s) TO (%s)', name || day, name, start, start + 86400000000);
		END LOOP;
	END LOOP; END $$;
`

// BenchmarkPartitions begins calls and records their attempts in the tables as they are and in
// partitioned ones, in turns, and drops a day of 200,000 calls while calls come in.
func BenchmarkPartitions(b *testing.B) {
	location := testpg.Start(b).Database(b)
	plain := openStore(b, location)
	exec(b, location, partitions)
	parted := openStore(b, location+"&search_path=parts,public")
	for round := range 2 {
		for _, kind := range []struct {
			name string
			s    *Store
		}{{"plain", plain}, {"parts", parted}} {
			b.Run(fmt.Sprint(kind.name, "/calls", round), func(b *testing.B) { insertRate(b, kind.s, 6*time.Second, false) })
			b.Run(fmt.Sprint(kind.name, "/attempts", round), func(b *testing.B) { insertRate(b, kind.s, 6*time.Second, true) })
		}
	}
	exec(b, location, `SET search_path = parts; `+fmt.Sprintf(oldCalls, time.Now().Add(-10*24*time.Hour).UnixMicro(), 200_000))
	b.Run("drop", func(b *testing.B) {
		ringWhile(b, parted, func() int {
			await(2 * time.Second)
			exec(b, location, `DROP TABLE parts.attempts10; DROP TABLE parts.deliveries10; DROP TABLE parts.calls10`)
			await(2 * time.Second)
			return 0
		})
	})
}

// insertRate reports how many calls a second 16 callers begin, with an attempt each if wanted.
func insertRate(b *testing.B, s *Store, d time.Duration, attempts bool) {
	b.Helper()
	var calls atomic.Int64
	end := time.Now().Add(d)
	start := time.Now()
	together(16, func(i int) {
		for time.Now().Before(end) {
			c, deliveries, raw := benchCall(int64(i))
			if _, err := s.BeginCall(context.Background(), c, deliveries, raw); err != nil {
				b.Error(err)
				return
			}
			calls.Add(1)
			if !attempts {
				continue
			}
			one := deliveries[0]
			one.State, one.Attempts, one.LeaseOwner = bell.DeliveryAccepted, 1, ""
			err := s.RecordAttempt(context.Background(), one, bell.Attempt{DeliveryID: one.ID, Number: 1, StartedAt: time.Now(), Outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200}})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(calls.Load())/time.Since(start).Seconds(), "calls/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOwnerIndex is what the index costs that finds what a dead node holds: of processor
// time and of the write-ahead log, for each delivery that is recorded and then accepted. In
// time of day it cannot be seen.
func BenchmarkOwnerIndex(b *testing.B) {
	location := testpg.Start(b, "autovacuum=off").Database(b)
	openStore(b, location)
	const rows = 40_000
	statements := []string{
		fmt.Sprintf(`INSERT INTO deliveries (id, call_id, device_id, channel, state, reason, attempts, deadline, lease_owner, lease_until, created_at, updated_at)
			SELECT gen_random_uuid()::text, n, '', 'fcm', 'pending', '', 0, n, 'host-' || n %% 3 || '-0192f7d0', n, n, n FROM generate_series(1, %[1]d) AS n`, rows),
		`UPDATE deliveries SET state = 'accepted', lease_owner = '', lease_until = 0`,
		`TRUNCATE deliveries`,
	}
	for round := range 4 {
		exec(b, location, `CREATE INDEX IF NOT EXISTS deliveries_owner ON deliveries (lease_owner) WHERE state IN ('pending', 'sending') AND lease_owner <> ''`)
		for _, name := range []string{"with", "without"} {
			b.Run(fmt.Sprint(name, round), func(b *testing.B) {
				conn, err := pgx.Connect(b.Context(), location)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close(context.Background())
				var cpu, wal [2]float64
				for i := range 2 {
					cpu[i] = processorTime(b, conn)
					if err := conn.QueryRow(b.Context(), `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`).Scan(&wal[i]); err != nil {
						b.Fatal(err)
					}
					if i == 1 {
						break
					}
					for _, text := range statements {
						if _, err := conn.Exec(b.Context(), text); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric((cpu[1]-cpu[0])*1e6/rows, "cpu-µs/delivery")
				b.ReportMetric((wal[1]-wal[0])/rows, "wal-B/delivery")
				b.ReportMetric(0, "ns/op")
			})
			exec(b, location, `DROP INDEX IF EXISTS deliveries_owner`)
		}
	}
}

// processorTime is what the server's process of a connection has used, in seconds.
func processorTime(b *testing.B, conn *pgx.Conn) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", conn.PgConn().PID()))
	if err != nil {
		b.Skip(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks float64
	for _, field := range fields[11:13] { // user and system, a hundredth of a second each
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100
}
