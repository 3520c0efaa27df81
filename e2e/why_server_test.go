package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/planet"
)

// impatient is for stories in which a push service hangs: a stop does not wait for it.
func impatient(o *stage.Options) {
	configured(func(c *config.Config) { c.ShutdownTimeout = 200 * time.Millisecond })(o)
}

// This server's own limits: of a route, of the mailboxes, of messages a second.
func TestWhyOfOurLimits(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, impatient, func(o *stage.Options) { o.RingTime = 3 * time.Second }, configured(func(c *config.Config) {
		c.Limits.DeliveriesInFlight, c.Limits.MailboxCalls, c.Projects[0].FCM.MessagesPerSecond = 6, 1, 1
	}))
	for range 7 {
		s.iphone("eve", false)
	}
	for range 6 {
		s.android("fay")
	}
	for _, name := range []string{"PC", "other PC"} {
		s.leave(s.phone("ann", sim.Windows, name))
	}
	s.hang("apns-production")
	full, paced, unkept := s.ask("eve"), s.ask("fay"), s.ask("ann")
	s.deviceSays(full, "route_full", "waited for APNs", "eve's IOS device")
	s.ends(full, "eve", "1201", "2")
	s.says(full, "route_full", "None of eve's 7 devices rang", "waited for APNs")
	s.iphone("hal", false)
	hung := s.ask("hal")
	s.says(hung, "under_way", "hal's IOS device is still being tried")
	s.ends(hung, "hal", "1201", "2")
	s.says(hung, "withdrawn", "The call was over", "before the push for hal's IOS device was taken")
	s.deviceSays(unkept, "mailbox_full", "The mailboxes of this server were full", "ann's DESKTOPWIN device")
	s.ends(unkept, "ann", "1201", "2")
	s.says(unkept, "mailbox_full", "None of ann's 2 devices rang")
	s.deviceSays(paced, "our_limit", "under way to FCM", "busy", "fay's ANDROID device") // three a ring have their turn
}

// A policy hook that takes longer than there is time to ring: the push is never made.
func TestWhyOfAPolicyThatTakesTheRing(t *testing.T) {
	t.Parallel()
	endpoint, hook := decides(t, 400*time.Millisecond)
	endpoint.hangs = make(chan struct{})
	s := play(t, hook, configured(func(c *config.Config) { c.Calls.Safety = c.Calls.RingTime - 200*time.Millisecond }))
	s.iphone("bob", false)
	s.says(s.ask("bob"), "queued_too_long", "Nothing had been sent to bob's IOS device when the ring was over", "waited in this server")
	if n := s.pushes(); n != 0 {
		t.Errorf("%d pushes were made", n)
	}

	// The caller hangs up while the policy hook is asked: that bob has a phone was known, and not used.
	sid, asked := planet.SessionID(uuid.NewString()), len(endpoint.asked())
	values := notify(string(sid), s.project().ServiceID, "bob")
	r := s.request(http.MethodGet, s.callbackURL(s.project(), "notify")+"?"+values.Encode(), "")
	answered := make(chan answer, 1)
	go func() {
		a, _ := s.send(r) // an error leaves no status
		answered <- a
	}()
	s.await("the hook is asked", func() bool { return len(endpoint.asked()) > asked })
	s.ends(sid, "bob", "1201", "2")
	if a := <-answered; a.status != http.StatusOK {
		t.Errorf("Notify was answered %d", a.status)
	}
	s.says(sid, "notify_after_end", "Call Event came", "after Notify, and before this server had asked any device")
}

