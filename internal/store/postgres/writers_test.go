package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// two opens two stores on one database, as two nodes do.
func two(t *testing.T) [2]*Store {
	t.Helper()
	location := emptyDatabase(t)
	return [2]*Store{wanting(openStore(t, location)), wanting(openStore(t, location))}
}

// together runs n functions at once and waits for them.
func together(n int, run func(i int)) {
	var work sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		work.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	work.Wait()
}

// Copies of one Notify that come to both nodes at once are one call.
func TestOneNotifyOnTwoNodes(t *testing.T) {
	nodes := two(t)
	for range 20 {
		c, deliveries, raw := benchCall(1)
		c.Events = []bell.Event{bell.RingingEvent(&c, 1)}
		var began, repeated atomic.Int64
		together(12, func(i int) {
			mine := slices.Clone(deliveries)
			mine[0].ID = uuid.NewString()
			got, err := nodes[i%2].BeginCall(context.Background(), c, mine, raw)
			switch {
			case err != nil:
				t.Errorf("BeginCall: %v", err)
			case got == call.Began:
				began.Add(1)
			case got == call.Repeated:
				repeated.Add(1)
			}
		})
		if began.Load() != 1 || repeated.Load() != 11 {
			t.Fatalf("%d began and %d are repeats, want 1 and 11", began.Load(), repeated.Load())
		}
		if r, err := nodes[0].Call(t.Context(), c.Environment, c.SessionID); err != nil || len(r.Deliveries) != 1 {
			t.Fatalf("%d deliveries, %v; want the one of who began", len(r.Deliveries), err)
		}
	}
}

// A Notify and its Call Event that come to two nodes at once leave the record that they leave
// in order, and nothing that rings.
func TestNotifyRacesItsEvent(t *testing.T) {
	nodes := two(t)
	const calls = 60
	var overtaken atomic.Int64
	together(calls*2, func(i int) {
		if i >= calls {
			return
		}
		c, deliveries, raw := benchCall(int64(i))
		event := c
		event.State, event.Outcome, event.CCParam, event.EndedAt = bell.CallEnded, planet.OutcomeDeclined, "", c.NotifiedAt.Add(time.Second)
		event.MissedAt = event.EndedAt
		if i%2 == 0 {
			event.Wanted = bell.Events(bell.EventTypes()...)
		}
		entry := bell.JournalEntry{ReceivedAt: event.EndedAt, Kind: "call-event", SessionID: c.SessionID, DedupKey: "event-" + string(c.SessionID)}
		together(3, func(j int) {
			switch j {
			case 0:
				got, err := nodes[i%2].BeginCall(context.Background(), c, deliveries, raw)
				if err != nil {
					t.Errorf("BeginCall: %v", err)
				}
				if got == call.AlreadyEnded {
					overtaken.Add(1)
				}
			default: // the event twice, as when its answer was lost
				if err := nodes[(i+j)%2].EndCall(context.Background(), event, entry); err != nil {
					t.Errorf("EndCall: %v", err)
				}
			}
		})
		r, err := nodes[0].Call(context.Background(), c.Environment, c.SessionID)
		if err != nil {
			t.Errorf("Call: %v", err)
			return
		}
		if r.Call.State != bell.CallEnded || r.Call.Outcome != planet.OutcomeDeclined || r.Call.NotifiedAt.IsZero() || r.Call.Caller != c.Caller || r.Call.MissedAt.IsZero() {
			t.Errorf("the call is %+v", r.Call)
		}
		for _, d := range r.Deliveries {
			if d.Delivery.State != bell.DeliveryWithdrawn {
				t.Errorf("a delivery is %s after the call's end", d.Delivery.State)
			}
		}
		if journal, err := nodes[1].Journal(context.Background(), c.SessionID); err != nil || len(journal) != 2 {
			t.Errorf("%d entries in the journal, %v; want Notify and its event", len(journal), err)
		}
	})
	t.Logf("%d of %d calls were overtaken by their events", overtaken.Load(), calls)
}

