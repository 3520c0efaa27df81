package e2e

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
)

// How a call goes on and ends of which a phone was told; and what is no call at all.
func TestWhyOfACallThatRang(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.iphone("bob", false)
	sid := s.ask("bob")
	s.says(sid, "ringing", "bob's IOS device was told")
	s.deviceSays(sid, "told", "APNs took the push")
	s.ends(sid, "bob", "1202", "4")
	s.says(sid, "busy_on_device", "bob's IOS device was told", "ended as busy: The callee was in a call", "1202")

	sid = s.ask("bob")
	s.deviceSays(sid, "told")
	s.ends(sid, "bob", "1301", "501")
	s.says(sid, "rang", "bob's IOS device was told", "1301")

	missing := uuid.NewString()
	r := s.request(http.MethodGet, s.App.AdminURL()+"/admin/v1/calls/"+missing+"/verdict", "")
	r.Header.Set("Authorization", "Bearer "+s.Config.Admin.Token.Reveal())
	if a := s.do(r); a.status != http.StatusNotFound || !strings.Contains(a.body, "There is no such call: nothing is on record of the session "+missing) {
		t.Errorf("of no call the operator is told %d %s", a.status, a.body)
	} else {
		meet("no_such_call")
	}

	s.phoneOf(sim.PhoneRequest{UserID: "carol", Kind: sim.Android, Name: "Android", Notices: true, Acknowledges: true})
	c := s.call("alice", "carol", sim.Plan{})
	c.Hangup()
	s.over(c)
	var notices []console.Notice
	s.await("carol is told that she missed it", func() bool { notices = s.story(c.SessionID()).Notices; return len(notices) > 0 })
	if v := s.says(notices[0].SID, "notice", "a notice and no call"); v.Rang {
		t.Error("a notice rang")
	}
}

// What is left when the ring is over: a call without its end, one that nobody answered, a PC that
// did not poll, and pushes that FCM took only then.
func TestWhyOfARingThatIsOver(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, func(o *stage.Options) { o.RingTime = 3 * time.Second })
	for _, user := range []string{"carol", "dave"} {
		s.iphone(user, false)
	}
	for _, user := range []string{"fay", "guy"} {
		s.android(user)
	}
	s.leave(s.phone("erin", sim.Windows, "PC"))
	s.fault("fcm", sim.Fault{Kind: sim.FaultUnavailable, Count: 1})
	s.fault("fcm", sim.Fault{Kind: sim.FaultDrip}) // one refusal, and then half answers
	late := s.ask("fay")
	s.await("FCM was unwell for fay", func() bool { return s.World.FCM.Faults().Struck()[sim.FaultUnavailable] == 1 })
	lateAtFirst, open, unpolled := s.ask("guy"), s.ask("carol"), s.ask("erin")
	c := s.call("alice", "dave", sim.Plan{})

	s.over(c)
	s.says(c.SessionID(), "unanswered", "dave's IOS device was told", "nobody answered")
	s.says(open, "no_call_event_yet", "carol's IOS device was told", "no Call Event has come yet")
	s.says(unpolled, "not_polled", "erin's DESKTOPWIN device did not poll")
	v := s.says(late, "accepted_late", "FCM took the push for fay's ANDROID device", "after the call was over", "UNAVAILABLE")
	w := s.says(lateAtFirst, "accepted_late_at_first", "FCM took the push for guy's ANDROID device", "after the call was over", "no attempt had failed")
	if said := v.Sentence.English + w.Sentence.English; strings.Contains(said, " h after") {
		t.Errorf("without a Call Event the ring's own end counts: %s", said)
	}
}

