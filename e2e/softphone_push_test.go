package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/sim"
)

// pushed delivers a push message through the browser's own machinery, as if its push service had
// sent it.
func (p *tab) pushed(origin string, id serviceworker.RegistrationID, fields map[string]string) {
	p.t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := chromedp.Call(p.Ctx, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{
		Origin: origin, RegistrationID: id, Data: string(data),
	}); err != nil {
		p.t.Fatalf("deliver a push message: %v", err)
	}
}

// pushedFirst is pushed until the message is there: a browser drops it when it has only just been
// told of the permission. A push may come twice in life, too.
func (p *tab) pushedFirst(origin string, id serviceworker.RegistrationID, fields map[string]string) {
	p.t.Helper()
	const one = `navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.length === 1)`
	for range 4 {
		p.pushed(origin, id, fields)
		if _, err := chromedp.Run(p.Ctx, chromedp.Poll[bool](one, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(4*time.Second))); err == nil {
			return
		}
	}
	p.waits(one)
}

// registration is the page's service worker, for DevTools.
func (p *tab) registration() serviceworker.RegistrationID {
	p.t.Helper()
	p.waits(`navigator.serviceWorker.ready.then((r) => r.active.state === 'activated')`)
	found := func(e serviceworker.EventWorkerRegistrationUpdated) bool { return len(e.Registrations) > 0 }
	e, err := chromedp.Run(p.Ctx, chromedp.WaitEvent(serviceworker.WorkerRegistrationUpdated, found, chromedp.Action[cdp.Empty](func(context.Context, *chromedp.Target) (cdp.Empty, error) {
		return chromedp.Call(p.Ctx, serviceworker.Enable, cdp.Empty{})
	})))
	if err != nil {
		p.t.Fatalf("find the service worker: %v", err)
	}
	return e.Registrations[0].RegistrationID
}

// shown is a notification that the browser shows.
type shown struct {
	Title   string   `json:"title"`
	Tag     string   `json:"tag"`
	Actions []string `json:"actions"`
	Stays   bool     `json:"stays"`
	Data    string   `json:"data"`
}

func (p *tab) notifications() []shown {
	p.t.Helper()
	return get[[]shown](p, `navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((n) => ({
		title: n.title, tag: n.tag, actions: n.actions.map((a) => a.action), stays: n.requireInteraction, data: JSON.stringify(n.data)})))`)
}

// A push message shows a notification that can be answered, rings an open page once, with the
// stream's copy, and gives way to the notice of the missed call.
func TestASoftphoneIsPushed(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.open("bob")
	t.Cleanup(func() { p.Forgive("/v2/notification/ack") }) // these messages the server has not sent
	origin := get[string](p, `location.origin`)
	if _, err := chromedp.CallBrowser(p.Ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted, Origin: origin,
	}); err != nil {
		t.Fatal(err)
	}
	id := p.registration()
	c := s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	p.sees(isRinging)
	fields := map[string]string{
		"cc_param": c.CCParam().Reveal(), "app_session_id": string(c.SessionID()), "app_caller_uid": "carol", "app_caller_name": "Carol",
		"app_callee_uid": "bob", "app_callee_sid": "demo-service", "app_call_type": "A",
	}
	p.pushedFirst(origin, id, fields)
	n := p.notifications()[0]
	if n.Title != "Call from Carol" || n.Tag != "call-"+string(c.SessionID()) || len(n.Actions) != 2 || !n.Stays {
		t.Errorf("the notification is %+v", n)
	}
	p.waits(`document.querySelectorAll('` + isRinging + `').length === 1`)
	if legs := c.Report().Legs; len(legs) != 1 || legs[0].Verifications != 1 {
		t.Errorf("a call by stream and push was verified as %+v", legs)
	}
	for _, where := range []string{`location.href`, `JSON.stringify({...localStorage})`, `JSON.stringify({...sessionStorage})`, `document.documentElement.outerHTML`} {
		if text := get[string](p, where); strings.Contains(text, sim.CCParamPrefix) {
			t.Errorf("the cc_param is in %s", where)
		}
	}
	c.Hangup()
	s.over(c)
	p.waits(`navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.length === 0)`)

	// Missed: the notice has the call's tag. A late copy of the call does not ring again.
	p.pushed(origin, id, map[string]string{
		"app_event": "missed_call", "app_session_id": "ffffffff-0000-4000-8000-000000000001", "app_call_session_id": string(c.SessionID()),
		"app_caller_uid": "carol", "app_caller_name": "Carol", "app_callee_uid": "bob", "app_callee_sid": "demo-service",
	})
	p.waits(`navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.length === 1)`)
	if n := p.notifications()[0]; n.Title != "Missed call from Carol" || n.Tag != "call-"+string(c.SessionID()) || n.Stays {
		t.Errorf("the notification of a missed call is %+v", n)
	}

	// With the page closed, a push alone brings the call: the page that is opened then rings.
	p.Do(chromedp.Navigate(s.PageURL() + "manifest.webmanifest"))
	c = s.call("carol", "bob", sim.Plan{Kind: sim.PlanByHand})
	fields["cc_param"], fields["app_session_id"] = c.CCParam().Reveal(), string(c.SessionID())
	p.pushed(origin, id, fields)
	desk := s.browserTab()
	desk.Do(chromedp.Navigate(s.PageURL()))
	desk.sees("#signin")
	get[any](desk, `softphone.store.wish('demo-service/bob', '`+string(c.SessionID())+`', 'answer')`) // as the worker does
	p.Do(chromedp.Navigate(s.PageURL() + "?user=bob"))
	p.sees(isTalking)
	// A copy of the push that comes in the conversation does not ring.
	p.pushed(origin, id, fields)
	p.waits(`navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.some((n) => n.title === 'In a call with Carol'))`)
	if all := p.notifications(); len(all) != 2 || all[1].Stays || len(all[1].Actions) != 0 { // beside the missed call's
		t.Errorf("in the conversation there are %+v", all)
	}
	p.click(toEnd)
	s.over(c)
	p.says("#push-state", "could not subscribe") // this browser has no push service behind it, and the page goes on
}
