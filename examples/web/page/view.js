// What the page shows. It is drawn from the phone's state, here or in the tab that has the line,
// and tells what people press by do(name, argument).

import { Bell } from './bell.js';
import './messages.js';

const { messages } = globalThis.softphone;
const $ = (id) => document.getElementById(id);

export class View {
  #bell = new Bell();
  #drawn = {};
  #announced = new Set();
  #before = null; // what had the focus when a call came
  #state = null;
  #other = false;

  // act is told what people press.
  constructor(config, act) {
    this.config = config;
    this.act = act;
    this.language = messages.fit(localStorage.getItem('language') ?? navigator.language);
    this.onLanguage = () => {};
    for (const button of document.querySelectorAll('[data-lang]')) button.onclick = () => this.#choose(button.dataset.lang);
    this.#wire();
    setInterval(() => this.#tick(), 1000);
    this.translate();
  }

  t(key, values) { return messages.text(this.language, key, values); }

  #wire() {
    const form = (id, use) => {
      $(id).onsubmit = (event) => {
        event.preventDefault();
        use(new FormData($(id)), $(id));
      };
    };
    form('dial-form', (data) => this.act('dial', { peer: data.get('peer').trim() }));
    form('room-form', (data) => this.act('join', { room: data.get('room').trim() }));
    form('signin-form', (data) => this.act('signIn', Object.fromEntries(data)));
    $('signout').onclick = () => this.act('signOut');
    $('push-on').onclick = () => this.act('askForPush');
  }

