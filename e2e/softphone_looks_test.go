package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/sim"
)

// looks looks at the page in every way and in both languages. All of it is one page, which shows
// this or that.
func (p *tab) looks(name string) {
	p.t.Helper()
	looksAt(p.t, p.Page, "softphone-"+name, everyLook)
	for _, language := range []string{"ja", "en"} {
		p.click(`[data-lang="` + language + `"]`)
		p.waits(`document.documentElement.lang === '` + language + `'`)
		if language == "ja" {
			looksAt(p.t, p.Page, "softphone-"+name+"-ja", otherLook)
		}
	}
	p.Scheme("light")
	p.Size(420, 760)
}

// Everybody can sign in, answer, talk and see whom they have missed.
func TestASoftphoneIsForEverybody(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.browserTab()
	p.Do(chromedp.Navigate(s.PageURL()))
	p.sees("#signin")
	p.looks("signin")
	p.waits(`(document.querySelector('#server-fields').hidden = false, true)`) // as without a demo
	p.looks("signin-server")

	p.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	p.settles()
	s.await("bob can ring", func() bool { return s.reachable("bob") > 0 })
	p.looks("ready")
	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.sees(isRinging)
	p.looks("ringing")
	p.click(toAnswer)
	p.sees(isTalking)
	p.looks("talking")
	p.click(toEnd)
	s.over(c)
	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.sees(isRinging)
	c.Hangup()
	s.over(c)
	p.sees(`[data-notice="missed_call"]`)
	p.click("summary") // the log
	p.looks("missed")
	p.click("#room-form button")
	p.says(`[data-direction="room"]`, "alone")
	p.looks("room")
}
