package postgres

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
)

// Nodes that sweep at the same time give up together what is too much, and not each of them.
func TestNodesSweepTogether(t *testing.T) {
	s := newStore(t)
	const events, bound = 30, 20
	now := time.Now()
	for n := range events {
		e := bell.Event{ID: fmt.Sprintf("event-%d", n), Type: bell.EventDeviceRemoved, Project: "demo", Subject: fmt.Sprintf("device-%d", n), At: now, Data: []byte(`{}`)}
		if err := s.AddEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SpreadEvents(t.Context(), now, events, func(string, bell.EventType) []string { return []string{"demo/main"} }); err != nil {
		t.Fatal(err)
	}
	bounds := webhook.Bounds{Now: now.Add(time.Second), Open: bound, OpenFor: time.Hour, Dead: 100, DeadFor: time.Hour, Keep: time.Hour, Limit: 1000}
	var crowded atomic.Int64
	together(4, func(int) {
		swept, err := s.SweepTellings(t.Context(), bounds)
		if err != nil {
			t.Error(err)
		}
		crowded.Add(int64(swept.Crowded))
	})
	if n := crowded.Load(); n != events-bound {
		t.Errorf("%d events were given up, want %d", n, events-bound)
	}
	if open, _, err := s.Backlogs(t.Context()); err != nil || open["demo/main"].Open != bound {
		t.Errorf("%+v are open, %v; want %d", open, err, bound)
	}
}

// What is over is looked for from a while ago on, and once a minute from the beginning.
func TestExpireLooksBack(t *testing.T) {
	s := newStore(t)
	now := time.Now()
	begin := func(deadline time.Time) {
		c, deliveries, _ := benchCall(1)
		c.Deadline, deliveries[0].Deadline = deadline, deadline
		if _, err := s.BeginCall(t.Context(), c, deliveries[:1], nil); err != nil {
			t.Fatal(err)
		}
	}
	expire := func(what string, want int) {
		t.Helper()
		if n, err := s.ExpireDeliveries(t.Context(), now); n != want || err != nil {
			t.Errorf("%s: %d expired, %v; want %d", what, n, err, want)
		}
	}
	begin(now.Add(-2 * expireBack))
	expire("the first look", 1)
	begin(now.Add(-2 * expireBack))
	begin(now.Add(-expireBack / 2))
	expire("the next", 1)
	s.allExpired.Add(-int64(2 * expireAll))
	expire("a minute later", 1)
}
