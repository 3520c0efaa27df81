package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

// nodesName is the measurement of one and three nodes on PostgreSQL beside one on SQLite.
const nodesName = "nodes"

// nodeCallers is how many calls are under way at once when the rate of nodes is to be found:
// enough to keep all of them busy, and too few for any to be refused.
const nodeCallers = 128

// nodesFigure is what one set of nodes did in one round.
type nodesFigure struct {
	full, steady figure
	used         usage // by the calls of full
}

// usage is what PostgreSQL did for so many calls.
type usage struct {
	calls, commits, walBytes, rows float64
}

func (u usage) String() string {
	if u.calls == 0 {
		return ""
	}
	return fmt.Sprintf("each call: %.2f commits, %.1f KB of log, %.1f rows written", u.commits/u.calls, u.walBytes/u.calls/1000, u.rows/u.calls)
}

// measureNodes compares databases and numbers of nodes. All nodes, PostgreSQL, load generator
// and provider share the machine, so that more nodes are never quicker here: what they cost is
// what can be seen.
func measureNodes(ctx context.Context, set settings) (err error) {
	db, err := testpg.New("shared_buffers=256MB", "max_wal_size=2GB", "wal_compression=on")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	names := []string{"SQLite, 1 node", "PostgreSQL, 1 node", "PostgreSQL, 3 nodes"}
	results := map[string][]nodesFigure{}
	var trips, commits []float64
	for round := range set.rounds {
		for i := range names {
			n := (i + round) % len(names)
			f, err := measureSet(ctx, set, db, []int{0, 1, 3}[n])
			if err != nil {
				return fmt.Errorf("%s: %w", names[n], err)
			}
			results[names[n]] = append(results[names[n]], f)
			fmt.Fprintf(os.Stderr, "  round %d: %-22s %s | at 1,000/s %s | %s\n", round+1, names[n], f.full, f.steady, f.used)
		}
		for _, bare := range []struct {
			query string
			all   *[]float64
		}{{`SELECT 1`, &trips}, {`INSERT INTO bare (row) VALUES (repeat('x', 300))`, &commits}} {
			rate, err := bareQueries(ctx, set, db, bare.query)
			if err != nil {
				return err
			}
			*bare.all = append(*bare.all, rate)
			fmt.Fprintf(os.Stderr, "  round %d: bare PostgreSQL, 64 connections: %.0f/s of %s\n", round+1, rate, bare.query)
		}
	}
	printNodes(os.Stdout, names, results, trips, commits)
	return nil
}

// measureSet starts so many nodes on a fresh PostgreSQL database, or one on SQLite, and
// measures them.
func measureSet(ctx context.Context, set settings, db *testpg.Server, nodes int) (f nodesFigure, err error) {
	fake, err := newProvider()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, fake.close()) }()
	if set.folder, err = os.MkdirTemp(set.folder, "nodes-"); err != nil {
		return f, err
	}
	url := ""
	if nodes > 0 {
		if url, err = freshDatabase(ctx, db); err != nil {
			return f, err
		}
	}
	first, stop, err := startNodes(ctx, set, fake, url, nodes)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var before, after usage
	if before, err = used(ctx, url); err != nil {
		return f, err
	}
	var calls atomic.Int64
	first.placed = &calls
	if f.full, err = measureCalls(0, nodeCallers)(ctx, set, first, fake); err != nil {
		return f, err
	}
	if after, err = used(ctx, url); err != nil {
		return f, err
	}
	f.used = usage{float64(calls.Load()), after.commits - before.commits, after.walBytes - before.walBytes, after.rows - before.rows}
	f.steady, err = measureAnswer(ctx, set, first, fake)
	return f, err
}

