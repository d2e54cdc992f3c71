import type { LogPage, SharedStore, StoreEntry, StoreValue } from './shared-store.js';

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /** Keys kept at most; the one that expires first goes when it is full. Default 100,000. */
  maxKeys?: number | undefined;
  /** Entries of a log kept at most; the oldest goes. Default 10,000. */
  maxLogEntries?: number | undefined;
  /** Present time in milliseconds; for tests. */
  now?: (() => number) | undefined;
}

interface Log {
  /** Number of the oldest item kept. */
  first: number;
  items: { entry: StoreValue; expiresAt: number }[];
}

interface Watcher {
  prefix: string;
  /** Changes not yet taken, or what waits for one. */
  pending: StoreEntry[];
  wake: () => void;
}

/** A {@link SharedStore} of this process alone, bounded in memory. What it holds ends with the process. */
export function memoryStore({ maxKeys = 100_000, maxLogEntries = 10_000, now = Date.now }: MemoryStoreOptions = {}): SharedStore {
  const entries = new Map<string, StoreEntry>();
  const logs = new Map<string, Log>();
  const watchers = new Set<Watcher>();

  const live = (key: string): StoreEntry | undefined => {
    const entry = entries.get(key);
    if (entry && entry.expiresAt <= now()) {
      entries.delete(key);
      return undefined;
    }
    return entry;
  };

  const put = (entry: StoreEntry): void => {
    if (!entries.has(entry.key) && entries.size >= maxKeys) makeRoom(entries, now());
    entries.set(entry.key, entry);
    for (const watcher of watchers) {
      if (!entry.key.startsWith(watcher.prefix)) continue;
      watcher.pending.push(entry);
      watcher.wake();
    }
  };

  return {
    async get(key) {
      return live(key)?.value;
    },
    async set(key, value, ttl) {
      put({ key, value, expiresAt: now() + ttl * 1000 });
    },
    async replace(key, before, value, ttl) {
      if (JSON.stringify(live(key)?.value) !== JSON.stringify(before)) return false;
      put({ key, value, expiresAt: now() + ttl * 1000 });
      return true;
    },
    async increment(key, ttl) {
      const entry = live(key);
      const value = (typeof entry?.value === 'number' ? entry.value : 0) + 1;
      put({ key, value, expiresAt: entry?.expiresAt ?? now() + ttl * 1000 });
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
      // Entries expire from the oldest on, so a page that lacks one is the last.
      const more = start > 0 && shown.length === end - start;
      return { items: shown.map(({ entry }) => entry).reverse(), nextCursor: more ? String(start + first) : null };
    },
    async *watch(prefix, signal) {
      const present = [...entries.keys()].flatMap((key) => (key.startsWith(prefix) ? (live(key) ?? []) : []));
      const watcher: Watcher = { prefix, pending: [], wake: () => {} };
      const wake = (): void => watcher.wake();
      watchers.add(watcher);
      signal.addEventListener('abort', wake);
      try {
        yield present;
        while (!signal.aborted) {
          if (watcher.pending.length > 0) yield watcher.pending.splice(0);
          else
            await new Promise<void>((resolve) => {
              watcher.wake = resolve;
            });
        }
      } finally {
        watchers.delete(watcher);
        signal.removeEventListener('abort', wake);
      }
    },
  };
}

/** Drops what has expired, or else the hundredth part that would expire first: so many sets share one walk over all keys. */
function makeRoom(entries: Map<string, StoreEntry>, now: number): void {
  const soonest = [...entries.values()].sort((one, other) => one.expiresAt - other.expiresAt);
  const expired = soonest.findIndex(({ expiresAt }) => expiresAt > now);
  const surplus = expired > 0 ? expired : expired < 0 ? soonest.length : Math.ceil(soonest.length / 100);
  for (const { key } of soonest.slice(0, surplus)) entries.delete(key);
}
