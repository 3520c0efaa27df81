package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
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
	s     *scene
	pages map[string]string // at which somebody has looked: their paths
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
	o := &reader{testchrome.New(t).Page(), s, map[string]string{}}
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

// looks looks at a page in every way, and remembers where it is. The name begins with that of the
// page's template; what the page shows may follow, after a hyphen.
func (o *reader) looks(name string) {
	o.s.t.Helper()
	page, _, _ := strings.Cut(name, "-")
	if _, known := o.pages[page]; !known {
		path, err := chromedp.Run(o.Ctx, chromedp.Evaluate[string](`location.pathname + location.search`))
		if err != nil {
			o.s.t.Fatal(err)
		}
		o.pages[page] = path
	}
	o.looksAt(name, everyLook)
}

func (o *reader) looksAt(name string, looks []look) {
	o.s.t.Helper()
	looksAt(o.s.t, o.Page, "console-"+name, looks)
	o.Scheme("light")
	o.Size(1280, 860)
}

// looksInJapanese looks at all pages again, in the other language. The last one is that to sign in.
func (o *reader) looksInJapanese() {
	o.s.t.Helper()
	for _, page := range slices.Sorted(maps.Keys(o.pages)) {
		if page == "signin" {
			continue // who is signed in is sent on from there
		}
		u, err := url.Parse(o.pages[page])
		if err != nil {
			o.s.t.Fatal(err)
		}
		values := u.Query()
		values.Set("lang", "ja")
		o.open(u.Path + "?" + values.Encode())
		o.sees("Japanese", `document.documentElement.lang === "ja"`)
		o.looksAt(page+"-ja", otherLook)
	}
	o.presses(".top form button") // sign out
	o.sees("the way in, in Japanese", `location.pathname === "/signin" && document.documentElement.lang === "ja"`)
	o.looksAt("signin-ja", otherLook)
}

// sawAll fails the test for a page at which nobody has looked.
func (o *reader) sawAll() {
	o.s.t.Helper()
	templates, err := filepath.Glob("../internal/console/pages/templates/[^_]*.html")
	if err != nil || len(templates) < 10 {
		o.s.t.Fatalf("there are %d templates of pages, %v", len(templates), err)
	}
	for _, file := range templates {
		if page := strings.TrimSuffix(filepath.Base(file), ".html"); o.pages[page] == "" {
			o.s.t.Errorf("the page %s was not looked at: open it in this test, and look at it with looks(%q)", page, page)
		}
	}
}

// An operator signs in, follows a call while it rings, and looks at it afterwards.
func TestTheConsoleFollowsACall(t *testing.T) {
	t.Parallel()
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
	o.open("/calls/" + string(c.SessionID()))
	o.sees("its lanes", `document.querySelectorAll(".lane").length >= 8`)
	o.sees("FCM took it at last", `!document.querySelector(".fall").innerText.includes("sending")`)
	o.looks("call-ringing")
	c.Hangup()
	s.over(c)
	o.sees("the end, without a reload", `document.querySelector(".fall").innerText.includes("Call Event")`)
	o.open("/calls/" + string(c.SessionID()) + "?lang=ja")
	o.reads("時間の流れ")
	o.looksAt("call-over-ja", otherLook)
	o.open("/calls/" + string(c.SessionID()) + "?lang=en")
	o.reads("What happened when")
	o.looks("call-over")
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

// eventful puts something on every page: calls of each kind, of which one rings, a room that is
// open, devices that do not ring, and a dead letter.
func (s *scene) eventful(b *backend) (suspended string, declined, ringing *sim.Call) {
	s.t.Helper()
	s.phone("bob", sim.IOS, "iPhone")
	s.phone("bob", sim.Android, "Android")
	s.phone("bob", sim.Windows, "PC")
	s.phone("dora", sim.Android, "dora's Android")
	s.over(s.call("alice", "bob", sim.Plan{Kind: sim.PlanAnswered, After: time.Millisecond, Talk: 50 * time.Millisecond}))
	s.await("its events are told", func() bool { return b.requests() > 0 })
	suspended = s.deviceOf("bob", bell.APNsVoIP)
	s.trouble(suspended, s.deviceOf("dora", bell.FCM))
	if err := s.World.SetFault("fcm", sim.Answer{Status: http.StatusNotFound, Reason: "UNREGISTERED"}, 1); err != nil {
		s.t.Fatal(err)
	}
	s.over(s.call("alice", "dora", sim.Plan{Kind: sim.PlanBusy}))
	declined = s.call("alice", "bob", sim.Plan{Kind: sim.PlanDeclined, After: 50 * time.Millisecond})
	s.over(declined)
	ringing = s.call("alice", "bob", sim.Plan{})
	host := sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: "alice"}}
	run, _, err := s.World.Cloud.OpenRoom(s.ctx, planet.RoomRef{ServiceID: "demo-service", RoomID: "standup"}, host, planet.VideoCall)
	if err != nil {
		s.t.Fatal(err)
	}
	run.Join(s.ctx, sim.Participant{User: planet.UserRef{ServiceID: "demo-service", UserID: "bob"}})
	return suspended, declined, ringing
}

