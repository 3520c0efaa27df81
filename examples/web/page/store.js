// What outlives a tab: calls that ring, until they expire, and the session of a user. It is kept in
// IndexedDB, which only this origin can read: never in an address and never in localStorage. It
// is no module, so that the service worker can load it too: softphone.store.
(() => {
  const patience = 1000; // with the browser's storage
  const stores = ['calls', 'sessions', 'settings'];

  function open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open('softphone', 1);
      request.onupgradeneeded = () => stores.forEach((name) => request.result.createObjectStore(name, { keyPath: 'key' }));
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

  // purge forgets calls that have expired, and app tokens that have ended.
  async function purge(now = Date.now()) {
    for (const call of await all('calls')) if (call.expires <= now) await remove('calls', call.key);
    for (const session of await all('sessions')) {
      if (session.token && session.expires && session.expires - (session.offset ?? 0) <= now) await put('sessions', { ...session, token: '' });
    }
  }

  // calls returns what is kept of calls to a user.
  async function calls(user, now = Date.now()) {
    await purge(now);
    return (await all('calls')).filter((call) => call.expires > now && call.user === user);
  }

  // forget erases all that is kept of a user.
  async function forget(user) {
    await remove('sessions', user);
    for (const call of await all('calls')) if (call.user === user) await remove('calls', call.key);
  }

  // change makes of what is kept of a call what next returns of it; nothing, if that is nothing.
  const change = (key, next) => use('calls', 'readwrite', (s) => {
    const before = s.get(key);
    before.onsuccess = () => {
      const after = next(before.result);
      if (after) s.put(after);
    };
    return before;
  });

  // keep remembers a call that came; it returns what was known of it.
  const keep = (key, user, data, via, expires) => change(key, (known) => !known && { key, user, data, via, expires, over: false });

  // over erases what a call was, and remembers that it was.
  const over = (key) => change(key, (call) => call && { key, user: call.user, expires: call.expires, over: true });

  globalThis.softphone = Object.assign(globalThis.softphone ?? {}, { store: { put, get, remove, purge, calls, forget, keep, over } });
})();
