package datamove

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// compareSchemas wants both databases to have the same tables with the same columns, of
// types that go together, and returns the tables in the order of their names.
func (m *move) compareSchemas(ctx context.Context) ([]*table, error) {
	from, err := m.from.tables(ctx)
	if err != nil {
		return nil, err
	}
	to, err := m.to.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range passing {
		delete(from, name)
		delete(to, name)
	}
	var wrong []error
	for name := range to {
		if from[name] == nil {
			wrong = append(wrong, fmt.Errorf("only PostgreSQL has the table %s", name))
		}
	}
	for name, t := range from {
		if to[name] == nil {
			wrong = append(wrong, fmt.Errorf("only SQLite has the table %s", name))
			continue
		}
		wrong = append(wrong, t.compare(to[name]))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("the schemas differ, which is a mistake of this program, or of who changed one by hand: %w", err)
	}
	return slices.SortedFunc(maps.Values(from), func(a, b *table) int {
		if a.name < b.name {
			return -1
		}
		return 1
	}), nil
}

// compare holds the target's columns, name to type, against those of the source.
func (t *table) compare(types map[string]string) error {
	var wrong []error
	if len(t.key) == 0 {
		wrong = append(wrong, fmt.Errorf("%s has no primary key to copy along", t.name))
	}
	for i := range t.columns {
		c := &t.columns[i]
		kind, ok := types[c.name]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Errorf("only SQLite has the column %s.%s", t.name, c.name))
		case c.kind == integer && kind == "boolean":
			c.flag = true
		case c.kind == integer && (kind == "bigint" || kind == "integer" || kind == "smallint"), c.kind == text && kind == "text":
		default:
			wrong = append(wrong, fmt.Errorf("%s.%s is %s in SQLite and %s in PostgreSQL", t.name, c.name, c.kind, kind))
		}
	}
	for name := range types {
		if !slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name }) {
			wrong = append(wrong, fmt.Errorf("only PostgreSQL has the column %s.%s", t.name, name))
		}
	}
	return errors.Join(wrong...)
}

// copyTable copies what is not copied yet.
func (m *move) copyTable(ctx context.Context, t *table) error {
	for {
		batch, err := m.from.batch(ctx, t, m.Batch)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := m.to.write(ctx, t, batch); err != nil {
			return err
		}
		m.done += int64(len(batch))
		m.Progress(Copying, t.name, m.done, m.total)
		if len(batch) < m.Batch {
			return nil
		}
	}
}

// compareRows reads all rows of both databases, counts them and sums them up.
func (m *move) compareRows(ctx context.Context) ([]Table, error) {
	var tables []Table
	var wrong []error
	m.done = 0
	for _, t := range m.tables {
		here, there := newSum(), newSum()
		if err := m.from.each(ctx, t, `SELECT `+t.names()+` FROM "`+t.name+`"`, m.counted(t, here)); err != nil {
			return nil, fmt.Errorf("compare %s: %w", t.name, err)
		}
		if err := m.to.each(ctx, t, m.counted(t, there)); err != nil {
			return nil, fmt.Errorf("compare %s: %w; run the command again", t.name, err)
		}
		if here.rows != there.rows || here.text() != there.text() {
			wrong = append(wrong, fmt.Errorf("%s: %d rows with the sum %.16s in SQLite, %d with %.16s in PostgreSQL",
				t.name, here.rows, here.text(), there.rows, there.text()))
		}
		tables = append(tables, Table{Name: t.name, Rows: here.rows, Sum: here.text()})
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("the two databases differ: a server has written to one of them since the move began. Begin anew with an empty PostgreSQL database: %w", err)
	}
	return tables, nil
}

// counted sums up rows and shows the progress, of both sides together.
func (m *move) counted(t *table, s *sum) func([]any) error {
	return func(row []any) error {
		m.done++
		if m.done%int64(m.Batch) == 0 {
			m.Progress(Comparing, t.name, m.done, 2*m.total)
		}
		return s.add(row)
	}
}
