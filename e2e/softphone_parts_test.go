package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// The parts of the page that can be asked alone are asked in the browser that runs them: each
// script returns what is wrong, one text each.
func TestTheSoftphonesParts(t *testing.T) {
	t.Parallel()
	s := softphone(t)
	p := s.browserTab()
	p.Do(chromedp.Navigate(s.PageURL()))
	p.sees("#signin")
	for name, script := range map[string]string{
		"events in pieces": `import('/sse.js').then(({ EventReader }) => {
			const text = ': hello\n\nid: 7\r\nevent: call\r\ndata: {"a":1}\r\n\r\nretry: 1500\ndata: one\ndata:two\n\nid\nevent: empty\n\nid: 8\n\nid: 9\nevent: call\ndata: cut\n';
			const wrong = [];
			for (let size = 1; size <= text.length; size++) {
				const reader = new EventReader(), events = [];
				for (let i = 0; i < text.length; i += size) events.push(...reader.push(text.slice(i, i + size)));
				const got = JSON.stringify(events), want = JSON.stringify([{ event: 'call', data: '{"a":1}', id: '7' }, { event: 'message', data: 'one\ntwo', id: '7' }]);
				if (got !== want || reader.retry !== 1500 || reader.lastID !== '8') wrong.push(size + ': ' + got);
			}
			for (const flood of ['data: ' + 'x'.repeat(70000), ('data: ' + 'x'.repeat(1000) + '\n').repeat(70)]) {
				try { new EventReader().push(flood); wrong.push('a flood is taken'); } catch { /* as it should */ }
			}
			return wrong;
		})`,
		"pauses grow and differ": `import('/stream.js').then(({ pause }) => {
			const wrong = [];
			for (let n = 0; n < 40; n++) {
				const least = pause(n, () => 0), most = pause(n, () => 1);
				if (!(least >= 250 && least < most && most <= 30000)) wrong.push(n + ': ' + least + ' to ' + most);
			}
			return wrong;
		})`,
		"without a stream it polls": `import('/stream.js').then(async ({ Line }) => {
			const asked = [], heard = [];
			const answers = [[404, ''], [200, '{"data":{"cc_param":"x","app_session_id":"1"}}'], [200, '{"data":{"app_event":"missed_call"}}'], [401, ''], [200, '{"data":{"cc_param":"y"}}']];
			const server = { fetch: async (method, path, { signal }) => {
				asked.push(path);
				const next = answers.shift();
				if (next) return new Response(next[1], { status: next[0] });
				return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
			} };
			await new Promise((resolve) => {
				const line = new Line(server, {
					call: (data, via) => { heard.push('call ' + via); if (data.cc_param === 'y') { line.stop(); resolve(); } },
					notice: (data, via) => heard.push('notice ' + via), state: () => {}, expired: async () => { heard.push('renewed'); return true; },
				});
				line.start();
			});
			const polls = '/v2/notification/lp?ack=1&notices=1', wrong = [];
			if (asked.slice(0, 5).join() !== ['/v2/notification/sse?notices=1', polls, polls, polls, polls].join()) wrong.push(asked.join());
			if (heard.join() !== 'call poll,notice poll,renewed,call poll') wrong.push(heard.join());
			return wrong;
		})`,
		"a broken stream comes back with what it had": `import('/stream.js').then(async ({ Line }) => {
			const ids = [], heard = [];
			const server = { fetch: async (method, path, { headers }) => {
				ids.push(headers['Last-Event-ID'] ?? 'none');
				return new Response('retry: 1\nid: e' + ids.length + '\nevent: ended\ndata: {"app_session_id":"1"}\n\nevent: call\ndata: broken\n\nevent: call\nid: cut\ndata: {"app_session_id":"2"}\n');
			} };
			await new Promise((resolve) => {
				const line = new Line(server, { ended: () => { heard.push('ended'); if (heard.length === 3) { line.stop(); resolve(); } }, state: () => {}, call: () => heard.push('call') });
				line.start();
			});
			return ids.join() === 'none,e1,e2' && heard.join() === 'ended,ended,ended' ? [] : [ids.join(), heard.join()];
		})`,
		"every word is there in both languages": `softphone.messages.missing()`,
		"reasons have words":                    `[1001, 1002, 1201, 1203, 1206, 1207, 1304, 1501].filter((c) => softphone.messages.ending('en', c) === softphone.messages.ending('ja', c)).map(String)`,
		"calls are kept until they are over or expire": `(async () => {
			const { store } = softphone, wrong = [], now = Date.now();
			if (await store.keep('k1', 'svc/u', { cc_param: 'x' }, 'push', now + 1000)) wrong.push('a new call is known');
			if ((await store.keep('k1', 'svc/u', { cc_param: 'x' }, 'stream', now + 1000))?.via !== 'push') wrong.push('a known call is new');
			await store.over('k1');
			const [over] = await store.calls('svc/u', now);
			if (!over?.over || over.data) wrong.push('a call that is over keeps ' + JSON.stringify(over));
			await store.keep('k2', 'svc/u', { cc_param: 'y' }, 'push', now - 1);
			if ((await store.calls('svc/u', now)).length !== 1 || (await store.get('calls', 'k2'))) wrong.push('an expired call is kept');
			if ((await store.calls('svc/other', now)).length) wrong.push('calls of somebody else');
			await store.put('sessions', { key: 'svc/u', token: 't', expires: now + 5000, offset: 6000 });
			await store.purge(now);
			if ((await store.get('sessions', 'svc/u')).token) wrong.push('a token that has ended is kept');
			await store.keep('k3', 'svc/other', { cc_param: 'z' }, 'push', now + 1000);
			await store.forget('svc/u');
			if ((await store.get('sessions', 'svc/u')) || (await store.get('calls', 'k1'))) wrong.push('something is left of somebody who has signed out');
			if (!(await store.get('calls', 'k3'))) wrong.push('calls of somebody else are erased');
			await store.forget('svc/other');
			return wrong;
		})()`,
		"notices have their own titles": `(() => {
			const { notice } = softphone.messages, room = 'tea';
			const got = [['missed_call', { name: 'Eve' }], ['invitation', { name: 'Eve', room }], ['invitation', { room }], ['test', {}], ['else', {}]].map(([event, values]) => notice('en', event, values));
			const want = ['Missed call from Eve', 'Eve asks you into the room tea', 'You are asked into the room tea', 'A test: this browser can be reached', 'There is news in the softphone'];
			return got.filter((text, i) => text !== want[i]);
		})()`,
		"without storage a call rings, and though it expires, when it is verified": ringsWithoutStorage,
		"tokens say when they end": `import('/api.js').then(({ expiry }) => [expiry('a.' + btoa('{"exp":17}').replace(/=/g, '') + '.c') === 17000, expiry('nonsense') === 0].filter((ok) => !ok).map(String))`,
	} {
		for _, wrong := range get[[]string](p, script) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

// A phone whose browser has no storage rings, with a cloud that does what the script says. The call
// that is verified stays when the server says that it has expired, and goes when it has ended; its
// handle is dropped then. Both words come at once, so that the script waits for one pause.
const ringsWithoutStorage = `import('/phone.js').then(async ({ Phone }) => {
	const real = indexedDB.open, wrong = [], verified = [], dropped = [];
	Object.defineProperty(indexedDB, 'open', { configurable: true, value: () => { throw new Error('no storage'); } });
	try {
		let word;
		const end = 'event: ended\ndata: ';
		const server = {
			base: '', offset: 0, token: '', register: async () => {}, registerDevice: async () => {}, acknowledge: async () => {}, pastCalls: async () => [], pushKey: async () => null,
			fetch: async (method, path, { signal }) => new Response(new ReadableStream({ start(c) {
				word = (text) => c.enqueue(new TextEncoder().encode(text));
				signal.addEventListener('abort', () => c.error(signal.reason));
			} })),
		};
		const cloud = { verify: ({ ccParam, on }) => {
			verified.push(ccParam);
			if (ccParam !== 'unsure') on({ state: 'verified' });
			return { end() {}, drop() { dropped.push(ccParam); } };
		} };
		const phone = new Phone({ config: { service: 'svc' }, server, cloud, user: 'u', name: '', device: 'd', signIn: '', language: () => 'en', onChange() {}, onLost() {} });
		await phone.start();
		for (const sid of ['expired', 'over', 'unsure']) await phone.received({ app_session_id: sid, cc_param: sid, app_callee_uid: 'u' }, 'push');
		if (verified.join() !== 'expired,over,unsure') wrong.push('verified: ' + verified);
		for (const [sid, why] of [['expired', 'expired'], ['over', 'ended'], ['unsure', 'expired']]) word(end + JSON.stringify({ app_session_id: sid, why }) + '\n\n');
		await new Promise((resolve) => { phone.onChange = ({ calls }) => { if (calls.filter((c) => c.phase === 'ended').length >= 2) resolve(); }; });
		await new Promise((resolve) => setTimeout(resolve));
		const phases = phone.state.calls.map((c) => c.id + ' ' + c.phase).sort().join();
		if (phases !== 'expired ringing,over ended,unsure ended') wrong.push(phases);
		if (dropped.sort().join() !== 'over,unsure') wrong.push('dropped: ' + dropped);
		phone.stop();
	} finally {
		Object.defineProperty(indexedDB, 'open', { configurable: true, value: real });
	}
	return wrong;
})`
