// The app server's /v2 API (openapi.yaml of planetbell).

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: no answer
  }
}

export class Server {
  #token = '';
  #onExpired = null;

  constructor(config) {
    this.base = config.server.replace(/\/+$/, '');
    this.config = config;
    this.offset = 0; // of the server's clock to ours, ms
  }

  get token() { return this.#token; }

  // use takes an app token from an earlier registration.
  use(token) { this.#token = token; }

  // expired is asked for help when an app token is refused; it returns whether there is a new one.
  set onExpired(f) { this.#onExpired = f; }

  headers(more = {}) {
    return { Accept: 'application/json', ...(this.#token && { Authorization: `Bearer ${this.#token}` }), ...more };
  }

  // fetch sends a request and returns the answer, whatever it is. signal may be null.
  async fetch(method, path, { body, headers, signal, limit = 15000 } = {}) {
    const bounds = limit ? [AbortSignal.timeout(limit)] : [];
    if (signal) bounds.push(signal);
    try {
      return await fetch(this.base + path, {
        method, cache: 'no-store', credentials: 'omit', signal: AbortSignal.any(bounds),
        headers: this.headers({ ...(body && { 'Content-Type': 'application/json' }), ...headers }),
        body: body && JSON.stringify(body),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ServerError(0, 'no answer');
    }
  }

  // call sends a request and returns the "data" of its answer.
  async call(method, path, options = {}) {
    const sent = this.#token;
    let answer = await this.fetch(method, path, options);
    if (answer.status === 401 && sent && !options.once && (await this.#onExpired?.(sent))) {
      answer = await this.fetch(method, path, options);
    }
    const envelope = await answer.json().catch(() => null);
    if (!answer.ok || envelope?.status !== 'success') {
      throw new ServerError(answer.status, envelope?.message ?? `HTTP ${answer.status}`);
    }
    if (typeof envelope.timestamp === 'number') this.offset = envelope.timestamp - Date.now();
    return envelope.data ?? {};
  }

  // register gets an app token. With a valid one of the same user it renews that.
  async register(user, name, signInToken = '') {
    const { service, clientKey, region } = this.config;
    const headers = signInToken ? { Authorization: `Bearer ${signInToken}` } : {};
    const body = { userId: user, serviceId: service, apiKey: clientKey, region, displayName: name || undefined };
    const data = await this.call('POST', '/v2/register_user', { body, headers, once: true });
    this.#token = data.accessToken;
    return data.accessToken;
  }

  registerDevice(device) { return this.call('POST', '/v2/register_device', { body: describe(device) }); }

  updateToken(device, type, token) {
    return this.call('POST', '/v2/update_notification_token', { body: { ...describe(device), notificationType: type, notificationToken: token } });
  }

  acknowledge(sid, channel) {
    return this.call('POST', '/v2/notification/ack', { body: { sid, channel, receivedAt: Date.now() } });
  }

  async accessToken() { return (await this.call('GET', '/v2/access_token/issue')).gwAccessToken; }

  pastCalls(language) { return this.call('GET', `/v2/calls?limit=8&lang=${language}`).then((data) => data.calls ?? []); }

  // pushKey is the server's VAPID key, or null when it has no web push.
  async pushKey() {
    try {
      const data = await this.call('GET', '/v2/web_push/key');
      return data.publicKey ?? data.key ?? null;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }
}

// describe is a device as the server is told of it.
export function describe(device) {
  const browser = navigator.userAgentData?.brands?.find((b) => !/not.a.brand/i.test(b.brand));
  return { appType: 'WEB', appVer: browser ? `${browser.brand} ${browser.version}` : 'softphone', deviceId: device };
}

// expiry is when an app token ends, in Unix milliseconds by the server's clock; 0 if it does not say.
export function expiry(token) {
  try {
    const payload = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    return (JSON.parse(atob(payload)).exp ?? 0) * 1000;
  } catch {
    return 0;
  }
}
