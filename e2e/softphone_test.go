package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/examples/web"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/testchrome"
)

// softphones is a stage with the example page, and a browser.
type softphones struct {
	*scene
	browser *testchrome.Browser
}

// withPage serves the example softphone for alice and bob.
func withPage(o *stage.Options) {
	o.PageAddress = "127.0.0.1:0"
	o.People = []web.Person{{ID: "alice", Name: "Alice"}, {ID: "bob", Name: "Bob"}}
}

func softphone(t *testing.T, settings ...setting) *softphones {
	t.Helper()
	b := testchrome.New(t) // before the stage: pages end before what they talk to
	return &softphones{scene: play(t, append(settings, withPage)...), browser: b}
}

// tab is a tab in which somebody is signed in.
type tab struct {
	*testchrome.Page
	t *testing.T
}

// open opens a tab as somebody, and waits until he can be called.
func (s *softphones) open(user string) *tab {
	s.t.Helper()
	p := &tab{s.browser.Page(), s.t}
	p.Size(420, 760)
	p.Do(chromedp.Navigate(s.PageURL() + "?user=" + user))
	p.settles()
	s.await(user+" can ring", func() bool { return s.reachable(user) > 0 })
	return p
}

// sees waits until something is in view.
func (p *tab) sees(selector string) {
	p.t.Helper()
	p.waits(`document.querySelector(` + quote(selector) + `)?.checkVisibility()`)
}

// settles waits until somebody can be called, and the page has found out about push messages: what
// comes into view then would move a button from under the pointer.
func (p *tab) settles() {
	p.t.Helper()
	p.sees("#me-state.on")
	p.waits(`document.querySelector('#push-state').textContent !== ''`)
}

// misses waits until something is not there.
func (p *tab) misses(selector string) {
	p.t.Helper()
	p.waits(`!document.querySelector(` + quote(selector) + `)`)
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.sees(selector)
	p.Do(chromedp.Click(selector))
}

// says waits until an element holds a text.
func (p *tab) says(selector, text string) {
	p.t.Helper()
	p.waits(`[...document.querySelectorAll(` + quote(selector) + `)].some((e) => e.textContent.includes(` + quote(text) + `))`)
}

// waits waits until an expression is true.
func (p *tab) waits(expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.Ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		text, _ := chromedp.Run(p.Ctx, chromedp.Evaluate[string](`document.body.innerText`))
		p.t.Fatalf("waited in vain for %s: %v; the page shows:\n%s\n%s", expression, err, text, strings.Join(p.Faults(), "\n"))
	}
}

// get evaluates an expression, and waits for it if it is a promise.
func get[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.Ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

func quote(text string) string { return `'` + strings.ReplaceAll(text, `'`, `\'`) + `'` }

const (
	isRinging = `[data-phase="ringing"][data-direction="in"]`
	isTalking = `[data-phase="talking"]`
	isOver    = `[data-phase="ended"]`
	toAnswer  = isRinging + ` [data-what="answer"]`
	toDecline = isRinging + ` [data-what="decline"]`
	toEnd     = `[data-what="end"]`
)

// A page registers, and rings through its stream; answering, declining and the caller's own
// second thoughts work on screen, and a missed call is shown.
func TestASoftphoneRings(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.open("bob")
	p.Screenshot("softphone-ready")

	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.sees(isRinging)
	p.says(isRinging, "carol")
	p.waits(`document.activeElement.dataset.what === 'answer' && document.title.includes('carol')`)
	p.Screenshot("softphone-ringing")
	p.click(toAnswer)
	p.sees(isTalking)
	p.Screenshot("softphone-talking")
	p.click(toEnd)
	if r := s.over(c); r.Reason != "NORMAL" || r.ConnectedAt.IsZero() || len(r.Legs) != 1 || r.Legs[0].Phone != "bob's browser" {
		t.Errorf("an answered call ended with %s, legs %+v", r.Reason, r.Legs)
	}

	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.click(toDecline)
	if r := s.over(c); r.Reason != "DECLINE" {
		t.Errorf("a declined call ended with %s", r.Reason)
	}
	p.misses(isRinging)

	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.sees(isRinging)
	c.Hangup()
	p.says(isOver, "The caller hung up")
	p.misses(isRinging)
	s.over(c)
	p.says(`[data-notice="missed_call"]`, "Missed call from carol")
	p.says("#past", "carol")
	p.waits(`document.querySelectorAll('#past li').length === 3`)
	p.Screenshot("softphone-missed")
	s.await("the receipt", func() bool { return states(s.story(c.SessionID()))[bell.DeliveryReceived] == 1 })
}
