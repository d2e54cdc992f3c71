import { TaskflowError } from '../errors.js';
import { Notifier } from '../notifier.js';
import { type Named, type OptionsOf, optionSet, whole } from '../option-set.js';
import { wrongKind } from '../options.js';
import { OrderedMap } from './ordered-map.js';
import type { Droppable, LogPage, SharedStore, StoreEntry, StoreValue } from './shared-store.js';

const storeOptions = optionSet({
  /**
   * The most keys that are kept. A full store first drops expired entries, then counts of failed
   * logins (the lowest first, and none that blocks), then networks that have logged in, then the
   * entries that expire first. Default 100,000.
   */
  maxKeys: whole({ default: 100_000, min: 1 }),
  /** Entries of a log kept at most; the oldest goes. Default 10,000. */
  maxLogEntries: whole({ default: 10_000, min: 1 }),
  /** Present time in milliseconds; for tests. */
  now: (name, value: (() => number) | undefined) => {
    if (value !== undefined && typeof value !== 'function')
      throw wrongKind(name, value, 'a function that returns milliseconds');
    return value ?? Date.now;
  },
});

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions extends OptionsOf<typeof storeOptions>, Named {}

interface Entry extends StoreEntry {
  droppable: Droppable | undefined;
}

interface Log {
  /** Number of the oldest item in the log. */
  first: number;
  items: { entry: StoreValue; expiresAt: number }[];
}

interface Watcher {
  prefix: string;
  /** Changes that the watcher has not read yet. */
  pending: StoreEntry[];
}

/**
 * Returns a {@link SharedStore} for a single process, with a limited size. Its contents are lost
 * when the process ends.
 *
 * @throws TypeError or RangeError with code INVALID_INPUT for a wrong option.
 */
export function memoryStore(options?: MemoryStoreOptions): SharedStore {
  const { maxKeys, maxLogEntries, now } = storeOptions.read(options, { where: 'memoryStore' });
  const entries = new OrderedMap<Entry>();
  const logs = new Map<string, Log>();
  const watchers = new Set<Watcher>();
  const changed = new Notifier();

  const live = (key: string): StoreEntry | undefined => {
    const entry = entries.get(key);
    if (entry && entry.expiresAt <= now()) {
      entries.delete(key);
      return undefined;
    }
    return entry;
  };

  const listed = (prefix: string, after: string | undefined, limit: number): StoreEntry[] => {
    const found: StoreEntry[] = [];
    for (const key of entries.keysFrom(after ?? prefix)) {
      if (!key.startsWith(prefix) || found.length >= limit) break;
      const entry = entries.get(key);
      if (key !== after && entry && entry.expiresAt > now())
        found.push({ key, value: entry.value, expiresAt: entry.expiresAt });
    }
    return found;
  };

  const put = (key: string, value: StoreValue, expiresAt: number, droppable?: Droppable): void => {
    if (!entries.has(key) && entries.size >= maxKeys) makeRoom(entries, now());
    const entry = { key, value, expiresAt };
    // The key is deleted first, so that the map stays in the order of the last writes.
    entries.delete(key);
    entries.set(key, { ...entry, droppable });
    for (const { prefix, pending } of watchers) if (key.startsWith(prefix)) pending.push(entry);
    changed.notify();
  };

  return {
    async get(key) {
      return live(key)?.value;
    },
    async set(key, value, ttl) {
      put(key, value, now() + ttl * 1000);
    },
    async replace(key, before, value, ttl, droppable) {
      if (JSON.stringify(live(key)?.value) !== JSON.stringify(before)) return false;
      if (value === undefined) entries.delete(key);
      else put(key, value, now() + ttl * 1000, droppable);
      return true;
    },
    async increment(key, ttl) {
      const entry = live(key);
      const value = (typeof entry?.value === 'number' ? entry.value : 0) + 1;
      put(key, value, entry?.expiresAt ?? now() + ttl * 1000);
      return value;
    },
    async append(log, entry, ttl) {
      const kept = logs.get(log) ?? { first: 0, items: [] };
      logs.set(log, kept);
      kept.items.push({ entry, expiresAt: now() + ttl * 1000 });
      const expired = kept.items.findIndex(({ expiresAt }) => expiresAt > now());
      const surplus = Math.max(expired, kept.items.length - maxLogEntries);
      kept.items.splice(0, surplus);
      kept.first += surplus;
    },
    async page(log, cursor, limit = 50): Promise<LogPage> {
      const { first, items } = logs.get(log) ?? { first: 0, items: [] };
      const end = cursor === undefined ? items.length : Math.max(0, Number(cursor) - first);
      const start = Math.max(0, end - limit);
      const shown = items.slice(start, end).filter(({ expiresAt }) => expiresAt > now());
      // The oldest entries expire first. So if an entry of this page has expired, no page follows.
      const more = start > 0 && shown.length === end - start;
      return {
        items: shown.map(({ entry }) => entry).reverse(),
        nextCursor: more ? String(start + first) : null,
      };
    },
    async list(prefix, after, limit) {
      return listed(prefix, after, limit);
    },
    async *watch(prefix, signal, { list = true } = {}) {
      const present = list ? listed(prefix, undefined, Number.POSITIVE_INFINITY) : [];
      const watcher: Watcher = { prefix, pending: [] };
      watchers.add(watcher);
      try {
        yield present;
        while (!signal.aborted) {
          if (watcher.pending.length > 0) yield watcher.pending.splice(0);
          else await changed.wait(signal);
        }
      } finally {
        watchers.delete(watcher);
      }
    },
  };
}

/**
 * Makes room for another key. Drops up to one percent of the entries at a time, so that many writes
 * share one pass over all keys.
 *
 * @throws TaskflowError STORE_UNAVAILABLE if no entry may be dropped yet.
 */
function makeRoom(entries: Map<string, Entry>, now: number): void {
  const surplus = Math.ceil(entries.size / 100);
  const dropped =
    dropExpired(entries, now) || dropLowest(entries, now, surplus) || dropSoonest(entries, surplus);
  if (dropped === 0)
    throw new TaskflowError(
      'STORE_UNAVAILABLE',
      'the store is full, and none of its entries may be dropped yet',
    );
}

function dropExpired(entries: Map<string, Entry>, now: number): number {
  return dropAll(
    entries,
    [...entries.values()].filter(({ expiresAt }) => expiresAt <= now),
  );
}

/**
 * Drops droppable entries of the lowest rank, the oldest first. Entries of a higher rank stay as
 * long as there is an entry of a lower rank.
 */
function dropLowest(entries: Map<string, Entry>, now: number, surplus: number): number {
  let lowest = Number.POSITIVE_INFINITY;
  let found: Entry[] = [];
  for (const entry of entries.values()) {
    const { droppable } = entry;
    if (!droppable || droppable.notBefore > now || droppable.rank > lowest) continue;
    if (droppable.rank < lowest) [lowest, found] = [droppable.rank, []];
    if (found.length < surplus) found.push(entry);
  }
  return dropAll(entries, found);
}

/** Drops entries that are not marked as droppable, those that expire first. */
function dropSoonest(entries: Map<string, Entry>, surplus: number): number {
  const others = [...entries.values()].filter(({ droppable }) => droppable === undefined);
  return dropAll(
    entries,
    others.sort((one, other) => one.expiresAt - other.expiresAt).slice(0, surplus),
  );
}

function dropAll(entries: Map<string, Entry>, dropped: readonly Entry[]): number {
  for (const { key } of dropped) entries.delete(key);
  return dropped.length;
}
