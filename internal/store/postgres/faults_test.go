package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
)

// refuseRows makes PostgreSQL refuse rows of a table whose column has a value.
func refuseRows(t *testing.T, location, table, column, value string) {
	t.Helper()
	exec(t, location, fmt.Sprintf(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON %s FOR EACH ROW WHEN (NEW.%s = '%s') EXECUTE FUNCTION refuse()`, table, column, value))
	t.Cleanup(func() { exec(t, location, `DROP FUNCTION refuse CASCADE`) })
}

// One call that cannot be written fails by itself; those that shared its group are written.
func TestOneOfAGroupFails(t *testing.T) {
	location := emptyDatabase(t)
	s := openStore(t, location)
	refuseRows(t, location, "deliveries", "reason", "poison")
	const calls = 60
	var ids [calls]bell.Call
	together(calls, func(i int) {
		c, deliveries, raw := benchCall(int64(i))
		c.SessionID = c.SessionID[:len(c.SessionID)-1] + "0" // more of a kind
		ids[i] = c
		if i%10 == 0 {
			deliveries[0].Reason = "poison"
		}
		_, err := s.BeginCall(context.Background(), c, deliveries, raw)
		if poisoned := i%10 == 0; poisoned != (err != nil) {
			t.Errorf("call %d: %v", i, err)
		}
		if err != nil && (bell.KindOf(err) != "" || !strings.Contains(err.Error(), "refused")) {
			t.Errorf("call %d: %v, want what PostgreSQL said", i, err)
		}
	})
	for i, c := range ids {
		_, err := s.Call(t.Context(), c.Environment, c.SessionID)
		if poisoned := i%10 == 0; poisoned != errors.Is(err, bell.NotFound) {
			t.Errorf("call %d is there: %v", i, err)
		}
	}
}

// What fails in the middle leaves nothing, and the error quotes no secret.
func TestAllOrNothing(t *testing.T) {
	for name, table := range map[string]string{
		"BeginCall": "events", "EndCall": "journal", "EndCall told": "events", "RecordAttempt": "attempts", "ChangeRun": "room_participants", "Expire": "events",
	} {
		t.Run(name, func(t *testing.T) {
			location := emptyDatabase(t)
			s := wanting(openStore(t, location))
			c, deliveries, raw := benchCall(1)
			deliveries[0].Reason = ""
			if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
				t.Fatal(err)
			}
			other, more, _ := benchCall(2)
			other.Events = []bell.Event{bell.RingingEvent(&other, 1)}
			column, value := "project", "bench"
			switch table {
			case "attempts":
				column, value = "reason", "poison"
			case "room_participants":
				column, value = "user_id", "0"
			}
			refuseRows(t, location, table, column, value)
			before := contents(t, location)
			told := c
			told.Wanted = bell.Events(bell.EventTypes()...)
			d := deliveries[0]
			d.State, d.Attempts = bell.DeliveryAccepted, 1
			entry := bell.JournalEntry{Kind: "call-event", DedupKey: "k", Project: "bench"}
			err := map[string]func() error{
				"BeginCall":    func() error { return failed(s.BeginCall(t.Context(), other, more, raw)) },
				"EndCall":      func() error { return s.EndCall(t.Context(), c, entry) },
				"EndCall told": func() error { return s.EndCall(t.Context(), told, entry) },
				"RecordAttempt": func() error {
					return s.RecordAttempt(t.Context(), d, bell.Attempt{Number: 1, Outcome: bell.Outcome{Reason: "poison"}})
				},
				"ChangeRun": func() error {
					e := roomEvent(0, c.NotifiedAt)
					return failed(s.ChangeRun(t.Context(), room.Touched{RunKey: room.RunKey{SessionID: e.SessionID}, User: e.Participant}, entry, func(room.Known) room.Change {
						return room.Change{
							Run: bell.RoomRun{SessionID: e.SessionID, State: bell.RoomOpen}, WriteRun: true,
							Participant: bell.Participant{User: e.Participant}, WriteParticipant: true,
						}
					}))
				},
				"Expire": func() error { return failed(s.ExpireDeliveries(t.Context(), c.Deadline)) },
			}[name]()
			if err == nil {
				t.Fatal("no error")
			}
			testlog.Keep(t, name, err.Error())
			if !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), c.CCParam.Reveal()) {
				t.Errorf("the error is %v", err)
			}
			if after := contents(t, location); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// contents are the rows of the tables that the busiest paths write.
func contents(t *testing.T, location string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var all strings.Builder
	for _, table := range []string{"calls", "deliveries", "attempts", "journal", "events", "room_runs", "room_participants"} {
		rows, err := conn.Query(t.Context(), `SELECT to_jsonb(x)::text FROM `+table+` x ORDER BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %v\n", table, texts)
	}
	return all.String()
}

// A write that panics is its caller's error, and the lane goes on.
func TestPanicInALane(t *testing.T) {
	s := newStore(t)
	key := room.RunKey{SessionID: "1"}
	_, err := s.ChangeRun(t.Context(), room.Touched{RunKey: key}, bell.JournalEntry{}, func(room.Known) room.Change { panic(testlog.Text) })
	if err == nil || !strings.Contains(err.Error(), "internal error") || strings.Contains(err.Error(), testlog.Text) {
		t.Errorf("ChangeRun = %v", err)
	}
	if _, err := s.ChangeRun(t.Context(), room.Touched{RunKey: key}, bell.JournalEntry{}, func(room.Known) room.Change { return room.Change{} }); err != nil {
		t.Error(err)
	}
}

// The schema may be migrated by another node while statements are prepared here.
func TestSchemaChangesUnderneath(t *testing.T) {
	location := testpg.Database(t)
	s := openStore(t, location)
	c, deliveries, raw := benchCall(1)
	d := bell.Device{ID: deliveries[0].DeviceID, Owner: c.CalleeOwner(), Channel: bell.APNsVoIP}
	use := func() {
		t.Helper()
		c, deliveries, _ := benchCall(2)
		_, begun := s.BeginCall(t.Context(), c, deliveries, raw)
		if err := errors.Join(begun, s.AmendDevice(t.Context(), d.ID, func(d bell.Device) (bell.Device, bool) { return d, true }),
			failed(s.DevicesOf(t.Context(), d.Owner)), s.EndCall(t.Context(), c, bell.JournalEntry{}),
			failed(s.ClaimDeliveries(t.Context(), delivery.Claim{Owner: "x", Now: c.NotifiedAt, LeaseUntil: c.Deadline, TakeAll: true, Limit: 1}))); err != nil {
			t.Error(err)
		}
	}
	if err := s.AddDevice(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		use()
	}
	exec(t, location, `ALTER TABLE devices ADD COLUMN more TEXT; ALTER TABLE calls ADD COLUMN more TEXT; ALTER TABLE deliveries ADD COLUMN more TEXT;
		ALTER TABLE devices ALTER COLUMN strikes TYPE INTEGER; ALTER TABLE calls ALTER COLUMN label TYPE VARCHAR(200)`)
	for range 8 {
		use()
	}
}
