// Whom push messages ring. A browser has one subscription for all who are signed in with it, and the
// server gives it to whoever named it last. It is no module, so that the service worker can load it
// too, after store.js: softphone.subscription.
(() => {
  const { store } = globalThis.softphone;
  const patience = 5000; // with the server
  const channel = 'softphone:push';

  // rung are those who are signed in and were ever rung by push, the last first.
  async function rung() {
    return (await store.sessions()).filter((s) => s.pushed).sort((a, b) => b.pushed - a.pushed);
  }

  // name tells the server that it rings the user of a session by a subscription.
  async function name(session, subscription) {
    if (!session.token) return false;
    try {
      const answer = await fetch(`${session.server}/v2/update_notification_token`, {
        method: 'POST', credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(patience),
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${session.token}` },
        body: JSON.stringify({ ...session.device, notificationType: 'webpush', notificationToken: JSON.stringify(subscription) }),
      });
      if (answer.ok) await store.session(session.key, { pushed: Date.now() });
      return answer.ok;
    } catch {
      return false;
    }
  }

  // give makes a subscription ring the one of those who was rung last, and reports whether there was one.
  async function give(subscription, people) {
    for (const session of people) {
      if (sameKey(subscription.options?.applicationServerKey, session.pushKey) && (await name(session, subscription))) return true;
    }
    return false;
  }

  // sameKey compares a key as a subscription has it with the text that the server gave.
  function sameKey(buffer, text) {
    if (!buffer || !text) return false;
    const bytes = btoa(String.fromCharCode(...new Uint8Array(buffer)));
    return bytes.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '') === text.replace(/=+$/, '');
  }

  // announce tells the open pages to subscribe anew: there is no subscription that rings anybody.
  function announce() {
    const pages = new BroadcastChannel(channel);
    pages.postMessage('subscribe');
    pages.close();
  }

  globalThis.softphone = Object.assign(globalThis.softphone, { subscription: { channel, rung, give, sameKey, announce } });
})();
