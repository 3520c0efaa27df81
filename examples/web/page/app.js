// The page's start: settings, who is here, and which tab has the line.

import { Server } from './api.js';
import { Phone } from './phone.js';
import { PlanetKitCloud } from './planetkit.js';
import { SimCloud } from './simcloud.js';
import { pause } from './stream.js';
import { Tabs } from './tabs.js';
import { View } from './view.js';
import './store.js';
import './subscription.js';

const { store, subscription } = globalThis.softphone;

const config = await (await fetch('config.json', { cache: 'no-store' })).json();
if (!config.people?.length) Object.assign(config, own());
const wanted = new URLSearchParams(location.search).get('user');
let phone = null;
let tabs = null;

const view = new View(config, (name, argument) => {
  if (name === 'signIn') signIn(argument);
  else if (name === 'signOut') signOut();
  else if (name === 'askForPush') phone?.askForPush();
  else tabs?.command(name, argument);
});
view.onLanguage = (language) => {
  store.put('settings', { key: 'language', value: language });
  tabs?.command('refresh');
};

// own are settings that somebody typed in here; they are kept for this tab.
function own() {
  try {
    return JSON.parse(sessionStorage.getItem('settings')) ?? {};
  } catch {
    return {};
  }
}

function signIn({ user, server, service, key, token }) {
  if (!config.people?.length) {
    Object.assign(config, { server: server.trim(), service: service.trim(), clientKey: key });
    sessionStorage.setItem('settings', JSON.stringify({ server: config.server, service: config.service, clientKey: key }));
  }
  history.replaceState(null, '', `?user=${encodeURIComponent(user)}`);
  open(user.trim(), token);
}

function open(user, token = '') {
  view.trouble();
  const name = config.people?.find((p) => p.id === user)?.name ?? '';
  let asked = false;
  tabs = new Tabs(config.service, user, {
    lead: () => lead(user, name, token),
    state: (state) => {
      view.draw(state, true);
      if (!asked) wish(user); // now it is known that another tab leads
      asked = true;
    },
    command: (what, argument) => phone?.[what]?.(argument),
    bye: () => leave(),
  });
  tabs.start();
}

// lead makes this tab the phone.
async function lead(user, name, token, attempt = 0) {
  try {
    const server = new Server(config);
    const cloud = config.cloud === 'planetkit' ? await PlanetKitCloud.load(config, document.getElementById('media')) : new SimCloud(config);
    phone = new Phone({
      config, server, cloud, user, name, device: device(user), signIn: token, language: () => view.language,
      onChange: (state) => { view.draw(state, false); tabs?.show(state); },
      onLost: () => lost('session'),
    });
    await phone.start();
    view.trouble();
    wish(user);
  } catch (error) {
    if (error.status === 409) lost('taken');
    else if (error.status >= 400 && error.status < 500 && error.status !== 429) lost('refused', { why: error.message });
    else if (error.message === 'no PlanetKit') lost('noCloud');
    else if (error.status === undefined) throw error;
    else {
      view.trouble(error.status === 429 ? 'busy' : 'noServer');
      setTimeout(() => { if (tabs?.leads) lead(user, name, token, attempt + 1); }, pause(attempt));
    }
  }
}

// device names this browser's phone of a user to the server: the same after a restart.
function device(user) {
  const key = `device ${config.service}/${user}`;
  const known = localStorage.getItem(key);
  if (known) return known;
  const made = crypto.randomUUID();
  localStorage.setItem(key, made);
  return made;
}

function lost(key, values) {
  phone?.stop();
  tabs?.stop();
  phone = tabs = null;
  view.signIn(config, wanted ?? '');
  view.trouble(key, values);
}

// signOut is of the whole phone, all tabs of it.
function signOut() {
  tabs?.bye();
  return leave();
}

async function leave() {
  await phone?.signOut();
  sessionStorage.removeItem('settings');
  tabs?.stop();
  location.assign('./');
}

// wish does what was pressed in a notification that opened this page. The service worker has left it
// in the store. It is not in the address: any page and any mail can link to here, and no link may
// answer a call, with a microphone, or decline one.
async function wish(user) {
  for (const { id, what } of await store.takeWishes(`${config.service}/${user}`)) tabs?.command('clicked', { id, what });
}

navigator.serviceWorker?.addEventListener('message', ({ data, ports }) => {
  if (data.type === 'whose') ports[0].postMessage(tabs?.user);
  if (data.type === 'push' && tabs?.leads) phone?.received(data.data, 'push');
  if (data.type === 'click' && data.user === tabs?.user) tabs?.command('clicked', { id: data.sid, what: data.action });
});

new BroadcastChannel(subscription.channel).onmessage = () => phone?.subscribe();

// A page that goes away ends its calls at once; browsers may keep it for a "back" long after.
addEventListener('pagehide', () => { phone?.stop(); tabs?.stop(); });
addEventListener('pageshow', ({ persisted }) => { if (persisted) location.reload(); });

const remembered = wanted && (config.people?.length || (await store.get('sessions', `${config.service}/${wanted}`)));
if (remembered) open(wanted);
else view.signIn(config, wanted ?? '');
