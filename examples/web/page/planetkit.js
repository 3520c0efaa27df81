// LINE Planet itself, through LINE's own PlanetKit for the web (npm: @line/planet-kit), which
// is not part of this repository: README.md says where to put it. It is written after PlanetKit
// 5.2 and has run against nothing but its API: keep it as thin as it is. The interface is
// described in simcloud.js.

export class PlanetKitCloud {
  #kit;
  #media;

  // load fetches the copy that the operator has put there; it makes the global PlanetKit.
  static async load(config, media) {
    await new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = config.planetKit || (config.environment === 'real' ? 'vendor/planet-kit.js' : 'vendor/planet-kit-eval.js');
      script.onload = resolve;
      script.onerror = () => reject(new Error('no PlanetKit'));
      document.head.append(script);
    });
    return new PlanetKitCloud(globalThis.PlanetKit, media);
  }

  constructor(kit, media) {
    this.#kit = kit;
    this.#media = media;
  }

  call({ me, service, peer, video, token, on }) {
    const elements = this.#elements();
    const call = new this.#kit.Call();
    start(on, () => call.makeCall({
      myId: me, myServiceId: service, peerId: peer, peerServiceId: service, accessToken: token,
      mediaType: this.#type(video), mediaHtmlElement: elements.call,
      delegate: delegate(on, elements, { evtWaitConnected: () => on({ state: 'waiting', peer }) }),
    }));
    return { end: () => call.endCall(), drop: () => {} };
  }

  // The callee needs no access token, and may answer only after evtVerified.
  verify({ me, service, ccParam, video, on }) {
    const elements = this.#elements();
    const call = new this.#kit.Call();
    start(on, () => call.verifyCall({
      myId: me, myServiceId: service, ccParam,
      mediaType: this.#type(video), mediaHtmlElement: elements.call,
      delegate: delegate(on, elements, { evtVerified: (param) => on({ state: 'verified', peer: param?.peerId }) }),
    }));
    return { answer: () => call.acceptCall(), decline: () => call.endCall(), end: () => call.endCall(), drop: () => {} };
  }

  join({ me, service, room, name, token, on }) {
    const elements = this.#elements();
    const conference = new this.#kit.Conference();
    const users = new Set([me]);
    start(on, () => conference.joinConference({
      myId: me, myServiceId: service, roomId: room, roomServiceId: service, displayName: name, accessToken: token,
      mediaType: this.#type(false), mediaHtmlElement: elements.conference,
      delegate: delegate(on, elements, {
        evtPeerListUpdated: (param) => {
          for (const peer of param?.addedPeers ?? []) users.add(peer.userId);
          for (const peer of param?.removedPeers ?? []) users.delete(peer.userId);
          on({ state: 'peers', users: [...users].sort() });
        },
      }),
    }));
    return { end: () => conference.leaveConference(), drop: () => {} };
  }

  #type(video) { return video ? this.#kit.MEDIA_TYPE.VIDEO : this.#kit.MEDIA_TYPE.AUDIO; }

  // elements are where PlanetKit plays what it hears and sees.
  #elements() {
    const make = (kind) => {
      const element = document.createElement(kind);
      element.autoplay = true;
      element.playsInline = true;
      this.#media.append(element);
      return element;
    };
    const audio = make('audio'), mine = make('video'), theirs = make('video');
    mine.muted = true;
    return {
      call: { my: { video: mine }, peer: { audio, video: theirs } }, conference: { roomAudio: audio, myVideo: mine },
      remove: () => [audio, mine, theirs].forEach((element) => element.remove()),
    };
  }
}

function delegate(on, elements, more) {
  return {
    ...more,
    evtConnected: () => on({ state: 'connected' }),
    evtDisconnected: (param) => {
      elements.remove();
      const reason = param?.reason ?? param; // {source, reason: {code, strCode}} since 5.2; the reason itself if the browser is unfit
      on({ state: 'ended', code: reason?.code ?? 0, name: reason?.strCode ?? '' });
    },
  };
}

function start(on, run) {
  try {
    run();
  } catch {
    on({ state: 'ended', code: 0, name: '' }); // a field is missing, or the cc_param cannot be read
  }
}
