package sqlite

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/store/storetest"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return wanting(newStore(t)) })
}

// wanting lets a store that is not in use yet make every event.
func wanting(s *Store) *Store {
	s.Events = func(string) bell.EventSet { return bell.Events(bell.EventTypes()...) }
	return s
}

// Without anybody who wants events, the store makes none, and asks nothing for them.
func TestNobodyWantsEvents(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	c, deliveries, _ := benchCall(1)
	deliveries[0].State = bell.DeliveryFailed
	_, begun := s.BeginCall(ctx, c, deliveries, nil)
	d := bell.Device{ID: "d", PushToken: "t"}
	again := d
	again.ID = "e"
	open := deliveries[0]
	open.ID, open.State = "open", bell.DeliverySending
	other, _, _ := benchCall(2)
	_, opened := s.BeginCall(ctx, other, []bell.Delivery{open}, nil)
	open.State = bell.DeliveryFailed
	if err := errors.Join(begun, opened, s.AddDevice(ctx, d), s.AddDevice(ctx, again), s.RemoveDevice(ctx, "e"),
		s.RecordAttempt(ctx, open, bell.Attempt{Number: 1}), failed(s.ExpireDeliveries(ctx, c.Deadline))); err != nil {
		t.Fatal(err)
	}
	look := func(l *link) error {
		for query := range l.stmts {
			if strings.Contains(query, " events") || strings.Contains(query, "FROM deliveries d JOIN calls") || strings.HasPrefix(query, sqldb.SelectDevice) {
				t.Errorf("asked for events that nobody wants: %s", query)
			}
		}
		return nil
	}
	if err := s.writer.submit(ctx, "look", look); err != nil {
		t.Fatal(err)
	}
	if n, err := s.SpreadEvents(ctx, c.NotifiedAt, 10, func(string, bell.EventType) []string { return nil }); n != 0 || err != nil {
		t.Errorf("%d events were made, %v", n, err)
	}
}

// webhookCalls runs every query about events.
func webhookCalls(s *Store) error {
	ctx, now := context.Background(), time.Unix(1_800_000_000, 0)
	to := func(string, bell.EventType) []string { return []string{"p/e"} }
	claim := webhook.Claim{Endpoint: "p/e", Owner: "o", Now: now, LeaseUntil: now, Limit: 10}
	bounds := webhook.Bounds{Now: now.Add(time.Hour), Open: -10, Dead: -10, Limit: 10}
	var errs []error
	for _, id := range []string{"1", "2", "3"} {
		e := bell.Event{ID: id, Subject: id, At: now}
		errs = append(errs, s.AddEvent(ctx, e), failed(s.SpreadEvents(ctx, now, 10, to)), failed(s.ClaimTellings(ctx, claim)))
	}
	result := webhook.Result{Seq: 1, Endpoint: "p/e", Owner: "o", State: webhook.Dead, Now: now}
	held, err := s.RecordTelling(ctx, result)
	if !held {
		errs = append(errs, errors.New("nothing was claimed"))
	}
	n, replay := s.ReplayDead(ctx, "p/e", now, 10)
	if n != 1 {
		errs = append(errs, errors.New("nothing was replayed"))
	}
	_, _, counted := s.Backlogs(ctx)
	for _, f := range []webhook.Filter{{}, {State: webhook.Waiting}, {State: webhook.Told, Endpoint: "e"}, {State: webhook.Dead, Endpoint: "e"}} {
		errs = append(errs, failed(s.Tellings(ctx, f, webhook.Cursor{}, 1)), failed(s.Tellings(ctx, f, webhook.Cursor{Seq: 9}, 1)))
	}
	return errors.Join(append(errs, err, replay, counted,
		failed(s.ReplayEvent(ctx, "1", "p/e", now)), failed(s.FreeTellings(ctx, "x", now)),
		failed(s.SweepTellings(ctx, bounds)), failed(s.SweepTellings(ctx, bounds)),
		s.MarkGone(ctx, "p/e", "print", now), failed(s.GoneEndpoints(ctx)), s.ClearGone(ctx, "p/e"))...)
}