// What a stop in the middle of rings leaves, and what a changed configuration makes of it.
func TestWhyOfRestarts(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, impatient, configured(func(c *config.Config) { c.Projects[0].Invitations.VoIP = true }))
	alice := s.phone("alice", sim.Web, "Alice's page")
	token := s.android("bob")
	s.android("cat")
	s.iphone("dan", false)
	s.hang("fcm")
	s.hang("apns-production")
	first, second, third := s.ask("bob"), s.ask("bob"), s.ask("bob")
	s.as(alice, http.MethodPost, "/v2/rooms/tea-room/invite", `{"userIds":["dan"]}`)
	s.await("all pushes hang", func() bool {
		return s.World.FCM.Stats().Sends == 3 && s.World.Production.Stats().Requests > 0
	})
	s.stop()

	// The next process has room for two of bob's calls, whose push token is dead; when it comes to
	// the third there is none any more. And it sends no invitations as VoIP pushes.
	s.World.ClearFaults()
	s.World.FCM.Unregister(token)
	s.Config.Limits.DeliveriesInFlight, s.Config.Projects[0].Invitations.VoIP = 2, false
	s.start()
	s.says(first, "unregistered", "FCM says", "UNREGISTERED")
	s.says(second, "unregistered", "FCM says", "UNREGISTERED")
	s.says(third, "no_token", "push token of bob's ANDROID device was gone")
	s.says(s.invitation("channel_off"), "notice", "a notice and no call")
	s.deviceSays(s.invitation("channel_off"), "notice_off", "not sent to dan's IOS device", "any more")

	s.hang("fcm")
	sent := s.World.FCM.Stats().Sends
	hung := s.ask("cat")
	s.await("the push hangs", func() bool { return s.World.FCM.Stats().Sends > sent })
	s.stop()
	s.start()
	s.await("the next process has it", func() bool { return s.World.FCM.Stats().Sends > sent+1 })
	s.ends(hung, "cat", "1201", "2")
	s.says(hung, "stopped_in_between", "The server process that rang cat's ANDROID device had stopped", "another one continued")

	s.World.ClearFaults()
	s.stop()
	s.Config.Projects[0].Name = "renamed"
	s.start()
	s.says(s.ask("cat"), "project_not_configured", "through which cat's ANDROID device registered")
}

// invitation is the one whose delivery failed for a reason: the operator sees it among failures.
func (s *scene) invitation(reason string) (sid planet.SessionID) {
	s.t.Helper()
	s.await("a delivery fails for "+reason, func() bool {
		var list console.FailingList
		s.admin(http.MethodGet, "/admin/v1/deliveries/failing", "", &list)
		for _, g := range list.Groups {
			if g.Reason == reason && g.State == bell.DeliveryFailed {
				sid = g.SID
			}
		}
		return sid != ""
	})
	return sid
}

// A server that is stopped in the middle of a ring, and started when it is over.
func TestWhyOfAServerThatWasStopped(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, impatient, func(o *stage.Options) { o.RingTime = 3 * time.Second })
	s.android("bob")
	s.hang("fcm")
	sid, asked := s.ask("bob"), time.Now()
	s.await("the push hangs", func() bool { return s.World.FCM.Stats().Sends > 0 })
	s.stop()
	s.passed(3*time.Second, asked)
	s.start()
	s.says(sid, "server_stopped", "stopped while it rang bob's ANDROID device")
}

// A server that is killed while a ring waits for FCM's answer, and started long after it.
func TestWhyOfAServerThatWasKilled(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	o := operate(t, "https://"+silent.Addr().String(), []string{"PLANETBELL_CALLS_RING_TIME=31s", "PLANETBELL_CALLS_SAFETY=30s"})
	o.do(http.MethodPost, o.admin+"/admin/v1/devices",
		fmt.Sprintf(`{"project":"demo","user_id":"bob","channel":"fcm","app_type":"ANDROID","push_token":"%s:%0140d"}`, sim.FCMTokenPrefix, serial.Add(1)), nil)
	sid, asked := uuid.NewString(), time.Now()
	o.do(http.MethodGet, o.public+"/cb/"+secret("callback-secret", 40)+"/notify?"+notify(sid, "demo-service", "bob").Encode(), "", nil)
	o.kill()

	again := exec.CommandContext(o.ctx, o.cmd.Args[0], o.cmd.Args[1:]...)
	again.Env = o.cmd.Env
	o.await("it is clear that nobody was there", func() bool { return time.Since(asked) > time.Second+15*time.Second })
	o.process = begin(t, o.watch, o.watch, again)
	var v console.CallVerdict
	o.await("the verdict is that of a server that was away", func() bool {
		o.do(http.MethodGet, o.admin+"/admin/v1/calls/"+sid+"/verdict", "", &v)
		return v.Verdict.Code == "server_away"
	})
	wantWords(t, v.Verdict.Code, v.Verdict.Sentence, []string{"This server, or its database, was away", "bob's ANDROID device", "was back 1"})
	meet(v.Verdict.Code)
}
