// Tabs of one user in one browser are one phone. The tab that holds the lock carries the line and
// all calls; the others show what it shows and send it what people press. When it closes, another
// one gets the lock, and with it the line.

export class Tabs {
  #channel;
  #release = null;
  #waiting = new AbortController(); // for the lock
  #id = crypto.randomUUID();
  leads = false;

  // on takes lead() when this tab has the line, state(state) from the tab that has it,
  // command(name, argument) when this tab has it, and bye() when another tab has signed out.
  constructor(service, user, on) {
    this.on = on;
    this.user = user;
    this.name = `softphone:${service}/${user}`;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
  }

  start() {
    this.#channel.postMessage({ kind: 'hello', from: this.#id });
    const closed = new Promise((resolve) => { this.#release = resolve; });
    navigator.locks.request(this.name, { signal: this.#waiting.signal }, () => {
      this.leads = true;
      this.on.lead();
      return closed;
    }).catch(() => {}); // the page is going away
  }

  // stop also gives up the place in the queue: a page that a browser keeps for a "back" would get
  // the lock, and never let go of it.
  stop() {
    this.#channel.close();
    this.#waiting.abort();
    this.#release?.();
  }

  bye() { this.#channel.postMessage({ kind: 'bye', from: this.#id }); }

  // show tells the other tabs what this one shows. The state holds no secret.
  show(state) {
    this.last = state;
    if (this.leads) this.#channel.postMessage({ kind: 'state', from: this.#id, state });
  }

  // command does something here, or has the tab do it that has the line.
  command(name, argument) {
    if (this.leads) this.on.command(name, argument);
    else this.#channel.postMessage({ kind: 'command', from: this.#id, name, argument });
  }

  #heard(message) {
    if (message.kind === 'hello' && this.leads && this.last) this.show(this.last);
    if (message.kind === 'bye') this.on.bye();
    if (message.kind === 'state' && !this.leads) this.on.state(message.state);
    if (message.kind === 'command' && this.leads) this.on.command(message.name, message.argument);
  }
}
