package datamove

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/store/storetest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

var (
	noon = time.Date(2026, 9, 1, 12, 0, 0, 123456000, time.UTC)
	bob  = bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "service", UserID: "bob"}}
	ann  = planet.UserRef{ServiceID: "service", UserID: "ann"}
)

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func aCall(n int) (bell.Call, bell.Delivery) {
	c := bell.Call{
		Environment: planet.Evaluation, SessionID: planet.SessionID(fmt.Sprintf("session-%d", n)), Project: "demo", Label: "evaluation",
		Caller: ann, Callee: bob.User, Type: planet.VideoCall, CCParam: planet.CCParam(testlog.CCParam(n)), AppServerData: odd[n%len(odd)],
		State: bell.CallRinging, NotifiedAt: noon.Add(time.Duration(n) * time.Second), Deadline: noon.Add(time.Hour),
	}
	return c, bell.Delivery{
		ID: fmt.Sprintf("delivery-%d", n), Environment: c.Environment, SessionID: c.SessionID, DeviceID: "device", Channel: bell.APNsVoIP,
		State: bell.DeliveryPending, Deadline: c.Deadline, LeaseOwner: "old", LeaseUntil: noon, CreatedAt: noon, UpdatedAt: noon,
	}
}

// live writes to a store as a server does.
func live(t *testing.T, s storetest.Store) {
	t.Helper()
	session := bell.Session{ID: "session", Owner: bob, Project: "demo", IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	ok(t, "OpenSession", s.OpenSession(t.Context(), bell.User{Owner: bob, DisplayName: odd[4], RegisteredAt: noon}, session, account.SessionRule{}))
	ok(t, "AddDevice", s.AddDevice(t.Context(), bell.Device{
		ID: "device", Owner: bob, Project: "demo", SessionID: "session", Channel: bell.APNsVoIP, APNsServerGuessed: true,
		PushToken: planet.Secret(testlog.HexSecret(1, 64)), RegisteredAt: noon, LastSeenAt: noon, ExpiresAt: noon.Add(time.Hour),
	}))
	for n := range 9 {
		c, d := aCall(n)
		_, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, []planet.RawParam{{Name: "sid", Value: string(c.SessionID)}, {Name: odd[5], Value: odd[4]}})
		ok(t, "BeginCall", err)
		if n%2 == 0 {
			d.State, d.Attempts = bell.DeliveryAccepted, 1
			ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{Number: 1, StartedAt: noon, Took: time.Second, Outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200}}))
			c.State, c.Outcome, c.EndedAt = bell.CallEnded, planet.OutcomeDeclined, noon.Add(time.Minute)
			code := 21
			c.Release = planet.Release{Terminate: &code, CodeName: "DECLINE"}
			ok(t, "EndCall", s.EndCall(t.Context(), c, bell.JournalEntry{ReceivedAt: noon, Project: "demo", Environment: c.Environment, Kind: "call-event", SessionID: c.SessionID, DedupKey: string(c.SessionID)}))
		}
		ok(t, "AddEvent", s.AddEvent(t.Context(), bell.Event{ID: fmt.Sprintf("event-%d", n), Type: bell.EventDeviceRemoved, Project: "demo", Subject: "device", At: noon, Data: []byte(`{}`)}))
	}
	ok(t, "Block", s.Block(t.Context(), bob, policy.Blocked{User: ann, At: noon}, 10))
	run := bell.RoomRun{
		Environment: planet.Evaluation, SessionID: "run", Project: "demo", Room: planet.RoomRef{ServiceID: "service", RoomID: "room"},
		HeardAt: noon, SeenAt: noon, State: bell.RoomOpen, Online: 1, Crowded: true,
	}
	in := bell.Participant{User: ann, State: bell.ParticipantJoined, FirstJoinedAt: noon, JoinedAt: noon, TimedOut: true}
	_, err := s.ChangeRun(t.Context(), room.Touched{RunKey: room.RunKey{Environment: run.Environment, SessionID: run.SessionID}, User: ann},
		bell.JournalEntry{ReceivedAt: noon, Project: "demo", Environment: run.Environment, Kind: room.KindGroupCallEvent, SessionID: "run"},
		func(room.Known) room.Change {
			return room.Change{Run: run, WriteRun: true, Participant: in, WriteParticipant: true}
		})
	ok(t, "ChangeRun", err)
}

