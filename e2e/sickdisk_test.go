package e2e

import (
	"database/sql"
	"net/http"
	"net/url"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to lock the server's database as another program would

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// lockDatabase locks the server's database against all writes until unlock is called.
func (s *scene) lockDatabase() (unlock func()) {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.Config.Database.Path)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := db.Conn(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	do := func(statement string) {
		s.t.Helper()
		if _, err := conn.ExecContext(s.ctx, statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	do("PRAGMA busy_timeout = 10000")
	do("BEGIN EXCLUSIVE")
	return func() {
		s.t.Helper()
		do("ROLLBACK")
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// callWhileSick places a call that rings all phones, and ends it, while the disk is sick.
func (s *scene) callWhileSick(phones []*sim.Phone, before int) *sim.Call {
	s.t.Helper()
	c := s.call("alice", "bob", sim.Plan{})
	for _, p := range phones {
		receipts := s.rang(p, before+1)
		if got := receipts[before]; got.Err != nil || !got.Rang || got.Call.CCParam != c.CCParam().Reveal() {
			s.t.Errorf("%s did not ring: %v", p.Name(), got.Err)
		}
	}
	s.tookAll(phones, before+1)
	return c
}

// tookAll waits until the phones took n calls each, so that nothing is withdrawn at the end.
func (s *scene) tookAll(phones []*sim.Phone, n int) {
	s.t.Helper()
	s.await("every phone took its calls", func() bool {
		return s.metric("planetbell_push_attempts_total{") == float64(n*len(phones))
	})
}

// endWhileSick hangs up. The phones poll again then.
func (s *scene) endWhileSick(c *sim.Call) {
	s.t.Helper()
	c.Hangup()
	for _, e := range s.over(c).Events {
		if e.Status != http.StatusOK {
			s.t.Errorf("a Call Event was answered %d", e.Status)
		}
	}
}

// wantRecorded waits until the record of a call is whole: ended, and each device accepted.
func (s *scene) wantRecorded(sid planet.SessionID, phones int) {
	s.t.Helper()
	s.await("the call is on record", func() bool {
		return s.admin(http.MethodGet, "/admin/v1/calls/"+string(sid), "", nil) == http.StatusOK
	})
	s.await("the call has ended on record", func() bool { return s.story(sid).Call.State == bell.CallEnded })
	if got := states(s.settled(sid)); got[bell.DeliveryAccepted] != phones || len(got) != 1 {
		s.t.Errorf("the record has deliveries %v, want %d accepted", got, phones)
	}
}

// wantWellAgain waits until nothing waits in memory, and looks at what was told of it.
func (s *scene) wantWellAgain(rung float64) {
	s.t.Helper()
	s.await("nothing waits any more", func() bool {
		return s.metric("planetbell_backlog_items") == 0 && s.metric("planetbell_backlog_bytes") == 0
	})
	if n := s.metric("planetbell_rung_from_memory_total"); n < rung {
		s.t.Errorf("%v calls rang from memory, want %v or more", n, rung)
	}
	s.await("the end of the trouble is told", func() bool {
		return strings.Contains(s.watch.text(), "the database records calls again")
	})
	if n := strings.Count(s.watch.text(), "the database does not record calls"); n != 1 {
		s.t.Errorf("the trouble was told %d times", n)
	}
}

// While another program locks the database, every device rings, every callback is answered
// 200, polling phones stay, and afterwards the record is whole: without a restart.
func TestSickDiskLocked(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.phone("alice", sim.IOS, "alice's iPhone")
	phones := s.sixPhones()
	early := s.callWhileSick(phones, 0)

	unlock := s.lockDatabase()
	s.endWhileSick(early)
	first := s.callWhileSick(phones, 1)
	s.endWhileSick(first)
	// A copy of a Notify rings nothing, now and later.
	again := notify(uuid.NewString(), "demo-service", "bob")
	for range 2 {
		if a := s.callback(s.project(), "notify", again); a.status != http.StatusOK {
			t.Errorf("a Notify was answered %d", a.status)
		}
	}
	for _, p := range phones {
		s.rang(p, 3)
	}
	s.tookAll(phones, 3)
	for name, values := range map[string]url.Values{
		"call-event":        callEvent(again.Get("sid"), "demo-service", "bob"),
		"agent-call-status": {"sid": {uuid.NewString()}, "result": {"SUCCESS"}},
	} {
		if a := s.callback(s.project(), name, values); a.status != http.StatusOK {
			t.Errorf("%s was answered %d", name, a.status)
		}
	}
	unlock()
	if a := s.callback(s.project(), "notify", again); a.status != http.StatusOK {
		t.Errorf("a Notify was answered %d", a.status)
	}
	s.wantWellAgain(2)
	for _, sid := range []planet.SessionID{early.SessionID(), first.SessionID(), planet.SessionID(again.Get("sid"))} {
		s.wantRecorded(sid, len(phones))
	}
	last := s.callWhileSick(phones, 3)
	s.endWhileSick(last)
	s.wantRecorded(last.SessionID(), len(phones))
	for _, p := range phones {
		if n := len(p.Received()); n != 4 {
			t.Errorf("%s got %d calls, want 4", p.Name(), n)
		}
	}
}