// Bytes that are not text come back as they were: SQLite keeps what it is given.
func TestBytesThatAreNotText(t *testing.T) {
	s := newStore(t)
	for _, text := range []string{"\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80", strings.Repeat("\x80", 5000)} {
		c, deliveries, _ := benchCall(1)
		c.CCParam, c.AppServerData, c.Callee.UserID = planet.CCParam(text), text, text
		if _, err := s.BeginCall(t.Context(), c, deliveries, []planet.RawParam{{Name: text, Value: text}}); err != nil {
			t.Fatalf("BeginCall: %v", err)
		}
		d := bell.Device{ID: deliveries[0].DeviceID, Owner: c.CalleeOwner(), PushToken: planet.Secret(text)}
		if err := s.AddDevice(t.Context(), d); err != nil {
			t.Fatalf("AddDevice: %v", err)
		}
		rings, err := s.ClaimDeliveries(t.Context(), claimAll(c.NotifiedAt))
		if err != nil || len(rings) == 0 {
			t.Fatalf("ClaimDeliveries = %d, %v", len(rings), err)
		}
		got := rings[len(rings)-1].Call
		if got.CCParam != c.CCParam || got.AppServerData != text || got.Callee.UserID != text {
			t.Errorf("%q came back changed", text)
		}
		devices, err := s.DevicesOf(t.Context(), d.Owner)
		if err != nil || len(devices) != 1 || devices[0].PushToken != d.PushToken {
			t.Errorf("the device with %q was not found: %d, %v", text, len(devices), err)
		}
	}
}

// seldom are the queries that may read a whole table or sort: what reads one row of
// it after the other in the order of an index, and stops at its limit.
//
// Of events, the indexes of what is new, open and leased hold only that, and it is bounded;
// the list is read along the key; and endpoints that are gone are few.
var seldom = regexp.MustCompile(`^(SCAN c USING INDEX calls_at|SCAN \w+ USING (COVERING )?INDEX (events_new|tellings_open|tellings_leased)|SCAN t$|SCAN gone_endpoints|SCAN (outgoing|incoming)$|SCAN \d|USE TEMP B-TREE)`)

