package datamove

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// table is a table of both databases.
type table struct {
	name    string
	columns []column
	key     []int // the primary key: places in columns

	rows   int64 // in the source
	copied int64 // of them, committed in the target
	after  []any // key of the last row that was copied
}

// column is a column of a table.
type column struct {
	name string
	kind kind
	flag bool // the target keeps 0 and 1 as false and true
}

// kind is what a column holds.
type kind string

// The kinds of our tables.
const (
	text    kind = "text"
	integer kind = "integer"
)

// names of the columns, quoted for both databases.
func (t *table) names() string {
	quoted := make([]string, len(t.columns))
	for i, c := range t.columns {
		quoted[i] = `"` + c.name + `"`
	}
	return strings.Join(quoted, ", ")
}

// source is the SQLite database. Its methods are bounded by the context that opened it, not
// by theirs: an interrupted statement would end the transaction.
type source struct{ db *sql.DB }

// passing are tables whose rows mean nothing in another database, and that need not be in
// both: what the schema is, which nodes run now, and what they have to tell one another.
var passing = []string{"goose_db_version", "schema_release", "nodes", "device_changes"}

// tables reads all tables with their columns and keys.
func (s source) tables(ctx context.Context) (map[string]*table, error) {
	rows, err := s.db.QueryContext(context.WithoutCancel(ctx), `SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name, c.cid`)
	if err != nil {
		return nil, fmt.Errorf("read the SQLite schema: %w", err)
	}
	all, keys := map[string]*table{}, map[string]map[int]int{}
	for rows.Next() {
		var name, label, typeName string
		var place int
		if err := rows.Scan(&name, &label, &typeName, &place); err != nil {
			return nil, errors.Join(fmt.Errorf("read the SQLite schema: %w", err), rows.Close())
		}
		if all[name] == nil {
			all[name], keys[name] = &table{name: name}, map[int]int{}
		}
		t := all[name]
		if place > 0 {
			keys[name][place] = len(t.columns)
		}
		t.columns = append(t.columns, column{name: label, kind: kind(strings.ToLower(typeName))})
	}
	for name, t := range all {
		for place := range len(keys[name]) {
			t.key = append(t.key, keys[name][place+1])
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("read the SQLite schema: %w", err)
	}
	return all, nil
}

// fingerprint tells one database from another: by when its schema was made.
func (s source) fingerprint(ctx context.Context) (string, error) {
	var made string
	err := s.db.QueryRowContext(context.WithoutCancel(ctx),
		`SELECT group_concat(version_id || ' ' || tstamp ORDER BY id) FROM goose_db_version`).Scan(&made)
	if err != nil {
		return "", fmt.Errorf("read the schema's history: %w", err)
	}
	sum := sha256.Sum256([]byte(made))
	return hex.EncodeToString(sum[:8]), nil
}

func (s source) count(ctx context.Context, t *table) (n int64, err error) {
	if err := s.db.QueryRowContext(context.WithoutCancel(ctx), `SELECT count(*) FROM "`+t.name+`"`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", t.name, err)
	}
	return n, nil
}

// lastKeys are the largest keys that SQLite has given in each table whose keys it never gives
// again, by table.
func (s source) lastKeys(ctx context.Context) (map[string]int64, error) {
	rows, err := s.db.QueryContext(context.WithoutCancel(ctx), `SELECT name, seq FROM sqlite_sequence`)
	if err != nil {
		return nil, fmt.Errorf("read the last keys: %w", err)
	}
	last := map[string]int64{}
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, errors.Join(fmt.Errorf("read the last keys: %w", err), rows.Close())
		}
		last[name] = n
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("read the last keys: %w", err)
	}
	return last, nil
}

// batch reads the next rows after the last that was copied, in the order of the key.
func (s source) batch(ctx context.Context, t *table, limit int) ([][]any, error) {
	var names, marks []string
	for _, i := range t.key {
		names, marks = append(names, `"`+t.columns[i].name+`"`), append(marks, "?")
	}
	key := strings.Join(names, ", ")
	query := `SELECT ` + t.names() + ` FROM "` + t.name + `"`
	if t.after != nil {
		query += ` WHERE (` + key + `) > (` + strings.Join(marks, ", ") + `)`
	}
	query += ` ORDER BY ` + key + fmt.Sprintf(` LIMIT %d`, limit)
	var batch [][]any
	err := s.each(ctx, t, query, func(row []any) error {
		batch = append(batch, append([]any(nil), row...))
		return nil
	}, t.after...)
	return batch, err
}

// each reads rows of all columns of a table. The slice is used again for the next row.
func (s source) each(ctx context.Context, t *table, query string, take func([]any) error, args ...any) (err error) {
	rows, err := s.db.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return fmt.Errorf("read the SQLite database: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row, into := make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read the SQLite database: %w", err)
		}
		if err := t.check(row); err != nil {
			return err
		}
		if err := take(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the SQLite database: %w", err)
	}
	return nil
}
