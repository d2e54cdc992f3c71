import type { Redis } from 'ioredis';
import type { StoreEntry, StoreValue } from '../../store/shared-store.js';
import { endConnection } from './connections.js';
import { whenReady, withinTime } from './redis-connection.js';

/** Milliseconds that one question for changes waits in the Redis, and beyond which it is taken for dead. */
const patience = { block: 5000, dead: 8000 };

interface Watcher {
  prefix: string;
  /** Changes not yet taken. */
  pending: StoreEntry[];
  failed: Error | undefined;
  wake(): void;
}

type StreamEntry = [id: string, fields: string[]];

/** The changes of a store, read on one connection for all who watch. */
export class StoreChanges {
  readonly #redis: Redis;
  readonly #keys: { changes: string; serial: string };
  readonly #watchers = new Set<Watcher>();
  #reading: Promise<void> | undefined;
  #closed = false;

  /** `redis` waits for answers: nobody else may use it. */
  constructor(redis: Redis, keys: { changes: string; serial: string }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  close(): void {
    this.#closed = true;
    endConnection(this.#redis);
    this.#fail(new Error('the store is closed'));
  }

  /** First what `list` finds, then each change under the prefix. Throws when the Redis is away: what was missed is not known then. */
  async *watch(prefix: string, signal: AbortSignal, list: () => Promise<StoreEntry[]>): AsyncGenerator<readonly StoreEntry[]> {
    const watcher: Watcher = { prefix, pending: [], failed: undefined, wake: () => {} };
    const wake = (): void => watcher.wake();
    signal.addEventListener('abort', wake);
    this.#watchers.add(watcher);
    try {
      if (this.#closed) throw new Error('the store is closed');
      // Listening comes before listing, so that nothing falls between.
      await this.#start();
      yield await list();
      while (!signal.aborted) {
        if (watcher.failed) throw watcher.failed;
        if (watcher.pending.length > 0) yield watcher.pending.splice(0);
        else
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
          });
      }
    } finally {
      this.#watchers.delete(watcher);
      signal.removeEventListener('abort', wake);
    }
  }

  /** Resolves when changes are listened to. */
  #start(): Promise<void> {
    this.#reading ??= this.#begin().catch((error: unknown) => {
      this.#reading = undefined;
      throw error;
    });
    return this.#reading;
  }

  async #begin(): Promise<void> {
    await whenReady(this.#redis);
    // Read together: what is changed in between would look like one that was missed.
    const [last, serial] = (await withinTime(
      this.#redis.multi().xrevrange(this.#keys.changes, '+', '-', 'COUNT', 1).get(this.#keys.serial).exec(),
    )) as [[null, StreamEntry[]], [null, string | null]];
    void this.#read(last[1][0]?.[0] ?? '0-0', Number(serial[1] ?? 0)).catch((error: unknown) => {
      this.#reading = undefined;
      this.#fail(error as Error);
    });
  }

  async #read(from: string, known: number): Promise<void> {
    let [id, serial] = [from, known];
    while (!this.#closed) {
      const answer = (await withinTime(this.#redis.xread('BLOCK', patience.block, 'STREAMS', this.#keys.changes, id), patience.dead)) as
        | [key: string, entries: StreamEntry[]][]
        | null;
      for (const [entryId, fields] of answer?.[0]?.[1] ?? []) {
        const { n, key = '', value = 'null', expiresAt } = fieldsOf(fields);
        if (Number(n) !== serial + 1) throw new Error('changes of the store were cut off before they were read');
        [id, serial] = [entryId, Number(n)];
        this.#tell({ key, value: JSON.parse(value) as StoreValue, expiresAt: Number(expiresAt) });
      }
    }
  }

  #tell(entry: StoreEntry): void {
    for (const watcher of this.#watchers) {
      if (!entry.key.startsWith(watcher.prefix)) continue;
      watcher.pending.push(entry);
      watcher.wake();
    }
  }

  #fail(error: Error): void {
    for (const watcher of this.#watchers) {
      watcher.failed = error;
      watcher.wake();
    }
  }
}

function fieldsOf(fields: readonly string[]): Partial<Record<string, string>> {
  const named: Partial<Record<string, string>> = {};
  for (let n = 0; n + 1 < fields.length; n += 2) named[fields[n] ?? ''] = fields[n + 1] ?? '';
  return named;
}
