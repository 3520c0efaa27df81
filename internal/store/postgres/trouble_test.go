package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func wantUnavailable(t *testing.T, what string, err error, sentence string) {
	t.Helper()
	if !errors.Is(err, bell.Unavailable) || !strings.Contains(err.Error(), sentence) {
		t.Errorf("%s = %v, want bell.Unavailable: %s", what, err, sentence)
	}
	if err != nil {
		testlog.Keep(t, what, err.Error())
	}
}

// No error of a start that fails holds the URL or the password, whatever is wrong with it; the
// password is a canary that make test looks for.
func TestOpenFails(t *testing.T) {
	location := testpg.Database(t)
	good, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := good.User.Password()
	change := func(f func(u *url.URL)) string {
		u := *good
		f(&u)
		return u.String()
	}
	for name, test := range map[string]struct {
		url, sentence string
		kind          bell.Kind
	}{
		"another scheme":      {"mysql://" + password + "@x/y", "does not begin with postgres://", ""},
		"no URL at all":       {"postgres://user:" + password + "@[::1/x", "its URL cannot be used", ""},
		"an unknown setting":  {location + "&pool_max_conns=" + password, "its URL cannot be used", ""},
		"few connections":     {location + "&pool_max_conns=4", "are needed at least", ""},
		"a file that is gone": {location + "&sslmode=verify-full&sslrootcert=/nowhere/" + password, "its URL cannot be used", ""},
		"a wrong password":    {change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong"+password) }), "refuses our user or password", bell.Unavailable},
		"no such database":    {change(func(u *url.URL) { u.Path = "/nowhere" }), "does not exist", bell.Unavailable},
		"nobody there":        {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "cannot be reached", bell.Unavailable},
		"TLS where is none":   {strings.Replace(location, "sslmode=disable", "sslmode=require", 1), "", ""},
		"a standby wanted":    {location + "&target_session_attrs=standby", "", ""},
	} {
		_, err := Open(t.Context(), Config{URL: planet.Secret(test.url), Log: testlog.New(t)})
		if err == nil || !strings.Contains(err.Error(), test.sentence) || bell.KindOf(err) != test.kind && test.kind != "" {
			t.Errorf("%s: %v, want %q of kind %q", name, err, test.sentence, test.kind)
			continue
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			testlog.Keep(t, name, text)
			if strings.Contains(text, password) || strings.Contains(text, "postgres://") && test.sentence == "" {
				t.Errorf("%s: the error holds the password: %s", name, text)
			}
		}
	}
}

func TestSentences(t *testing.T) {
	for code, want := range map[string]string{
		"53100": "disk is full", "53300": "no more connections", "53400": "out of resources", "57P01": "stopping or starting", "57P03": "stopping or starting",
		"57014": "took too long", "25006": "standby or read-only", "40P01": "conflict", "28P01": "user or password", "58030": "trouble with its files",
		"25P03": "took too long", "25P04": "took too long", "26000": "prepared statements", "42P05": "prepared statements", "0A000": "look at its log", "55006": "look at its log",
		"XX001": "internal error", "08006": "broke", "3D000": "does not exist", "42501": "may not do", "55P03": "busy",
	} {
		secret := "Key (push_token)=(x) exists"
		err := outward(inward(fmt.Errorf("write: %w", &pgconn.PgError{Code: code, Message: "text", Detail: secret})))
		wantUnavailable(t, code, err, want)
		if strings.Contains(fmt.Sprintf("%+v %#v", err, err), secret) {
			t.Errorf("%s quotes a row: %v", code, err)
		}
	}
	for _, code := range []string{"42P01", "23505", "22021", "54000", "P0001"} {
		if err := outward(inward(&pgconn.PgError{Code: code, Message: "text"})); bell.KindOf(err) != "" || !strings.Contains(err.Error(), code) {
			t.Errorf("%s = %v, want an error without kind", code, err)
		}
	}
	if err := outward(inward(context.DeadlineExceeded)); !strings.Contains(err.Error(), "did not answer in time") {
		t.Error(err)
	}
}

// hold takes a lock on a table, as a long statement of another program would, until the
// function that it returns is called.
func hold(t *testing.T, s *Store, table string) (release func()) {
	t.Helper()
	conn, err := s.connect(s.readPool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(t.Context(), conn.Conn(), []query{{sql: "BEGIN"}, {sql: "LOCK TABLE " + table}}); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { giveBack(conn) })
}

// waitBlocked waits until so many statements wait for locks.
func waitBlocked(t *testing.T, s *Store, n int) {
	t.Helper()
	for range 2000 {
		waiting := 0
		err := s.Read(t.Context(), func(l sqldb.Tx) error {
			_, err := l.One(`SELECT count(*) FROM pg_locks WHERE NOT granted`, sqldb.Into([]any{&waiting}))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if waiting >= n {
			return
		}
	}
	t.Fatalf("nothing waits for a lock")
}

// Callers that leave while the database hangs leave at once, are told the truth, and cost no
// connection.
func TestImpatientCallers(t *testing.T) {
	s := newStore(t)
	s.lockTimeout = time.Minute
	c, deliveries, raw := benchCall(1)
	for i := range deliveries {
		device := bell.Device{ID: deliveries[i].DeviceID, Owner: c.CalleeOwner(), Channel: deliveries[i].Channel}
		if err := s.AddDevice(t.Context(), device); err != nil {
			t.Fatal(err)
		}
	}
	made := s.writePool.Stat().NewConnsCount() + s.readPool.Stat().NewConnsCount()
	release := hold(t, s, "calls, devices")
	ctx, leave := context.WithCancel(t.Context())
	results := map[string]chan error{}
	for name, run := range map[string]func() error{
		"BeginCall":    func() error { return failed(s.BeginCall(ctx, c, deliveries, raw)) },
		"AddDevice":    func() error { return s.AddDevice(ctx, bell.Device{ID: "d"}) },
		"DevicesOf":    func() error { return failed(s.DevicesOf(ctx, c.CalleeOwner())) },
		"RemoveDevice": func() error { return s.RemoveDevice(ctx, deliveries[0].DeviceID) },
	} {
		result := make(chan error, 1)
		results[name] = result
		go func() { result <- run() }()
	}
	waitBlocked(t, s, len(results))
	later := make(chan error, 1) // it waits in the lane behind the other one
	behind := c
	behind.NotifiedAt = c.NotifiedAt.Add(time.Second)
	go func() { later <- failed(s.BeginCall(ctx, behind, nil, raw)) }()
	lane := s.calls.of(string(c.SessionID))
	for queued := 0; queued == 0; {
		lane.mu.Lock()
		queued = len(lane.queue)
		lane.mu.Unlock()
	}
	leave()
	wantUnavailable(t, "BeginCall", <-results["BeginCall"], "the write may still happen")
	wantUnavailable(t, "AddDevice", <-results["AddDevice"], "nothing was written")
	wantUnavailable(t, "RemoveDevice", <-results["RemoveDevice"], "nothing was written")
	wantUnavailable(t, "DevicesOf", <-results["DevicesOf"], "too long to answer")
	wantUnavailable(t, "BeginCall behind", <-later, "nothing was written")
	wantUnavailable(t, "with a context that has ended", s.AddDevice(ctx, bell.Device{ID: "e"}), "ended before it began")
	wantUnavailable(t, "with a context that has ended", failed(s.DevicesOf(ctx, c.CalleeOwner())), "ended before")
	release()

	// The undecided call was recorded, and its deliveries are still those of this process, which
	// may ring from memory meanwhile: nobody else claims them.
	again, err := s.BeginCall(t.Context(), c, deliveries, raw)
	if err != nil || again != call.Repeated {
		t.Fatalf("the repeat: %v, %v; want Repeated", again, err)
	}
	for _, claim := range []struct {
		owner string
		after time.Duration
		want  int
	}{{"another", time.Second, 0}, {deliveries[0].LeaseOwner, time.Second, 0}, {deliveries[0].LeaseOwner, 6 * time.Second, len(deliveries)}} {
		now := c.NotifiedAt.Add(claim.after)
		rings, err := s.ClaimDeliveries(t.Context(), delivery.Claim{Owner: claim.owner, Now: now, LeaseUntil: c.Deadline, Limit: 10})
		if err != nil || len(rings) != claim.want {
			t.Errorf("after %v %s claims %d deliveries, %v; want %d", claim.after, claim.owner, len(rings), err, claim.want)
		}
	}
	for _, id := range []string{"d", "e"} {
		if _, err := s.Device(t.Context(), id); !errors.Is(err, bell.NotFound) {
			t.Errorf("device %s, of which nothing was written: %v", id, err)
		}
	}
	if now := s.writePool.Stat().NewConnsCount() + s.readPool.Stat().NewConnsCount(); now > made+6 {
		t.Errorf("%d connections were made, %d before; those who left have cost some", now, made)
	}
	if lost := s.writePool.Stat().TotalConns() + s.readPool.Stat().TotalConns(); int64(lost) != s.writePool.Stat().NewConnsCount()+s.readPool.Stat().NewConnsCount() {
		t.Error("connections were closed")
	}
}

func failed[T any](_ T, err error) error { return err }

// More writes than may wait are refused at once.
func TestOverload(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := Open(t.Context(), Config{URL: planet.Secret(emptyDatabase(t)), Log: testlog.New(t), Queue: callLanes, Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	release := hold(t, s, "calls, devices")
	var refused atomic.Int64
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 100 {
		work.Go(func() {
			c, deliveries, _ := benchCall(int64(i))
			_, err := s.BeginCall(ctx, c, deliveries, nil)
			if errors.Is(err, bell.Overload) {
				refused.Add(1)
			}
			err = s.AddDevice(ctx, bell.Device{ID: string(c.SessionID)})
			if errors.Is(err, bell.Overload) {
				if refused.Add(1) >= 20 {
					cancel()
				}
			}
		})
	}
	work.Wait()
	release()
	cancel()
	if n := refused.Load(); n < 20 {
		t.Errorf("%d writes were refused", n)
	}
	if err := s.AddDevice(t.Context(), bell.Device{ID: "afterwards"}); err != nil {
		t.Errorf("after the flood: %v", err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 8 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

// After Close every method says so.
func TestClosed(t *testing.T) {
	s := newStore(t)
	c, deliveries, raw := benchCall(1)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"BeginCall": failed(s.BeginCall(t.Context(), c, deliveries, raw)),
		"AddDevice": s.AddDevice(t.Context(), bell.Device{}),
		"DevicesOf": failed(s.DevicesOf(t.Context(), c.CalleeOwner())),
		"Calls":     failed(s.Calls(t.Context(), call.Filter{}, call.Cursor{}, 1)),
	} {
		wantUnavailable(t, name, err, "closed")
	}
}

// PostgreSQL is killed while calls come in. Whatever was answered without an error is there
// when it is up again, and the store goes on without being opened anew.
func TestKilledServerLosesNothing(t *testing.T) {
	server := testpg.Start(t)
	s := openStore(t, server.Database(t))
	var mu sync.Mutex
	answered := map[planet.SessionID]string{} // to the ID of the delivery
	stop := make(chan struct{})
	var work sync.WaitGroup
	var failures, after atomic.Int64
	var up atomic.Bool
	for i := range 8 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, deliveries, raw := benchCall(int64(i))
				got, err := s.BeginCall(context.Background(), c, deliveries, raw)
				switch {
				case err == nil && got != call.Began:
					t.Errorf("a new call is %v", got)
				case err == nil:
					if up.Load() {
						after.Add(1)
					}
					mu.Lock()
					answered[c.SessionID] = deliveries[0].ID
					mu.Unlock()
				case !errors.Is(err, bell.Unavailable):
					t.Errorf("BeginCall: %v", err)
				default:
					failures.Add(1)
				}
			}
		})
	}
	enough := func(n *atomic.Int64, most int64) {
		for tick := time.NewTicker(10 * time.Millisecond); n.Load() < most; <-tick.C {
			if t.Failed() {
				break
			}
		}
	}
	var seen atomic.Int64
	for seen.Load() < 50 {
		mu.Lock()
		seen.Store(int64(len(answered)))
		mu.Unlock()
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	enough(&failures, 20)
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	up.Store(true)
	enough(&after, 50)
	close(stop)
	work.Wait()
	for id, delivery := range answered {
		r, err := s.Call(t.Context(), planet.Evaluation, id)
		if err != nil || len(r.Deliveries) != 1 || r.Deliveries[0].Delivery.ID != delivery {
			t.Errorf("call %s was answered and is %+v, %v", id, r, err)
		}
	}
	t.Logf("%d calls were answered, %d of them after the restart; %d failed", len(answered), after.Load(), failures.Load())
}

// A connection that breaks after a call was sent, before the answer came: it is sent again, and
// found to be recorded by the same caller.
func TestLostAnswer(t *testing.T) {
	var cut atomic.Bool
	dialer := &net.Dialer{}
	s, err := Open(t.Context(), Config{
		URL: planet.Secret(emptyDatabase(t)), Log: testlog.New(t),
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &cutting{Conn: conn, cut: &cut}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		c, deliveries, raw := benchCall(int64(i))
		cut.Store(i%2 == 1)
		got, err := s.BeginCall(t.Context(), c, deliveries, raw)
		if err != nil || got != call.Began {
			t.Fatalf("call %d: %v, %v; want Began", i, got, err)
		}
		if i%2 == 1 && cut.Load() {
			t.Fatal("nothing was cut")
		}
		if again, err := s.BeginCall(t.Context(), c, deliveries[:0], raw); err != nil || again != call.Repeated {
			t.Fatalf("the repeat of call %d: %v, %v; want Repeated", i, again, err)
		}
	}
	// What is not sure to be the same when it is sent again is told as undecided.
	cut.Store(true)
	err = s.AddDevice(t.Context(), bell.Device{ID: "d"})
	if err != nil {
		wantUnavailable(t, "AddDevice", err, "")
	}
}

// cutting is a connection that breaks, once, with the first answer that comes after cut is set.
type cutting struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cutting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.cut.CompareAndSwap(true, false) {
		_ = c.Conn.Close()
		return 0, net.ErrClosed
	}
	return n, err
}
