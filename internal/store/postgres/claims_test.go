package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/delivery"
)

// What a node that lives holds is not claimed by another when its lease has run out: its
// attempt may still be under way, and the push would be sent twice.
func TestTheLivingKeepWhatTheyHold(t *testing.T) {
	location := emptyDatabase(t)
	s := openStore(t, location)
	for _, owner := range []string{"me", "lives", "silent"} {
		if _, _, err := s.Beat(t.Context(), cluster.Node{Owner: owner, StartedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	// Its clock is the database's; that of whoever claims does not matter.
	exec(t, location, `UPDATE nodes SET seen_at = seen_at - 6000000 WHERE owner = 'silent'`)
	c, deliveries, _ := benchCall(1)
	owners := map[string]string{}
	first := deliveries[0]
	deliveries = nil
	for _, owner := range []string{"", "me", "lives", "silent", "unknown"} {
		d := first
		d.ID, d.DeviceID, d.LeaseOwner, d.State = uuid.NewString(), uuid.NewString(), owner, bell.DeliverySending
		if err := s.AddDevice(t.Context(), bell.Device{ID: d.DeviceID, Owner: c.CalleeOwner(), Channel: d.Channel}); err != nil {
			t.Fatal(err)
		}
		owners[d.ID] = owner
		deliveries = append(deliveries, d)
	}
	if _, err := s.BeginCall(t.Context(), c, deliveries, nil); err != nil {
		t.Fatal(err)
	}
	claim := func(after time.Duration, all bool) (claimed []string) {
		t.Helper()
		now := c.NotifiedAt.Add(after)
		rings, err := s.ClaimDeliveries(t.Context(), delivery.Claim{Owner: "me", Now: now, LeaseUntil: now.Add(time.Second), Limit: 10, TakeAll: all})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rings {
			claimed = append(claimed, owners[r.Delivery.ID])
		}
		slices.Sort(claimed)
		return claimed
	}
	for _, step := range []struct {
		after time.Duration
		all   bool
		want  []string
	}{
		{4 * time.Second, false, nil}, // no lease has run out
		{6 * time.Second, false, []string{"", "me", "silent", "unknown"}},
		{6 * time.Second, false, nil},
		{6 * time.Second, true, []string{"lives"}},
	} {
		if got := claim(step.after, step.all); !slices.Equal(got, step.want) {
			t.Errorf("after %v (all: %t) %q are claimed, want %q", step.after, step.all, got, step.want)
		}
	}
}

// The sweep of every second looks along the leases of what is open, also when most of the table
// is history and much rings: otherwise it reads all that rings, on every node.
func TestClaimLooksAlongTheLeases(t *testing.T) {
	location := emptyDatabase(t)
	openStore(t, location)
	now := time.Now().UnixMicro()
	exec(t, location, fmt.Sprintf(`INSERT INTO calls (id, environment, session_id, at, project, label, caller_service, caller_user,
			callee_service, callee_user, type, app_server_data, stid, state)
		SELECT n, 'real', n::text, %[1]d, '', '', '', '', '', '', '', '', '', 'ringing' FROM generate_series(1, 4000) AS n;
	INSERT INTO deliveries (id, call_id, device_id, channel, state, reason, attempts, deadline, lease_owner, lease_until, created_at, updated_at)
		SELECT n::text, n, '', 'fcm', CASE WHEN n %% 4 = 0 THEN 'sending' ELSE 'accepted' END, '', 1,
			CASE WHEN n %% 4 = 0 THEN %[1]d + 30000000 ELSE %[1]d - 90000000 - n END, '', CASE WHEN n %% 4 = 0 THEN %[1]d + 15000000 ELSE 0 END,
			%[1]d, %[1]d FROM generate_series(1, 4000) AS n;
	ANALYZE`, now))
	conn, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		exec := func(text string) []string {
			rows, err := conn.Query(t.Context(), text, pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			return lines
		}
		exec(`SET plan_cache_mode = ` + mode)
		if _, err := conn.Prepare(t.Context(), "claim", claimFree); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(exec(fmt.Sprintf(`EXPLAIN EXECUTE claim(%d, 'me', %d, 100, 5000000)`, now, now)), "\n")
		if !strings.Contains(plan, "Index Scan using deliveries_lease on deliveries d") && !strings.Contains(plan, "Bitmap Index Scan on deliveries_lease") {
			t.Errorf("%s:\n%s", mode, plan)
		}
		if err := conn.Deallocate(t.Context(), "claim"); err != nil {
			t.Fatal(err)
		}
	}
}
