import { runInEmptyContext } from '../empty-context.js';

interface Listener<E> {
  /** Events not yet taken. */
  waiting: E[];
  wake: () => void;
}

/** Events a client may be behind before it is cut off. */
const maxBehind = 1000;

/** Gives each event to any number of readers; each gets what comes after it began. Its source is in use while anybody reads. */
export class Broadcast<E> {
  readonly #listeners = new Set<Listener<E>>();
  readonly #begin: (broadcast: Broadcast<E>) => () => void;
  #stop: (() => void) | undefined;
  #ended = false;

  /** `begin` is called when the first reader comes, and what it answers when the last one has gone. */
  constructor(begin: (broadcast: Broadcast<E>) => () => void) {
    this.#begin = begin;
  }

  get hasReaders(): boolean {
    return this.#listeners.size > 0;
  }

  async *subscribe(signal: AbortSignal): AsyncGenerator<E> {
    const listener: Listener<E> = { waiting: [], wake: () => {} };
    const wake = (): void => listener.wake();
    this.#listeners.add(listener);
    signal.addEventListener('abort', wake);
    try {
      // The source serves all readers, so it runs in an empty context.
      if (!this.#ended) this.#stop ??= runInEmptyContext(() => this.#begin(this));
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
      signal.removeEventListener('abort', wake);
      this.#leave(listener);
    }
  }

  #leave(listener: Listener<E>): void {
    this.#listeners.delete(listener);
    if (this.hasReaders) return;
    const stop = this.#stop;
    this.#stop = undefined;
    if (stop) runInEmptyContext(stop);
  }

  send(event: E): void {
    for (const listener of this.#listeners) {
      listener.waiting.push(event);
      // Its own generator stops the source if it was the last reader: an error of that is not the sender's.
      if (listener.waiting.length > maxBehind) this.#listeners.delete(listener);
      listener.wake();
    }
  }

  /** There will be no more events. */
  end(): void {
    this.#ended = true;
    for (const { wake } of this.#listeners) wake();
  }
}

/** Shares one iterable. It is pulled while anybody reads; with nobody there it waits, and goes on for whoever comes next. */
export function shareIterable<E>(iterable: AsyncIterable<E>): Broadcast<E> {
  const source = iterable[Symbol.asyncIterator]();
  let running = false;
  const run = async (broadcast: Broadcast<E>): Promise<void> => {
    if (running) return;
    running = true;
    try {
      while (broadcast.hasReaders) {
        const { value, done } = await source.next();
        if (done) return broadcast.end();
        broadcast.send(value);
      }
    } catch {
      // The source is the app's; when it fails, the streams over it end.
      broadcast.end();
    } finally {
      running = false;
    }
  };
  return new Broadcast((broadcast) => {
    void run(broadcast);
    return () => {};
  });
}
