import type { Notifier } from '../../notifier.js';
import type { SharedStore, StoreEntry, StoreValue } from '../../store/shared-store.js';
import type { Database } from '../tables/schema/database.js';
import type { Tables } from './shared.js';

/** The parts of the open engine that the store uses. */
interface StoreDeps extends Tables {
  database: Database;
  changed: Notifier;
}

/** Returns the present time, and when an entry expires that is stored now. */
function timesOf(ttl: number): { at: number; expiresAt: number } {
  const at = Date.now();
  return { at, expiresAt: at + Math.round(ttl * 1000) };
}

const columns = 'key, value, expires_at AS expiresAt';

/** An entry of the table `shared`. */
interface SharedRow {
  key: string;
  /** JSON text. */
  value: string;
  expiresAt: number;
}

/**
 * Returns the {@link SharedStore} in the task database. All processes on the file share it, and it
 * survives a restart.
 */
export function embeddedStore(open: () => Promise<StoreDeps>): SharedStore {
  const parse = (text: string): StoreValue => JSON.parse(text);
  const toEntry = (row: SharedRow): StoreEntry => ({ ...row, value: parse(row.value) });
  /** Returns the entries with a prefix after a key. If the limit is -1, returns all of them. */
  const listed = (
    database: Database,
    prefix: string,
    after: string | undefined,
    limit: number,
  ): StoreEntry[] => {
    const range = `key ${after === undefined ? '>=' : '>'} ? AND key < ? AND expires_at > ?`;
    const query = `SELECT ${columns} FROM shared WHERE ${range} ORDER BY key LIMIT ?`;
    return database
      .all<SharedRow>(query, after ?? prefix, `${prefix}\u{10ffff}`, Date.now(), limit)
      .map(toEntry);
  };
  return {
    async get(key) {
      const { database } = await open();
      const text = database.value<string | undefined>(
        'SELECT value FROM shared WHERE key = ? AND expires_at > ?',
        key,
        Date.now(),
      );
      return text === undefined ? undefined : parse(text);
    },
    async set(key, value, ttl) {
      const text = JSON.stringify(value);
      await (await open()).commits.submit({ kind: 'set', key, value: text, ...timesOf(ttl) });
    },
    async increment(key, ttl) {
      return (await open()).commits.submit({ kind: 'increment', key, ...timesOf(ttl) });
    },
    async replace(key, before, value, ttl) {
      const { commits } = await open();
      const textOf = (json: StoreValue | undefined): string | null =>
        json === undefined ? null : JSON.stringify(json);
      const texts = { before: textOf(before), value: textOf(value) };
      return commits.submit({ kind: 'replace', key, ...texts, ...timesOf(ttl) });
    },
    async append(log, entry, ttl) {
      const text = JSON.stringify(entry);
      await (await open()).commits.submit({ kind: 'append', log, entry: text, ...timesOf(ttl) });
    },
    async page(log, cursor, limit = 50) {
      const { database } = await open();
      const rows = database.all<{ n: number; entry: string }>(
        `SELECT n, entry FROM shared_log WHERE log = ? AND n < ? AND expires_at > ? ORDER BY n DESC
          LIMIT ?`,
        log,
        cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor),
        Date.now(),
        limit + 1,
      );
      const items = rows.slice(0, limit);
      return {
        items: items.map((row) => parse(row.entry)),
        nextCursor: rows.length > limit ? String(items.at(-1)?.n) : null,
      };
    },
    async list(prefix, after, limit) {
      const { database } = await open();
      return listed(database, prefix, after, limit);
    },
    async *watch(prefix, signal, { list = true } = {}) {
      const { database, reader, changed } = await open();
      let rev = reader.rev();
      yield list ? listed(database, prefix, undefined, -1) : [];
      while (!signal.aborted && !changed.closed) {
        const now = reader.rev();
        const rows =
          now === rev
            ? []
            : database.all<SharedRow>(
                `SELECT ${columns} FROM shared WHERE rev > ? AND rev <= ? ORDER BY rev`,
                rev,
                now,
              );
        rev = now;
        const entries = rows.map(toEntry).filter(({ key }) => key.startsWith(prefix));
        if (entries.length > 0) yield entries;
        else await changed.wait(signal);
      }
    },
  };
}
