package postgres

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// counter counts what a store asks of the database.
type counter struct{ trips, statements atomic.Int64 }

// counted is a connection of which every answer that is waited for is a round trip.
type counted struct {
	net.Conn
	counter *counter
	asked   atomic.Bool
}

func (c *counted) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(b)
}

func (c *counted) Read(b []byte) (int, error) {
	if c.asked.Swap(false) {
		c.counter.trips.Add(1)
	}
	return c.Conn.Read(b)
}

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	c.statements.Add(int64(len(data.Batch.QueuedQueries)))
	return ctx
}

func (c *counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// runs are enough for connections and prepared statements to be there.
const runs = 30

// cost runs an operation many times and says what most runs cost: in the first ones connections and
// prepared statements are made, and on a busy machine an answer may be there before anybody reads.
func (c *counter) cost(t *testing.T, operation func() error) (trips, statements int64) {
	t.Helper()
	type price struct{ trips, statements int64 }
	seen := map[price]int{}
	for range runs {
		before := price{c.trips.Load(), c.statements.Load()}
		if err := operation(); err != nil {
			t.Fatal(err)
		}
		seen[price{c.trips.Load() - before.trips, c.statements.Load() - before.statements}]++
	}
	most := 0
	for p, times := range seen {
		if times > most {
			trips, statements, most = p.trips, p.statements, times
		}
	}
	return trips, statements
}

// What the busiest paths cost. A Notify is one round trip and one statement, and that is what
// all of the sizing rests on; see DESIGN.md. With BEGIN, COMMIT, locks and timeouts counted;
// a group sets its timeout once.
func TestRoundTrips(t *testing.T) {
	c := &counter{}
	dialer := &net.Dialer{}
	s, err := Open(t.Context(), Config{
		URL: planet.Secret(emptyDatabase(t)), Log: testlog.New(t), tracer: c,
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &counted{Conn: conn, counter: c}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	now := time.Now()
	fresh := func() (bell.Call, []bell.Delivery) {
		n, deliveries, _ := benchCall(1)
		return n, deliveries
	}
	known, deliveries := fresh()
	if _, err := s.BeginCall(ctx, known, deliveries, nil); err != nil {
		t.Fatal(err)
	}
	told := func(c bell.Call) bell.Call {
		c.Wanted = bell.Events(bell.EventTypes()...)
		return c
	}
	begin := func(c bell.Call, deliveries []bell.Delivery, want call.BeginResult) error {
		got, err := s.BeginCall(ctx, c, deliveries, nil)
		if err == nil && got != want {
			t.Errorf("BeginCall = %v, want %v", got, want)
		}
		return err
	}
	phone := bell.Device{ID: bell.NewID(), Owner: known.CalleeOwner(), SessionID: "phone", Channel: bell.FCM, PushToken: "token"}
	if _, err := s.ChangeDevice(ctx, device.Key{SessionID: phone.SessionID}, func(device.Known) (bell.Device, error) { return phone, nil }); err != nil {
		t.Fatal(err)
	}
	var rung []bell.Call // of which no receipt has come
	for range runs {
		c, deliveries := fresh()
		deliveries[0].DeviceID = phone.ID
		if _, err := s.BeginCall(ctx, c, deliveries, nil); err != nil {
			t.Fatal(err)
		}
		rung = append(rung, c)
	}
	n := int64(0)
	for _, path := range []struct {
		name              string
		trips, statements int64
		run               func() error
	}{
		{"a Notify", 1, 2, func() error {
			c, deliveries := fresh()
			return begin(c, deliveries, call.Began)
		}},
		{"a Notify with an event", 1, 2, func() error {
			c, deliveries := fresh()
			c.Events = []bell.Event{bell.RingingEvent(&c, len(deliveries))}
			return begin(c, deliveries, call.Began)
		}},
		{"a repeat", 2, 4, func() error { return begin(known, deliveries, call.Repeated) }},
		{"an attempt", 1, 2, func() error {
			return s.RecordAttempt(ctx, deliveries[0], bell.Attempt{Number: 1, StartedAt: now})
		}},
		{"a receipt", 1, 2, func() error {
			c := rung[0]
			rung = rung[1:]
			got, err := s.RecordReceipt(ctx, bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: phone.ID, At: now})
			if got.Repeated {
				t.Error("a first receipt is taken for a repeat")
			}
			return err
		}},
		{"a Call Event", 1, 3, func() error {
			c, _ := fresh()
			return s.EndCall(ctx, c, bell.JournalEntry{Kind: "call-event", DedupKey: string(c.SessionID)})
		}},
		{"a Call Event that is told", 2, 6, func() error {
			c, _ := fresh()
			return s.EndCall(ctx, told(c), bell.JournalEntry{Kind: "call-event", DedupKey: string(c.SessionID)})
		}},
		{"another callback", 1, 2, func() error {
			c, _ := fresh()
			return s.AppendJournal(ctx, bell.JournalEntry{Kind: "other", DedupKey: string(c.SessionID)})
		}},
		{"an Agent Call Status", 1, 3, func() error {
			c, _ := fresh()
			return s.AppendJournal(ctx, bell.JournalEntry{SessionID: c.SessionID, Kind: "other", DedupKey: string(c.SessionID), Agent: &bell.AgentStatus{}})
		}},
		{"an event of a room", 2, 9, func() error {
			n++
			service := room.New(room.Config{Store: s, Keeper: straight{}})
			return service.Take(ctx, &bell.Project{Name: "demo", Environment: planet.Evaluation}, roomEvent(n*50, now))
		}},
		{"a claim", 1, 1, func() error {
			_, err := s.ClaimDeliveries(ctx, delivery.Claim{Owner: "x", Now: now, LeaseUntil: now, Limit: 10})
			return err
		}},
		{"a sweep", 1, 5, func() error {
			_, err := s.ExpireDeliveries(ctx, now)
			return err
		}},
		{"the devices of a callee", 1, 1, func() error {
			_, err := s.DevicesOf(ctx, known.CalleeOwner())
			return err
		}},
	} {
		trips, statements := c.cost(t, path.run)
		t.Logf("%s: %d round trips, %d statements", path.name, trips, statements)
		if trips != path.trips || statements != path.statements {
			t.Errorf("%s costs %d round trips and %d statements, want %d and %d", path.name, trips, statements, path.trips, path.statements)
		}
	}
}
