package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/cluster/clustertest"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestNodes(t *testing.T) {
	location := emptyDatabase(t)
	seen := &statements{texts: map[string]bool{}}
	s, err := Open(t.Context(), Config{URL: planet.Secret(location), Log: testlog.New(t), tracer: seen})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clustertest.Run(t, func(t *testing.T) clustertest.Bench {
		exec(t, location, wipe)
		exec(t, location, `DELETE FROM device_changes`) // which wiping makes more of
		return nodesBench(s, location)
	})
	seen.explain(t, location, 10)
}

func nodesBench(s *Store, location string) clustertest.Bench {
	return clustertest.Bench{
		Store: s,
		Insert: func(t *testing.T, rings ...bell.Ring) {
			t.Helper()
			var deliveries []bell.Delivery
			for _, r := range rings {
				deliveries = append(deliveries, r.Delivery)
			}
			if _, err := s.BeginCall(t.Context(), *rings[0].Call, deliveries, nil); err != nil {
				t.Fatal(err)
			}
		},
		Record: func(t *testing.T, d bell.Delivery) {
			t.Helper()
			if err := s.RecordAttempt(t.Context(), d, bell.Attempt{}); err != nil {
				t.Fatal(err)
			}
		},
		End: func(t *testing.T, c bell.Call) {
			t.Helper()
			c.EndedAt = time.Now()
			if err := s.EndCall(t.Context(), c, bell.JournalEntry{Kind: "call-event", SessionID: c.SessionID, DedupKey: string(c.SessionID)}); err != nil {
				t.Fatal(err)
			}
		},
		Delivery: func(t *testing.T, r bell.Ring) bell.Delivery {
			t.Helper()
			var d bell.Delivery
			err := s.Read(t.Context(), func(l sqldb.Tx) error {
				_, err := l.One(`SELECT `+sqldb.DeliveryColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE d.id = ?`,
					sqldb.Into(sqldb.DeliveryFields(&d)), r.Delivery.ID)
				return err
			})
			if err != nil || d.ID == "" {
				t.Fatalf("read a delivery: %q, %v", d.ID, err)
			}
			return d
		},
		PutDevice: func(t *testing.T, d bell.Device) {
			t.Helper()
			known := false
			err := s.Write(t.Context(), "change a device", func(l sqldb.Tx) error {
				n, err := l.Exec(`UPDATE devices SET user_id = ?, push_token = ?, last_seen_at = ?, expires_at = ?, suspended_until = ? WHERE id = ?`,
					d.Owner.User.UserID, d.PushToken.Reveal(), sqldb.Micros(d.LastSeenAt), sqldb.Micros(d.ExpiresAt), sqldb.Micros(d.SuspendedUntil), d.ID)
				known = n > 0
				return err
			})
			if err == nil && !known {
				err = s.AddDevice(t.Context(), d)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		RemoveDevice: func(t *testing.T, id string) {
			t.Helper()
			if err := s.RemoveDevice(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// A claim whose answer was lost may still be at work when it is made again: then the second
// waits for it, and gives what it took.
func TestAClaimThatIsMadeAgainWaitsForTheFirst(t *testing.T) {
	location := emptyDatabase(t)
	s := openStore(t, location)
	b := nodesBench(s, location)
	d := bell.Device{ID: "d", Owner: bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "acme", UserID: "u"}}, Project: "acme", Channel: bell.LongPoll}
	b.PutDevice(t, d)
	now := time.Now()
	r := bell.Ring{Device: d, Call: &bell.Call{
		Environment: planet.Evaluation, SessionID: "session", Project: "acme", Callee: d.Owner.User, Type: planet.AudioCall,
		State: bell.CallRinging, NotifiedAt: now, Deadline: now.Add(time.Hour),
	}}
	r.Delivery = bell.Delivery{
		ID: bell.NewID(), Environment: planet.Evaluation, SessionID: "session", DeviceID: "d", Channel: bell.LongPoll, State: bell.DeliveryPending,
		Deadline: now.Add(time.Hour), LeaseUntil: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
	}
	b.Insert(t, r)
	first, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close(context.Background())
	c := cluster.Claim{Owner: "me", Devices: []string{"d"}, Now: now, Until: now.Add(time.Hour)}
	for _, statement := range []string{"BEGIN", fmt.Sprintf("UPDATE deliveries SET lease_owner = 'me', updated_at = %d", sqldb.Micros(c.Now))} {
		if _, err := first.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if rings, err := s.ClaimMailbox(t.Context(), c); err != nil || len(rings) != 0 {
		t.Fatalf("what another has in hand was claimed: %v, %v", rings, err)
	}
	c.Again = true
	claimed := make(chan []bell.Ring)
	go func() {
		rings, err := s.ClaimMailbox(context.Background(), c)
		if err != nil {
			t.Errorf("claim again: %v", err)
		}
		claimed <- rings
	}()
	waiting := false
	for !waiting {
		row := first.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`)
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Exec(t.Context(), `SELECT pg_stat_clear_snapshot()`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if rings := <-claimed; len(rings) != 1 || rings[0].Delivery.LeaseOwner != "me" {
		t.Errorf("the second got %v", rings)
	}
}
