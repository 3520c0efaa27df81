package storetest

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

var agentTests = map[string]func(*testing.T, Store){
	"before Notify, which rings":     agentFirst,
	"between Notify and Call Event":  agentBetween,
	"before a Call Event alone":      agentThenEnd,
	"after everything":               agentLast,
	"alone":                          agentAlone,
	"the newest counts":              agentNewest,
	"the same again changes nothing": agentSame,
	"environments are apart":         agentEnvironments,
	"round trip":                     agentRoundTrip,
}

// agentEntry is an Agent Call Status of the call, n seconds after noon.
func agentEntry(c bell.Call, n int, failReason string) bell.JournalEntry {
	at := noon.Add(time.Duration(n) * time.Second)
	return bell.JournalEntry{
		ReceivedAt: at, Project: c.Project, Environment: c.Environment, Kind: "agent-call-status",
		SessionID: c.SessionID, DedupKey: "agent-call-status/" + string(c.SessionID) + "/" + failReason,
		Params: []planet.RawParam{{Name: "sid", Value: string(c.SessionID)}},
		Agent: &bell.AgentStatus{
			AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE", Success: failReason == "", FailReason: failReason,
		},
	}
}

// told is the status as it must come back.
func told(e bell.JournalEntry) bell.AgentStatus {
	a := *e.Agent
	a.ReceivedAt, a.Project = e.ReceivedAt, e.Project
	return a
}

func appendEntry(t *testing.T, s Store, e bell.JournalEntry) {
	t.Helper()
	ok(t, "AppendJournal", s.AppendJournal(t.Context(), e))
}

// A status that overtakes Notify must not make Notify a repeat: nobody would hear the call.
func agentFirst(t *testing.T, s Store) {
	c := newCall()
	status := agentEntry(c, -1, "")
	appendEntry(t, s, status)
	device := newDevice("bob", 1)
	add(t, s, device)
	d := newDelivery(c, device)
	result, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil)
	ok(t, "BeginCall", err)
	if result != call.Began {
		t.Errorf("Notify after the status is %v, want a new call", result)
	}
	got := record(t, s, c)
	same(t, "call", got.Call, recorded(c))
	same(t, "status", got.Agent, told(status))
	if len(got.Deliveries) != 1 {
		t.Errorf("%d deliveries, want one", len(got.Deliveries))
	}
	if rings := claim(t, s, everything); len(rings) != 1 {
		t.Errorf("%d deliveries can be claimed, want one", len(rings))
	}
}

func agentBetween(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	same(t, "status before it came", record(t, s, c).Agent, bell.AgentStatus{})
	status := agentEntry(c, 1, "")
	appendEntry(t, s, status)
	same(t, "call after the status", record(t, s, c).Call, recorded(c))
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	got := record(t, s, c)
	same(t, "status", got.Agent, told(status))
	if got.Call.State != bell.CallEnded {
		t.Errorf("the call is %s", got.Call.State)
	}
}

func agentThenEnd(t *testing.T, s Store) {
	c := newCall()
	status := agentEntry(c, -1, "")
	appendEntry(t, s, status)
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	got := record(t, s, c)
	same(t, "status", got.Agent, told(status))
	if got.Call.State != bell.CallEnded || got.Call.Outcome != e.Outcome {
		t.Errorf("the call is %+v", got.Call)
	}
}

func agentLast(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	before := record(t, s, c).Call
	status := agentEntry(c, 100, "")
	appendEntry(t, s, status)
	got := record(t, s, c)
	same(t, "call", got.Call, before)
	same(t, "status", got.Agent, told(status))
}

// A call that could not be set up has nothing but its status. It is shown, and not listed.
func agentAlone(t *testing.T, s Store) {
	c := newCall()
	status := agentEntry(c, 0, "Invalid peerId")
	appendEntry(t, s, status)
	for _, environment := range []planet.Environment{c.Environment, ""} {
		got, err := s.Call(t.Context(), environment, c.SessionID)
		ok(t, "Call", err)
		same(t, "record", got, call.Record{
			Call: bell.Call{Environment: c.Environment, SessionID: c.SessionID, Project: c.Project}, Agent: told(status),
		})
	}
	_, err := s.Call(t.Context(), planet.Real, c.SessionID)
	wantKind(t, "Call of the other environment", err, bell.NotFound)
	if ids := list(t, s, call.Filter{}, 10); len(ids) != 0 {
		t.Errorf("listed: %v", ids)
	}
	if entries := journal(t, s, c.SessionID); len(entries) != 1 {
		t.Errorf("%d journal entries, want one", len(entries))
	}
}

func agentNewest(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	newest := agentEntry(c, 5, "Invalid peerId")
	for _, e := range []bell.JournalEntry{agentEntry(c, 1, ""), newest, agentEntry(c, 3, "late and older")} {
		appendEntry(t, s, e)
	}
	same(t, "status", record(t, s, c).Agent, told(newest))
	if entries := journal(t, s, c.SessionID); len(entries) != 4 {
		t.Errorf("%d journal entries, want Notify and three", len(entries))
	}
}

func agentSame(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	first := agentEntry(c, 1, "")
	appendEntry(t, s, first)
	appendEntry(t, s, agentEntry(c, 50, ""))
	same(t, "status", record(t, s, c).Agent, told(first))
}

func agentEnvironments(t *testing.T, s Store) {
	c := newCall()
	other := c
	other.Environment, other.Project, other.NotifiedAt = planet.Real, "live", noon.Add(-time.Minute)
	begin(t, s, c)
	begin(t, s, other)
	status := agentEntry(other, 9, "No such content")
	appendEntry(t, s, status)
	same(t, "status of the one", record(t, s, c).Agent, bell.AgentStatus{})
	same(t, "status of the other", record(t, s, other).Agent, told(status))
	got, err := s.Call(t.Context(), "", c.SessionID) // the newest call, not the newest status
	ok(t, "Call", err)
	same(t, "status of the newest call", got.Agent, bell.AgentStatus{})
}

func agentRoundTrip(t *testing.T, s Store) {
	for i, text := range hostile {
		c := newCall()
		e := agentEntry(c, i, text)
		e.Agent.AgentType, e.Agent.MediaSourceType = text, text
		appendEntry(t, s, e)
		same(t, text, record(t, s, c).Agent, told(e))
	}
}
