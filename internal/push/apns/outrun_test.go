package apns

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
)

// moody is a server whose connections can be told to stop answering.
type moody struct {
	*frameServer
	last  atomic.Int32 // number of the connection that got the last request
	deaf  atomic.Bool  // every connection answers PINGs only
	held  chan held    // requests that got no answer
	third chan struct{}
	conns sync.Map // *frameConn by number
}

// held is a request that waits for its answer.
type held struct {
	conn   *frameConn
	stream uint32
}

func newMoody(t *testing.T) *moody {
	t.Helper()
	m := &moody{held: make(chan held, 1000), third: make(chan struct{})}
	m.frameServer = newFrameServer(t, func(c *frameConn) {
		m.conns.Store(int32(c.number), c)
		c.streams(100)
		if c.number == 3 {
			close(m.third)
		}
		for {
			stream := c.next()
			if stream == 0 {
				return
			}
			m.last.Store(int32(c.number))
			if c.mute.Load() || m.deaf.Load() {
				m.held <- held{c, stream}
				continue
			}
			c.answer(stream, 200, "")
		}
	})
	return m
}

// silence makes a connection swallow everything, as one that the network lost.
func (m *moody) silence(t *testing.T, number int32) {
	t.Helper()
	c, ok := m.conns.Load(number)
	if !ok {
		t.Fatalf("there is no connection %d", number)
	}
	c.(*frameConn).mute.Store(true)
}

// client makes a client of the server whose two connections have proven themselves, and
// returns its sender and the number of the connection that deliveries of number 7
// prefer. What it waits for is never time.
func (m *moody) client(t *testing.T, w waits) (*Client, *Sender, int32) {
	t.Helper()
	client := newClient(t, frameTarget(t, m.frameServer), func(cfg *Config) {
		cfg.AttemptTimeout = 8 * time.Second // sooner than the regular PINGs find a dead connection
	})
	client.pool.mu.Lock()
	client.pool.waits = w
	client.pool.mu.Unlock()
	mustWarm(t, client)
	sender := newSender(t, client, bell.APNsVoIP)
	want(t, send(t, sender, 7, true), bell.Accepted, "")
	want(t, send(t, sender, 7, false), bell.Accepted, "")
	return client, sender, m.last.Load()
}

// background sends as the engine does: its first attempt, which outrun ends.
func background(t *testing.T, s *Sender, number int) (outcome <-chan bell.Outcome, outrun func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	done := make(chan bell.Outcome, 1)
	go func() { done <- sendCtx(ctx, s, number, false) }() // ends with ctx
	return done, func() { cancel(delivery.ErrOutrun) }
}

