// The sound of a ringing phone, made here: two soft tones every two seconds. Browsers let a page
// sound only after somebody has touched it.

export class Bell {
  #context = null;
  #timer = 0;

  start() {
    if (this.#timer || !navigator.userActivation?.hasBeenActive) return;
    this.#context ??= new AudioContext();
    this.#strike();
    this.#timer = setInterval(() => this.#strike(), 2000);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  #strike() {
    const now = this.#context.currentTime;
    for (const [at, pitch] of [[0, 660], [0.25, 880]]) {
      const tone = this.#context.createOscillator(), loudness = this.#context.createGain();
      tone.frequency.value = pitch;
      loudness.gain.setValueAtTime(0, now + at);
      loudness.gain.linearRampToValueAtTime(0.15, now + at + 0.02);
      loudness.gain.exponentialRampToValueAtTime(0.001, now + at + 0.8);
      tone.connect(loudness).connect(this.#context.destination);
      tone.start(now + at);
      tone.stop(now + at + 0.85);
    }
  }
}
