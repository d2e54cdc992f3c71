import { runInEmptyContext } from '../empty-context.js';

interface Listener<E> {
  /** Events that the reader has not taken yet. */
  waiting: E[];
  wake: () => void;
}

/** Events that a reader may be behind before it is disconnected. */
const maxBehind = 1000;

/**
 * Gives each event to any number of readers. A reader gets the events after it subscribed. The
 * source runs while there is a reader.
 */
export class Broadcast<E> {
  readonly #listeners = new Set<Listener<E>>();
  readonly #begin: (broadcast: Broadcast<E>) => () => void;
  #stop: (() => void) | undefined;
  #ended = false;

  /**
   * `begin` is called for the first reader. The function that it returns is called after the last.
   */
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
      // The reader's own generator stops the source if it was the last reader. The sender must not
      // get an error of that.
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

/** Shares one iterable. It is read while there is a reader, and continues with the next reader. */
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
      // The source belongs to the app. If it fails, its streams end.
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
