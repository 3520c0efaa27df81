package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// A sequence that is behind its table, as after a restore, makes no new call a repeat: it is
// recorded, or its caller is told that it is not.
func TestSequenceBehindItsTable(t *testing.T) {
	location := emptyDatabase(t)
	s := wanting(openStore(t, location))
	const before = 20
	begin := func(n int64) (bell.Call, call.BeginResult, error) {
		c, deliveries, raw := benchCall(n)
		c.Events = []bell.Event{bell.RingingEvent(&c, len(deliveries))}
		got, err := s.BeginCall(t.Context(), c, deliveries, raw)
		return c, got, err
	}
	entry := func(c bell.Call) bell.JournalEntry {
		return bell.JournalEntry{Kind: "other", SessionID: c.SessionID, DedupKey: string(c.SessionID)}
	}
	for n := range int64(before) {
		c, _, err := begin(n)
		if err := errors.Join(err, s.AppendJournal(t.Context(), entry(c))); err != nil {
			t.Fatal(err)
		}
	}
	for table, key := range map[string]string{"calls": "id", "events": "seq", "journal": "id"} {
		exec(t, location, `SELECT setval(pg_get_serial_sequence('`+table+`', '`+key+`'), (SELECT min(`+key+`) FROM `+table+`), false)`)
	}
	refused := 0
	for n := range int64(before) {
		c, got, err := begin(before + n)
		switch {
		case err == nil && got != call.Began:
			t.Errorf("call %d is %v", n, got)
		case err == nil:
			if _, err := s.Call(t.Context(), c.Environment, c.SessionID); err != nil {
				t.Errorf("call %d began, and is not there: %v", n, err)
			}
		case !errors.Is(err, bell.Unavailable):
			t.Errorf("call %d: %v", n, err)
		default:
			refused++
		}
		err = s.AppendJournal(t.Context(), entry(c))
		if entries, _ := s.Journal(t.Context(), c.SessionID); err == nil && len(entries) == 0 {
			t.Errorf("callback %d was kept, and is not there", n)
		}
	}
	if refused == 0 || refused == before {
		t.Errorf("%d of %d calls were refused", refused, before)
	}
}

// A database into which data is still being moved is not for servers: what they write would be
// in the way of what is to come, and calls would miss their devices.
func TestHalfMovedDatabase(t *testing.T) {
	location := emptyDatabase(t)
	exec(t, location, `CREATE TABLE data_move (name text)`)
	s, err := Open(t.Context(), Config{URL: planet.Secret(location), Log: testlog.New(t)})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "run planetbell migrate-data again") {
		t.Errorf("Open = %v", err)
	}
	exec(t, location, `DROP TABLE data_move`)
	openStore(t, location)
}