  #choose(language) {
    this.language = language;
    localStorage.setItem('language', language);
    this.translate();
    this.onLanguage(language);
  }

  // translate writes all words anew.
  translate() {
    document.documentElement.lang = this.language;
    for (const e of document.querySelectorAll('[data-t]')) e.textContent = this.t(e.dataset.t);
    for (const e of document.querySelectorAll('[data-t-label]')) e.setAttribute('aria-label', this.t(e.dataset.tLabel));
    for (const e of document.querySelectorAll('[data-t-section]')) e.setAttribute('aria-label', this.t(e.dataset.tSection));
    for (const e of document.querySelectorAll('[data-t-placeholder]')) e.placeholder = this.t(e.dataset.tPlaceholder);
    for (const e of document.querySelectorAll('[data-lang]')) e.setAttribute('aria-pressed', String(e.dataset.lang === this.language));
    this.#drawn = {};
    this.#people();
    if (this.#state) this.draw(this.#state, this.#other);
    else document.title = this.t('title');
  }

  #people() {
    const people = this.config.people ?? [];
    $('demo-hint').hidden = people.length === 0;
    $('people').replaceChildren(...people.map((p) => h('a', { class: 'button', href: `?user=${encodeURIComponent(p.id)}` }, this.t('openAs', { name: p.name }))));
  }

  // signIn asks who somebody is.
  signIn(config, user = '') {
    $('signin').hidden = false;
    $('phone').hidden = true;
    $('server-fields').hidden = config.people?.length > 0;
    for (const [id, value] of [['server', config.server], ['service', config.service], ['key', config.clientKey], ['user', user]]) $(id).value = value ?? '';
  }

  trouble(key, values) {
    $('trouble').hidden = !key;
    $('trouble').textContent = key ? this.t(key, values) : '';
  }

  // draw shows a state; other says that it is another tab's.
  draw(state, other) {
    this.#state = state;
    this.#other = other;
    $('signin').hidden = true;
    $('phone').hidden = false;
    this.#part('me', [state.user, state.name, state.line, state.why, state.push, other], () => this.#me(state, other));
    this.#part('calls', [state.calls, state.notices], () => this.#calls(state));
    this.#part('past', [state.past], () => this.#past(state.past));
    this.#part('log', [state.log], () => this.#log(state.log));
    this.#part('trouble', [state.trouble], () => this.trouble(state.trouble));
    this.#tick();
  }

  // part draws a part only when it has changed, so that nobody loses the place where he is.
  #part(name, values, draw) {
    const text = JSON.stringify(values);
    if (this.#drawn[name] === text) return;
    this.#drawn[name] = text;
    draw();
  }

  #me(state, other) {
    const line = { stream: 'stream', poll: 'poll', connecting: 'connecting' }[state.line] ?? 'offline';
    $('me-avatar').textContent = initial(state.name || state.user);
    $('me-name').textContent = state.name && state.name !== state.user ? `${state.name} (${state.user})` : state.user;
    $('me-state').textContent = this.t(other && line !== 'offline' ? 'elsewhere' : line, { why: state.why === 'no answer' ? this.t('noServer') : state.why });
    $('me-state').classList.toggle('on', line === 'stream' || line === 'poll');
    const push = { on: 'pushYes', ask: 'pushAsk', denied: 'pushDenied', server: 'pushServer', browser: 'pushBrowser', failed: 'pushFailed' }[state.push];
    $('push-state').textContent = push ? this.t(push) : '';
    $('push-on').hidden = state.push !== 'ask' || other; // a browser asks only the tab in which it was pressed
    const others = (this.config.people ?? []).filter((p) => p.id !== state.user);
    $('known').replaceChildren(...others.map((p) => h('option', { value: p.id }, p.name)));
    if (!$('peer').value && others[0]) $('peer').value = others[0].id;
    $('other-tab').hidden = !others[0];
    if (others[0]) $('other-tab').replaceChildren(h('a', { href: `?user=${encodeURIComponent(others[0].id)}`, target: '_blank', rel: 'noopener' }, this.t('openOther', { name: others[0].name })));
  }

  #calls({ calls, notices }) {
    const ringing = calls.filter((c) => c.phase === 'ringing');
    const over = calls.filter((c) => c.phase === 'ended').at(-1); // of those that are over, the last
    const first = calls.filter((c) => c.phase !== 'ended' || c === over).sort((a, b) => (b.phase === 'ringing') - (a.phase === 'ringing'));
    const focus = document.activeElement?.dataset?.focus;
    $('calls').replaceChildren(...first.map((c) => this.#card(c)), ...notices.map((n) => this.#noticeCard(n)));
    if (focus) $('calls').querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
    this.#announce(calls, notices);
    this.#focus(ringing[0]);
    if (ringing.length) this.#bell.start();
    else this.#bell.stop();
    document.title = ringing.length ? this.t('newTitle', { name: who(ringing[0]) }) : this.t('title');
  }

  // focus goes to "Answer" when a call comes, unless somebody is writing, and back afterwards.
  #focus(call) {
    const writing = document.activeElement?.matches?.('input');
    if (call && this.#before?.key !== call.key) {
      this.#before = { key: call.key, element: document.activeElement };
      if (!writing) $('calls').querySelector('[data-what="answer"]')?.focus();
    }
    if (!call && this.#before) {
      const { element } = this.#before;
      this.#before = null;
      const next = $('calls').querySelector('button') ?? (element?.isConnected && element !== document.body ? element : null);
      if (!writing) next?.focus();
    }
  }

  #announce(calls, notices) {
    const say = (where, key, text) => {
      if (this.#announced.has(key)) return;
      this.#announced.add(key);
      $(where).textContent = text;
    };
    for (const c of calls) {
      if (c.phase === 'ringing') say('assertive', `${c.key} rings`, this.t('newTitle', { name: who(c) }));
      if (c.phase === 'talking') say('polite', `${c.key} talks`, `${who(c)}: ${this.t('talking')}`);
      if (c.phase === 'ended') say('polite', `${c.key} is over`, `${who(c)}: ${this.#ending(c)}`);
    }
    for (const n of notices) say('polite', n.id, this.#noticeTitle(n));
  }

  #ending(call) {
    return call.code === 'canceled' ? this.t('canceled') : messages.ending(this.language, call.code, call.reason);
  }

  #card(call) {
    const button = (what, key, kind) => h('button', {
      type: 'button', class: kind, 'data-what': what, 'data-focus': `${call.key} ${what}`, onclick: () => this.act('act', { key: call.key, what }),
    }, this.t(key));
    const titleID = `call-${call.key.replace(/\W/g, '-')}`;
    const buttons = {
      ringing: () => [button('decline', 'decline', 'stop'), button('answer', 'answer', 'go')],
      calling: () => [button('end', call.room ? 'leave' : 'cancel', 'stop')],
      talking: () => [button('end', call.room ? 'leave' : 'hangUp', 'stop')],
    }[call.phase]?.() ?? [];
    return h('div', {
      class: `card ${call.phase === 'ringing' ? 'incoming' : ''} ${call.phase === 'ended' ? 'over' : ''}`,
      role: call.phase === 'ringing' ? 'alertdialog' : 'group', 'aria-labelledby': titleID, 'data-phase': call.phase, 'data-direction': call.direction,
    },
    h('span', { class: 'avatar', 'aria-hidden': 'true' }, initial(who(call))),
    h('div', { class: 'who', id: titleID },
      h('p', { class: 'name' }, call.room ? this.t('room', { room: call.room }) : who(call)),
      call.name && call.name !== call.peer && h('p', { class: 'hint' }, call.peer),
      h('p', { class: 'hint what' }, this.#says(call)),
      call.phase === 'talking' && h('p', { class: 'hint timer', 'data-since': call.since })),
    buttons.length > 0 && h('div', { class: 'buttons' }, ...buttons));
  }

  #says(call) {
    if (call.phase === 'ended') return this.#ending(call);
    if (call.phase === 'ringing') return this.t(call.video ? 'incomingVideo' : 'incoming');
    if (call.phase === 'talking' && call.room) return call.users?.length > 1 ? this.t('inRoom', { users: call.users.join(', ') }) : this.t('alone');
    if (call.phase === 'talking') return this.t('talking');
    return this.t(call.direction === 'out' ? 'calling' : 'answering');
  }

  #noticeTitle(n) {
    return messages.notice(this.language, n.event, { name: n.name || n.peer, room: n.room });
  }

  #noticeCard(n) {
    const dismiss = () => this.act('dismiss', { id: n.id });
    const go = n.event === 'missed_call'
      ? h('button', { type: 'button', class: 'go', 'data-what': 'back', 'data-focus': `${n.id} back`, onclick: () => { dismiss(); this.act('dial', { peer: n.peer }); } }, this.t('callBack'))
      : h('button', { type: 'button', class: 'go', 'data-what': 'join', 'data-focus': `${n.id} join`, onclick: () => { dismiss(); this.act('join', { room: n.room }); } }, this.t('join'));
    return h('article', { class: `card ${n.event === 'missed_call' ? 'missed' : ''}`, 'data-notice': n.event },
      h('div', { class: 'who' }, h('p', { class: 'name' }, this.#noticeTitle(n)),
        h('p', { class: 'hint' }, n.event === 'missed_call' ? this.t('missedAt', { time: this.#time(n.at) }) : n.message)),
      h('div', { class: 'buttons' }, go,
        h('button', { type: 'button', 'data-what': 'dismiss', 'data-focus': `${n.id} dismiss`, onclick: dismiss }, this.t('dismiss'))));
  }

  #time(ms) {
    const day = new Date(ms).toDateString() === new Date().toDateString();
    return new Intl.DateTimeFormat(this.language, day ? { timeStyle: 'short' } : { dateStyle: 'short', timeStyle: 'short' }).format(ms);
  }

  #past(all) {
    const past = all.filter((c) => c.outcome); // what has not ended stands above
    $('past-none').hidden = past.length > 0;
    $('past').replaceChildren(...past.map((c) => h('li', { class: c.missed ? 'missed' : '' },
      h('span', { class: 'arrow', 'aria-hidden': 'true' }, c.direction === 'in' ? '↙' : '↗'),
      h('div', { class: 'what' }, h('p', { class: 'name' }, c.peer?.userId ?? '?'), h('p', { class: 'hint' }, c.explanation ?? c.outcome ?? c.state)),
      h('time', {}, this.#time(c.calledAt ?? c.endedAt ?? Date.now())))));
  }

  #log(log) {
    const clock = new Intl.DateTimeFormat(this.language, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });
    const why = (v) => (v && 'code' in v ? { ...v, why: v.code === 'canceled' ? this.t('canceled') : messages.ending(this.language, v.code, v.name) } : v);
    $('log').replaceChildren(...log.map((l) => h('li', {}, `${clock.format(l.at)} ${this.t(l.key, why(l.values))}`)));
  }

  #tick() {
    for (const e of document.querySelectorAll('[data-since]')) {
      const seconds = Math.max(0, Math.floor((Date.now() - Number(e.dataset.since)) / 1000));
      e.textContent = this.t('inSec', { m: Math.floor(seconds / 60), s: String(seconds % 60).padStart(2, '0') });
    }
  }
}

const who = (call) => call.name || call.peer || call.room || '?';
const initial = (text) => [...text][0]?.toUpperCase() ?? '?';

// h makes an element. Texts are texts: names are chosen by people.
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(Boolean));
  return element;
}