// startNodes starts nodes that a load balancer would ask in turn. 0 is one node on SQLite.
func startNodes(ctx context.Context, set settings, fake *provider, url string, nodes int) (first *server, stop func() error, err error) {
	base, err := configuration(set, fake)
	if err != nil {
		return nil, nil, err
	}
	base.Database.URL = planet.Secret(url)
	var others []func() error
	stop = func() error {
		var errs []error
		for _, other := range others {
			errs = append(errs, other())
		}
		return errors.Join(errs...)
	}
	first, err = startConfigured(ctx, set, base, fake)
	if err != nil {
		return nil, nil, err
	}
	others = append(others, first.stop)
	first.urls = []string{first.url}
	for n := 1; n < nodes; n++ {
		c := base
		c.Node = fmt.Sprintf("node-%d", n+1)
		a, end, err := startApp(ctx, c)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		others = append(others, end)
		first.urls = append(first.urls, a.PublicURL())
	}
	return first, stop, nil
}

// startApp runs a server of its own until the function that is returned ends it.
func startApp(ctx context.Context, c config.Config) (*app.App, func() error, error) {
	a, err := app.New(ctx, c, slog.New(slog.NewJSONHandler(io.Discard, nil)), "bench")
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- a.Run(running) }()
	return a, func() error { cancel(); return <-done }, nil
}

var databases atomic.Int64

func freshDatabase(ctx context.Context, db *testpg.Server) (string, error) {
	conn, err := pgx.Connect(ctx, db.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	name := fmt.Sprintf("bench%d", databases.Add(1))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	return db.URL(name), err
}

// used is what PostgreSQL has done in a database so far; nothing if there is none. Its own
// counters come a second late.
func used(ctx context.Context, url string) (u usage, err error) {
	if url == "" {
		return u, nil
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return u, err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, `SELECT pg_sleep(1.5)`)
	if err != nil {
		return u, err
	}
	err = conn.QueryRow(ctx, `SELECT xact_commit, (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8, tup_inserted + tup_updated + tup_deleted
		FROM pg_stat_database WHERE datname = current_database()`).Scan(&u.commits, &u.walBytes, &u.rows)
	return u, err
}

// bareQueries is how many statements 64 connections get answered, each a transaction.
func bareQueries(ctx context.Context, set settings, db *testpg.Server, query string) (float64, error) {
	const connections = 64
	url, err := freshDatabase(ctx, db)
	if err != nil {
		return 0, err
	}
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, url); err != nil {
			return 0, err
		}
		defer func() { _ = conns[i].Close(ctx) }()
	}
	if _, err := conns[0].Exec(ctx, `CREATE TABLE bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, row TEXT)`); err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var failed error
	rate, _, err := closedLoop(ctx, connections, set.length, func(worker, _ int) error {
		_, err := conns[worker].Exec(ctx, query)
		if err != nil {
			mu.Lock()
			failed = err
			mu.Unlock()
		}
		return err
	})
	return rate, errors.Join(err, failed)
}

// printNodes writes each set's median by rate.
func printNodes(out io.Writer, names []string, results map[string][]nodesFigure, trips, commits []float64) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out)
	fmt.Fprintln(w, "nodes\tcalls/s\tat 1,000/s: answer p50\tp99\tpush p50\tp99\tcommits a call\tlog a call\trows a call\t")
	for _, name := range names {
		full, steady := newResults(), newResults()
		for _, f := range results[name] {
			full.add(name, f.full)
			steady.add(name, f.steady)
		}
		u := results[name][0].used
		cost := "-\t-\t-"
		if u.commits > 0 {
			cost = fmt.Sprintf("%.2f\t%.1f KB\t%.1f", u.commits/u.calls, u.walBytes/u.calls/1000, u.rows/u.calls)
		}
		s := steady.median(name)
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t\n", name, full.median(name).perSecond,
			round(s.answer.p50), round(s.answer.p99), round(s.push.p50), round(s.push.p99), cost)
	}
	fmt.Fprintf(w, "bare PostgreSQL\t%.0f round trips/s, %.0f one-row commits/s, 64 connections\t\n", middle(trips), middle(commits))
	if err := w.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}

func middle(all []float64) float64 {
	r := newResults()
	for _, v := range all {
		r.add("", figure{perSecond: v})
	}
	return r.median("").perSecond
}