// A Call Event that waits for the commit of its Notify withdraws that one's deliveries, though
// they were not there when it began.
func TestEventWaitsForItsNotify(t *testing.T) {
	for _, wanted := range []bell.EventSet{0, bell.Events(bell.EventTypes()...)} {
		s := newStore(t)
		c, deliveries, _ := benchCall(1)
		conn, err := s.connect(s.readPool)
		if err != nil {
			t.Fatal(err)
		}
		defer giveBack(conn)
		notify := query{beginCall + begun, bind(append(callArgs(&c, ""), deliveryArgs(deliveries)...))}
		if _, err := exchange(t.Context(), conn.Conn(), []query{{sql: "BEGIN"}, notify}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			event := c
			event.Wanted = wanted
			done <- s.EndCall(context.Background(), event, bell.JournalEntry{})
		}()
		waitBlocked(t, s, 1)
		if _, err := exchange(t.Context(), conn.Conn(), []query{{sql: "COMMIT"}}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r, err := s.Call(t.Context(), c.Environment, c.SessionID)
		if err != nil || len(r.Deliveries) != 1 || r.Deliveries[0].Delivery.State != bell.DeliveryWithdrawn || r.Call.State != bell.CallEnded {
			t.Errorf("the call is %+v, %v; want it ended and its delivery withdrawn", r, err)
		}
	}
}

// What two nodes claim at once is never the same, and all of it is claimed.
func TestClaimsDoNotOverlap(t *testing.T) {
	nodes := two(t)
	want := 0
	var now time.Time
	for i := range 40 {
		c, deliveries, _ := benchCall(int64(i))
		now = c.NotifiedAt
		for j := range 3 {
			d := deliveries[0]
			d.ID, d.DeviceID, d.LeaseUntil = uuid.NewString(), uuid.NewString(), now.Add(-time.Second)
			if j == 0 {
				deliveries = deliveries[:0]
			}
			deliveries = append(deliveries, d)
			if err := nodes[0].AddDevice(t.Context(), bell.Device{ID: d.DeviceID, Owner: c.CalleeOwner(), Channel: d.Channel}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := nodes[0].BeginCall(t.Context(), c, deliveries, nil); err != nil {
			t.Fatal(err)
		}
		want += len(deliveries)
	}
	var mu sync.Mutex
	claimed := map[string]int{}
	together(8, func(i int) {
		owner := fmt.Sprintf("node-%d", i)
		for empty := 0; empty < 5; {
			rings, err := nodes[i%2].ClaimDeliveries(context.Background(), delivery.Claim{
				Owner: owner, Now: now.Add(time.Second), LeaseUntil: now.Add(20 * time.Second), Limit: 7,
			})
			if err != nil {
				t.Errorf("ClaimDeliveries: %v", err)
			}
			if len(rings) == 0 {
				empty++
			}
			mu.Lock()
			for _, r := range rings {
				claimed[r.Delivery.ID]++
				if r.Delivery.LeaseOwner != owner || r.Delivery.State != bell.DeliverySending || r.Call.CCParam == "" {
					t.Errorf("claimed %+v", r.Delivery)
				}
			}
			mu.Unlock()
		}
	})
	for id, n := range claimed {
		if n != 1 {
			t.Errorf("delivery %s was claimed %d times", id, n)
		}
	}
	if len(claimed) != want {
		t.Errorf("%d were claimed, want %d", len(claimed), want)
	}
}

// Attempts, expiry and the end of a call on two nodes at once: nobody fails, nothing is lost.
func TestDeliveriesMoveOnTwoNodes(t *testing.T) {
	nodes := two(t)
	for round := range 10 {
		c, deliveries, _ := benchCall(int64(round))
		for range 9 {
			d := deliveries[0]
			d.ID = uuid.NewString()
			deliveries = append(deliveries, d)
		}
		if _, err := nodes[0].BeginCall(t.Context(), c, deliveries, nil); err != nil {
			t.Fatal(err)
		}
		together(len(deliveries)*2+4, func(i int) {
			var err error
			switch {
			case i < len(deliveries)*2: // from both ends, so that rows are taken in both orders
				d := deliveries[(i/2)*(1-i%2)+(len(deliveries)-1-i/2)*(i%2)]
				d.State, d.Attempts = bell.DeliveryAccepted, 1
				err = nodes[i%2].RecordAttempt(context.Background(), d, bell.Attempt{DeliveryID: d.ID, Number: 1, StartedAt: c.NotifiedAt.Add(time.Duration(i))})
			case i%2 == 0:
				err = nodes[0].EndCall(context.Background(), c, bell.JournalEntry{})
			default:
				_, err = nodes[1].ExpireDeliveries(context.Background(), c.Deadline)
			}
			if err != nil {
				t.Errorf("operation %d: %v", i, err)
			}
		})
		r, err := nodes[1].Call(t.Context(), c.Environment, c.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Deliveries { // accepted replaces whatever came first
			if d.Delivery.State != bell.DeliveryAccepted || len(d.Attempts) == 0 {
				t.Errorf("a delivery is %s with %d attempts", d.Delivery.State, len(d.Attempts))
			}
		}
	}
}

// One push token that is registered on both nodes at once is one device's in the end.
func TestDevicesOnTwoNodes(t *testing.T) {
	nodes := two(t)
	owner := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "service", UserID: "bob"}}
	for round := range 10 {
		token := planet.Secret(fmt.Sprintf("token-%d", round))
		together(8, func(i int) {
			session := fmt.Sprintf("session-%d-%d", round, i%3)
			_, err := nodes[i%2].ChangeDevice(context.Background(), device.Key{SessionID: session, Owner: owner, ClientID: fmt.Sprintf("client-%d-%d", round, i%2)},
				func(k device.Known) (bell.Device, error) {
					d := bell.Device{ID: uuid.NewString(), Owner: owner, SessionID: session, PushToken: token, Channel: bell.FCM, ClientID: fmt.Sprintf("client-%d-%d", round, i%2)}
					if k.OfSession != nil {
						d.ID = k.OfSession.ID
					}
					return d, nil
				})
			if err != nil {
				t.Errorf("ChangeDevice: %v", err)
			}
		})
		devices, err := nodes[0].DevicesOf(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		holders := 0
		for _, d := range devices {
			if d.PushToken == token {
				holders++
			}
		}
		if holders != 1 {
			t.Errorf("%d devices hold the token, want 1", holders)
		}
	}
}

// A subject's events are told in order, though two nodes spread, claim and record.
func TestEventsInOrderOnTwoNodes(t *testing.T) {
	nodes := two(t)
	const subjects, each = 4, 8
	now := time.Now()
	to := func(string, bell.EventType) []string { return []string{"p/a", "p/b"} }
	var mu sync.Mutex
	told := map[string][]string{} // endpoint and subject to event IDs
	var all atomic.Int64
	together(6, func(i int) {
		s := nodes[i%2]
		switch {
		case i < 2: // the events of a subject come one after the other, on one node or the other
			for n := range each {
				for subject := i; subject < subjects; subject += 2 {
					e := bell.Event{ID: fmt.Sprintf("%d-%02d", subject, n), Type: bell.EventCallEnded, Project: "p", Subject: fmt.Sprint(subject), At: now, Data: []byte(`{}`)}
					if err := nodes[n%2].AddEvent(context.Background(), e); err != nil {
						t.Errorf("AddEvent: %v", err)
					}
				}
			}
		default:
			owner := fmt.Sprintf("node-%d", i)
			for all.Load() < subjects*each*2 && !t.Failed() {
				if _, err := s.SpreadEvents(context.Background(), now, 5, to); err != nil {
					t.Errorf("SpreadEvents: %v", err)
				}
				endpoint := []string{"p/a", "p/b"}[i/2%2]
				claimed, err := s.ClaimTellings(context.Background(), webhook.Claim{Endpoint: endpoint, Owner: owner, Now: now, LeaseUntil: now.Add(time.Minute), Limit: 3})
				if err != nil {
					t.Errorf("ClaimTellings: %v", err)
				}
				for _, c := range claimed {
					mu.Lock()
					key := endpoint + "/" + c.Event.Subject
					told[key] = append(told[key], c.Event.ID)
					mu.Unlock()
					held, err := s.RecordTelling(context.Background(), webhook.Result{Seq: c.Seq, Endpoint: endpoint, Owner: owner, State: webhook.Told, Now: now})
					if err != nil || !held {
						t.Errorf("RecordTelling: %t, %v", held, err)
					}
					all.Add(1)
				}
			}
		}
	})
	for key, ids := range told {
		if !slices.IsSorted(ids) || len(ids) != each {
			t.Errorf("%s was told %v", key, ids)
		}
	}
	if len(told) != subjects*2 {
		t.Errorf("%d subjects were told, want %d", len(told), subjects*2)
	}
}

// Events of a run that come to both nodes in any order leave the state of the ordered ones.
func TestRoomOnTwoNodes(t *testing.T) {
	nodes := two(t)
	var services [2]*room.Service
	for i := range services {
		services[i] = room.New(room.Config{Store: nodes[i], Keeper: straight{}})
	}
	project := &bell.Project{Name: "demo", Environment: planet.Evaluation}
	start := time.Now().Truncate(time.Millisecond).UTC()
	for round := range 6 {
		events := make([]planet.GroupCallEvent, 24)
		for i := range events {
			e := roomEvent(int64(i), start)
			e.SessionID = planet.SessionID(fmt.Sprintf("%032x", round))
			e.Room.RoomID = "room"
			e.Participant.UserID = fmt.Sprint(i % 5)
			if i%3 == 0 {
				e.ParticipantStatus = planet.ParticipantDisconnected
			}
			e.Time = start.Add(time.Duration(i) * time.Millisecond)
			events[i] = e
		}
		together(len(events)*2, func(i int) { // each twice, once on each node
			if err := services[i%2].Take(context.Background(), project, events[(i*7/2)%len(events)]); err != nil {
				t.Errorf("Take: %v", err)
			}
		})
		for i := range events {
			if err := services[i%2].Take(t.Context(), project, events[i]); err != nil {
				t.Fatal(err)
			}
		}
		want := room.Replay(events)
		key := room.RunKey{Environment: planet.Evaluation, SessionID: events[0].SessionID}
		got, err := nodes[round%2].Run(t.Context(), key.Environment, key.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		ours := cmpopts.IgnoreFields(bell.RoomRun{}, "HeardAt", "SeenAt", "Project", "Environment")
		if diff := cmp.Diff(want.Run, got, ours); diff != "" {
			t.Errorf("the run (-want +got):\n%s", diff)
		}
		people, err := nodes[0].Participants(t.Context(), key, planet.UserRef{}, 100)
		if err != nil || len(people) != len(want.Participants) {
			t.Fatalf("%d participants, %v; want %d", len(people), err, len(want.Participants))
		}
		for _, p := range people {
			if diff := cmp.Diff(want.Participants[p.User], p); diff != "" {
				t.Errorf("participant %s (-want +got):\n%s", p.User.UserID, diff)
			}
		}
	}
}