// eventually waits for a condition that comes about by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.After(patience); !holds(); {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestOutrun is row 4 of the matrix: the connection of a push swallows everything. The
// push arrives over the spare; what is stuck on the dead connection comes free at once,
// although it has much time left; a new connection is dialled and serves.
func TestOutrun(t *testing.T) {
	m := newMoody(t)
	client, sender, home := m.client(t, waits{ping: time.Hour})
	m.silence(t, home)
	first, outrun := background(t, sender, 7)
	<-m.held
	var stuck []<-chan bell.Outcome
	for range 5 {
		outcome, _ := background(t, sender, 7)
		stuck = append(stuck, outcome)
		<-m.held
	}
	want(t, send(t, sender, 7, true), bell.Accepted, "")
	outrun()
	o := <-first
	want(t, o, bell.RetryNow, "outrun")
	if o.Alarm != bell.AlarmNone || o.Unsent {
		t.Errorf("outcome %+v", o)
	}
	for _, outcome := range stuck {
		o := <-outcome
		want(t, o, bell.RetryConnect, "connection_lost")
		if o.Unsent {
			t.Error("what was sent on a connection that broke may have arrived")
		}
	}
	<-m.third
	eventually(t, "two connections", func() bool { open, _ := client.pool.counts(); return open == 2 })
	sendMany(t, sender, 50)
	want(t, send(t, sender, 7, false), bell.Accepted, "")
	want(t, send(t, sender, 7, true), bell.Accepted, "")
	if n := m.opened(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// TestSlowAnswerIsNotSilence: a connection that answers other requests is kept, whatever
// becomes of one, and what is under way on it is not disturbed.
func TestSlowAnswerIsNotSilence(t *testing.T) {
	for _, name := range []string{"outrun", "timeout"} {
		t.Run(name, func(t *testing.T) {
			m := newMoody(t)
			client, sender, home := m.client(t, waits{})
			m.deaf.Store(true)
			ctx, cancel := context.WithCancelCause(t.Context())
			if name == "timeout" {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, 300*time.Millisecond)
				defer stop()
			}
			first := make(chan bell.Outcome, 1)
			go func() { first <- sendCtx(ctx, sender, 7, false) }()
			<-m.held
			under, _ := background(t, sender, 7)
			slow := <-m.held
			m.deaf.Store(false)
			want(t, send(t, sender, 7, false), bell.Accepted, "") // on the same connection
			if m.last.Load() != home {
				t.Fatal("the request went over another connection")
			}
			if name == "outrun" {
				cancel(delivery.ErrOutrun)
			}
			want(t, <-first, bell.RetryNow, name)
			cancel(nil)
			slow.conn.answer(slow.stream, 200, "")
			want(t, <-under, bell.Accepted, "")
			if open, _ := client.pool.counts(); open != 2 || m.opened() != 2 {
				t.Errorf("%d connections are open and %d were opened, want 2 and 2", open, m.opened())
			}
		})
	}
}

// TestSilentTimeout: an attempt that ran out of time on a silent connection cuts it if
// another connection answers, or if it answers no PING; and spares it if APNs is slow
// as a whole: to redial would make that worse.
func TestSilentTimeout(t *testing.T) {
	type scene struct {
		*moody
		client *Client
		sender *Sender
		home   int32
	}
	// timeOut has a request fail by time on the home connection, with another stuck there.
	timeOut := func(t *testing.T, s scene, meanwhile func()) (stuck <-chan bell.Outcome) {
		stuck, _ = background(t, s.sender, 7)
		<-s.held
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		done := make(chan bell.Outcome, 1)
		go func() { done <- sendCtx(ctx, s.sender, 7, false) }()
		<-s.held
		meanwhile()
		o := <-done
		want(t, o, bell.RetryNow, "timeout")
		return stuck
	}
	start := func(t *testing.T, w waits) scene {
		m := newMoody(t)
		client, sender, home := m.client(t, w)
		return scene{m, client, sender, home}
	}
	t.Run("another answers", func(t *testing.T) {
		s := start(t, waits{ping: time.Hour})
		s.silence(t, s.home)
		stuck := timeOut(t, s, func() { want(t, send(t, s.sender, 7, true), bell.Accepted, "") })
		want(t, <-stuck, bell.RetryConnect, "connection_lost")
		<-s.third
	})
	t.Run("outrun", func(t *testing.T) { // it is told that another answers, also when that one is gone already
		s := start(t, waits{ping: time.Hour})
		s.silence(t, s.home)
		stuck, _ := background(t, s.sender, 7)
		<-s.held
		first, outrun := background(t, s.sender, 7)
		<-s.held
		outrun()
		want(t, <-first, bell.RetryNow, "outrun")
		want(t, <-stuck, bell.RetryConnect, "connection_lost")
		<-s.third
	})
	t.Run("no PING", func(t *testing.T) {
		s := start(t, waits{ping: 200 * time.Millisecond})
		s.silence(t, s.home)
		stuck := timeOut(t, s, func() {})
		want(t, <-stuck, bell.RetryConnect, "connection_lost")
		<-s.third
	})
	t.Run("PING", func(t *testing.T) {
		s := start(t, waits{ping: time.Hour})
		s.deaf.Store(true)
		stuck := timeOut(t, s, func() {})
		eventually(t, "the PING is seen", func() bool {
			s.client.pool.mu.Lock()
			defer s.client.pool.mu.Unlock()
			for l := range s.client.pool.links {
				if l.watched {
					return false
				}
			}
			return true
		})
		select {
		case o := <-stuck:
			t.Errorf("a request on a slow connection ended with %s", o.Reason)
		default:
		}
		if n := s.opened(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

// TestShortWaitProvesNothing: whoever gives up early learns nothing of the connection.
func TestShortWaitProvesNothing(t *testing.T) {
	m := newMoody(t)
	client, sender, home := m.client(t, waits{silent: time.Hour})
	m.silence(t, home)
	first, outrun := background(t, sender, 7)
	<-m.held
	outrun()
	want(t, <-first, bell.RetryNow, "outrun")
	if open, _ := client.pool.counts(); open != 2 {
		t.Errorf("%d connections, want 2", open)
	}
	want(t, send(t, sender, 7, false), bell.Accepted, "") // the suspect is avoided
	if m.last.Load() == home {
		t.Error("a connection that is under suspicion was used before the other")
	}
}

// slotOf is the home of a delivery.
func slotOf(client *Client, number int) *slot {
	return client.pool.slots[newClaim(deliveryID(number), false).home%len(client.pool.slots)]
}

// TestSpareOfAStray: the first attempt could not go over its home. The spare one goes
// where the first did not, thus home.
func TestSpareOfAStray(t *testing.T) {
	m := newMoody(t)
	client, sender, home := m.client(t, waits{})
	s := slotOf(client, 7)
	doubt := func(until time.Time) {
		client.pool.mu.Lock()
		defer client.pool.mu.Unlock()
		s.link.suspect = until
	}
	doubt(time.Now().Add(time.Hour))
	m.deaf.Store(true)
	first, outrun := background(t, sender, 7)
	strayed := <-m.held
	if int32(strayed.conn.number) == home {
		t.Fatal("the first attempt went over a suspect")
	}
	m.deaf.Store(false)
	doubt(time.Time{})
	for range 3 {
		want(t, send(t, sender, 7, true), bell.Accepted, "")
		if m.last.Load() != home {
			t.Fatal("the spare attempt went over the connection of the first")
		}
	}
	// The connection of the first attempt is cut: the spare one may go anywhere.
	outrun()
	want(t, <-first, bell.RetryNow, "outrun")
	<-m.third
	eventually(t, "the new connection serves", func() bool {
		doubt(time.Now().Add(time.Hour)) // an answer clears it
		want(t, send(t, sender, 7, true), bell.Accepted, "")
		return m.last.Load() == 3
	})
	// An attempt that is at home again makes its spare avoid home.
	doubt(time.Time{})
	want(t, send(t, sender, 7, false), bell.Accepted, "")
	want(t, send(t, sender, 7, true), bell.Accepted, "")
	if m.last.Load() == home {
		t.Error("the spare attempt went over the connection of the last first attempt")
	}
}

// TestSpareWithOneConnection: when the other connection cannot be dialled, a spare
// request that waits for it goes over the one there is.
func TestSpareWithOneConnection(t *testing.T) {
	m := newMoody(t)
	client, sender, home := m.client(t, waits{})
	other := client.pool.slots[1-slotOf(client, 7).index]
	client.pool.mu.Lock()
	gone := other.link
	other.link, other.dialling = nil, true // this test dials
	client.pool.address = "127.0.0.1:1"
	client.pool.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { want(t, send(t, sender, 7, true), bell.Accepted, "") })
	eventually(t, "the spare request waits", func() bool { return client.pool.waiting.Load() == 1 })
	if client.pool.dialOnce(other) {
		t.Fatal("somebody listens on port 1")
	}
	if client.pool.waiting.Load() != 0 {
		t.Error("the spare request still waits")
	}
	wg.Wait()
	if m.last.Load() != home {
		t.Error("the spare request went over a connection that was taken away")
	}
	client.pool.mu.Lock()
	client.pool.shut(gone)
	client.pool.mu.Unlock()
}

// A home is an index of connections also where int has 32 bits (GOARCH=386 go test).
func TestHomesAreNotNegative(t *testing.T) {
	for i := range 100 {
		if c := newClaim(deliveryID(i), false); c.home < 0 {
			t.Fatalf("the home of %s is %d", c.id, c.home)
		}
	}
}

func TestStraysAreForgotten(t *testing.T) {
	p := &pool{slots: []*slot{{index: 0}, {index: 1}}, strays: map[string]stray{}}
	for i := range mostStrays + 10 {
		c := newClaim(deliveryID(i), false)
		p.wentOver(c, &link{slot: p.slots[1-c.home%2]})
	}
	if len(p.strays) != mostStrays {
		t.Errorf("%d strays are remembered, want %d", len(p.strays), mostStrays)
	}
	p.forgetStrays()
	if len(p.strays) != mostStrays {
		t.Error("strays are forgotten at once")
	}
	for id, s := range p.strays {
		s.at = s.at.Add(-strayFor - time.Second)
		p.strays[id] = s
	}
	p.forgetStrays()
	if len(p.strays) != 0 {
		t.Errorf("%d strays are remembered for good", len(p.strays))
	}
}

// TestOutrunInLine: an attempt that is outrun, or called off, before it has a stream was
// never sent.
func TestOutrunInLine(t *testing.T) {
	m := newMoody(t)
	client := newClient(t, frameTarget(t, m.frameServer), func(cfg *Config) { cfg.Connections, cfg.MaxInFlight = 1, 1 })
	mustWarm(t, client)
	sender := newSender(t, client, bell.APNsVoIP)
	m.deaf.Store(true)
	background(t, sender, 1)
	<-m.held
	for reason, cause := range map[string]error{"outrun": delivery.ErrOutrun, "cancelled": errors.New("the call has ended")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan bell.Outcome, 1)
		go func() { done <- sendCtx(ctx, sender, 2, false) }()
		eventually(t, "somebody waits", func() bool { return client.pool.waiting.Load() == 1 })
		cancel(cause)
		o := <-done
		want(t, o, bell.RetryNow, reason)
		if !o.Unsent || o.Alarm != bell.AlarmNone {
			t.Errorf("outcome %+v", o)
		}
	}
}

// TestUnsent holds the column of the table against what each reason means.
func TestUnsent(t *testing.T) {
	want := map[string]bool{
		"dial": true, "dns": true, "proxy": true, "tls": true, "no_stream": true, "refused_stream": true, "credential": true,
		"timeout": false, "outrun": false, "cancelled": false, "goaway": false, "reset": false, "connection_lost": false, "closed": false,
	}
	for reason := range transportRules {
		if unsent, known := want[reason]; !known || unanswered(reason).Unsent != unsent {
			t.Errorf("%s: unsent %v", reason, unanswered(reason).Unsent)
		}
	}
	testlog.Keep(t, "outcome", unanswered("outrun").Detail)
	client := newClient(t, pushtest.Target{URL: "https://127.0.0.1:1"}, nil)
	sender := newSender(t, client, bell.APNsVoIP)
	o := sender.Send(t.Context(), pushtest.Ring(bell.APNsVoIP, "not hexadecimal"), delivery.Try{})
	if !o.Unsent || o.Status != 0 {
		t.Errorf("a token that is none: %+v", o)
	}
}
