import { runInEmptyContext } from '../empty-context.js';
import { Notifier } from '../notifier.js';

/** Events that a reader may be behind before it is disconnected. */
const maxBehind = 1000;

/**
 * Gives each event to any number of readers. A reader gets the events after it subscribed. The
 * source runs while there is a reader.
 */
export class Broadcast<E> {
  /** For each reader, the events that it has not taken yet. */
  readonly #readers = new Set<E[]>();
  readonly #news = new Notifier();
  readonly #begin: (broadcast: Broadcast<E>) => () => void;
  #stop: (() => void) | undefined;

  /**
   * `begin` is called for the first reader. The function that it returns is called after the last.
   */
  constructor(begin: (broadcast: Broadcast<E>) => () => void) {
    this.#begin = begin;
  }

  get hasReaders(): boolean {
    return this.#readers.size > 0;
  }

  async *subscribe(signal: AbortSignal): AsyncGenerator<E> {
    const waiting: E[] = [];
    this.#readers.add(waiting);
    try {
      // The source serves all readers, so it runs in an empty context.
      if (!this.#news.closed) this.#stop ??= runInEmptyContext(() => this.#begin(this));
      while (!signal.aborted) {
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else if (this.#news.closed || !this.#readers.has(waiting)) return;
        else await this.#news.wait(signal);
      }
    } finally {
      this.#leave(waiting);
    }
  }

  #leave(waiting: E[]): void {
    this.#readers.delete(waiting);
    if (this.hasReaders) return;
    const stop = this.#stop;
    this.#stop = undefined;
    if (stop) runInEmptyContext(stop);
  }

  send(event: E): void {
    for (const waiting of this.#readers) {
      waiting.push(event);
      // The reader's own generator stops the source if it was the last reader. The sender must not
      // get an error of that.
      if (waiting.length > maxBehind) this.#readers.delete(waiting);
    }
    this.#news.notify();
  }

  /** There will be no more events. */
  end(): void {
    this.#news.close();
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
