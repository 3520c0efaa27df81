// The simulator in the place of LINE Planet: ringing, answering, declining and ending work on
// screen, and there is no sound. Same interface as planetkit.js:
//
//   call({me, service, peer, video, token, on})       → {end(), drop()}
//   verify({me, service, device, ccParam, via, on})   → {answer(), decline(), end(), drop()}
//   join({me, service, room, name, token, on})        → {end(), drop()}
//
// drop() is going away without a word: the call rings on elsewhere, and another tab may take it.
// on(event) gets {state: "waiting" | "verified" | "connected" | "peers" | "ended", …}, with
// "users" for peers, and "code" and "name" of the disconnect reason for ended, which is the last.

export class SimCloud {
  #base;

  constructor(config) { this.#base = config.cloudURL.replace(/\/+$/, ''); }

  call({ me, peer, video, token, on }) {
    return this.#open('/call', { from: me, to: peer, type: video ? 'V' : 'A' }, token, on);
  }

  verify({ me, device, ccParam, via, on }) {
    return this.#open('/verify', { user: me, device, via, cc_param: ccParam }, '', on);
  }

  join({ me, room, name, token, on }) {
    return this.#open('/join', { user: me, room, name }, token, on);
  }

  // open is one request whose answer lasts as long as the call; giving it up is hanging up.
  #open(path, body, token, on) {
    const gone = new AbortController();
    let leg = '';
    let over = false;
    const tell = (event) => {
      if (over) return;
      leg = event.leg ?? leg;
      over = event.state === 'ended';
      on(event);
    };
    const act = async (what) => {
      if (!leg || over) return;
      const answer = await fetch(`${this.#base}/legs/${leg}/${what}`, { method: 'POST', body: '{}', keepalive: true }).catch(() => null);
      if (!answer && what !== 'answer') gone.abort();
    };
    this.#read(path, body, token, gone.signal, tell)
      .catch(() => {})
      .finally(() => tell({ state: 'ended', code: 1301, name: 'NETWORK_UNSTABLE' }));
    return {
      answer: () => act('answer'), decline: () => act('decline'),
      end: () => (leg ? act('end') : gone.abort()), drop: () => gone.abort(),
    };
  }

  async #read(path, body, token, signal, tell) {
    const answer = await fetch(this.#base + path, {
      method: 'POST', body: JSON.stringify(body), signal, cache: 'no-store',
      headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const lines = rest.split('\n');
      rest = lines.pop();
      for (const line of lines) if (line) tell(JSON.parse(line));
    }
  }
}
