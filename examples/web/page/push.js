// Push messages, by which the phone rings when no tab is open. Without them it rings as long as
// the page is open; why there are none the page says.

const worker = 'sw.js';
const patience = 8000; // for the push service: a browser that cannot reach it may never say so

// Push's state is one of: on, ask, denied, server (has none), browser (has none), failed.
export class Push {
  constructor(server, device) {
    this.server = server;
    this.device = device;
  }

  // start subscribes if that needs no question.
  async start() {
    if (!('serviceWorker' in navigator)) return 'browser';
    try {
      await navigator.serviceWorker.register(worker);
      if (!('PushManager' in globalThis) || !('Notification' in globalThis)) return 'browser';
      this.key = await this.server.pushKey();
      if (!this.key) return 'server';
      if (Notification.permission === 'default') return 'ask';
      if (Notification.permission === 'denied') return 'denied';
      return await this.#subscribe();
    } catch {
      return 'failed';
    }
  }

  // ask asks the person, who has pressed a button for it.
  async ask() {
    const answer = await Notification.requestPermission();
    if (answer !== 'granted') return answer === 'denied' ? 'denied' : 'ask';
    try {
      return await this.#subscribe();
    } catch {
      return 'failed';
    }
  }

  async #subscribe() {
    const { pushManager } = await navigator.serviceWorker.ready;
    const options = { userVisibleOnly: true, applicationServerKey: this.key };
    const old = await pushManager.getSubscription();
    if (old && !sameKey(old.options.applicationServerKey, this.key)) await old.unsubscribe(); // the server has a new key
    const subscription = await within(patience, pushManager.subscribe(options));
    await this.server.updateToken(this.device, 'webpush', JSON.stringify(subscription));
    return 'on';
  }

  // stop makes push messages for this user end. The subscription is the browser's, and may serve another user.
  async stop() {
    const registration = await navigator.serviceWorker?.getRegistration();
    await (await registration?.pushManager?.getSubscription())?.unsubscribe();
  }
}

function within(ms, promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error('no answer')), ms))]);
}

function sameKey(buffer, text) {
  if (!buffer) return false;
  const bytes = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return bytes.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '') === text.replace(/=+$/, '');
}
