package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testchrome"
	"github.com/planetbell/planetbell/planet"
)

// reader is somebody before the console.
type reader struct {
	*testchrome.Page
	s *scene
}

const readersPassword = "correct horse battery staple"

// readers lets two people sign in to the console.
func readers(t *testing.T) setting {
	t.Helper()
	hash, err := signin.HashPassword(readersPassword)
	if err != nil {
		t.Fatal(err)
	}
	return configured(func(c *config.Config) {
		c.Admin.Users = []config.AdminUser{
			{Name: "maria", PasswordHash: hash.PHC(), Role: bell.Admin},
			{Name: "viktor", PasswordHash: hash.PHC(), Role: bell.Viewer},
		}
	})
}

// reader opens a browser. Pictures and checks of whole pages take a small machine seconds each.
func (s *scene) reader(t *testing.T) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	s.ctx = ctx
	o := &reader{testchrome.New(t).Page(), s}
	o.Size(1280, 860)
	return o
}

// signIn signs somebody in, who asked for a page.
func (o *reader) signIn(name, path string) {
	o.s.t.Helper()
	o.Do(chromedp.Navigate(o.s.App.AdminURL()+path), chromedp.WaitVisible(`input[name=password]`),
		chromedp.SendKeys(`input[name=name]`, name), chromedp.SendKeys(`input[name=password]`, readersPassword+"\r"))
	o.sees("the page that was asked for", fmt.Sprintf("location.pathname + location.search === %q", path))
}

// open goes to a page of the console.
func (o *reader) open(path string) {
	o.s.t.Helper()
	o.Do(chromedp.Navigate(o.s.App.AdminURL()+path), chromedp.WaitReady("main"))
}

