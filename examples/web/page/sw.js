// The service worker. A push message wakes it when no tab is open: it shows the call, tells the
// tabs that are open, and sends the receipt. The browser has decrypted the message.

importScripts('messages.js', 'store.js', 'subscription.js');
const { messages, store, subscription } = softphone;

const ringTime = 60_000; // when a push does not say until when
const slack = 30_000; // of clocks: to show a call that is over costs less than not to show one that rings
const patience = 1000; // with a tab that does not say whose it is

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('push', (event) => {
  let data = {};
  try {
    data = event.data.json();
  } catch { /* every push has to show something */ }
  event.waitUntil(received(data.data ?? data));
});

async function received(data) {
  const language = (await store.get('settings', 'language'))?.value ?? messages.fit(navigator.language);
  await Promise.all([data.app_event ? notice(data, language) : call(data, language), acknowledge(data), store.purge()]);
}

const owner = (data) => `${data.app_callee_sid ?? ''}/${data.app_callee_uid ?? ''}`;
const nameOf = (data) => data.app_caller_name || data.app_caller_uid || '?';

async function call(data, language) {
  const sid = String(data.app_session_id ?? '').toLowerCase();
  const key = `${owner(data)} ${sid}`;
  const [session, known] = await Promise.all([store.get('sessions', owner(data)), store.get('calls', key)]);
  const until = Number(data.app_expires_at); // by the server's clock
  const expires = until ? until - (session?.offset ?? 0) + slack : Date.now() + ringTime;
  if (sid && data.cc_param) await store.keep(key, owner(data), data, 'push', expires);
  await tell({ type: 'push', data });
  // A call that an open tab has answered or is done with must show something all the same: browsers take the
  // permission away from pages whose pushes show nothing. It goes by itself.
  const over = known?.over || expires <= Date.now();
  await registration.showNotification(messages.text(language, known?.answered ? 'inCall' : over ? 'e1304' : 'incomingTitle', { name: nameOf(data) }), {
    tag: `call-${sid}`, renotify: !known && !over, requireInteraction: !over, silent: over ? true : undefined,
    lang: language, icon: 'icon.svg', badge: 'icon.svg', timestamp: Number(data.app_sent_at) || Date.now(),
    body: data.app_caller_name ? data.app_caller_uid : '',
    actions: over ? [] : [{ action: 'answer', title: messages.text(language, 'answer') }, { action: 'decline', title: messages.text(language, 'decline') }],
    data: { user: data.app_callee_uid, owner: owner(data), sid },
  });
}

// A notice of a missed call takes the place of the call's own notification: it has the same tag.
async function notice(data, language) {
  await tell({ type: 'push', data });
  const title = messages.notice(language, data.app_event, { name: data.app_caller_name || data.app_caller_uid, room: data.app_room_id });
  const sid = String(data.app_call_session_id ?? data.app_session_id ?? '').toLowerCase();
  await registration.showNotification(title, {
    tag: `call-${sid}`, renotify: true, lang: language, icon: 'icon.svg', badge: 'icon.svg',
    timestamp: Number(data.app_called_at) || Date.now(), body: data.app_message ?? '',
    data: { user: data.app_callee_uid, owner: owner(data), sid: '' },
  });
}

async function tell(message) {
  for (const client of await clients.matchAll({ type: 'window', includeUncontrolled: true })) client.postMessage(message);
}

// acknowledge says that the message is here, with the app token of the user it is for.
async function acknowledge(data) {
  const session = await store.get('sessions', owner(data));
  if (!session?.token || !data.app_session_id) return;
  await fetch(`${session.server}/v2/notification/ack`, {
    method: 'POST', credentials: 'omit', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${session.token}` },
    body: JSON.stringify({ sid: data.app_session_id, channel: 'webpush', receivedAt: Date.now() }),
  }).catch(() => {}); // the page sends its own
}

// A browser may end a subscription and have another one, with all tabs closed. Whoever was rung last is
// rung by the new one. If the stored sessions do not allow it, an open page subscribes, or the next one.
addEventListener('pushsubscriptionchange', (event) => event.waitUntil(renew(event.newSubscription)));

async function renew(fresh) {
  const people = await subscription.rung();
  if (!people.length) return;
  try {
    fresh ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: people[0].pushKey });
    if (await subscription.give(fresh, people)) return;
  } catch { /* it cannot subscribe now */ }
  subscription.announce();
}

// A click opens the page of that user. "Answer" and "decline" go with it by the store, and nothing of
// the call is in the address.
addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(Promise.all([open(event.notification.data ?? {}, event.action), store.purge()]));
});

// whose asks a tab for its user. Its address, as a service worker knows it, is that of its start.
function whose(client) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    client.postMessage({ type: 'whose' }, [port2]);
    setTimeout(resolve, patience);
  });
}

async function open({ user, owner, sid }, action) {
  const tabs = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  const users = await Promise.all(tabs.map(whose));
  const client = user && tabs[users.indexOf(user)];
  if (client) {
    client.postMessage({ type: 'click', user, sid, action });
    return action === 'decline' ? undefined : client.focus();
  }
  if (sid && action) await store.wish(owner, sid, action);
  return clients.openWindow(`./?user=${encodeURIComponent(user ?? '')}`);
}
