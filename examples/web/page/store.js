// What outlives a tab: calls that ring, until they expire, and the session of a user. It is kept in
// IndexedDB, which only this origin can read: never in an address and never in localStorage. It
// is no module, so that the service worker can load it too: softphone.store.
(() => {
  const stores = ['calls', 'sessions', 'settings'];

  function open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open('softphone', 1);
      request.onupgradeneeded = () => stores.forEach((name) => request.result.createObjectStore(name, { keyPath: 'key' }));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  async function use(name, mode, work) {
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

  const put = (name, value) => use(name, 'readwrite', (s) => s.put(value));
  const get = (name, key) => use(name, 'readonly', (s) => s.get(key));
  const remove = (name, key) => use(name, 'readwrite', (s) => s.delete(key));

  // calls returns what is kept of calls to a user, and forgets what has expired.
  async function calls(user, now = Date.now()) {
    const all = await use('calls', 'readonly', (s) => s.getAll());
    for (const call of all) if (call.expires <= now) await remove('calls', call.key);
    return all.filter((call) => call.expires > now && call.user === user);
  }

  // keep remembers a call that came; it reports false if it was known.
  async function keep(key, user, data, via, expires) {
    const known = await get('calls', key);
    if (known) return false;
    await put('calls', { key, user, data, via, expires, over: false });
    return true;
  }

  // over erases what a call was, and remembers that it was.
  async function over(key) {
    const call = await get('calls', key);
    if (call) await put('calls', { key, user: call.user, expires: call.expires, over: true });
  }

  globalThis.softphone = Object.assign(globalThis.softphone ?? {}, { store: { put, get, remove, calls, keep, over } });
})();
