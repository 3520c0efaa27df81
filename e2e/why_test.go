package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// why is what the admin API says of a call.
func (s *scene) why(sid planet.SessionID) verdict.Verdict {
	s.t.Helper()
	var v console.CallVerdict
	if status := s.admin(http.MethodGet, "/admin/v1/calls/"+string(sid)+"/verdict", "", &v); status != http.StatusOK {
		s.t.Fatalf("the verdict on call %s was answered %d", sid, status)
	}
	s.watch.keep("a verdict", fmt.Sprintf("%+v", v))
	return v.Verdict
}

// because waits until a call has a verdict with one of the codes: records are written in groups.
func (s *scene) because(sid planet.SessionID, codes ...verdict.Code) verdict.Verdict {
	s.t.Helper()
	var v verdict.Verdict
	deadline := time.Now().Add(patience / 2)
	s.await(fmt.Sprintf("the verdict on the call is one of %q", codes), func() bool {
		v = s.why(sid)
		if time.Now().After(deadline) {
			s.t.Fatalf("the verdict is %s: %s; want one of %q\n%+v", v.Code, v.Sentence.English, codes, v.Devices)
		}
		return slices.Contains(codes, v.Code)
	})
	meet(v.Code)
	return v
}

// ended calls, lets the caller hang up when the deliveries are at rest, and waits for the verdict.
func (s *scene) hungUp(to string, codes ...verdict.Code) verdict.Verdict {
	s.t.Helper()
	c := s.call("alice", to, sim.Plan{})
	s.settled(c.SessionID())
	c.Hangup()
	s.over(c)
	return s.because(c.SessionID(), codes...)
}

// hungUpSays is hungUp with words that the verdict must have.
func (s *scene) hungUpSays(to string, code verdict.Code, words ...string) verdict.Verdict {
	s.t.Helper()
	v := s.hungUp(to, code)
	wantWords(s.t, v.Code, v.Sentence, words)
	return v
}

// What the simulator does to a call, the verdict names.
func TestWhyOfPeopleAndDevices(t *testing.T) {
	t.Parallel()
	s := play(t, configured(func(c *config.Config) { c.Projects[0].CallRules = true }))
	iphone := s.phone("bob", sim.IOS, "iPhone")

	s.hungUpSays("nobody", "no_device", "nobody had no device registered")
	v := s.hungUpSays("bob", "canceled_quickly", "alice hung up", "bob's IOS device was told")
	if d := wantDevice(t, v, "told", "APNs took the push for bob's IOS device"); !v.Rang || len(v.Devices) != 1 || d.ToAccept <= 0 {
		t.Errorf("the verdict on a ring is %+v", v)
	}
	for _, plan := range []struct {
		kind sim.PlanKind
		code verdict.Code
	}{{sim.PlanAnswered, "answered"}, {sim.PlanDeclined, "declined"}, {sim.PlanBusy, "busy"}} {
		c := s.call("alice", "bob", sim.Plan{Kind: plan.kind})
		s.over(c)
		s.says(c.SessionID(), plan.code, "bob")
	}

	s.as(iphone, http.MethodPost, "/v2/block_user", `{"userId":"alice"}`)
	s.hungUpSays("bob", "blocked", "bob blocks alice")
	s.as(iphone, http.MethodPost, "/v2/unblock_user", `{"userId":"alice"}`)
	s.as(iphone, http.MethodPost, "/v2/do_not_disturb", `{"on":true}`)
	s.hungUpSays("bob", "do_not_disturb", "bob wanted no calls")
	s.as(iphone, http.MethodPost, "/v2/do_not_disturb", `{"on":false}`)

	iphone.Uninstall()
	s.hungUpSays("bob", "unregistered", "no longer on bob's IOS device", "Unregistered")
	s.await("the push token is forgotten", func() bool { return s.reachable("bob") == 0 })
	if v := s.hungUpSays("bob", "forgotten", "Unregistered"); v.Hop != verdict.HopDevice {
		t.Errorf("the verdict on a forgotten device: %+v", v)
	}

	pc := s.phone("carol", sim.Windows, "PC")
	s.leave(pc)
	c := s.call("alice", "carol", sim.Plan{})
	s.says(c.SessionID(), "waits_for_poll", "carol's DESKTOPWIN device")
	c.Hangup()
	s.over(c)
	s.says(c.SessionID(), "not_polled_before_end", "before carol's DESKTOPWIN device polled")

	whyOfReceipts(t, s)
}

