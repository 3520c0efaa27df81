package sqlite

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
)

// methods calls every method of the store once, on things that are there.
func methods(t *testing.T, s *Store) map[string]func() error {
	t.Helper()
	ctx := t.Context()
	c, deliveries, raw := benchCall(1)
	next, nextDeliveries, _ := benchCall(2)
	unseen, _, _ := benchCall(3)
	early, _, _ := benchCall(4)
	owner := c.CalleeOwner()
	session := bell.Session{ID: "session", Owner: owner, ExpiresAt: c.Deadline}
	d := bell.Device{
		ID: deliveries[0].DeviceID, Owner: owner, Channel: bell.APNsVoIP, SessionID: "session",
		PushToken: "push-token-of-" + testlog.Text,
	}
	_, err := s.BeginCall(ctx, c, deliveries, raw)
	if err = errors.Join(err, s.AddDevice(ctx, d), s.OpenSession(ctx, bell.User{Owner: owner}, session, account.SessionRule{}),
		s.EndCall(ctx, early, bell.JournalEntry{})); err != nil {
		t.Fatal(err)
	}
	spare := bell.Device{ID: "spare", Owner: owner} // an operator's: signing up leaves it alone
	if err := s.AddDevice(ctx, spare); err != nil {
		t.Fatal(err)
	}
	another := session
	another.ID = "another"
	return map[string]func() error{
		"OpenSession": func() error {
			return s.OpenSession(ctx, bell.User{Owner: owner}, another, account.SessionRule{Exclusive: true, Now: c.Deadline})
		},
		"RestoreSession": func() error { return s.RestoreSession(ctx, bell.User{Owner: owner}, session) },
		"Session":        func() error { return failed(s.Session(ctx, "session")) },
		"ChangeDevice": func() error {
			key := device.Key{SessionID: "session", Owner: owner, ClientID: "installation"}
			return failed(s.ChangeDevice(ctx, key, func(device.Known) (bell.Device, error) { return d, nil }))
		},
		"AmendDevice": func() error {
			return s.AmendDevice(ctx, d.ID, func(bell.Device) (bell.Device, bool) { return d, true })
		},
		"PruneDevices":    func() error { return failed(s.PruneDevices(ctx, c.Deadline, 1)) },
		"AddDevice":       func() error { return s.AddDevice(ctx, bell.Device{ID: "new"}) },
		"RemoveDevice":    func() error { return s.RemoveDevice(ctx, spare.ID) },
		"Device":          func() error { return failed(s.Device(ctx, d.ID)) },
		"DeviceBySession": func() error { return failed(s.DeviceBySession(ctx, "session")) },
		"DevicesOf":       func() error { return failed(s.DevicesOf(ctx, owner)) },
		"Devices":         func() error { return failed(s.Devices(ctx, device.Filter{}, "", 1)) },
		"BeginCall":       func() error { return failed(s.BeginCall(ctx, next, nextDeliveries, raw)) },
		"BeginCall late":  func() error { return failed(s.BeginCall(ctx, early, nil, raw)) },
		"EndCall":         func() error { return s.EndCall(ctx, c, bell.JournalEntry{}) },
		"EndCall unseen":  func() error { return s.EndCall(ctx, unseen, bell.JournalEntry{}) },
		"AppendJournal":   func() error { return s.AppendJournal(ctx, bell.JournalEntry{}) },
		"Call":            func() error { return failed(s.Call(ctx, c.Environment, c.SessionID)) },
		"Calls":           func() error { return failed(s.Calls(ctx, call.Filter{}, call.Cursor{}, 1)) },
		"Journal":         func() error { return failed(s.Journal(ctx, c.SessionID)) },
		"History": func() error {
			return failed(s.History(ctx, call.HistoryQuery{Owner: owner, SessionID: "session", Limit: 1}))
		},
		"ForgetJournal": func() error { return failed(s.ForgetJournal(ctx, c.Deadline, 1)) },
		// Called so because the order is that of the names, and others need the calls.
		"SweepCalls":    func() error { return failed(s.ForgetCalls(ctx, early.Deadline.Add(1), 1)) },
		"RecordAttempt": func() error { return s.RecordAttempt(ctx, deliveries[0], bell.Attempt{Number: 1}) },
		"ClaimDeliveries": func() error {
			return failed(s.ClaimDeliveries(ctx, delivery.Claim{Now: c.NotifiedAt, TakeAll: true, Limit: 1}))
		},
		"RecordReceipt": func() error {
			return failed(s.RecordReceipt(ctx, bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: d.ID}))
		},
		"ExpireDeliveries": func() error { return failed(s.ExpireDeliveries(ctx, c.NotifiedAt)) },
	}
}

