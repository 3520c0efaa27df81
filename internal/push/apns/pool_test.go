package apns

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
)

// patience is for what must not fail by time.
const patience = 20 * time.Second

func frameTarget(t *testing.T, s *frameServer) pushtest.Target {
	return pushtest.Target{URL: s.url, Roots: s.roots, Timeout: patience, Log: testlog.New(t)}
}

// send makes one attempt. number chooses the delivery, and so the connection.
func send(t testing.TB, s *Sender, number int, spare bool) bell.Outcome {
	t.Helper()
	return sendCtx(t.Context(), s, number, spare)
}

func sendCtx(ctx context.Context, s *Sender, number int, spare bool) bell.Outcome {
	ring := pushtest.Ring(s.channel, pushToken)
	ring.Delivery.ID = deliveryID(number)
	return s.Send(ctx, ring, delivery.Try{Number: 1, Spare: spare, Now: time.Now()})
}

func deliveryID(number int) string { return fmt.Sprintf("0199d1c2-3f5e-7c1a-9b7e-%012x", number) }

func mustWarm(t testing.TB, c *Client) {
	t.Helper()
	if err := c.Warm(t.Context()); err != nil {
		t.Fatalf("warm: %v", err)
	}
}

func want(t *testing.T, o bell.Outcome, verdict bell.Verdict, reason string) {
	t.Helper()
	if o.Verdict != verdict || o.Reason != reason {
		t.Errorf("outcome %s (%s), want %s (%s)", o.Verdict, o.Reason, verdict, reason)
	}
}

// TestConnectionEnds: what a server does to the first request on the first connection,
// what the attempt comes to, and that the next attempt finds a way.
func TestConnectionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(c *frameConn, stream uint32)
		verdict bell.Verdict
		reason  string
		alarm   bell.Alarm
		conns   int // that were opened in the end
	}{
		"GOAWAY before processing": {func(c *frameConn, _ uint32) { c.goAway(0, http2.ErrCodeNo, "") }, bell.RetryConnect, "goaway", bell.AlarmCount, 2},
		"GOAWAY with an error":     {func(c *frameConn, _ uint32) { c.goAway(0, http2.ErrCodeEnhanceYourCalm, "") }, bell.RetryConnect, "goaway", bell.AlarmCount, 2},
		"GOAWAY and no answer": {func(c *frameConn, s uint32) {
			c.goAway(s, http2.ErrCodeNo, "")
			c.conn.Close()
		}, bell.RetryConnect, "goaway", bell.AlarmCount, 2},
		"GOAWAY with a reason": {func(c *frameConn, s uint32) {
			c.goAway(s, http2.ErrCodeNo, `{"reason":"BadCertificate"}`)
			c.conn.Close()
		}, bell.RetryConnect, "goaway", bell.AlarmPage, 2},
		"GOAWAY with a secret": {func(c *frameConn, s uint32) {
			c.goAway(s, http2.ErrCodeNo, `{"reason":"`+strings.Repeat("A", 30)+`"}`)
			c.conn.Close()
		}, bell.RetryConnect, "goaway", bell.AlarmCount, 2},
		"refused stream": {func(c *frameConn, s uint32) { c.reset(s, http2.ErrCodeRefusedStream) }, bell.RetryConnect, "refused_stream", bell.AlarmCount, 1},
		"broken stream":  {func(c *frameConn, s uint32) { c.reset(s, http2.ErrCodeInternal) }, bell.RetryConnect, "reset", bell.AlarmCount, 1},
		"TCP reset": {func(c *frameConn, _ uint32) {
			below := c.conn.(*tls.Conn).NetConn().(*net.TCPConn)
			_ = below.SetLinger(0) // the end is a reset then
			_ = below.Close()
		}, bell.RetryConnect, "connection_lost", bell.AlarmCount, 2},
		"closed": {func(c *frameConn, _ uint32) { c.conn.Close() }, bell.RetryConnect, "connection_lost", bell.AlarmCount, 2},
		"answer then GOAWAY": {func(c *frameConn, s uint32) {
			c.answer(s, 200, "")
			c.goAway(s, http2.ErrCodeNo, "")
		}, bell.Accepted, "", bell.AlarmNone, 2},
		"Shutdown": {func(c *frameConn, s uint32) { c.answer(s, 503, "Shutdown") }, bell.RetryNow, "Shutdown", bell.AlarmNone, 2},
	} {
		t.Run(name, func(t *testing.T) {
			server := newFrameServer(t, func(fc *frameConn) {
				fc.streams(100)
				if fc.number == 1 {
					if stream := fc.next(); stream != 0 {
						c.do(fc, stream)
					}
				}
				fc.acceptAll()
			})
			client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
			sender := newSender(t, client, bell.APNsVoIP)
			o := send(t, sender, 1, false)
			want(t, o, c.verdict, c.reason)
			if o.Alarm != c.alarm || o.Unsent != (c.reason == "refused_stream") {
				t.Errorf("alarm %q, want %q; unsent %v", o.Alarm, c.alarm, o.Unsent)
			}
			testlog.Keep(t, "outcome", fmt.Sprintf("%+v", o))
			next := send(t, sender, 2, false)
			if o.Verdict == bell.Accepted && next.Reason == "goaway" { // it crossed the GOAWAY on the way
				next = send(t, sender, 3, false)
			}
			want(t, next, bell.Accepted, "")
			eventually(t, "a new connection", func() bool { return server.opened() >= c.conns })
			if n := server.opened(); n != c.conns {
				t.Errorf("%d connections, want %d", n, c.conns)
			}
		})
	}
}

