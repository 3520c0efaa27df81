// The line to the server over which calls come: a stream of events where the server has one, and
// long polling where it has none. It is held until stop().

import { EventReader } from './sse.js';
import { ServerError } from './api.js';

const silence = 40_000; // the server writes a comment every 15 s
const longestPause = 30_000;

// pause is how long to wait before attempt n: doubled each time, and random, so that all pages do
// not come back at once when a server was away.
export function pause(attempt, random = Math.random) {
  const bound = Math.min(longestPause, 1000 * 2 ** Math.min(attempt, 10));
  return Math.round(bound / 4 + random() * bound * 0.75);
}

export class Line {
  #server;
  #stopped = new AbortController();
  #lastID = '';
  #attempt = 0;
  #wake = null;
  #wakeUp = () => this.#wake?.();

  // on takes call(data, via), ended(data), notice(data, via), state(how, why) and expired().
  constructor(server, on) {
    this.#server = server;
    this.on = on;
  }

  start() {
    addEventListener('online', this.#wakeUp);
    this.#run();
  }

  stop() {
    removeEventListener('online', this.#wakeUp);
    this.#stopped.abort();
  }

  async #run() {
    let polls = false;
    while (!this.#stopped.signal.aborted) {
      try {
        if (polls) await this.#poll();
        else if ((await this.#stream()) === 'none') polls = true;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (error.status === 401 && (await this.on.expired())) continue;
        this.on.state('offline', error.message);
        await this.#wait(pause(this.#attempt++));
      }
    }
  }

  #wait(ms) {
    return new Promise((resolve) => {
      const done = () => { clearTimeout(timer); this.#wake = null; resolve(); };
      const timer = setTimeout(done, ms);
      this.#wake = done;
      this.#stopped.signal.addEventListener('abort', done, { once: true });
    });
  }

  // stream holds one stream until it ends; "none" says that this server has no such thing.
  async #stream() {
    const cut = new AbortController();
    const stop = () => cut.abort();
    this.#stopped.signal.addEventListener('abort', stop, { once: true });
    let watchdog = setTimeout(stop, silence);
    try {
      const headers = { Accept: 'text/event-stream', ...(this.#lastID && { 'Last-Event-ID': this.#lastID }) };
      const answer = await this.#server.fetch('GET', '/v2/notification/sse?notices=1', { headers, signal: cut.signal, limit: 0 });
      if (answer.status === 404 || answer.status === 405) return 'none';
      if (!answer.ok) throw new ServerError(answer.status, `HTTP ${answer.status}`);
      this.on.state('stream');
      const reader = new EventReader();
      reader.lastID = this.#lastID;
      for await (const text of texts(answer.body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, silence);
        this.#attempt = 0;
        for (const event of reader.push(text)) this.#dispatch(event);
        this.#lastID = reader.lastID;
      }
      await this.#wait(reader.retry ?? pause(0)); // the server ended it: it is restarting, or told us to come again
      return 'ended';
    } catch (error) {
      if (this.#stopped.signal.aborted || error instanceof ServerError) throw error;
      throw new ServerError(0, 'the stream broke');
    } finally {
      clearTimeout(watchdog);
      this.#stopped.signal.removeEventListener('abort', stop);
      cut.abort();
    }
  }

  #dispatch({ event, data }) {
    let fields;
    try {
      fields = JSON.parse(data);
    } catch {
      return; // not of this page's server
    }
    fields = fields?.data ?? fields;
    if (event === 'call') this.on.call(fields, 'stream');
    if (event === 'ended') this.on.ended(fields);
    if (event === 'notice') this.on.notice(fields, 'stream');
  }

  async #poll() {
    this.on.state('poll');
    const began = performance.now();
    const answer = await this.#server.fetch('GET', '/v2/notification/lp?ack=1&notices=1', { signal: this.#stopped.signal, limit: 120_000 });
    if (answer.status === 503) { // no call came; a server that says so at once is overloaded
      if (performance.now() - began < 1000) await this.#wait(pause(this.#attempt++));
      else this.#attempt = 0;
      return;
    }
    if (!answer.ok) throw new ServerError(answer.status, `HTTP ${answer.status}`);
    this.#attempt = 0;
    const { data } = await answer.json();
    if (data?.app_event) this.on.notice(data, 'poll');
    else if (data?.cc_param) this.on.call(data, 'poll');
    else throw new ServerError(0, 'an answer without a call');
  }
}

// texts reads a body as text, piece by piece. (Safari cannot iterate over a body.)
async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