// whyOfReceipts lets an app say that it could not use a call, and that it has one that is just over.
func whyOfReceipts(t *testing.T, s *scene) {
	t.Helper()
	android := s.phone("dave", sim.Android, "Android")
	c := s.call("alice", "dave", sim.Plan{})
	s.rang(android, 1)
	r := s.request(http.MethodPost, s.App.PublicURL()+"/v2/notification/ack", `{"sid":"`+string(c.SessionID())+`","problem":"DECODE_CALL_PARAM"}`)
	r.Header.Set("Authorization", "Bearer "+android.AppToken().Reveal())
	if a := s.do(r); a.status != http.StatusOK {
		t.Fatalf("the receipt was answered %d %s", a.status, a.body)
	}
	s.says(c.SessionID(), "app_failed", "dave's ANDROID device got the call", "DECODE_CALL_PARAM")
	c.Hangup()
	s.over(c)
	if a := s.receipt(android, c.SessionID()); a.status != http.StatusOK { // changes nothing
		t.Errorf("a repeat was answered %d", a.status)
	}
	s.because(c.SessionID(), "app_failed")
	c = s.call("alice", "dave", sim.Plan{})
	s.rang(android, 2)
	s.settled(c.SessionID())
	c.Hangup()
	s.over(c)
	s.receipt(android, c.SessionID())
	// The push was taken in time, so the receipt does not speak against anybody.
	wantDevice(t, s.because(c.SessionID(), "canceled_quickly", "canceled"), "received_at_end", "it was over by then")
}

// A token of the other APNs server rings, and the verdict says what was wrong.
func TestWhyOfAnAppleServer(t *testing.T) {
	t.Parallel()
	s := play(t)
	token := sim.APNsTokenPrefix + strings.Repeat("0c", 26)
	s.World.Sandbox.Register(token, s.World.Settings().BundleID+".voip", nil)
	body := fmt.Sprintf(`{"project":"demo","user_id":"bob","channel":"apns_voip","push_token":%q,"apns_server":"production"}`, token)
	if status := s.admin(http.MethodPost, "/admin/v1/devices", body, nil); status != http.StatusCreated {
		t.Fatalf("add a device: %d", status)
	}
	v := s.hungUp("bob", "canceled_quickly")
	wantDevice(t, v, "wrong_apns_server_repaired", "APNs production refused the token of bob's iOS device as BadDeviceToken; sandbox accepts it")
	wantDevice(t, s.hungUp("bob", "canceled_quickly"), "told")
}

// cloudSays are Call Events of calls without a Notify, by their disconnect_reason and rel_code.
var cloudSays = []struct {
	reason, code string
	want         verdict.Code
}{
	{"1203", "5", "never_asked"},
	{"1201", "2", "canceled_before_notify"},
	{"1202", "4", "busy"},
	{"1204", "215", "another_call_came_first"},
	{"1205", "6", "busy"},
	{"1302", "203", "callback_unreachable"},
	{"1302", "205", "callback_failed"},
	{"1302", "207", "callback_user_not_found"},
	{"1302", "231", "callback_misunderstood"},
	{"1313", "200", "app_server_data_error"},
	{"1501", "206", "access_token_refused"},
	{"1303", "202", "auth_error"},
	{"1502", "120", "invalid_id"},
	{"1503", "200", "cloud_maintenance"},
	{"1504", "216", "cloud_busy"},
	{"1305", "200", "cloud_internal"},
	{"1505", "200", "cloud_internal"},
	{"1511", "102", "incompatible_version"},
	{"1512", "232", "too_many_requests"},
	{"1208", "122", "max_call_time"},
	{"1304", "210", "released_call"},
	{"1301", "501", "client_network"},
	{"1309", "506", "client_gone"},
	{"1003", "505", "cellular_call"},
	{"1112", "502", "client_error"},
	{"1206", "7", "answered_elsewhere"},
	{"1207", "8", "declined_elsewhere"},
}

