package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/audit"
)

const auditColumns = `id, at, who, role, via, remote, action, object, outcome`

// Audit implements audit.Store.
func (s *Store) Audit(ctx context.Context, e audit.Entry) error {
	return s.Write(ctx, "audit", func(l Tx) error {
		_, err := l.Exec(`INSERT INTO audit (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			e.ID, Micros(e.At), e.Who, string(e.Role), e.Via, e.Remote, e.Action, e.Object, string(e.Outcome))
		if err != nil {
			return fmt.Errorf("write the audit log: %w", err)
		}
		return nil
	})
}

// AuditLog implements audit.Store.
func (s *Store) AuditLog(ctx context.Context, f audit.Filter, before audit.Cursor, limit int) (entries []audit.Entry, err error) {
	query, args := auditQuery(f, before)
	err = s.List(ctx, func(l Tx) error {
		return l.Each(query, func(row Scanner) error {
			var e audit.Entry
			err := row.Scan(&e.ID, At{&e.At}, &e.Who, &e.Role, &e.Via, &e.Remote, &e.Action, &e.Object, &e.Outcome)
			entries = append(entries, e)
			return err
		}, append(args, max(limit, 0))...)
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return entries, nil
}

// auditQuery goes along the index audit_at.
func auditQuery(f audit.Filter, before audit.Cursor) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if !before.At.IsZero() {
		add(`(at, id) < (?, ?)`, Micros(before.At), before.ID)
	}
	if !f.Since.IsZero() {
		add(`at >= ?`, Micros(f.Since))
	}
	if !f.Until.IsZero() {
		add(`at < ?`, Micros(f.Until))
	}
	if f.Who != "" {
		add(`who = ?`, f.Who)
	}
	if f.Outcome != "" {
		add(`outcome = ?`, string(f.Outcome))
	}
	switch {
	case f.Action == "":
	case strings.Contains(f.Action, "."):
		add(`action = ?`, f.Action)
	default: // every verb of a noun: what begins with it and a dot, and a slash follows the dot
		add(`action >= ? AND action < ?`, f.Action+".", f.Action+"/")
	}
	query := `SELECT ` + auditColumns + ` FROM audit`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return query + ` ORDER BY at DESC, id DESC LIMIT ?`, args
}

// ForgetAudit implements retention.Store.
func (s *Store) ForgetAudit(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.Write(ctx, "forget the audit log", func(l Tx) (err error) {
		removed, err = l.Exec(`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at, id LIMIT ?)`, Micros(before), max(limit, 0))
		if err != nil {
			return fmt.Errorf("forget the audit log: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}