// TestGoAwayWhileIdle: a connection that the server drains between two calls is
// replaced before the next call needs it.
func TestGoAwayWhileIdle(t *testing.T) {
	second := make(chan struct{})
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(100)
		if c.number == 2 {
			close(second)
		}
		if stream := c.next(); stream != 0 {
			c.answer(stream, 200, "")
			if c.number == 1 {
				c.goAway(stream, http2.ErrCodeNo, "")
			}
		}
		c.acceptAll()
	})
	client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
	want(t, send(t, newSender(t, client, bell.APNsVoIP), 1, false), bell.Accepted, "")
	select {
	case <-second:
	case <-time.After(patience):
		t.Error("no new connection")
	}
}

// TestGoAwayFinishesWhatIsUnderWay: requests that the server still processes are
// waited for, while new ones go over a new connection.
func TestGoAwayFinishesWhatIsUnderWay(t *testing.T) {
	draining, moved := make(chan struct{}), make(chan struct{})
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(100)
		if c.number > 1 {
			stream := c.next()
			c.answer(stream, 200, "")
			if stream != 0 {
				close(moved)
			}
			c.acceptAll()
			return
		}
		c.answer(c.next(), 200, "")
		one, two := c.next(), c.next()
		c.goAway(max(one, two), http2.ErrCodeNo, "")                           // whichever was complete first
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) }) // answered after the GOAWAY was read
		for acknowledged := false; !acknowledged; {                            // other frames may come before
			frame, err := c.framer.ReadFrame()
			if err != nil {
				return
			}
			ping, is := frame.(*http2.PingFrame)
			acknowledged = is && ping.IsAck()
		}
		close(draining)
		select {
		case <-moved:
		case <-t.Context().Done(): // it has failed
			return
		}
		c.answer(one, 200, "")
		c.answer(two, 200, "")
		c.acceptAll()
	})
	client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
	sender := newSender(t, client, bell.APNsVoIP)
	want(t, send(t, sender, 0, false), bell.Accepted, "")
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { want(t, send(t, sender, i, false), bell.Accepted, "") })
	}
	<-draining
	want(t, send(t, sender, 2, false), bell.Accepted, "")
	wg.Wait()
	if n := server.opened(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestStreamLimit: never more requests at once than the server allows, and none lost.
func TestStreamLimit(t *testing.T) {
	for _, limit := range []uint32{1, 3, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			var exceeded atomic.Bool
			server := newFrameServer(t, func(c *frameConn) {
				c.streams(limit)
				holdAndAnswer(c, int(limit), &exceeded)
			})
			client := newClient(t, frameTarget(t, server), nil)
			sendMany(t, newSender(t, client, bell.APNsVoIP), 300)
			if exceeded.Load() {
				t.Error("more streams than the server allows")
			}
			if n := server.opened(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// TestOneStreamFirst is Apple's rule for a new connection: one stream until the first
// valid token was seen, then as many as the second SETTINGS allow.
func TestOneStreamFirst(t *testing.T) {
	var exceeded atomic.Bool
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(1)
		stream := c.next()
		c.streams(50)
		c.answer(stream, 200, "")
		holdAndAnswer(c, 50, &exceeded)
	})
	client := newClient(t, frameTarget(t, server), nil)
	sendMany(t, newSender(t, client, bell.APNsVoIP), 300)
	if exceeded.Load() {
		t.Error("more streams than allowed")
	}
}

// TestNoRushBeforeTheFirstAnswer: even a server that allows 1000 streams from the start
// gets one request per connection until it has answered one.
func TestNoRushBeforeTheFirstAnswer(t *testing.T) {
	var exceeded atomic.Bool
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(1000)
		first := c.next()
		more := make(chan uint32)
		go func() { more <- c.next() }() // ends with the connection
		select {
		case <-more:
			exceeded.Store(true)
		case <-time.After(50 * time.Millisecond): // time for a mistake to show
			c.answer(first, 200, "")
			if stream := <-more; stream != 0 {
				c.answer(stream, 200, "")
			}
		}
		c.acceptAll()
	})
	client := newClient(t, frameTarget(t, server), nil)
	sendMany(t, newSender(t, client, bell.APNsVoIP), 100)
	if exceeded.Load() {
		t.Error("a second request came before the first was answered")
	}
	if n := server.opened(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// holdAndAnswer answers requests in their order, watching how many are
// open at once.
func holdAndAnswer(c *frameConn, limit int, exceeded *atomic.Bool) {
	streams := make(chan uint32, 10000)
	var open atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for stream := range streams {
			open.Add(-1)
			c.answer(stream, 200, "")
		}
	})
	for stream := c.next(); stream != 0; stream = c.next() {
		if open.Add(1) > int64(limit) {
			exceeded.Store(true)
		}
		streams <- stream
	}
	close(streams)
	wg.Wait()
}