// sees waits until an expression is true on the page.
func (o *reader) sees(what, expression string) {
	o.s.t.Helper()
	o.s.await(what, func() bool {
		ok, err := chromedp.Run(o.Ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && ok
	})
}

// reads waits until the page has a text.
func (o *reader) reads(text string) {
	o.s.t.Helper()
	o.sees("the page says "+text, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// presses presses the first button that a selector finds.
func (o *reader) presses(selector string) {
	o.s.t.Helper()
	o.Do(chromedp.Click(selector))
}

// pictures takes the page in both schemes and at both widths, and has it checked for everybody
// who cannot see it as we do: by all rules once, and by that of contrast in the other scheme.
func (o *reader) pictures(name string) {
	o.s.t.Helper()
	for _, look := range []struct {
		name, scheme  string
		width, height int64
		rules         string
	}{
		{"", "light", 1000, 720, "{}"},
		{"", "dark", 1000, 720, "{runOnly: ['color-contrast']}"},
		{"-phone", "dark", 390, 844, ""},
		{"-phone", "light", 390, 844, ""},
	} {
		o.Size(look.width, look.height)
		o.Scheme(look.scheme)
		o.Screenshot("console-" + name + look.name + "-" + look.scheme)
		if look.rules != "" {
			o.accessible(name+look.name+", "+look.scheme, look.rules)
		}
		o.sees(name+look.name+" is not wider than its window", "document.documentElement.scrollWidth <= innerWidth")
	}
	o.Size(1280, 860)
}

// accessible runs axe-core on the page: no rule of WCAG 2.2 A and AA, or of its best practices,
// may be broken.
func (o *reader) accessible(where, rules string) {
	o.s.t.Helper()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		o.s.t.Fatal(err)
	}
	found, err := chromedp.Run(o.Ctx, chromedp.Evaluate[string](`window.axe || `+string(axe)+`;
		axe.run(document, `+rules+`).then(r => r.violations.map(v => v.id + ": " + v.nodes.slice(0, 3)
			.map(n => n.html.slice(0, 120) + " " + n.failureSummary.slice(0, 300)).join(" | ")).join("\n"))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		o.s.t.Fatalf("check %s: %v", where, err)
	}
	if found != "" {
		o.s.t.Errorf("%s is not for everybody:\n%s", where, found)
	}
}

// An operator signs in, follows a call while it rings, and looks at it afterwards.
func TestTheConsoleFollowsACall(t *testing.T) {
	s := play(t, readers(t))
	phones := s.sixPhones()
	o := s.reader(t)
	if err := s.World.SetFault("fcm", sim.Answer{Status: http.StatusServiceUnavailable, Delay: 40 * time.Millisecond}, 3); err != nil {
		t.Fatal(err)
	}
	c := s.call("alice", "bob", sim.Plan{})
	s.rang(phones[0], 1)
	o.signIn("maria", "/calls")
	o.sees("the call rings", `document.querySelector("#live + div .badge.live")`)
	o.pictures("calls")
	o.open("/calls/" + string(c.SessionID()))
	o.sees("its lanes", `document.querySelectorAll(".lane").length >= 8`)
	o.sees("FCM took it at last", `!document.querySelector(".fall").innerText.includes("sending")`)
	o.pictures("ringing")
	c.Hangup()
	s.over(c)
	o.sees("the end, without a reload", `document.querySelector(".fall").innerText.includes("Call Event")`)
	o.open("/calls/" + string(c.SessionID()) + "?lang=ja")
	o.reads("時間の流れ")
	o.pictures("call-ja")
	o.open("/calls/" + string(c.SessionID()) + "?lang=en")
	o.reads("What happened when")
	o.pictures("call")
	o.open("/calls?outcome=canceled&user_id=bob")
	o.reads("Calls found")
	o.presses(".top form button") // sign out
	o.sees("the way in", `location.pathname === "/signin"`)
}

// trouble puts into the database what takes days to come about: a suspended device, one whose
// token is dead, and a dead letter.
func (s *scene) trouble(suspended, forgotten string) {
	s.t.Helper()
	s.stop()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.options.Dir, "planetbell.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	for _, q := range []struct {
		query string
		args  []any
	}{
		{
			`UPDATE devices SET strikes = 3, struck_at = ?, suspended_until = ?, suspended_for = 'BadDeviceToken' WHERE id = ?`,
			[]any{now.Add(-time.Hour).UnixMicro(), now.Add(23 * time.Hour).UnixMicro(), suspended},
		},
		{
			`UPDATE devices SET push_token = '', forgotten_at = ?, forgotten_for = 'UNREGISTERED' WHERE id = ?`,
			[]any{now.Add(-time.Hour).UnixMicro(), forgotten},
		},
		{`UPDATE tellings SET state = 'dead', attempts = 14, reason = 'status', status = 503, lease_owner = '' WHERE seq = (SELECT min(seq) FROM tellings)`, nil},
	} {
		result, err := db.ExecContext(s.ctx, q.query, q.args...)
		if err != nil {
			s.t.Fatal(err)
		}
		if n, _ := result.RowsAffected(); n != 1 {
			s.t.Fatalf("%q changed %d rows", q.query, n)
		}
	}
	if err := db.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// An operator looks for what is wrong, page by page: a suspended device is tested, a dead
// letter is replayed.
func TestTheConsolesPages(t *testing.T) {
	b := newBackend(t)
	s := play(t, readers(t), tells(b))
	s.phone("bob", sim.IOS, "iPhone")
	s.phone("bob", sim.Android, "Android")
	s.phone("bob", sim.Windows, "PC")
	s.phone("dora", sim.Android, "dora's Android")
	s.over(s.call("alice", "bob", sim.Plan{Kind: sim.PlanAnswered, After: time.Millisecond, Talk: 50 * time.Millisecond}))
	s.await("its events are told", func() bool { return b.requests() > 0 })
	suspended, forgotten := s.deviceOf("bob", bell.APNsVoIP), s.deviceOf("dora", bell.FCM)
	s.trouble(suspended, forgotten)
	if err := s.World.SetFault("fcm", sim.Answer{Status: http.StatusNotFound, Reason: "UNREGISTERED"}, 1); err != nil {
		t.Fatal(err)
	}
	s.over(s.call("alice", "dora", sim.Plan{Kind: sim.PlanBusy}))
	s.over(s.call("alice", "bob", sim.Plan{Kind: sim.PlanDeclined, After: 50 * time.Millisecond}))
	ringing := s.call("alice", "bob", sim.Plan{})
	host := sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: "alice"}}
	run, _, err := s.World.Cloud.OpenRoom(s.ctx, planet.RoomRef{ServiceID: "demo-service", RoomID: "standup"}, host, planet.VideoCall)
	if err != nil {
		t.Fatal(err)
	}
	run.Join(s.ctx, sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: "bob"}})

	o := s.reader(t)
	o.signIn("maria", "/")
	o.sees("a chart", `document.querySelector(".chart canvas")`)
	o.pictures("overview")
	o.open("/?lang=ja")
	o.reads("プッシュ配信経路")
	o.pictures("overview-ja")
	o.open("/users?user_id=dora&lang=en")
	o.presses("tbody a")
	o.reads("dora would not ring now")
	o.pictures("user")
	o.open("/users")
	o.sees("a suspended device", `[...document.querySelectorAll("tbody tr")].some(r => r.innerText.includes("suspended"))`)
	o.pictures("users")
	s.testsADevice(o, suspended)
	o.open("/deliveries")
	o.reads("UNREGISTERED")
	o.pictures("deliveries")
	s.replaysADeadLetter(o, b)
	o.open("/rooms")
	o.presses("#live + div tbody a")
	o.reads("standup")
	o.pictures("room")
	o.open("/settings")
	o.reads("<secret>")
	o.pictures("settings")
	o.open("/audit")
	o.reads("device.test")
	o.pictures("audit")
	ringing.Hangup()
	s.over(ringing)
}

// testsADevice: the iPhone's token for alerts is what a test goes to.
func (s *scene) testsADevice(o *reader, id string) {
	s.t.Helper()
	o.open("/devices/" + id)
	o.reads("suspended")
	o.pictures("suspended")
	o.presses(`#test form:last-child button`)
	o.reads("The provider took it.")
	o.reads("HTTP")
	// The push was taken, so nothing is held against the token any more.
	o.sees("it rings again", `document.querySelector(".saying .badge.good")`)
	o.pictures("device")
}

func (s *scene) replaysADeadLetter(o *reader, b *backend) {
	s.t.Helper()
	before := b.requests()
	o.open("/events?state=dead")
	o.reads("503")
	o.pictures("events")
	o.presses("#list ~ div tbody button")
	o.reads("told anew: 1")
	s.await("it is told", func() bool { return b.requests() > before })
}

// deviceOf is the ID of a user's device that rings by a channel.
func (s *scene) deviceOf(user string, channel bell.Channel) string {
	s.t.Helper()
	for _, d := range s.devices(user) {
		if d.Channel == channel {
			return d.ID
		}
	}
	s.t.Fatalf("%s has no device that rings by %s", user, channel)
	return ""
}
