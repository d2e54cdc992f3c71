import type { Redis } from 'ioredis';
import { Notifier } from '../../../notifier.js';
import type { StoreEntry, StoreValue } from '../../../store/shared-store.js';
import { endConnection } from '../connection/connections.js';
import { whenReady, withinTime } from '../connection/redis-connection.js';

/**
 * Milliseconds: `block` is how long Redis may hold a read of changes, `dead` is after what time a
 * read without an answer counts as failed.
 */
const timeouts = { block: 5000, dead: 8000 };

interface Watcher {
  prefix: string;
  /** Changes that the watcher has not read yet. */
  pending: StoreEntry[];
  failed: Error | undefined;
}

type StreamEntry = [id: string, fields: string[]];

/** Reads the changes of a store on one connection, for all watchers of this process. */
export class StoreChanges {
  readonly #redis: Redis;
  readonly #keys: { changes: string; serial: string };
  readonly #watchers = new Set<Watcher>();
  readonly #notifier = new Notifier();
  #reading: Promise<void> | undefined;
  #closed = false;

  /** @param redis A connection for this object alone, because it is blocked during a read. */
  constructor(redis: Redis, keys: { changes: string; serial: string }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  close(): void {
    this.#closed = true;
    endConnection(this.#redis);
    this.#fail(new Error('the store is closed'));
  }

  /**
   * Yields the entries that `list` returns, then each change under the prefix.
   *
   * @throws Error if Redis becomes unreachable, because changes may have been missed.
   */
  async *watch(
    prefix: string,
    signal: AbortSignal,
    list: () => Promise<StoreEntry[]>,
  ): AsyncGenerator<readonly StoreEntry[]> {
    const watcher: Watcher = { prefix, pending: [], failed: undefined };
    this.#watchers.add(watcher);
    try {
      if (this.#closed) throw new Error('the store is closed');
      // The watch begins before the list is read, so that no change in between is missed.
      await this.#start();
      yield await list();
      while (!signal.aborted) {
        if (watcher.failed) throw watcher.failed;
        if (watcher.pending.length > 0) yield watcher.pending.splice(0);
        else await this.#notifier.wait(signal);
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  /** Begins to read changes, unless that has begun. */
  #start(): Promise<void> {
    this.#reading ??= this.#begin().catch((error: unknown) => {
      this.#reading = undefined;
      throw error;
    });
    return this.#reading;
  }

  async #begin(): Promise<void> {
    await whenReady(this.#redis);
    // Both are read in one transaction. A change between two reads would look like a missed one.
    const [last, serial] = (await withinTime(
      this.#redis
        .multi()
        .xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1)
        .get(this.#keys.serial)
        .exec(),
    )) as [[null, StreamEntry[]], [null, string | null]];
    void this.#read(last[1][0]?.[0] ?? '0-0', Number(serial[1] ?? 0)).catch((error: unknown) => {
      this.#reading = undefined;
      this.#fail(error as Error);
    });
  }

  async #read(from: string, known: number): Promise<void> {
    let [id, serial] = [from, known];
    while (!this.#closed) {
      const answer = (await withinTime(
        this.#redis.xread('BLOCK', timeouts.block, 'STREAMS', this.#keys.changes, id),
        timeouts.dead,
      )) as [key: string, entries: StreamEntry[]][] | null;
      // After a loss of data, the stream is silent until the next change, so the number is checked.
      if (!answer && Number((await withinTime(this.#redis.get(this.#keys.serial))) ?? 0) < serial)
        throw new Error('the store has lost its data');
      for (const [entryId, fields] of answer?.[0]?.[1] ?? []) {
        const { n, key = '', value = 'null', expiresAt } = fieldsOf(fields);
        if (Number(n) !== serial + 1)
          throw new Error('changes of the store were cut off before they were read');
        [id, serial] = [entryId, Number(n)];
        this.#notify({ key, value: JSON.parse(value) as StoreValue, expiresAt: Number(expiresAt) });
      }
    }
  }

  #notify(entry: StoreEntry): void {
    for (const { prefix, pending } of this.#watchers)
      if (entry.key.startsWith(prefix)) pending.push(entry);
    this.#notifier.notify();
  }

  #fail(error: Error): void {
    for (const watcher of this.#watchers) watcher.failed = error;
    this.#notifier.notify();
  }
}

function fieldsOf(fields: readonly string[]): Partial<Record<string, string>> {
  const named: Partial<Record<string, string>> = {};
  for (let n = 0; n + 1 < fields.length; n += 2) named[fields[n] ?? ''] = fields[n + 1] ?? '';
  return named;
}