// A damaged schema makes exactly the methods fail that need the missing table; the
// errors hold no secret, and the rest goes on working.
func TestMissingTable(t *testing.T) {
	for table, needed := range map[string]string{
		"users":      "History, OpenSession, RestoreSession",
		"sessions":   "History, OpenSession, RestoreSession, Session",
		"devices":    "AddDevice, AmendDevice, Call, ChangeDevice, ClaimDeliveries, Device, DeviceBySession, Devices, DevicesOf, OpenSession, PruneDevices, RecordReceipt, RemoveDevice",
		"calls":      "BeginCall, BeginCall late, Call, Calls, ClaimDeliveries, EndCall, EndCall unseen, ExpireDeliveries, History, Journal, RecordReceipt, SweepCalls",
		"deliveries": "BeginCall, Call, ClaimDeliveries, EndCall, ExpireDeliveries, RecordAttempt, RecordReceipt, SweepCalls",
		"attempts":   "Call, RecordAttempt, RecordReceipt, SweepCalls",
		"receipts":   "Call, RecordReceipt, SweepCalls",
		"journal":    "AppendJournal, EndCall, EndCall unseen, ForgetJournal, Journal",
	} {
		t.Run(table, func(t *testing.T) {
			var broken []string
			s := newStore(t)
			all := methods(t, s)
			if err := s.writer.submit(t.Context(), "break", func(l *link) error {
				_, err := l.Exec(`DROP TABLE ` + table)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for _, name := range slices.Sorted(maps.Keys(all)) { // always in the same order
				err := all[name]()
				if err == nil {
					continue
				}
				broken = append(broken, name)
				testlog.Keep(t, name, err.Error())
				if !strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), testlog.Text) {
					t.Errorf("%s = %v", name, err)
				}
			}
			if got := strings.Join(broken, ", "); got != needed {
				t.Errorf("failed:\n%s\nwant:\n%s", got, needed)
			}
		})
	}
}

// A trigger makes one statement of a method fail after others have been run: then
// nothing of the method may stay.
func TestMethodsAreAllOrNothing(t *testing.T) {
	for name, trigger := range map[string]string{
		"OpenSession":    `BEFORE INSERT ON sessions`,
		"RestoreSession": `BEFORE INSERT ON sessions`,
		"ChangeDevice":   `BEFORE INSERT ON devices`,
		"AmendDevice":    `BEFORE INSERT ON devices`,
		"PruneDevices":   `BEFORE DELETE ON devices`,
		"BeginCall":      `BEFORE INSERT ON deliveries`,
		"EndCall":        `BEFORE UPDATE ON deliveries`,
		"EndCall unseen": `BEFORE INSERT ON calls`,
		"RecordAttempt":  `BEFORE INSERT ON attempts`,
		"RecordReceipt":  `BEFORE UPDATE ON deliveries`,
		"SweepCalls":     `BEFORE DELETE ON calls`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			run := methods(t, s)[name]
			if err := s.writer.submit(t.Context(), "break", func(l *link) error {
				if _, err := l.Exec(`DELETE FROM users`); err != nil { // so that sign-up would write one
					return err
				}
				_, err := l.Exec(`CREATE TRIGGER broken ` + trigger + ` BEGIN SELECT raise(ABORT, 'broken by the test'); END`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			before := contents(t, s)
			if err := run(); err == nil || !strings.Contains(err.Error(), "broken by the test") {
				t.Errorf("%s = %v, want the trigger's error", name, err)
			}
			equal(t, contents(t, s), before)
		})
	}
}

// contents is every row of every table, as text.
func contents(t *testing.T, s *Store) (rows []string) {
	t.Helper()
	err := s.readers.read(t.Context(), func(l *link) error {
		for _, query := range []string{
			`SELECT 'user ' || user_id FROM users`,
			`SELECT 'session ' || id || revoked_at FROM sessions`,
			`SELECT 'device ' || id || session_id FROM devices`,
			`SELECT 'call ' || session_id || state || (cc_param <> '') FROM calls`,
			`SELECT 'delivery ' || id || state || attempts FROM deliveries`,
			`SELECT 'attempt ' || delivery_id || number FROM attempts`,
			`SELECT 'receipt ' || delivery_id || at FROM receipts`,
			`SELECT 'entry ' || kind || session_id FROM journal`,
		} {
			err := l.Each(query+` ORDER BY 1`, func(row sqldb.Scanner) error {
				var text string
				err := row.Scan(&text)
				rows = append(rows, text)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
