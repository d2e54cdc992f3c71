interface Listener<E> {
  /** Events not yet taken. */
  waiting: E[];
  wake: () => void;
}

/** Events a client may be behind before it is cut off. */
const maxBehind = 1000;

/** Shares one iterable among any number of readers; each gets what comes after it began. */
export class Broadcast<E> {
  readonly #source: AsyncIterable<E>;
  readonly #listeners = new Set<Listener<E>>();
  #running = false;
  #ended = false;

  constructor(source: AsyncIterable<E>) {
    this.#source = source;
  }

  async *subscribe(signal: AbortSignal): AsyncGenerator<E> {
    const listener: Listener<E> = { waiting: [], wake: () => {} };
    const wake = (): void => listener.wake();
    this.#listeners.add(listener);
    signal.addEventListener('abort', wake);
    if (!this.#running) void this.#run();
    try {
      while (!signal.aborted) {
        const event = listener.waiting.shift();
        if (event !== undefined) yield event;
        else if (this.#ended || !this.#listeners.has(listener)) return;
        else
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
          });
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener('abort', wake);
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for await (const event of this.#source) this.#send(event);
    } catch {
      // The source is the app's; when it fails, the streams over it end, and clients reconnect.
    }
    this.#ended = true;
    for (const { wake } of this.#listeners) wake();
  }

  #send(event: E): void {
    for (const listener of this.#listeners) {
      listener.waiting.push(event);
      if (listener.waiting.length > maxBehind) this.#listeners.delete(listener);
      listener.wake();
    }
  }
}
