// Push messages, by which the phone rings when no tab is open. Without them it rings as long as
// the page is open; why there are none the page says.

import './store.js';
import './subscription.js';

const { store, subscription } = globalThis.softphone;

const worker = 'sw.js';
const patience = 8000; // for the push service: a browser that cannot reach it may never say so

// Push's state is one of: on, ask, denied, server (has none), browser (has none), failed.
export class Push {
  // owner is whose session in the store it is.
  constructor(server, device, owner) {
    Object.assign(this, { server, device, owner });
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
    if (old && !subscription.sameKey(old.options.applicationServerKey, this.key)) await old.unsubscribe(); // the server has a new key
    const own = await within(patience, pushManager.subscribe(options));
    await this.server.updateToken(this.device, 'webpush', JSON.stringify(own));
    await store.session(this.owner, { pushKey: this.key, pushed: Date.now() });
    return 'on';
  }
}

function within(ms, promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error('no answer')), ms))]);
}

// release makes push messages end for somebody who has signed out, and was last made to ring at
// pushed, if ever. The subscription is the browser's: it goes to somebody else who is signed in,
// if it is not his already, and ends when there is nobody whom the server takes.
export async function release(pushed = 0) {
  const registration = await navigator.serviceWorker?.getRegistration();
  const shared = await registration?.pushManager?.getSubscription();
  if (!shared) return;
  const people = await subscription.rung();
  if (people[0]?.pushed > pushed || (await subscription.give(shared, people))) return;
  await shared.unsubscribe();
  subscription.announce();
}
