// What outlives a tab: calls that ring, until they expire, what was pressed in their notifications,
// and the session of a user. It is kept in
// IndexedDB, which only this origin can read: never in an address and never in localStorage. It
// is no module, so that the service worker can load it too: softphone.store.
(() => {
  const patience = 1000; // with the browser's storage
  const stores = ['calls', 'sessions', 'settings', 'wishes'];
  const wishTime = 60_000; // no call rings much longer
  const remembered = 60_000; // after a call that is over has expired: its pushes may be late

  function open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open('softphone', 2);
      request.onupgradeneeded = () => {
        const db = request.result;
        for (const name of stores) if (!db.objectStoreNames.contains(name)) db.createObjectStore(name, { keyPath: 'key' });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  async function attempt(name, mode, work) {
    const db = await open();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = db.transaction(name, mode);
        const request = work(transaction.objectStore(name));
        transaction.oncomplete = () => resolve(request?.result);
        transaction.onabort = transaction.onerror = () => reject(transaction.error);
      });
    } finally {
      db.close();
    }
  }

  // use never fails, and never waits long: a browser may refuse storage (a private window, a full
  // disk) or not answer. Then nothing outlives the tab, but a call must ring all the same.
  async function use(name, mode, work, otherwise) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer')), patience); });
    try {
      return await Promise.race([attempt(name, mode, work), late]);
    } catch {
      return otherwise;
    } finally {
      clearTimeout(timer);
    }
  }

  const put = (name, value) => use(name, 'readwrite', (s) => s.put(value));
  const get = (name, key) => use(name, 'readonly', (s) => s.get(key));
  const remove = (name, key) => use(name, 'readwrite', (s) => s.delete(key));

  const all = (name) => use(name, 'readonly', (s) => s.getAll(), []);

  // purge forgets calls and presses that have expired, and app tokens that have ended.
  async function purge(now = Date.now()) {
    for (const call of await all('calls')) if (call.expires <= now) await remove('calls', call.key);
    for (const wish of await all('wishes')) if (wish.expires <= now) await remove('wishes', wish.key);
    for (const session of await all('sessions')) {
      if (session.token && session.expires && session.expires - (session.offset ?? 0) <= now) await put('sessions', { ...session, token: '' });
    }
  }

  // sessions returns all who are signed in; whose app token has ended is so without one.
  async function sessions(now = Date.now()) {
    await purge(now);
    return all('sessions');
  }

  // calls returns what is kept of calls to a user.
  async function calls(user, now = Date.now()) {
    await purge(now);
    return (await all('calls')).filter((call) => call.expires > now && call.user === user);
  }

  // forget erases all that is kept of a user.
  async function forget(user) {
    await remove('sessions', user);
    for (const name of ['calls', 'wishes']) {
      for (const kept of await all(name)) if (kept.user === user) await remove(name, kept.key);
    }
  }

  // change makes of what is kept what next returns of it; nothing, if that is nothing.
  const change = (name, key, next) => use(name, 'readwrite', (s) => {
    const before = s.get(key);
    before.onsuccess = () => {
      const after = next(before.result);
      if (after) s.put(after);
    };
    return before;
  });

  // keep remembers a call that came; it returns what was known of it.
  const keep = (key, user, data, via, expires) => change('calls', key, (known) => !known && { key, user, data, via, expires, over: false });

  // over erases what a call was, and remembers that it was, and whether it goes on because it was
  // answered: a push that comes late must not ring for it.
  const over = (key, answered = false) => change('calls', key, (call) => call && {
    key, user: call.user, expires: call.over ? call.expires : call.expires + remembered, over: true, answered,
  });

  // session changes what is kept of somebody who is signed in; signIn begins it.
  const session = (key, part) => change('sessions', key, (known) => known && { ...known, ...part });
  const signIn = (key, part) => change('sessions', key, (known) => ({ ...known, ...part, key }));

  // wish leaves what somebody pressed in a notification for the page that it opens. It goes this way,
  // which is this origin's alone, because an address can be anybody's.
  const wish = (user, id, what, now = Date.now()) => put('wishes', { key: `${user} ${id}`, user, id, what, expires: now + wishTime });

  // takeWishes returns what was pressed for a user just now. Each is returned once.
  async function takeWishes(user, now = Date.now()) {
    const found = await use('wishes', 'readwrite', (s) => {
      const kept = s.getAll();
      kept.onsuccess = () => kept.result.filter((w) => w.user === user).forEach((w) => s.delete(w.key));
      return kept;
    }, []);
    return found.filter((w) => w.user === user && w.expires > now);
  }

  globalThis.softphone = Object.assign(globalThis.softphone ?? {}, {
    store: { put, get, remove, purge, calls, sessions, forget, keep, over, session, signIn, wish, takeWishes },
  });
})();