// TestPlans runs every method once and asks SQLite how it does each statement. No
// table may be read from end to end: it would hold up everybody once the table is large.
func TestPlans(t *testing.T) {
	s := wanting(newStore(t))
	ctx := t.Context()
	c, deliveries, raw := benchCall(1)
	other, _, _ := benchCall(2)
	owner := c.CalleeOwner()
	full := device.Filter{Environment: "e", ServiceID: "s", UserID: "u", Channel: "c"}
	rule := account.SessionRule{Now: c.NotifiedAt, Exclusive: true}
	quiet, _, _ := benchCall(3)
	quiet.Suppressed = bell.SuppressBlocked
	_, silent := s.BeginCall(ctx, quiet, nil, nil)
	_, begun := s.BeginCall(ctx, c, deliveries, raw)
	_, again := s.BeginCall(ctx, c, deliveries, raw)
	_, claimed := s.ClaimDeliveries(ctx, claimAll(c.NotifiedAt))
	_, swept := s.ClaimDeliveries(ctx, delivery.Claim{Now: c.NotifiedAt, Limit: 1})
	if err := errors.Join(silent, begun, again, claimed, swept,
		s.OpenSession(ctx, bell.User{Owner: owner}, bell.Session{ID: "1", Owner: owner}, rule),
		s.RestoreSession(ctx, bell.User{Owner: owner}, bell.Session{ID: "2", Owner: owner}),
		s.AddDevice(ctx, bell.Device{ID: deliveries[0].DeviceID, PushToken: "t"}),
		s.AmendDevice(ctx, deliveries[0].DeviceID, func(d bell.Device) (bell.Device, bool) { return d, true }),
		s.RecordAttempt(ctx, deliveries[0], bell.Attempt{Number: 1}),
		failed(s.RecordReceipt(ctx, bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: deliveries[0].DeviceID})),
		s.EndCall(ctx, c, bell.JournalEntry{}), s.EndCall(ctx, other, bell.JournalEntry{}),
		s.RecordAttempt(ctx, deliveries[0], bell.Attempt{}),
		s.RemoveDevice(ctx, deliveries[0].DeviceID),
		s.Block(ctx, owner, policy.Blocked{User: c.Caller}, 10), s.Unblock(ctx, owner, c.Caller),
		s.SetDoNotDisturb(ctx, owner, policy.DoNotDisturb{On: true}), s.SetDoNotDisturb(ctx, owner, policy.DoNotDisturb{}),
		s.ReplaceRules(ctx, owner, policy.Rules{Blocked: []policy.Blocked{{User: c.Caller}}}, c.NotifiedAt),
	); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func() error{
		func() error { return failed(s.ExpireDeliveries(ctx, c.NotifiedAt)) },
		func() error { return failed(s.Session(ctx, "1")) },
		func() error { return failed(s.PruneDevices(ctx, c.NotifiedAt, 1)) },
		func() error {
			key := device.Key{SessionID: "1", Owner: owner, ClientID: "c"}
			return failed(s.ChangeDevice(ctx, key, func(device.Known) (bell.Device, error) { return bell.Device{ID: "1"}, nil }))
		},
		func() error { return failed(s.DevicesOf(ctx, owner)) },
		func() error { return failed(s.Devices(ctx, device.Filter{}, "", 1)) },
		func() error { return failed(s.Devices(ctx, full, "", 1)) },
		func() error { return failed(s.Call(ctx, c.Environment, c.SessionID)) },
		func() error { return failed(s.Call(ctx, "", c.SessionID)) },
		func() error { return failed(s.Calls(ctx, call.Filter{}, call.Cursor{}, 1)) },
		func() error {
			return failed(s.Calls(ctx, call.Filter{Environment: "e", User: c.Callee}, call.Cursor{At: c.NotifiedAt}, 1))
		},
		func() error { return failed(s.Journal(ctx, c.SessionID)) },
		func() error { return failed(s.Calls(ctx, call.Filter{Outcome: c.Outcome + "x"}, call.Cursor{}, 1)) },
		func() error {
			return failed(s.Calls(ctx, call.Filter{Outcome: "x", Since: c.NotifiedAt, Until: c.Deadline}, call.Cursor{At: c.NotifiedAt}, 1))
		},
		func() error {
			return failed(s.Calls(ctx, call.Filter{Project: "p", State: bell.CallLost, Since: c.NotifiedAt, Until: c.Deadline}, call.Cursor{}, 1))
		},
		func() error { return failed(s.History(ctx, call.HistoryQuery{Owner: owner, SessionID: "1", Limit: 1})) },
		func() error {
			return failed(s.History(ctx, call.HistoryQuery{
				Owner: owner, SessionID: "1", Limit: 1, Direction: call.Incoming, Outcomes: bell.MissedOutcomes(),
				Since: c.NotifiedAt, Before: call.Cursor{At: c.NotifiedAt},
			}))
		},
		func() error {
			return failed(s.History(ctx, call.HistoryQuery{Owner: owner, SessionID: "1", Limit: 1, Direction: call.Outgoing}))
		},
		func() error { return failed(s.ForgetJournal(ctx, c.NotifiedAt, 1)) },
		func() error { return failed(s.ForgetCalls(ctx, c.Deadline, 1)) },
		func() error { return failed(s.RulesOf(ctx, owner)) },
		func() error {
			return failed(s.Look(ctx, policy.Question{Callee: owner, Caller: c.Caller, Rules: true, Name: true}))
		},
		func() error { return roomStatements(ctx, s) },
		func() error { return webhookCalls(s) },
	} {
		if err := run(); err != nil {
			t.Fatal(err)
		}
	}
	explained := 0
	look := func(l *link) error { explained += explain(t, l); return nil }
	if err := s.writer.submit(ctx, "explain", look); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if err := s.readers.read(ctx, look); err != nil {
			t.Fatal(err)
		}
	}
	if explained < 40 {
		t.Errorf("%d statements have a plan; the test looks at too little", explained)
	}
}

func failed[T any](_ T, err error) error { return err }

// explain checks the plan of every statement that the link has run, and returns how
// many have one.
func explain(t *testing.T, l *link) (explained int) {
	t.Helper()
	for query := range l.stmts {
		rows, err := l.conn.QueryContext(detached(), `EXPLAIN QUERY PLAN `+query)
		for args := []any{nil}; err != nil && len(args) < 40; args = append(args, nil) { // as many as it wants
			rows, err = l.conn.QueryContext(detached(), `EXPLAIN QUERY PLAN `+query, args...)
		}
		if err != nil {
			t.Fatalf("explain %s: %v", query, err)
		}
		found := 0
		for ; rows.Next(); found = 1 {
			var a, b, c int
			var step string
			if err := rows.Scan(&a, &b, &c, &step); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(step, "SEARCH") && strings.Contains(step, "SCAN") && !seldom.MatchString(step) {
				t.Errorf("%s\nreads a whole table: %s", query, step)
			}
			t.Logf("%.60q: %s", strings.Join(strings.Fields(query), " "), step)
		}
		explained += found
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
	return explained
}
