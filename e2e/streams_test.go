package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// handStream is a stream held by hand: it acknowledges nothing.
type handStream struct {
	s      *scene
	events *clients.StreamReader
	leave  func()
}

// listen holds a stream of a phone's app. The phone itself must not hold one.
func (s *scene) listen(p *sim.Phone, lastID string) *handStream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	r := s.asClient(p, "notification/sse").WithContext(ctx)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	transport := &http.Transport{}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		s.t.Fatalf("a stream: %v", err)
	}
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("a stream is answered %d", resp.StatusCode)
	}
	h := &handStream{s, clients.NewStreamReader(resp.Body, lastID), func() {
		cancel()
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	}}
	s.t.Cleanup(h.leave)
	return h
}

// want is the next event.
func (h *handStream) want(name string, sid planet.SessionID) {
	h.s.t.Helper()
	e, err := h.events.Next()
	if err != nil || e.Name != name || clients.PollSession(clients.StreamAnswer(e, time.Now())) != string(sid) {
		h.s.t.Fatalf("the stream brings %q %.60q, error %v; want %s of %s", e.Name, e.Data, err, name, sid)
	}
}

func (s *scene) streams(n float64) {
	s.t.Helper()
	s.await("so many streams are open", func() bool { return s.metric("planetbell_streams_open") == n })
}

// An app of one's own holds a stream: it rings, its receipt is on record, and it is told when
// to stop.
func TestACallRingsThroughAStream(t *testing.T) {
	t.Parallel()
	s := play(t)
	p := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.MacOS, Name: "Mac", Streams: true})
	for n := range 2 { // over the same stream
		c := s.call("alice", "bob", sim.Plan{})
		if got := s.rang(p, n+1)[n]; !got.Rang || got.Via != "stream" || got.Call.CCParam != c.CCParam().Reveal() {
			t.Errorf("the phone got %+v", got)
		}
		d := s.settled(c.SessionID()).Deliveries[0]
		s.await("the hand-out is on record", func() bool { d = s.only(c.SessionID()); return len(d.Attempts) == 1 })
		if d.State != bell.DeliveryReceived || d.Channel != bell.LongPoll || d.Attempts[0].Reason != "streamed" || d.Receipt == nil {
			t.Errorf("the delivery is %s by %s, attempts %+v, receipt %+v", d.State, d.Channel, d.Attempts, d.Receipt)
		}
		c.Hangup()
		s.over(c)
		ends, err := p.AwaitEnded(s.ctx, n+1)
		if err != nil || ends[n] != (clients.StreamEnd{SessionID: string(c.SessionID()), Why: bell.EndedByCall}) {
			t.Errorf("it was told of ends %+v, %v", ends, err)
		}
	}
	if st := p.Stats(); st.Streams != 0 || st.Err != nil || st.Repeats != 0 {
		t.Errorf("the phone is not content: %+v", st)
	}
}

// A call that was written to a stream and not acknowledged is there after a restart, for
// whoever does not say that it has it.
func TestAStreamOverARestart(t *testing.T) {
	t.Parallel()
	s := play(t)
	p := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.MacOS, Name: "Mac", Streams: true})
	s.streams(1)
	p.StopPolling()
	s.streams(0)
	c := s.call("alice", "bob", sim.Plan{})
	first := s.listen(p, "")
	first.want("call", c.SessionID())
	s.await("the hand-out is on record", func() bool { return len(s.only(c.SessionID()).Attempts) == 1 })
	id := first.events.LastID
	s.stop()
	if _, err := first.events.Next(); err == nil || err.Error() != "EOF" || first.events.Retry == 0 {
		t.Errorf("the stop ended the stream with %v, retry %v", err, first.events.Retry)
	}
	s.start()
	second := s.listen(p, "")
	second.want("call", c.SessionID())
	if d := s.only(c.SessionID()); d.State != bell.DeliveryPending {
		t.Errorf("without a receipt the delivery is %s", d.State)
	}
	second.leave()
	third := s.listen(p, id)
	s.await("what it says that it has is received", func() bool { return s.only(c.SessionID()).State == bell.DeliveryReceived })
	c.Hangup()
	s.over(c)
	third.want("ended", c.SessionID())
	if third.events.LastID != "" {
		t.Errorf("there is nothing left to say, and the ID is %q", third.events.LastID)
	}
	fourth := s.listen(p, id) // of the end it has not heard
	fourth.want("ended", c.SessionID())
}

// A client whose connection died without a word gets, on its next stream, at once what went
// into the dead one.
func TestAClientThatVanishedGetsItsCallAgain(t *testing.T) {
	t.Parallel()
	s := play(t)
	p := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.AndroidLP, Name: "tablet", Streams: true})
	s.streams(1)
	p.StopPolling()
	s.streams(0)
	s.listen(p, "") // nobody reads it
	s.streams(1)
	c := s.call("alice", "bob", sim.Plan{})
	s.await("the call went into the dead stream", func() bool { return len(s.only(c.SessionID()).Attempts) == 1 })
	p.ResumePolling()
	if got := s.rang(p, 1)[0]; !got.Rang {
		t.Errorf("the phone did not ring: %v", got.Err)
	}
	s.await("its receipt is on record", func() bool { return s.only(c.SessionID()).State == bell.DeliveryReceived })
	if n := s.metric(`planetbell_stream_events_total{event="replayed"}`); n != 1 {
		t.Errorf("%v replayed", n)
	}
	c.Hangup()
	s.over(c)
	if _, err := p.AwaitEnded(s.ctx, 1); err != nil {
		t.Error("it was not told to stop")
	}
}
