// The phone of one user in this browser: it registers, holds the line, rings once for a call by
// whatever way and however often it comes, and carries the calls. It runs in the tab that has the
// line (tabs.js). What it shows is this.state, which holds no secret.

import { describe, expiry } from './api.js';
import { Line } from './stream.js';
import { Push, release } from './push.js';
import './store.js';

const { store } = globalThis.softphone;

const showEnded = 6000; // how long a call that is over stays in view
const ringTime = 60_000; // when a call does not say until when it rings
const late = 2000; // of a clock that is wrong
const maxSeen = 500;
const maxLog = 60;
const channels = { stream: 'sse', poll: 'lp', push: 'webpush' }; // as receipts name them

export class Phone {
  #server; #cloud; #line; #push; #signIn;
  #handles = new Map(); // of calls in the cloud, by key
  #params = new Map(); // what verifyCall needs of calls that come in
  #wishes = new Map(); // what was pressed in a notification before the call was here
  #seen = new Set();
  #renewal = 0;
  #refreshes = 0;
  #stopped = false;

  // onChange is told when the state has changed; onLost when the user has to sign in again.
  constructor({ config, server, cloud, user, name, device, signIn, language, onChange, onLost }) {
    Object.assign(this, { config, user, name, device, language, onChange, onLost });
    this.#server = server;
    this.#cloud = cloud;
    this.#signIn = signIn;
    this.owner = `${config.service}/${user}`;
    this.state = { user, name, line: 'connecting', why: '', push: '', calls: [], notices: [], past: [], log: [] };
  }