// sendMany sends at once and wants every push accepted.
func sendMany(t *testing.T, s *Sender, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { want(t, send(t, s, i, false), bell.Accepted, "") })
	}
	wg.Wait()
}

// TestBlackHole: the first connection takes requests and never answers. The attempt on
// it runs out of time, the spare one succeeds, and later calls avoid the dead one.
func TestBlackHole(t *testing.T) {
	var held atomic.Int32
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(100)
		if stream := c.next(); stream != 0 && held.Add(1) > 1 { // the first request falls into the hole, with its connection
			c.answer(stream, 200, "")
			c.acceptAll()
		}
		for c.next() != 0 {
		}
	})
	client := newClient(t, frameTarget(t, server), nil)
	mustWarm(t, client)
	sender := newSender(t, client, bell.APNsVoIP)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	want(t, sendCtx(ctx, sender, 7, false), bell.RetryNow, "timeout")
	want(t, send(t, sender, 7, true), bell.Accepted, "")
	for range 20 {
		want(t, send(t, sender, 7, false), bell.Accepted, "")
	}
}

// TestDeadConnectionIsFound: a connection on which nothing comes back, not even a PING,
// is replaced.
func TestDeadConnectionIsFound(t *testing.T) {
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(100)
		if c.number == 1 {
			c.mute.Store(true)
			for c.next() != 0 {
			}
			return
		}
		c.acceptAll()
	})
	client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
	client.pool.close()
	cfg := Config{Credential: client.credential, RootCAs: server.roots, Proxy: noProxy}
	transport := newTransport(cfg, "127.0.0.1")
	transport.HTTP2.SendPingTimeout, transport.HTTP2.PingTimeout = 50*time.Millisecond, 50*time.Millisecond
	first := server.opened()
	client.pool = newPool(transport, client.pool.address, 1, 10, testlog.New(t))
	sender := newSender(t, client, bell.APNsVoIP)
	for server.opened() == first && t.Context().Err() == nil {
		if o := send(t, sender, 1, false); o.Verdict == bell.Accepted {
			break
		}
	}
	want(t, send(t, sender, 1, false), bell.Accepted, "")
}

