// A reader of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
// EventSource cannot send an Authorization header, so the page reads the stream with fetch.

const longest = 64 * 1024; // of a line, in characters; a call is about 2,000

export class EventReader {
  #rest = '';
  #data = [];
  #event = '';
  #size = 0;
  #id = null; // of the event that is being read
  lastID = ''; // of the newest whole event: to name one of which a part is missing would lose it
  retry = null; // milliseconds, when the server has said so

  // push takes a piece of the stream and returns the events that are complete: {event, data, id}.
  push(text) {
    const events = [];
    this.#rest += text;
    for (;;) {
      const end = this.#rest.search(/\r\n|\n|\r(?!$)/);
      if (end < 0) break;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith('\r\n', end) ? 2 : 1));
      const event = this.#line(line);
      if (event) events.push(event);
    }
    if (this.#rest.length > longest) throw new Error('a line of the stream is too long');
    return events;
  }

  #line(line) {
    if (line === '') return this.#dispatch();
    if (line.startsWith(':')) return null; // a comment, by which the server shows that it lives
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#event = value;
    if (field === 'id' && !value.includes('\0')) this.#id = value;
    if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
    if (field === 'data') {
      this.#size += value.length;
      if (this.#size > longest) throw new Error('an event of the stream is too long');
      this.#data.push(value);
    }
    return null;
  }

  #dispatch() {
    this.lastID = this.#id ?? this.lastID;
    this.#id = null;
    const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.lastID };
    const empty = this.#data.length === 0;
    this.#event = '';
    this.#data = [];
    this.#size = 0;
    return empty ? null : event;
  }
}