// What comes some seconds later than it should, receipts, polls and pushes, or is held back to the
// end of the ring. All of it waits in the same ring.
func TestWhyOfWhatComesLate(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, configured(func(c *config.Config) { c.Calls.RingTime, c.Calls.Safety = 11*time.Second, time.Second }))
	pcs := map[string]*sim.Phone{}
	for _, user := range []string{"ann", "ben", "cat"} {
		pcs[user] = s.phone(user, sim.Windows, user+"'s PC")
		s.leave(pcs[user])
	}
	iphone, android := s.phone("dan", sim.IOS, "iPhone"), s.phone("dan", sim.Android, "Android")
	for _, user := range []string{"eve", "fin"} {
		s.android(user)
	}
	s.iphone("gil", false)
	for range 40 {
		s.iphone("hal", false)
	}

	received := s.call("alice", "dan", sim.Plan{})
	s.settled(received.SessionID())
	received.Hangup()
	s.over(received)
	lost, fetched, fetchedLate, canceled := s.ask("ann"), s.ask("ben"), s.ask("cat"), s.ask("gil")
	if s.polled(pcs["ann"], "?ack=1") != lost || s.polled(pcs["ben"], "") != fetched {
		t.Fatal("the polls got other calls")
	}
	s.deviceSays(fetched, "fetched", "ben's DESKTOPWIN device fetched the call")
	s.says(fetchedLate, "waits_for_poll", "until cat's DESKTOPWIN device polls")
	s.fault("fcm", sim.Fault{Kind: sim.FaultUnavailable, Count: 1, RetryAfter: "5"})
	told := s.ask("eve")
	s.await("FCM was unwell for eve", func() bool { return len(s.only(told).Attempts) == 1 })
	s.says(told, "under_way", "eve's ANDROID device is still being tried: 1 attempts")
	s.fault("fcm", sim.Fault{Kind: sim.FaultSlow, Count: 1, Delay: 5200 * time.Millisecond})
	toldAtFirst := s.ask("fin")

	s.deviceSays(canceled, "told")
	s.fault("apns-production", sim.Fault{Kind: sim.FaultUnavailable}) // for many: retries are held back
	heldBack, asked := s.ask("hal"), time.Now()

	s.passed(5200*time.Millisecond, asked)
	if got := s.polled(pcs["cat"], ""); got != fetchedLate {
		t.Fatalf("the late poll got %q", got)
	}
	s.deviceSays(fetchedLate, "fetched_late", "cat's DESKTOPWIN device fetched the call only")
	s.as(android, http.MethodPost, "/v2/notification/ack", `{"sid":"`+string(received.SessionID())+`","channel":"fcm","priority":"normal","originalPriority":"high"}`)
	s.as(iphone, http.MethodPost, "/v2/notification/ack", `{"sid":"`+string(received.SessionID())+`"}`)
	s.deviceSays(received.SessionID(), "received_late", "dan's IOS device received the call", "after it was over")
	s.says(received.SessionID(), "received_late_low_priority", "dan's ANDROID device received the call", "Google had lowered the message's priority")
	s.says(lost, "poll_not_acknowledged", "written to ann's DESKTOPWIN device's poll", "never acknowledged")
	s.ends(canceled, "gil", "1201", "2")
	s.says(canceled, "canceled", "gil's IOS device was told", "alice hung up after")
	s.deviceSays(told, "told_late", "eve's ANDROID device was told only", "UNAVAILABLE")
	s.deviceSays(toldAtFirst, "told_late_at_first", "fin's ANDROID device was told only", "no attempt had failed")
	s.passed(10*time.Second, asked)
	s.says(heldBack, "retries_held_back", "None of hal's 40 devices rang", "ServiceUnavailable", "held further ones back", "APNs was failing for many")
}

// A PC whose line stalls: the answer to its poll has begun when the caller hangs up, and gets
// through after that.
func TestWhyOfACallThatIsFetchedAfterItsEnd(t *testing.T) {
	t.Parallel()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := certificate(t, ca)
	s := play(t, simulated(func(o *sim.WorldOptions) { o.CA = ca }), configured(func(c *config.Config) {
		c.Public.TLS.CertificateFile, c.Public.TLS.KeyFile = certFile, keyFile
	}))
	pc := s.phone("bob", sim.Windows, "PC")
	s.leave(pc)
	c := s.call("alice", "bob", sim.Plan{})
	poll := s.stall(ca, pc)
	c.Hangup()
	s.over(c)
	poll.flow()
	s.says(c.SessionID(), "fetched_after_end", "bob's DESKTOPWIN device fetched the call", "after it was over")
}

// stalled is a poll over HTTP/2 whose answer has come as far as its headers: its client has no
// room for more.
type stalled struct {
	t *testing.T
	*http2.Framer
}

// stall polls, and returns when the answer has begun.
func (s *scene) stall(ca *sim.CA, p *sim.Phone) stalled {
	s.t.Helper()
	host := strings.TrimPrefix(s.App.PublicURL(), "https://")
	d := tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(s.ctx, "tcp", host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience / 2)) // only a test that hangs
	poll := stalled{s.t, http2.NewFramer(conn, conn)}
	poll.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "GET"},
		{":scheme", "https"},
		{":authority", host},
		{":path", "/v2/notification/lp"},
		{"authorization", "Bearer " + p.AppToken().Reveal()},
	} {
		poll.must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	_, err = conn.Write([]byte(http2.ClientPreface))
	poll.must(err)
	poll.must(poll.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	poll.must(poll.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}))
	poll.until(func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		if ok && h.PseudoValue("status") != "200" {
			s.t.Fatalf("the poll is answered %s", h.PseudoValue("status"))
		}
		return ok
	})
	return poll
}

func (p stalled) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// until reads frames until one is what is waited for.
func (p stalled) until(is func(http2.Frame) bool) {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		p.must(err)
		if settings, ok := f.(*http2.SettingsFrame); ok && !settings.IsAck() {
			p.must(p.WriteSettingsAck())
		}
		if is(f) {
			return
		}
	}
}

// flow makes room, and reads the answer.
func (p stalled) flow() {
	p.t.Helper()
	p.must(p.WriteWindowUpdate(1, 1<<16))
	p.until(func(f http2.Frame) bool {
		_, ok := f.(*http2.DataFrame)
		return ok
	})
}
