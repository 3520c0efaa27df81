package clustertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// This file is the part of the suite about changes of devices.

func (b bench) changed(t *testing.T, since time.Time, after int64, limit int) []cluster.Change {
	t.Helper()
	changes, _, err := b.Store.DevicesChanged(t.Context(), since, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func changesOfDevicesAreTold(t *testing.T, b bench) {
	var after int64
	check := func(what string, want ...string) {
		t.Helper()
		users := []string{}
		for _, c := range b.changed(t, time.Time{}, after, 100) {
			if c.ID <= after || c.At.IsZero() || c.Owner.Environment != planet.Evaluation || c.Owner.User.ServiceID != "acme" {
				t.Errorf("%s: change %+v", what, c)
			}
			after = c.ID
			if !slices.Contains(users, c.Owner.User.UserID) {
				users = append(users, c.Owner.User.UserID)
			}
		}
		same(t, what, users, want)
	}
	d := b.device(t, "one", "u1", bell.FCM)
	check("added", "u1")
	d.PushToken = "token-that-is-new"
	b.PutDevice(t, d)
	check("another token", "u1")
	d.LastSeenAt, d.ExpiresAt = b.now(t).Add(time.Minute), b.now(t).Add(time.Hour)
	b.PutDevice(t, d)
	check("seen")
	d.SuspendedUntil = b.now(t).Add(time.Hour)
	b.PutDevice(t, d)
	check("suspended", "u1")
	d.Owner = b.owner("u2")
	b.PutDevice(t, d)
	check("moved", "u1", "u2")
	b.RemoveDevice(t, d.ID)
	check("removed", "u2")
}

func changesAreToldInPagesAndForgotten(t *testing.T, b bench) {
	start := b.now(t)
	for i := range 7 {
		b.device(t, fmt.Sprintf("d%d", i), fmt.Sprintf("u%d", i), bell.LongPoll)
	}
	var all []cluster.Change
	for after := int64(0); ; {
		some := b.changed(t, start, after, 3)
		all = append(all, some...)
		if len(some) < 3 {
			break
		}
		after = some[2].ID
	}
	if len(all) != 7 {
		t.Fatalf("%d changes came in pages", len(all))
	}
	end := b.now(t).Add(time.Microsecond)
	if late := b.changed(t, end, 0, 100); len(late) != 0 {
		t.Errorf("changes after the end: %+v", late)
	}
	if n, err := b.Store.ForgetChanges(t.Context(), start, 100); n != 0 || err != nil {
		t.Errorf("%d changes before the start were forgotten, %v", n, err)
	}
	for _, want := range []int{5, 2, 0} {
		if n, err := b.Store.ForgetChanges(t.Context(), end, 5); n != want || err != nil {
			t.Errorf("%d changes were forgotten, want %d, %v", n, want, err)
		}
	}
	if rest := b.changed(t, start, 0, 100); len(rest) != 0 {
		t.Errorf("left: %+v", rest)
	}
}