// An operator looks for what is wrong, page by page: a suspended device is tested, a dead
// letter is replayed. Everybody can use each page.
func TestTheConsolesPages(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := play(t, readers(t), tells(b))
	suspended, declined, ringing := s.eventful(b)
	o := s.reader(t)
	o.open("/signin")
	o.looks("signin")
	o.signIn("maria", "/")
	o.sees("a chart", `document.querySelector(".chart canvas")`)
	o.looks("overview")
	o.open("/calls")
	o.sees("the call rings", `document.querySelector("#live + div .badge.live")`)
	o.looks("calls")
	o.open("/calls/" + string(declined.SessionID()))
	o.reads("What happened when")
	o.looks("call")
	o.open("/users?user_id=dora")
	o.presses("tbody a")
	o.reads("dora would not ring now")
	o.looks("user")
	o.open("/users")
	o.sees("a suspended device", `[...document.querySelectorAll("tbody tr")].some(r => r.innerText.includes("suspended"))`)
	o.looks("users")
	s.testsADevice(o, suspended)
	o.open("/deliveries")
	o.reads("UNREGISTERED")
	o.looks("deliveries")
	s.replaysADeadLetter(o, b)
	o.open("/rooms")
	o.reads("standup")
	o.looks("rooms")
	o.presses("#live + div tbody a")
	o.sees("who is in it", `document.querySelector(".fall .lane")`)
	o.looks("run")
	o.open("/settings")
	o.reads("<secret>")
	o.looks("settings")
	o.open("/audit")
	o.reads("device.test")
	o.looks("audit")
	const nowhere = "/calls/00000000-0000-4000-8000-000000000000"
	o.open(nowhere)
	o.looks("wrong")
	o.looksInJapanese()
	if n := o.Forgive(nowhere); n != 2 {
		t.Errorf("the browser tells of %d pages that are not there, want 2", n)
	}
	o.sawAll()
	ringing.Hangup()
	s.over(ringing)
}

// testsADevice: the iPhone's token for alerts is what a test goes to.
func (s *scene) testsADevice(o *reader, id string) {
	s.t.Helper()
	o.open("/devices/" + id)
	o.reads("suspended")
	o.looks("device-suspended")
	o.presses(`#test form:last-child button`)
	o.reads("The provider took it.")
	o.reads("HTTP")
	// The push was taken, so nothing is held against the token any more.
	o.sees("it rings again", `document.querySelector(".saying .badge.good")`)
	o.looks("device-tested")
}

func (s *scene) replaysADeadLetter(o *reader, b *backend) {
	s.t.Helper()
	before := b.requests()
	o.open("/events?state=dead")
	o.reads("503")
	o.looks("events")
	o.presses("#list ~ div tbody button")
	o.reads("told anew: 1")
	s.await("it is told", func() bool { return b.requests() > before })
	o.pages["events"] = "/events" // no dead letter is left for whoever looks again
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