// TestSpareIsAnother: a spare attempt never uses the connection of the first attempt
// while there is another.
func TestSpareIsAnother(t *testing.T) {
	var mu sync.Mutex
	seen := map[bool]map[int]bool{false: {}, true: {}}
	spare := false
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(100)
		for stream := c.next(); stream != 0; stream = c.next() {
			mu.Lock()
			seen[spare][c.number] = true
			mu.Unlock()
			c.answer(stream, 200, "")
		}
	})
	client := newClient(t, frameTarget(t, server), nil)
	mustWarm(t, client)
	sender := newSender(t, client, bell.APNsVoIP)
	for i := range 20 {
		mu.Lock()
		spare = i%2 == 1
		mu.Unlock()
		want(t, send(t, sender, 3, i%2 == 1), bell.Accepted, "")
	}
	if len(seen[false]) != 1 || len(seen[true]) != 1 {
		t.Fatalf("connections used: %v, want one each", seen)
	}
	for number := range seen[false] {
		if seen[true][number] {
			t.Error("the spare attempts used the connection of the others")
		}
	}
}

// TestConnectionsAreCutAllTheTime: no attempt hangs, whatever it comes to.
func TestConnectionsAreCutAllTheTime(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	client := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: 5 * time.Second, Log: testlog.New(t)}, nil)
	sender := newSender(t, client, bell.APNsVoIP)
	mustWarm(t, client)
	var accepted, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for n := range 50 {
				switch o := send(t, sender, i*50+n, false); o.Verdict {
				case bell.Accepted:
					accepted.Add(1)
				case bell.RetryConnect:
					lost.Add(1)
				default:
					t.Errorf("outcome %+v", o)
				}
				if i == 0 && n%20 == 10 {
					server.CutConnections()
				}
			}
		})
	}
	wg.Wait()
	if accepted.Load() < 500 {
		t.Errorf("%d accepted, %d lost", accepted.Load(), lost.Load())
	}
	client.pool.mu.Lock()
	defer client.pool.mu.Unlock()
	if client.pool.waiters.Len() != 0 || client.pool.waiting.Load() != 0 {
		t.Error("somebody is still in line")
	}
	for _, s := range client.pool.slots {
		if s.link != nil && s.link.inFlight != 0 {
			t.Errorf("%d requests are still counted", s.link.inFlight)
		}
	}
}

// TestLineIsBounded: whoever waits for a stream waits no longer than its context.
func TestLineIsBounded(t *testing.T) {
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(1)
		for c.next() != 0 {
		}
	})
	client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
	mustWarm(t, client)
	sender := newSender(t, client, bell.APNsVoIP)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var timeouts, noStream atomic.Int32
	for i := range 10 {
		wg.Go(func() {
			switch o := sendCtx(ctx, sender, i, false); o.Reason {
			case "timeout":
				timeouts.Add(1)
			case "no_stream":
				noStream.Add(1)
			}
		})
	}
	wg.Wait()
	if timeouts.Load() != 1 || noStream.Load() != 9 {
		t.Errorf("%d timeouts and %d without a stream, want 1 and 9", timeouts.Load(), noStream.Load())
	}
}