// seen is what a server reads.
func seen(t *testing.T, s storetest.Store) map[string]any {
	t.Helper()
	all := map[string]any{}
	keep := func(what string, value any, err error) {
		t.Helper()
		ok(t, what, err)
		all[what] = value
	}
	session, err := s.Session(t.Context(), "session")
	keep("session", session, err)
	devices, err := s.Devices(t.Context(), device.Filter{}, "", 10)
	keep("devices", devices, err)
	ringing, err := s.DevicesOf(t.Context(), bob)
	keep("devices of bob", ringing, err)
	calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{}, 100)
	keep("calls", calls, err)
	for _, c := range calls {
		record, err := s.Call(t.Context(), c.Environment, c.SessionID)
		keep("call "+string(c.SessionID), record, err)
		journal, err := s.Journal(t.Context(), c.SessionID)
		keep("journal "+string(c.SessionID), journal, err)
	}
	rules, err := s.RulesOf(t.Context(), bob)
	keep("rules", rules, err)
	runs, err := s.Runs(t.Context(), room.Filter{}, room.Cursor{}, 10)
	keep("runs", runs, err)
	in, err := s.Participants(t.Context(), room.RunKey{Environment: planet.Evaluation, SessionID: "run"}, planet.UserRef{}, 10)
	keep("participants", in, err)
	if len(calls) != 10 || len(devices) != 2 || len(runs) != 1 || len(in) != 1 {
		t.Fatalf("%d calls, %d devices, %d runs, %d participants", len(calls), len(devices), len(runs), len(in))
	}
	return all
}

// A server finds in PostgreSQL what another has written to SQLite, rings on what rings, and
// goes on writing: no key is given twice.
func TestServerGoesOnAfterTheMove(t *testing.T) {
	path, url := newSource(t), testpg.Database(t)
	old, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Log: testlog.New(t)})
	ok(t, "open SQLite", err)
	live(t, old)
	// A call in a mailbox belongs to the old process until its deadline.
	letter, lying := aCall(1000)
	lying.Channel, lying.DeviceID, lying.LeaseUntil = bell.LongPoll, "poller", letter.Deadline
	_, err = old.BeginCall(t.Context(), letter, []bell.Delivery{lying}, nil)
	ok(t, "BeginCall", err)
	ok(t, "AddDevice", old.AddDevice(t.Context(), bell.Device{ID: "poller", Owner: bell.Owner{Environment: planet.Evaluation, User: ann}, Channel: bell.LongPoll}))
	before := seen(t, old)
	ok(t, "close SQLite", old.Close())
	_, err = openSQLite(t, path).Exec(`DELETE FROM events WHERE seq >= 8`)
	ok(t, "forget the newest events", err)

	_, err = Move(t.Context(), config(path, url))
	ok(t, "Move", err)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: planet.Secret(url), Node: "new", Log: testlog.New(t)})
	ok(t, "open PostgreSQL", err)
	defer func() { ok(t, "close PostgreSQL", s.Close()) }()
	if diff := cmp.Diff(before, seen(t, s), cmpopts.IgnoreFields(bell.Delivery{}, "LeaseOwner", "LeaseUntil")); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	letters, err := s.ClaimMailbox(t.Context(), cluster.Claim{Owner: "new", Devices: []string{"poller"}, Now: noon, Until: time.Now().Add(time.Hour)})
	if err != nil || len(letters) != 1 {
		t.Errorf("%d letters can be claimed, %v", len(letters), err)
	}
	rings, err := s.ClaimDeliveries(t.Context(), delivery.Claim{Owner: "new", Now: noon, LeaseUntil: noon.Add(time.Minute), TakeAll: true, Limit: 10})
	if err != nil || len(rings) != 4 || rings[0].Call.CCParam == "" {
		t.Errorf("%d deliveries ring on, %v", len(rings), err)
	}

	for n := 100; n < 103; n++ {
		c, d := aCall(n)
		_, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil)
		ok(t, "BeginCall", err)
		ok(t, "AppendJournal", s.AppendJournal(t.Context(), bell.JournalEntry{ReceivedAt: noon, Kind: "recording", SessionID: c.SessionID}))
		if record, err := s.Call(t.Context(), c.Environment, c.SessionID); err != nil || len(record.Deliveries) != 1 {
			t.Errorf("a new call has %d deliveries, %v", len(record.Deliveries), err)
		}
	}
	ok(t, "AddEvent", s.AddEvent(t.Context(), bell.Event{ID: "new", Type: bell.EventDeviceRemoved, Project: "demo", Subject: "device", At: noon, Data: []byte(`{}`)}))
	var seq int64
	ok(t, "read", openPostgres(t, url).QueryRow(t.Context(), `SELECT seq FROM events WHERE id = 'new'`).Scan(&seq))
	if seq != 10 {
		t.Errorf("the new event has the number %d, and 9 were given before", seq)
	}
	if _, err := s.SpreadEvents(t.Context(), noon, 100, func(string, bell.EventType) []string { return []string{"demo/main"} }); err != nil {
		t.Errorf("SpreadEvents: %v", err)
	}
	if tellings, err := s.Tellings(t.Context(), webhook.Filter{}, webhook.Cursor{}, 100); err != nil || len(tellings) != 8 {
		t.Errorf("%d tellings, %v", len(tellings), err)
	}
}
