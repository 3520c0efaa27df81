package e2e

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/sim"
)

// Two people in two tabs ring each other; meanwhile each one's call is the server's to tell.
func TestTwoSoftphonesRingEachOther(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	alice, bob := s.open("alice"), s.open("bob")
	alice.Screenshot("softphone-alice")
	alice.Do(chromedp.SetValue("#peer", "bob"))
	alice.click("#dial-form button")
	alice.says(`[data-phase="calling"]`, "Calling")
	bob.says(isRinging, "Alice")
	alice.Screenshot("softphone-two-alice")
	bob.Screenshot("softphone-two-bob")
	bob.click(toAnswer)
	bob.sees(isTalking)
	alice.sees(isTalking)
	alice.Screenshot("softphone-calling")
	bob.click(toEnd)
	alice.says(isOver, "The call has ended")
	bob.misses(isTalking)

	// The other way round, and she declines.
	bob.Do(chromedp.SetValue("#peer", "alice"))
	bob.click("#dial-form button")
	alice.click(toDecline)
	bob.says(isOver, "Declined")

	// The caller thinks better of it.
	alice.click("#dial-form button")
	bob.sees(isRinging)
	alice.click(toEnd)
	bob.says(isOver, "The caller hung up")
	alice.says(isOver, "Cancelled")
	bob.sees(`[data-notice="missed_call"]`)

	// A closed tab is a lost connection.
	alice.click("#dial-form button")
	bob.click(toAnswer)
	alice.sees(isTalking)
	alice.Do(chromedp.Navigate("about:blank"))
	bob.says(isOver, "The call has ended")
	alice.Do(chromedp.Navigate(s.PageURL() + "?user=alice"))
	alice.settles()

	// A group call.
	alice.click("#room-form button")
	alice.says(`[data-direction="room"]`, "alone")
	bob.click("#room-form button")
	alice.says(`[data-direction="room"]`, "alice, bob")
	bob.says(`[data-direction="room"]`, "alice, bob")
	bob.Screenshot("softphone-room")
	alice.click(toEnd)
	bob.says(`[data-direction="room"]`, "alone")
}

// Two tabs of one person are one phone: both ring, one carries the call, and when that one is
// closed, the other one takes over. A call that was answered elsewhere stops ringing.
func TestASecondTabTakesOver(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	first, second := s.open("bob"), s.browserTab()
	second.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	second.says("#me-state", "another tab")
	if n := s.reachable("bob"); n != 1 {
		t.Errorf("two tabs are %d devices, want one", n)
	}

	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	first.sees(isRinging)
	second.click(toAnswer)
	second.sees(isTalking)
	first.sees(isTalking)
	first.misses(isRinging)
	second.click(toEnd)
	if r := s.over(c); r.Reason != "NORMAL" || len(r.Legs) != 1 || r.Legs[0].Verifications != 1 {
		t.Errorf("a call in two tabs ended with %s, legs %+v", r.Reason, r.Legs)
	}

	// A tab that a press in a notification has opened leaves the answer to the tab with the line.
	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	first.sees(isRinging)
	second.Do(chromedp.Navigate(s.PageURL() + "manifest.webmanifest"))
	get[any](first, `softphone.store.wish('demo-service/bob', '`+string(c.SessionID())+`', 'answer')`)
	second.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	first.sees(isTalking)
	second.click(toEnd)
	s.over(c)

	// The service worker finds a tab by its user, not by its address.
	if user := get[string](second, `new Promise((resolve) => {
		const { port1, port2 } = new MessageChannel();
		port1.onmessage = ({ data }) => resolve(data);
		navigator.serviceWorker.dispatchEvent(new MessageEvent('message', { data: { type: 'whose' }, ports: [port2] }));
	})`); user != "bob" {
		t.Errorf("the tab is open for %q, want bob", user)
	}

	// The tab with the line is closed while it rings.
	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	second.sees(isRinging)
	first.Do(chromedp.Navigate("about:blank"))
	second.waits(`!document.querySelector('#me-state').textContent.includes('another tab')`)
	second.sees(isRinging)
	second.click(toAnswer)
	second.sees(isTalking)
	second.click(toEnd)
	if r := s.over(c); r.Reason != "NORMAL" {
		t.Errorf("a call that another tab took over ended with %s", r.Reason)
	}

	// His Mac is quicker.
	s.phone("bob", sim.MacOS, "bob's Mac")
	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanAnswered, By: "bob's Mac", After: 2 * time.Second, Talk: 2 * time.Second})
	second.sees(isRinging)
	second.says(isOver, "Answered on another device")
	second.Screenshot("softphone-elsewhere")
	s.over(c)
}

// A link is anybody's: it neither answers nor declines a call that rings, nor one that comes later, in
// no tab. What was pressed in a notification does, once.
func TestASoftphonesLinks(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p, other := s.open("bob"), s.browserTab()
	other.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	other.says("#me-state", "another tab")
	p.Do(chromedp.Navigate("about:blank"))
	for _, what := range []string{"answer", "decline"} {
		// Whoever calls can know the session ID, and nobody need be asked for it in advance.
		other.says("#me-state", "Can be called: holds a stream")
		c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
		link := s.PageURL() + "?user=bob#" + what + "=" + string(c.SessionID())
		other.sees(isRinging)
		p.Do(chromedp.Navigate(link)) // a tab that has not the line
		p.sees(isRinging)
		other.Do(chromedp.Evaluate[chromedp.Void](`location.hash = '` + what + `=` + string(c.SessionID()) + `'`)) // the one that has
		other.Do(chromedp.Reload())                                                                                // and one that gets it
		p.says("#me-state", "Can be called: holds a stream")
		other.says("#me-state", "another tab")
		p.Do(chromedp.Navigate("about:blank"))
		other.says("#me-state", "Can be called: holds a stream")
		other.says("#push-state", "This page rings while it is open") // the last that a start finds out
		other.sees(isRinging)
		if r := c.Report(); !r.ConnectedAt.IsZero() {
			t.Fatalf("a link has answered: %+v", r)
		}
		c.Hangup()
		if r := s.over(c); r.Reason != "CANCEL" {
			t.Errorf("a call that a link was to %s ended with %s", what, r.Reason)
		}
		other.says(isOver, "The caller hung up")
		other.misses(isOver)
	}
	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	other.sees(isRinging)
	get[any](other, `softphone.store.wish('demo-service/bob', '`+string(c.SessionID())+`', 'answer')`)
	p.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	other.sees(isTalking)
	if left := get[int](other, `softphone.store.takeWishes('demo-service/bob').then((all) => all.length)`); left != 0 {
		t.Errorf("%d presses are left", left)
	}
	other.click(toEnd)
	s.over(c)
}

// In Japanese, in the dark, on a narrow phone, nothing is cut off.
func TestASoftphoneInJapanese(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.open("bob")
	p.Size(320, 640)
	p.Scheme("dark")
	p.click(`[data-lang="ja"]`)
	p.says("#me-state", "着信できます")
	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.says(isRinging, "着信中")
	p.waits(`document.documentElement.lang === 'ja' && document.documentElement.scrollWidth <= innerWidth`)
	p.Screenshot("softphone-japanese")
	p.Do(chromedp.KeyEvent("\r")) // the focus is on the answer
	p.says(isTalking, "通話中")
	p.click(toEnd)
	s.over(c)
	p.says("#past", "carol")
	p.Do(chromedp.Reload())
	p.says("#me-state", "着信できます")
}

// browserTab is an empty tab.
func (s *softphones) browserTab() *tab {
	p := &tab{s.browser.Page(), s.t}
	p.Size(420, 760)
	return p
}
