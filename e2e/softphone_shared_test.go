package e2e

import (
	"testing"

	"github.com/chromedp/cdproto/browser"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/bell"
)

// subscribing makes a tab's browser subscribe with the simulator's push service, which a headless
// Chromium has no way to reach. As a real one, all its tabs share the subscription.
func (s *softphones) subscribing(p *tab) {
	s.t.Helper()
	key, err := bell.ParseVAPIDKey(bell.NewVAPIDKey()) // any: nothing is pushed here
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := s.World.WebPush.Subscribe(key.Public(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	script := `(() => {
		const open = () => {
			const kept = JSON.parse(localStorage.getItem('subscription'));
			return kept && {
				options: { applicationServerKey: Uint8Array.from(atob(kept.key.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0)).buffer },
				toJSON: () => kept.made, unsubscribe: async () => { localStorage.removeItem('subscription'); return true; },
			};
		};
		PushManager.prototype.getSubscription = async () => open();
		PushManager.prototype.subscribe = async ({ applicationServerKey: key }) => {
			if (!open()) localStorage.setItem('subscription', JSON.stringify({ key, made: ` + made.JSON.Reveal() + ` }));
			return open();
		};
	})()`
	if _, err := chromedp.Call(p.Ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := chromedp.CallBrowser(p.Ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted, Origin: s.PageURL(),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// pushes reports whether somebody has a device that is rung by Web Push.
func (s *softphones) pushes(user string) bool {
	for _, d := range s.devices(user) {
		if d.Channel == bell.WebPush {
			return true
		}
	}
	return false
}

// signs in as somebody in a tab, and waits until push messages ring.
func (s *softphones) signs(p *tab, user string) {
	s.t.Helper()
	p.Do(chromedp.Navigate(s.PageURL() + "?user=" + user))
	p.says("#push-state", "Also rings when this page is closed")
	s.await(user+" is rung by push", func() bool { return s.pushes(user) })
}

// leaves signs out in a tab, which then loads the page anew.
func (s *softphones) leaves(p *tab) {
	s.t.Helper()
	p.click("#signout")
	s.await("the page after signing out", func() bool {
		there, err := chromedp.Run(p.Ctx, chromedp.Evaluate[bool](`document.querySelector('#signin')?.checkVisibility() === true`))
		return err == nil && there
	})
}

// Two people in one browser share its subscription: the one who stays signed in is rung when the other
// one signs out, and when nobody stays it ends.
func TestASoftphoneThatIsShared(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	alice, bob := s.browserTab(), s.browserTab()
	s.subscribing(alice)
	s.subscribing(bob)
	const subscribed = `localStorage.getItem('subscription') !== null`

	// Bob's page is closed.
	s.signs(bob, "bob")
	s.signs(alice, "alice")
	if s.pushes("bob") {
		t.Error("one subscription rings two people")
	}
	bob.Do(chromedp.Navigate("about:blank"))
	s.leaves(alice)
	s.await("bob is rung by push once more", func() bool { return s.pushes("bob") && !s.pushes("alice") })
	if !get[bool](alice, subscribed) {
		t.Error("alice has taken bob's subscription with her")
	}

	// Bob was last, and alice, who is not rung, leaves his alone, though his page is closed and his app
	// token has ended: the server knows him still.
	s.signs(alice, "alice")
	s.signs(bob, "bob")
	bob.Do(chromedp.Navigate("about:blank"))
	get[any](alice, `softphone.store.session('demo-service/bob', { token: '' })`)
	s.leaves(alice)
	if !get[bool](alice, subscribed) || !s.pushes("bob") {
		t.Error("alice has ended bob's subscription")
	}

	// His stored app token is not taken: his open page, which has another one, subscribes anew.
	s.signs(bob, "bob")
	s.signs(alice, "alice")
	get[any](alice, `softphone.store.session('demo-service/bob', { token: 'refused' })`)
	s.leaves(alice)
	s.await("bob's page subscribes", func() bool { return s.pushes("bob") })
	if alice.Forgive("/v2/update_notification_token") == 0 {
		t.Error("the stored app token was not tried")
	}

	s.leaves(bob)
	if get[bool](bob, subscribed) {
		t.Error("nobody is signed in, and the subscription stays")
	}
}
