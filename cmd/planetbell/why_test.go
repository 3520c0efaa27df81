package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// uninstalled is a call to an iPhone from which the app is gone.
func uninstalled() call.Record {
	r := call.Record{Call: missedCall()}
	at := func(ms int) time.Time { return r.Call.NotifiedAt.Add(time.Duration(ms) * time.Millisecond) }
	d := someDevices()[0]
	r.Deliveries = []call.DeliveryRecord{{
		Delivery: bell.Delivery{ID: "d", DeviceID: d.ID, Channel: bell.APNsVoIP, State: bell.DeliveryFailed, Reason: "Unregistered", CreatedAt: at(0), UpdatedAt: at(44)},
		Device:   d, Attempts: []bell.Attempt{{Number: 1, StartedAt: at(3), Took: 41 * time.Millisecond, Server: bell.APNsProduction, Outcome: bell.Outcome{Verdict: bell.Rejected, Status: 410, Reason: "Unregistered", Token: bell.TokenDrop}}},
	}}
	return r
}

// silent wants a command to say that a call did not ring, and nothing on standard error.
func (r result) silent(t testing.TB) result {
	t.Helper()
	var exit *exitError
	if !errors.As(r.err, &exit) || exit.code != exitSilent || exit.err != nil || r.stderr != "" {
		t.Fatalf("the error is %v, standard error %q; want exit code %d", r.err, r.stderr, exitSilent)
	}
	return r
}

func TestWhy(t *testing.T) {
	s := newServer(t)
	s.records[sid] = uninstalled()
	s.records["b2"] = call.Record{Call: talkedCall()}
	base := s.start()
	golden(t, "admin_why.txt", ask(t, base, "why", strings.ToUpper(string(sid))).silent(t).stdout)
	golden(t, "admin_why_ja.txt", ask(t, base, "why", string(sid), "--lang", "ja").silent(t).stdout)
	golden(t, "admin_why.json", ask(t, base, "why", string(sid), "--environment", "evaluation", "--json").silent(t).stdout)
	if r := ask(t, base, "why", "b2").ok(t); !strings.HasPrefix(r.stdout, "It rang: bob answered, and they talked for 1 min 5 s.\n") {
		t.Errorf("of a call that was answered:\n%s", r.stdout)
	}
	wantAsked(t, s, "show  "+string(sid), "show  "+string(sid), "show evaluation "+string(sid), "show  b2")
}

func TestWhyOfAUser(t *testing.T) {
	s := newServer(t)
	s.calls = someCalls()
	for _, c := range s.calls {
		s.records[c.SessionID] = call.Record{Call: c}
	}
	s.records[sid] = uninstalled()
	base := s.start()
	if r := ask(t, base, "why", "--user", "bob").silent(t); !strings.Contains(r.stdout, "call a1,") {
		t.Errorf("the newest call:\n%s", r.stdout)
	}
	if r := ask(t, base, "why", "--user", "bob", "--at", "9m").silent(t); !strings.HasPrefix(r.stdout, "APNs says that the app is no longer") {
		t.Errorf("the call of nine minutes ago:\n%s", r.stdout)
	}
	r := ask(t, base, "why", "--user", "bob", "--since", "24h").silent(t)
	var codes []string
	for line := range strings.Lines(r.stdout) {
		if fields := strings.Fields(line); len(fields) > 12 {
			codes = append(codes, fields[11]+" "+fields[12])
		}
	}
	if want := []string{"no_device bob", "unregistered APNs", "answered It"}; len(codes) != 3 && cmp.Diff(want, codes) != "" {
		t.Errorf("all calls of a day (%q):\n%s", codes, r.stdout)
	}
	if r := ask(t, base, "why", "--user", "bob", "--since", "24h", "--json").silent(t); !strings.Contains(r.stdout, `"verdicts": [`) {
		t.Errorf("as JSON:\n%s", r.stdout)
	}
}

// The call nearest to a time is found however many came after it.
func TestWhyAtATimeBeforeManyCalls(t *testing.T) {
	s := newServer(t)
	at := noon.Add(-10 * time.Minute)
	for n := range 2 * console.MaxLimit {
		c := missedCall()
		c.SessionID, c.NotifiedAt = planet.SessionID(fmt.Sprintf("later-%d", n)), at.Add(10*time.Minute-time.Duration(n)*100*time.Millisecond)
		s.calls = append(s.calls, c)
	}
	for _, id := range []planet.SessionID{"nearest", "before"} {
		c := missedCall()
		c.SessionID, c.NotifiedAt = id, at.Add(map[planet.SessionID]time.Duration{"nearest": 10 * time.Second, "before": -20 * time.Second}[id])
		s.calls = append(s.calls, c)
	}
	for _, c := range s.calls {
		s.records[c.SessionID] = call.Record{Call: c}
	}
	base := s.start()
	for _, args := range [][]string{{}, {"--limit", "1"}} {
		r := ask(t, base, append([]string{"why", "--user", "bob", "--at", at.Format(time.RFC3339)}, args...)...).silent(t)
		if !strings.Contains(r.stdout, "call nearest,") {
			t.Errorf("%q: the call nearest to the time is not the one:\n%s", args, r.stdout)
		}
	}
}

// Of too many calls none is taken for the nearest.
func TestWhyAtATimeOfTooManyCalls(t *testing.T) {
	s := newServer(t)
	for n := range mostAround + 1 {
		c := missedCall()
		c.SessionID, c.NotifiedAt = planet.SessionID(fmt.Sprintf("later-%d", n)), noon.Add(-time.Duration(n)*time.Millisecond)
		s.calls = append(s.calls, c)
	}
	ask(t, s.start(), "why", "--user", "bob", "--at", "10m").fails(t, "bob had more than 5000 calls in the 15 minutes after that time: give the session ID")
}

func TestWhyRefused(t *testing.T) {
	base := newServer(t).start()
	ask(t, base, "why", "abc").fails(t, "There is no such call: nothing is on record of the session abc. Check the session ID")
	ask(t, base, "why").fails(t, "give a session ID, or --user")
	ask(t, base, "why", "a", "b").fails(t, "give one session ID")
	ask(t, base, "why", "--user", "bob").fails(t, "there is no call of bob then")
	ask(t, base, "why", "--user", "bob", "--at", "noon").fails(t, "--at: want a time")
	ask(t, base, "why", "--user", "bob", "--at", "1h", "--since", "1h").fails(t, "none of the others can be")
	ask(t, base, "why", "abc", "--lang", "xx").fails(t, "--lang")
}

// A call with every kind of device has a line of each.
func TestWhyTellsEveryDevice(t *testing.T) {
	s := newServer(t)
	s.records[sid] = ringStory()
	r := ask(t, s.start(), "why", string(sid)).ok(t)
	_, devices, found := strings.Cut(r.stdout, "\nDevices:\n")
	if lines := strings.Count(devices, "\n"); !found || lines != 7 {
		t.Errorf("%d lines of devices:\n%s", lines, r.stdout)
	}
}