// What Planet Cloud says, and does not say.
func TestWhyOfPlanetCloud(t *testing.T) {
	t.Parallel()
	s := play(t)
	for _, e := range cloudSays {
		sid := planet.SessionID(uuid.NewString())
		s.ends(sid, "bob", e.reason, e.code)
		v := s.because(sid, e.want)
		if !slices.ContainsFunc(v.Evidence, func(f verdict.Evidence) bool { return strings.Contains(f.What.English, e.reason) }) {
			t.Errorf("%s: nothing names the reason %s: %s %+v", v.Code, e.reason, v.Sentence.English, v.Evidence)
		}
	}

	sid := planet.SessionID(uuid.NewString())
	s.ends(sid, "bob", "1201", "2")
	s.tell("notify", notify(string(sid), s.project().ServiceID, "bob"))
	s.says(sid, "notify_after_end", "Call Event came", "before Notify, and before this server had asked any device")

	sid = s.ask("bob")
	old := s.eventOf(sid, "bob", "1201", "2")
	old.Set("end_time", strconv.FormatInt(time.Now().Add(-time.Minute).Unix(), 10))
	s.tell("call-event", old)
	s.says(sid, "notify_late", "by Planet Cloud's clock")

	sid = s.ask("bob")
	s.ends(sid, "bob", "1302", "207")
	s.says(sid, "refused_no_device", "bob had no device that could ring")
	sid = s.ask("bob")
	s.ends(sid, "bob", "1302", "203")
	s.says(sid, "push_error_no_device", "bob had no device that could ring", "rel_code 203")

	s.phone("bob", sim.IOS, "iPhone")
	sid = s.ask("bob")
	s.ends(sid, "bob", "1302", "203")
	s.says(sid, "callback_answer_lost", "rel_code 203")

	sid = planet.SessionID(uuid.NewString())
	s.tell("agent-call-status", url.Values{"sid": {string(sid)}, "result": {"Fail"}, "fail_reason": {"NO_SOURCE"}, "agent_type": {"AUDIO_CALLER"}})
	s.says(sid, "agent_failed", "NO_SOURCE")
	sid = planet.SessionID(uuid.NewString())
	s.tell("agent-call-status", url.Values{"sid": {string(sid)}, "result": {"Success"}, "fail_reason": {"None"}, "agent_type": {"AUDIO_CALLER"}})
	s.says(sid, "agent_without_notify", "its Notify never came")
}

// A refusal of the customer's own endpoint, a database that is sick, and what is not configured.
func TestWhyOfThisServer(t *testing.T) {
	t.Parallel()
	t.Run("the policy hook", func(t *testing.T) {
		t.Parallel()
		endpoint, hook := decides(t, 5*time.Second)
		s := play(t, hook)
		s.phone("bob", sim.IOS, "iPhone")
		endpoint.says(`{"ring":false}`)
		s.hungUpSays("bob", "refused_by_policy", "policy hook of project demo")
	})
	t.Run("no credential", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		s.phone("bob", sim.Android, "Android")
		s.stop()
		s.Config.Projects[0].FCM = config.FCM{}
		s.start()
		s.hungUpSays("bob", "no_credential", "no credential of FCM", "bob's ANDROID device")
	})
	t.Run("a sick database", func(t *testing.T) {
		t.Parallel()
		s := play(t)
		iphone := s.phone("bob", sim.IOS, "iPhone")
		s.hungUp("bob", "canceled_quickly") // its devices are known now
		unlock := s.lockDatabase()
		c := s.call("alice", "bob", sim.Plan{})
		s.rang(iphone, 2)
		s.await("APNs' answer is here", func() bool { return s.metric(`planetbell_call_to_accept_seconds_count{channel="apns_voip"}`) == 2 })
		c.Hangup()
		s.over(c)
		unlock()
		s.await("the call is recorded", func() bool {
			return s.admin(http.MethodGet, "/admin/v1/calls/"+string(c.SessionID()), "", nil) == http.StatusOK
		})
		s.await("what came of it is recorded, too", func() bool { return s.why(c.SessionID()).Code == "rang_from_memory" })
		s.says(c.SessionID(), "rang_from_memory", "the database was in trouble", "bob's IOS device")
	})
}