  #change(part) {
    Object.assign(this.state, part);
    this.onChange(this.state);
  }

  #log(key, values) {
    this.#change({ log: [...this.state.log, { at: Date.now(), key, values }].slice(-maxLog) });
  }

  // start registers and goes on line. It throws a ServerError when the server does not take the user.
  async start() {
    await store.put('settings', { key: 'language', value: this.language() });
    const session = await store.get('sessions', this.owner);
    if (session?.token && session.server === this.#server.base && session.expires - (session.offset ?? 0) > Date.now() + 60_000) this.#server.use(session.token);
    this.#server.onExpired = (refused) => this.#renew(refused);
    if (!this.#server.token) await this.#register();
    await this.#server.registerDevice(this.device);
    await this.#keepSession(); // the clocks may have changed
    this.#scheduleRenewal();
    this.#log('lSigned');
    this.#line = new Line(this.#server, {
      call: (data, via) => this.received(data, via),
      notice: (data, via) => this.received(data, via),
      ended: (data) => this.#endedElsewhere(data),
      state: (line, why = '') => this.#lineState(line, why),
      expired: () => this.#renew(this.#server.token),
    });
    this.#line.start();
    await this.#takeOver();
    this.#push = new Push(this.#server, this.device, this.owner);
    this.#push.start().then((push) => this.#change({ push }));
    this.refresh();
  }

  // stop leaves the line. Calls that ring do so elsewhere, or in the tab that takes over.
  stop() {
    this.#stopped = true;
    clearTimeout(this.#renewal);
    this.#line?.stop();
    for (const [key, handle] of this.#handles) {
      if (this.#call(key)?.phase === 'ringing') handle.drop();
      else handle.end();
    }
  }

  // signOut also forgets the user in this browser.
  async signOut() {
    this.stop();
    const session = await store.get('sessions', this.owner);
    await store.forget(this.owner);
    await release(session?.pushed).catch(() => {});
  }

  async #register() {
    await this.#server.register(this.user, this.name, this.#signIn);
    await this.#keepSession();
  }

  // keepSession is also for the service worker, which sends receipts, renews the push subscription, and
  // has to know the server's clock.
  async #keepSession() {
    if (this.#stopped) return;
    const { token, base, offset } = this.#server;
    await store.signIn(this.owner, { token, server: base, expires: expiry(token), offset, device: describe(this.device) });
  }

  // renew gets a new app token before the old one ends, or when it is refused.
  async #renew(refused) {
    if (refused !== this.#server.token) return true; // somebody else has done it
    try {
      await this.#register();
      this.#scheduleRenewal();
      return true;
    } catch (error) {
      if (error.status >= 400 && error.status < 500 && error.status !== 429) this.onLost(error);
      return false;
    }
  }

  #scheduleRenewal() {
    clearTimeout(this.#renewal);
    const left = expiry(this.#server.token) - this.#server.offset - Date.now();
    if (left > 0) this.#renewal = setTimeout(() => this.#renew(this.#server.token), Math.min(left * 0.8, 2 ** 31 - 1));
  }

  #lineState(line, why) {
    if (line === this.state.line && why === this.state.why) return;
    this.#change({ line, why });
    this.#log({ stream: 'lStream', poll: 'lPoll' }[line] ?? 'lOffline', { why });
  }

  // takeOver rings for calls that another tab rang for, or that came as a push before this page.
  async #takeOver() {
    for (const call of await store.calls(this.owner)) {
      if (call.over) this.#seen.add(call.key);
      else this.received(call.data, call.via);
    }
  }

  // received takes a call or notice by whatever way it comes.
  async received(data, via) {
    if (data.app_callee_uid && data.app_callee_uid !== this.user) return;
    const id = String(data.app_session_id ?? '').toLowerCase() || await digest(data.cc_param ?? '');
    const key = `${this.owner} ${id}`;
    if (data.app_session_id) this.#acknowledge(data.app_session_id, via);
    if (this.#seen.has(key)) return this.#log('lRepeat', { sid: short(id), via });
    this.#seen.add(key);
    for (const old of this.#seen) if (this.#seen.size > maxSeen) this.#seen.delete(old);
    if (data.app_event) return this.#notice(data, id);
    if (!data.cc_param) return;
    const expires = (Number(data.app_expires_at) || Date.now() + this.#server.offset + ringTime) - this.#server.offset + late;
    if (expires <= Date.now()) return;
    const known = await store.keep(key, this.owner, data, via, expires);
    if (known?.over) return; // it rang, and was dealt with, before a reload
    this.#log('lGot', { sid: short(id), via });
    this.#verify(key, id, data, via);
  }

  async #acknowledge(sid, via) {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await this.#server.acknowledge(sid, channels[via]);
        return this.#log('lAck', { sid: short(sid) });
      } catch (error) {
        if (error.status && error.status !== 503) return;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }

  #verify(key, id, data, via) {
    const video = data.app_call_type?.toUpperCase() === 'V';
    this.#put({ key, id, direction: 'in', phase: 'verifying', peer: data.app_caller_uid, name: data.app_caller_name ?? '', video, again: 5 });
    this.#params.set(key, { ccParam: data.cc_param, video, via });
    this.#open(key);
  }

  #open(key) {
    const param = this.#params.get(key);
    if (!param) return;
    this.#handles.set(key, this.#cloud.verify({
      me: this.user, service: this.config.service, device: this.device, ...param, on: (event) => this.#happened(key, event),
    }));
  }

  #put(call) {
    const others = this.state.calls.filter((c) => c.key !== call.key);
    this.#change({ calls: [...others, { since: Date.now(), ...call }] });
  }

  #call(key) { return this.state.calls.find((c) => c.key === key); }

  #update(key, part) {
    this.#change({ calls: this.state.calls.map((c) => (c.key === key ? { ...c, ...part } : c)) });
  }

  // happened is what the cloud says of a call.
  #happened(key, event) {
    const call = this.#call(key);
    if (!call || call.phase === 'ended') return;
    if (event.state === 'waiting') this.#update(key, { phase: 'calling' });
    if (event.state === 'peers') this.#update(key, { users: event.users });
    if (event.state === 'connected') {
      this.#update(key, { phase: 'talking', since: Date.now() });
      this.#unnotify(call);
    }
    if (event.state === 'verified') {
      this.#update(key, { phase: 'ringing' });
      this.#log('lVerified', { sid: short(call.id) });
      const wish = this.#wishes.get(call.id);
      this.#wishes.delete(call.id);
      if (wish?.until > Date.now()) this.act({ key, what: wish.what });
      else this.#notify(call);
    }
    if (event.state === 'ended' && event.code === 1204 && call.phase === 'verifying' && call.again) this.#again(call);
    else if (event.state === 'ended') this.#ended(call, event);
  }

  // again: the tab that rang is gone, and the cloud does not know it yet.
  #again(call) {
    this.#update(call.key, { again: call.again - 1 });
    setTimeout(() => this.#open(call.key), 400);
  }

  #ended(call, { code, name }) {
    const unanswered = call.direction === 'in' && call.phase !== 'talking' && call.phase !== 'answering';
    this.#handles.delete(call.key);
    this.#params.delete(call.key);
    if (call.direction === 'out' && code === 1201) code = 'canceled';
    this.#update(call.key, { phase: 'ended', code, reason: name, unanswered });
    this.#log('lEnded', { sid: short(call.id), code, name });
    if (call.direction === 'in') store.over(call.key);
    this.#unnotify(call);
    setTimeout(() => this.#change({ calls: this.state.calls.filter((c) => c.key !== call.key) }), showEnded);
    this.refresh();
  }

  // endedElsewhere: the server says that a call is over, which the cloud has said, or says soon. A
  // call that has merely expired may still be answered once it is verified: its caller waits longer.
  #endedElsewhere(data) {
    const id = String(data.app_session_id ?? data.app_call_session_id ?? '').toLowerCase();
    this.#log('lServerEnded', { sid: short(id) });
    setTimeout(() => {
      const call = this.state.calls.find((c) => c.id === id && c.direction === 'in');
      if (call?.phase !== 'verifying' && (call?.phase !== 'ringing' || data.why === 'expired')) return;
      const handle = this.#handles.get(call.key);
      this.#happened(call.key, { state: 'ended', code: 1304 });
      handle?.drop();
    }, 1500);
    this.refresh();
  }

  #notice(data, id) {
    this.#log('lNotice', { event: data.app_event });
    if (!['missed_call', 'invitation'].includes(data.app_event)) return;
    const notice = {
      id, event: data.app_event, peer: data.app_caller_uid ?? '', name: data.app_caller_name ?? '', room: data.app_room_id ?? '',
      message: data.app_message ?? '', at: Number(data.app_called_at ?? data.app_sent_at) || Date.now(),
    };
    this.#change({ notices: [...this.state.notices, notice].slice(-3) });
    const title = globalThis.softphone.messages.notice(this.language(), notice.event, { name: notice.name || notice.peer, room: notice.room });
    this.#showOutside(title, { tag: `call-${String(data.app_call_session_id ?? id).toLowerCase()}`, data: { user: this.user, owner: this.owner, sid: '' } });
    this.refresh();
  }

  #notify(call) {
    const { messages } = globalThis.softphone;
    this.#showOutside(messages.text(this.language(), 'incomingTitle', { name: call.name || call.peer }), {
      tag: `call-${call.id}`, requireInteraction: true, data: { user: this.user, owner: this.owner, sid: call.id },
      actions: ['answer', 'decline'].map((action) => ({ action, title: messages.text(this.language(), action) })),
    });
  }

  // showOutside shows something outside of the page when nobody looks at it. A push shows its
  // own, with the same tag.
  async #showOutside(title, options) {
    if (!document.hidden || globalThis.Notification?.permission !== 'granted') return;
    const registration = await navigator.serviceWorker?.getRegistration();
    await registration?.showNotification(title, { icon: 'icon.svg', lang: this.language(), ...options });
  }

  async #unnotify(call) {
    const registration = await navigator.serviceWorker?.getRegistration();
    for (const shown of (await registration?.getNotifications({ tag: `call-${call.id}` })) ?? []) {
      if (shown.data?.sid === call.id) shown.close(); // the notice of a missed call stays
    }
  }

  // act does what somebody pressed: answer, decline or end a call.
  act({ key, what }) {
    const call = this.#call(key), handle = this.#handles.get(key);
    if (!call || !handle) return;
    if (what === 'answer' && call.phase === 'ringing') {
      this.#update(key, { phase: 'answering' });
      store.over(key, true); // for pushes that are late
      handle.answer();
    }
    if (what === 'decline' && call.phase === 'ringing') handle.decline();
    if (what === 'end') handle.end();
  }

  // clicked is a press in a notification, perhaps before the call is here.
  clicked({ id, what }) {
    const call = this.state.calls.find((c) => c.id === id);
    if (!['answer', 'decline'].includes(what)) return;
    if (call?.phase === 'ringing') this.act({ key: call.key, what });
    else this.#wishes.set(id, { what, until: Date.now() + ringTime });
  }

  // dial calls somebody.
  dial({ peer, video = false }) {
    if (peer === this.user) return this.#change({ trouble: 'noCalleeID' });
    const key = `out ${crypto.randomUUID()}`;
    this.#begin({ key, id: key, direction: 'out', phase: 'calling', peer, name: '', video }, (token) => this.#cloud.call({
      me: this.user, service: this.config.service, peer, video, token, on: (event) => this.#happened(key, event),
    }));
  }

  // join goes into a room.
  join({ room }) {
    if (this.state.calls.some((c) => c.room === room && c.phase !== 'ended')) return;
    const key = `room ${crypto.randomUUID()}`;
    this.#begin({ key, id: key, direction: 'room', phase: 'calling', room, users: [] }, (token) => this.#cloud.join({
      me: this.user, service: this.config.service, room, name: this.name, token, on: (event) => this.#happened(key, event),
    }));
  }

  // begin gets the access token that Planet Cloud wants: a fresh one for every call.
  async #begin(call, start) {
    this.#put(call);
    try {
      this.#handles.set(call.key, start(await this.#server.accessToken()));
    } catch (error) {
      this.#happened(call.key, { state: 'ended', code: 0, name: error.message });
    }
  }

  dismiss({ id }) { this.#change({ notices: this.state.notices.filter((n) => n.id !== id) }); }

  async askForPush() { this.#change({ push: await this.#push.ask() }); }

  // subscribe is for when no subscription is left that rings anybody.
  async subscribe() {
    if (this.#push && !this.#stopped) this.#change({ push: await this.#push.start() });
  }

  // refresh gets the past calls; the server knows of an end a moment after the cloud has said it.
  refresh() {
    const turn = ++this.#refreshes;
    for (const after of [0, 800, 3000]) {
      setTimeout(async () => {
        if (turn !== this.#refreshes) return;
        const past = await this.#server.pastCalls(this.language()).catch(() => null);
        if (past) this.#change({ past });
      }, after);
    }
  }
}

const short = (id) => String(id).slice(0, 8);

// digest stands for a call that has no session ID.
async function digest(text) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return Array.from(bytes.slice(0, 16), (b) => b.toString(16).padStart(2, '0')).join('');
}
