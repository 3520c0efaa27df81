// Package datamove copies all data of a SQLite database into an empty PostgreSQL one.
//
// It copies table by table, along the primary key, some thousand rows in a transaction. How
// far it is stands in the target itself, in a table of its own, and is written in the
// transaction of the rows: whatever breaks it off, the next run goes on where this one has
// committed, and no row is copied twice. At the end the rows of both sides are counted and
// summed up, and the table is removed.
//
// Tables and columns are read from both schemas and compared, so that a new one cannot be
// forgotten.
package datamove

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/planet"
)

// defaultBatch bounds a transaction: what is repeated after an interruption, and what is held
// in memory, a few megabytes.
const defaultBatch = 5000

// Phases of a move, for Config.Progress.
const (
	Copying   = "copy"
	Comparing = "compare"
)

// Config says what is moved where.
type Config struct {
	From string        // SQLite file; no server may have it open
	To   planet.Secret // URL of the PostgreSQL database
	// Progress is told after each batch how many of all rows are done. It must be quick.
	Progress func(phase, table string, done, total int64)
	Batch    int // rows of a transaction; 5000 if 0
}

// Moved says what was moved.
type Moved struct {
	Tables []Table
	Before int64 // rows that an earlier run had copied
}

// Table is one table that was moved.
type Table struct {
	Name string
	Rows int64
	Sum  string // of all rows, in any order; the same on both sides
}

// Rows are those of all tables.
func (m Moved) Rows() (n int64) {
	for _, t := range m.Tables {
		n += t.Rows
	}
	return n
}

// Move copies everything and compares it. It refuses, and changes nothing, when a server has
// either database open, when the two schemas differ, and when the target has rows that did
// not come from this source by Move. After any failure, and when ctx ends, it can be called
// again and goes on.
func Move(ctx context.Context, c Config) (_ Moved, err error) {
	if c.Batch == 0 {
		c.Batch = defaultBatch
	}
	held, err := sqlite.Hold(ctx, c.From)
	if err != nil {
		return Moved{}, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	to, err := connect(ctx, c.To)
	if err != nil {
		return Moved{}, err
	}
	// A connection whose context has ended is closed already.
	defer func() { err = errors.Join(err, to.conn.Close(context.WithoutCancel(ctx))) }()
	if err := to.alone(ctx); err != nil {
		return Moved{}, err
	}
	if _, err := postgres.NewMigrations(c.To).Up(ctx); err != nil {
		return Moved{}, err
	}
	m := &move{Config: c, from: source{db: held.DB}, to: to}
	return m.run(ctx)
}

// move is one run.
type move struct {
	Config
	from   source
	to     *target
	tables []*table
	done   int64
	total  int64
}

func (m *move) run(ctx context.Context) (Moved, error) {
	var err error
	if m.tables, err = m.compareSchemas(ctx); err != nil {
		return Moved{}, err
	}
	if err := m.resume(ctx); err != nil {
		return Moved{}, err
	}
	moved := Moved{Before: m.done}
	for _, t := range m.tables {
		if err := m.copyTable(ctx, t); err != nil {
			return Moved{}, fmt.Errorf("copy %s: %w; run the command again to go on", t.name, err)
		}
	}
	if moved.Tables, err = m.compareRows(ctx); err != nil {
		return Moved{}, err
	}
	if err := m.to.unused(ctx); err != nil {
		return Moved{}, err
	}
	return moved, m.finish(ctx)
}

// resume finds out where an earlier run has stopped, and wants the target to have nothing
// but what that one copied.
func (m *move) resume(ctx context.Context) error {
	print, err := m.from.fingerprint(ctx)
	if err != nil {
		return err
	}
	if err := m.to.readProgress(ctx, print, m.tables); err != nil {
		return err
	}
	for _, t := range m.tables {
		have, err := m.to.count(ctx, t)
		if err != nil {
			return err
		}
		if have != t.copied {
			return fmt.Errorf("the PostgreSQL database has %d rows in %s, of which this command copied %d: the target must be a database that nothing else has written to. Name an empty one", have, t.name, t.copied)
		}
		if t.rows, err = m.from.count(ctx, t); err != nil {
			return err
		}
		m.done += t.copied
		m.total += t.rows
	}
	return nil
}

const freeLeases = `WITH untold AS (UPDATE tellings SET lease_owner = '', due = 0 WHERE state = 'waiting' AND lease_owner <> '')
	UPDATE deliveries SET lease_owner = CASE channel WHEN 'longpoll' THEN '' ELSE lease_owner END,
		lease_until = CASE channel WHEN 'longpoll' THEN deadline ELSE 0 END WHERE state IN ('pending', 'sending') AND lease_owner <> ''`

// finish makes the target ready for a server.
func (m *move) finish(ctx context.Context) error {
	last, err := m.from.lastKeys(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, m.to.conn, func(tx pgx.Tx) error {
		for _, t := range m.tables {
			if err := setSequences(ctx, tx, t, last[t.name]); err != nil {
				return err
			}
		}
		// Who held something of the source is no node, and ended with it: a call that was ringing
		// goes on at once.
		if _, err := tx.Exec(ctx, freeLeases); err != nil {
			return err
		}
		// Triggers have written into one of them for each device.
		_, err := tx.Exec(ctx, `TRUNCATE device_changes; DROP TABLE `+progressTable)
		return err
	})
	if err != nil {
		return fmt.Errorf("finish the PostgreSQL database: %w; run the command again", err)
	}
	// Without figures PostgreSQL would plan for empty tables.
	if _, err := m.to.conn.Exec(ctx, `ANALYZE`); err != nil {
		return fmt.Errorf("all data is moved; let PostgreSQL count it with ANALYZE, which failed now: %w", err)
	}
	return nil
}
