package sqlite

import (
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
)

// eventRows are events, ready to be inserted into a transaction.
type eventRows [][]any

// newEventRows copies the events before the writer's turn.
func newEventRows(events []bell.Event) eventRows {
	var rows eventRows
	for _, e := range events {
		rows = append(rows, []any{e.ID, string(e.Type), e.Project, e.Subject, micros(e.At), string(e.Data)})
	}
	return rows
}

// insert drops an event that is known by its ID.
func (rows eventRows) insert(l *link) error {
	for _, row := range rows {
		_, err := l.exec(`INSERT INTO events (id, type, project, subject, at, data)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, row...)
		if err != nil {
			return fmt.Errorf("record an event for the customer's systems: %w", err)
		}
	}
	return nil
}