// The command: its exit code, a user's newest call, and one of nobody.
func TestWhyFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := play(t)
	o := s.operator()
	iphone := s.phone("bob", sim.IOS, "iPhone")
	asks := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(s.ctx, program(t), slices.Concat([]string{"why"}, args, o.flags)...)
		var out, problems bytes.Buffer
		cmd.Env, cmd.Stdout, cmd.Stderr = environ(), &out, &problems
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("planetbell why %q ends with %d, want %d: %s%s", args, got, code, out.String(), problems.String())
		}
		s.watch.keep("planetbell why", out.String()+problems.String())
		return out.String() + problems.String()
	}
	v := s.hungUp("bob", "canceled_quickly")
	if said := asks(0, "--user", "bob"); !strings.HasPrefix(said, v.Sentence.English) {
		t.Errorf("of the newest call it says\n%s", said)
	}
	iphone.Uninstall()
	v = s.hungUp("bob", "unregistered")
	if said := asks(3, "--user", "bob", "--lang", "ja"); !strings.HasPrefix(said, v.Sentence.Japanese+"\n対応: ") {
		t.Errorf("of the newest call it says\n%s", said)
	}
	if said := asks(3, "--user", "bob", "--since", "1h"); strings.Count(said, "demo-service/bob") != 2 || !strings.Contains(said, "canceled_quickly") {
		t.Errorf("of the last hour it says\n%s", said)
	}
	if said := asks(1, uuid.NewString()); !strings.Contains(said, "There is no such call") {
		t.Errorf("of no call it says\n%s", said)
	}
	var list console.VerdictList
	if status := s.admin(http.MethodGet, "/admin/v1/verdicts?user_id=bob&limit=1", "", &list); status != http.StatusOK || len(list.Verdicts) != 1 || list.Next == "" {
		t.Errorf("a page of verdicts, %d: %+v", status, list)
	}
	if status := s.admin(http.MethodGet, "/admin/v1/verdicts?user_id=bob&before="+list.Next, "", &list); status != http.StatusOK || len(list.Verdicts) != 1 || list.Verdicts[0].Verdict.Devices[0].Channel != bell.APNsVoIP {
		t.Errorf("the next page, %d: %+v", status, list)
	}
}

// A browser: what its push service says, and what it took and never brought.
func TestWhyOfABrowser(t *testing.T) {
	t.Parallel()
	s := play(t)
	page := s.phoneOf(sim.PhoneRequest{UserID: "bob", Kind: sim.Browser, Name: "page"})
	c := s.call("alice", "bob", sim.Plan{})
	s.rang(page, 1)
	s.await("the page has said so", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryReceived] == 1 })
	c.Hangup()
	s.over(c)
	if d := wantDevice(t, s.because(c.SessionID(), "canceled_quickly", "canceled"), "received", "rang: it said so"); d.ToReceipt <= 0 {
		t.Errorf("the verdict on the page: %+v", d)
	}
	for _, f := range []struct {
		answer sim.Answer
		code   verdict.Code
		word   string
	}{
		{sim.Answer{Status: http.StatusForbidden}, "vapid_key_or_signature", "http_403"},
		{sim.Answer{Status: http.StatusRequestEntityTooLarge}, "payload_too_large", "http_413"},
		{sim.Answer{Status: http.StatusTooManyRequests}, "throttled_web", "http_429"},
		{sim.Answer{Status: http.StatusInternalServerError}, "provider_down_status", "answered 500"},
	} {
		if err := s.World.SetFault("webpush", f.answer, 0); err != nil {
			t.Fatal(err)
		}
		s.hungUpSays("bob", f.code, "bob's WEB device", f.word)
		s.World.ClearFaults()
	}
	if err := s.World.SetFault("webpush", sim.Answer{Status: http.StatusCreated}, 0); err != nil {
		t.Fatal(err)
	}
	c = s.call("alice", "bob", sim.Plan{}) // taken, and brought to nobody
	s.says(c.SessionID(), "never_received", "took the push for bob's WEB device", "never said that it has it")
	c.Hangup()
	s.over(c)
	s.World.ClearFaults()
	page.Uninstall()
	s.hungUpSays("bob", "subscription_gone", "subscription of bob's WEB device", "http_410")
}
