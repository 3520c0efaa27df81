package e2e

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/examples/web"
)

// worker is the page's service worker as a function that a test hands what it may use. It gives what
// makes an event happen and waits for all that the worker does then.
func worker(t *testing.T) string {
	t.Helper()
	source, err := fs.ReadFile(web.Files(), "sw.js")
	if err != nil {
		t.Fatal(err)
	}
	return `((clients, registration) => {
		const handlers = {}, importScripts = () => {}, skipWaiting = () => {};
		const addEventListener = (name, handler) => { handlers[name] = handler; };
		` + string(source) + `
		return async (name, fields) => {
			let all;
			handlers[name]({ ...fields, waitUntil: (promise) => { all = promise; } });
			await all;
		};
	})`
}

// What no DevTools can make happen in a service worker, its own code is asked: each script returns
// what is wrong, one text each.
func TestASoftphonesWorker(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.browserTab()
	p.Do(chromedp.Navigate(s.PageURL()))
	p.sees("#signin")
	for _, test := range []struct{ name, script string }{
		{"a press in a notification", pressed},
		{"a push that comes late", pushedLate},
		{"another subscription", renewed},
	} {
		for _, wrong := range get[[]string](p, strings.ReplaceAll(test.script, "WORKER", worker(t))) {
			t.Errorf("%s: %s", test.name, wrong)
		}
	}
}

// With no tab open, what was pressed goes to the page by the store, for that user, once and not for
// long; a tab that is open is told.
const pressed = `(async () => {
	const { store } = softphone, wrong = [], opened = [], told = [], tabs = [];
	const is = (what, got, want) => { if (JSON.stringify(got) !== JSON.stringify(want)) wrong.push(what + ': ' + JSON.stringify(got)); };
	const clients = { matchAll: async () => tabs, openWindow: async (address) => opened.push(address) };
	const happens = WORKER(clients, {});
	const press = (action, sid = 's1') => happens('notificationclick', { action, notification: { close() {}, data: { user: 'bob', owner: 'svc/bob', sid } } });
	await press('answer');
	is('opened', opened, ['./?user=bob']);
	is('for somebody else', await store.takeWishes('svc/eve'), []);
	const take = async (now) => (await store.takeWishes('svc/bob', now)).map(({ id, what }) => id + ' ' + what);
	is('taken', await take(), ['s1 answer']);
	is('taken twice', await take(), []);
	await press('decline');
	is('taken late', await take(Date.now() + 61000), []);
	await press('');
	is('nothing was pressed', await take(), []);
	await press('answer', '');
	is('for no call', await take(), []);
	await press('answer');
	await store.purge(Date.now() + 61000);
	is('purged', await take(), []);
	await press('answer');
	await store.forget('svc/bob');
	is('signed out', await take(), []);
	tabs.push({ postMessage: (message, ports) => { if (ports) ports[0].postMessage('bob'); else told.push(message); }, focus: async () => told.push('focus') });
	await press('answer');
	is('told', told, [{ type: 'click', user: 'bob', sid: 's1', action: 'answer' }, 'focus']);
	is('told and left', await take(), []);
	return wrong;
})()`

// A push for a call that was answered here, or is over, shows something, and does not ring.
const pushedLate = `(async () => {
	const { store } = softphone, wrong = [], shown = [], now = Date.now(), key = 'svc/bob s1';
	const happens = WORKER({ matchAll: async () => [] }, { showNotification: async (title, options) => shown.push({ title, ...options }) });
	const push = () => happens('push', { data: { json: () => ({ cc_param: 'x', app_session_id: 'S1', app_callee_sid: 'svc', app_callee_uid: 'bob', app_caller_name: 'Carol', app_expires_at: String(now + 5000) }) } });
	const is = (title, rings) => {
		const got = shown.pop();
		if (got.title !== title || got.requireInteraction !== rings || got.actions.length !== (rings ? 2 : 0) || got.renotify && !rings || !got.silent !== rings) wrong.push(JSON.stringify(got));
	};
	await push();
	is('Call from Carol', true);
	await store.over(key, true);
	await push();
	is('In a call with Carol', false);
	const kept = await store.get('calls', key);
	if (kept.data) wrong.push('a call that was answered keeps ' + JSON.stringify(kept));
	await store.purge(now + 36000); // so long a push is shown as ringing, for want of a better clock
	await push();
	is('In a call with Carol', false);
	await store.over(key);
	await push();
	is('The call is already over', false);
	if ((await store.get('calls', key)).expires !== kept.expires) wrong.push('each end makes it last longer');
	await store.forget('svc/bob');
	return wrong;
})()`

// A browser that renews its subscription with all tabs closed rings whom it rang last, if the stored
// app token is taken; then whom it rang before; and if there is none, open pages are told.
const renewed = `(async () => {
	const { store, subscription } = softphone, wrong = [], asked = [], subscribed = [], announced = [], real = globalThis.fetch;
	const key = 'AQID', subscriptionOf = (name) => ({ options: { applicationServerKey: new Uint8Array([1, 2, 3]).buffer }, toJSON: () => ({ endpoint: name }) });
	const happens = WORKER({}, { pushManager: { subscribe: async (options) => { subscribed.push(options.applicationServerKey); return subscriptionOf('made'); } } });
	let refused = [];
	globalThis.fetch = async (address, { headers, body }) => {
		const { notificationToken, ...rest } = JSON.parse(body), token = headers.Authorization;
		asked.push([address, token, JSON.parse(notificationToken).endpoint, rest.deviceId, rest.notificationType].join(' '));
		return new Response('{}', { status: refused.includes(token) ? 401 : 200 });
	};
	const channel = new BroadcastChannel(subscription.channel);
	const heard = () => new Promise((resolve) => { channel.onmessage = ({ data }) => { announced.push(data); resolve(); }; });
	const is = (what, got, want) => { if (got.splice(0).join() !== want) wrong.push(what + ': ' + got); };
	const line = (who, name) => '/' + who + '/v2/update_notification_token Bearer ' + who + ' ' + name + ' device-' + who + ' webpush';
	try {
		await happens('pushsubscriptionchange', { newSubscription: null });
		is('nobody is signed in', subscribed, '');
		const end = Date.now() + 60000;
		const session = (who, more) => store.signIn('svc/' + who, { token: who, server: '/' + who, expires: end, offset: 0, device: { appType: 'WEB', deviceId: 'device-' + who }, pushKey: key, ...more });
		await session('never', { pushKey: undefined });
		await session('ended', { pushed: 9, token: '' });
		await session('other', { pushed: 8, pushKey: 'BBBB' });
		await session('alice', { pushed: 7 });
		await session('bob', { pushed: 6 });
		await happens('pushsubscriptionchange', { newSubscription: subscriptionOf('new') });
		is('the last', asked, line('alice', 'new'));
		is('subscribed', subscribed, '');
		refused = ['Bearer alice'];
		await happens('pushsubscriptionchange', { newSubscription: null });
		is('subscribed with', subscribed, key);
		is('the one before', asked, line('alice', 'made') + ',' + line('bob', 'made'));
		if ((await subscription.rung())[0].key !== 'svc/bob') wrong.push('it is not known who is rung');
		refused.push('Bearer bob');
		const hears = heard();
		await happens('pushsubscriptionchange', {});
		await hears;
		is('announced', announced, 'subscribe');
	} finally {
		globalThis.fetch = real;
		channel.close();
		for (const who of ['never', 'ended', 'other', 'alice', 'bob']) await store.forget('svc/' + who);
	}
	return wrong;
})()`
