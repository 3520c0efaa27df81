package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
)

// A delivery that is under way when the server is stopped is continued by the next
// start, within the ring, and rings once.
func TestAStopInTheMiddleOfACall(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, configured(func(c *config.Config) { c.ShutdownTimeout = time.Second }))
	iphone := s.phone("bob", sim.IOS, "iPhone")
	android := s.phone("bob", sim.Android, "Android")
	pc := s.phone("bob", sim.Windows, "PC")
	s.leave(pc)
	if err := s.World.SetFault("fcm", sim.Answer{Hang: true}, 0); err != nil {
		t.Fatal(err)
	}
	c := s.call("alice", "bob", sim.Plan{})
	s.rang(iphone, 1)
	s.await("FCM hangs", func() bool { return s.World.FCM.Stats().Sends > 0 })
	s.await("the iPhone's delivery is recorded", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryAccepted] == 1 })
	s.stop()

	s.World.ClearFaults()
	s.start()
	pc.ResumePolling()
	for _, p := range []*sim.Phone{android, pc} {
		if got := s.rang(p, 1)[0]; !got.Rang || got.Call.CCParam != c.CCParam().Reveal() {
			t.Errorf("%s did not ring after the restart: %v", p.Name(), got.Err)
		}
	}
	story := s.settled(c.SessionID())
	if got := states(story)[bell.DeliveryAccepted]; got != 3 {
		t.Errorf("the record has %v, want 3 accepted", states(story))
	}
	c.Hangup()
	s.over(c)
	for _, leg := range c.Report().Legs {
		if leg.Verifications != 1 {
			t.Errorf("%s rang %d times", leg.Phone, leg.Verifications)
		}
	}
	if n := s.pushes(); n != 2 {
		t.Errorf("the push services took %d pushes, want one for each phone", n)
	}
}

// A stop answers what waits: polls get the 503 that their clients know, requests under
// way are finished, and the probe says at once that nothing new should come.
func TestAStopAnswersWhatWaits(t *testing.T) {
	t.Parallel()
	s := play(t)
	p := s.phone("bob", sim.Windows, "PC")
	s.leave(p)
	const polls = 3
	answers := make(chan answer, polls)
	for range polls {
		r := s.asClient(p, "notification/lp")
		go func() {
			a, err := s.send(r)
			if err != nil {
				t.Errorf("a poll got no answer: %v", err)
			}
			answers <- a
		}()
	}
	s.await("the polls wait", func() bool { return s.metric("planetbell_http_polls_waiting") == polls })
	if a := s.do(s.request(http.MethodGet, s.App.AdminURL()+"/readyz", "")); a.status != http.StatusOK {
		t.Fatalf("the server is not ready: %d", a.status)
	}

	slow := s.slowNotify()
	stopped := make(chan error, 1)
	s.keepMetrics()
	admin := s.App.AdminURL()
	go func() { stopped <- s.Stop() }()
	s.await("the probe says no", func() bool {
		return s.do(s.request(http.MethodGet, admin+"/readyz", "")).status == http.StatusServiceUnavailable
	})
	for range polls {
		if a := <-answers; a.status != http.StatusServiceUnavailable || a.envelope(t).Code != "503" {
			t.Errorf("a waiting poll was answered %d %s", a.status, a.body)
		}
	}
	if answer := slow.finish(); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("the request under way was answered %.100q", answer)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// A client that never finishes its request does not keep the server from stopping.
func TestAStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) { c.ShutdownTimeout = time.Second }))
	slow := s.slowNotify()
	s.keepMetrics()
	err := s.Stop()
	if err == nil || !strings.Contains(err.Error(), "public") {
		t.Errorf("the stop says %v, want that the public listener was not drained", err)
	}
	_ = slow.conn.Close()
}

// slowRequest is a Notify of which the last byte is still to come.
type slowRequest struct {
	t    *testing.T
	conn net.Conn
	last string
}

// slowNotify begins a Notify, and returns once the server is reading it.
func (s *scene) slowNotify() slowRequest {
	s.t.Helper()
	body := notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a20", "demo-service", "nobody").Encode()
	address := strings.TrimPrefix(s.App.PublicURL(), "http://")
	conn, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	path := strings.TrimPrefix(s.callbackURL(s.project(), "notify"), s.App.PublicURL())
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", path, address, len(body))
	// The server asks for the body when the handler begins to read it.
	head := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, head); err != nil {
		s.t.Fatalf("the server did not ask for the body: %v", err)
	}
	if _, err := io.WriteString(conn, body[:len(body)-1]); err != nil {
		s.t.Fatal(err)
	}
	return slowRequest{s.t, conn, body[len(body)-1:]}
}

// finish sends the last byte and returns the answer.
func (r slowRequest) finish() string {
	r.t.Helper()
	if _, err := io.WriteString(r.conn, r.last); err != nil {
		r.t.Fatal(err)
	}
	answer, err := io.ReadAll(r.conn)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = r.conn.Close()
	return string(answer)
}
