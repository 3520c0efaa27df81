package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testchrome"
	"github.com/planetbell/planetbell/planet"
)

// reader is somebody before the console.
type reader struct {
	*testchrome.Page
	s *scene
}

func (s *scene) reader(t *testing.T) *reader {
	t.Helper()
	o := &reader{testchrome.New(t).Page(), s}
	o.Size(1280, 860)
	return o
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

// pictures takes the page in both schemes and at both widths, and has it checked for everybody
// who cannot see it as we do.
func (o *reader) pictures(name string) {
	o.s.t.Helper()
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"", 1000, 720}, {"-phone", 390, 844}} {
		o.Size(size.width, size.height)
		for _, scheme := range []string{"light", "dark"} {
			o.Scheme(scheme)
			o.Screenshot("console-" + name + size.name + "-" + scheme)
			o.accessible(name + size.name + ", " + scheme)
			o.sees(name+size.name+" is as wide as its window", "document.documentElement.scrollWidth <= innerWidth")
		}
	}
	o.Size(1280, 860)
	o.Scheme("light")
}

// accessible runs axe-core on the page: no rule of WCAG 2.2 A and AA, or of its best practices,
// may be broken.
func (o *reader) accessible(where string) {
	o.s.t.Helper()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		o.s.t.Fatal(err)
	}
	found, err := chromedp.Run(o.Ctx, chromedp.Evaluate[string](string(axe)+`;
		axe.run(document).then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html.slice(0, 120) + " " + n.failureSummary.slice(0, 300)).slice(0, 3).join(" | ")).join("\n"))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		o.s.t.Fatalf("check %s: %v", where, err)
	}
	if found != "" {
		o.s.t.Errorf("%s is not for everybody:\n%s", where, found)
	}
}

func consoleScene(t *testing.T, settings ...setting) *scene {
	return play(t, append(settings, configured(func(c *config.Config) { c.Admin.Token = "" }))...)
}

// An operator follows a call while it rings, and looks at it afterwards.
func TestTheConsoleFollowsACall(t *testing.T) {
	s := consoleScene(t)
	phones := s.sixPhones()
	o := s.reader(t)
	if err := s.World.SetFault("fcm", sim.Answer{Status: http.StatusServiceUnavailable, Delay: 40 * time.Millisecond}, 3); err != nil {
		t.Fatal(err)
	}
	c := s.call("alice", "bob", sim.Plan{})
	s.rang(phones[0], 1)
	o.open("/calls")
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
	o.pictures("call")
	_ = strings.Contains
	_ = planet.English
}
