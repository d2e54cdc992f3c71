interface Listener<E> {
  /** Events not yet taken. */
  waiting: E[];
  wake: () => void;
}

/** Events a client may be behind before it is cut off. */
const maxBehind = 1000;

/** Shares one iterable among any number of readers; each gets what comes after it began. */
export class Broadcast<E> {
  readonly #source: AsyncIterator<E>;
  readonly #listeners = new Set<Listener<E>>();
  #running = false;
  #ended = false;

  constructor(source: AsyncIterable<E>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async *subscribe(signal: AbortSignal): AsyncGenerator<E> {
    const listener: Listener<E> = { waiting: [], wake: () => {} };
    const wake = (): void => listener.wake();
    this.#listeners.add(listener);
    signal.addEventListener('abort', wake);
    if (!this.#running && !this.#ended) void this.#run();
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

  /** Pulls while anybody listens. With nobody there the source waits, and goes on for whoever comes next. */
  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#listeners.size > 0) {
        const { value, done } = await this.#source.next();
        if (done) {
          this.#end();
          return;
        }
        this.#send(value);
      }
    } catch {
      // The source is the app's; when it fails, the streams over it end.
      this.#end();
    } finally {
      this.#running = false;
    }
  }

  #end(): void {
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
