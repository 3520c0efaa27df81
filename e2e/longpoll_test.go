package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
)

// hold is how long polls wait in these stories: the least that may be configured.
const hold = 5 * time.Second

func shortHold(c *config.Config) { c.LongPoll.Hold = hold }

// A desktop that is between two polls when the call comes gets it with the next poll.
func TestACallBetweenTwoPollsIsHadByTheNext(t *testing.T) {
	t.Parallel()
	s := play(t)
	for _, kind := range []sim.PhoneKind{sim.Windows, sim.MacOS, sim.AndroidLP} {
		user := string(kind) + "-user"
		p := s.phone(user, kind, user+"'s phone")
		s.leave(p)

		c := s.call("alice", user, sim.Plan{})
		if n := len(p.Received()); n != 0 {
			t.Errorf("%s got %d calls without asking", p.Name(), n)
		}
		p.ResumePolling()
		if got := s.rang(p, 1)[0]; !got.Rang || got.Call.CCParam != c.CCParam().Reveal() {
			t.Errorf("%s did not ring with the call's cc_param: %v", p.Name(), got.Err)
		}
		c.Hangup()
		s.over(c)
		s.leave(p)
	}
}

// A poll without a call ends with 503, as the official clients expect, and not before
// the hold time: they ask again at once.
func TestAPollWithoutCallEndsAfterTheHoldTime(t *testing.T) {
	t.Parallel()
	s := play(t, configured(shortHold))
	p := s.phone("bob", sim.Windows, "PC")
	s.leave(p)

	before := s.do(s.asClient(p, "access_token/issue")).envelope(t)
	a := s.do(s.asClient(p, "notification/lp"))
	after := a.envelope(t)
	if a.status != http.StatusServiceUnavailable || after.Status != "error" || after.Code != "503" || string(after.Data) != "null" {
		t.Errorf("the poll was answered %d %s", a.status, a.body)
	}
	// By the server's own clock, less the tenth by which it spreads polls.
	if held := time.Duration(after.Timestamp-before.Timestamp) * time.Millisecond; held < hold*9/10 {
		t.Errorf("the poll was held for %v, want %v at least", held, hold*9/10)
	}
}

// Two polls of one device get one call once.
func TestTwoPollsOfADeviceGetACallOnce(t *testing.T) {
	t.Parallel()
	s := play(t, configured(shortHold))
	p := s.phone("bob", sim.Windows, "PC")
	s.leave(p)

	answers := make(chan answer, 2)
	for range 2 {
		r := s.asClient(p, "notification/lp")
		go func() {
			a, err := s.send(r)
			if err != nil {
				t.Errorf("a poll got no answer: %v", err)
			}
			answers <- a
		}()
	}
	s.await("both polls wait", func() bool { return s.metric("planetbell_http_polls_waiting") == 2 })
	c := s.call("alice", "bob", sim.Plan{})
	first, second := <-answers, <-answers
	if first.status != http.StatusOK || second.status != http.StatusServiceUnavailable {
		t.Fatalf("the polls were answered %d and %d, want 200 at once and 503 later", first.status, second.status)
	}
	var fields map[string]string
	if err := json.Unmarshal(first.envelope(t).Data, &fields); err != nil {
		t.Fatal(err)
	}
	found := false
	for name, value := range fields {
		found = found || strings.Contains(name, "param") && value == c.CCParam().Reveal()
	}
	if !found {
		t.Error("the poll's answer does not hold the call's cc_param")
	}
	c.Hangup()
	s.over(c)
}

// asClient is a request of a phone's app, sent by hand.
func (s *scene) asClient(p *sim.Phone, path string) *http.Request {
	s.t.Helper()
	r := s.request(http.MethodGet, s.App.PublicURL()+"/v2/"+path, "")
	r.Header.Set("Authorization", "Bearer "+p.AppToken().Reveal())
	return r
}
