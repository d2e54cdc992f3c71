import type { WriteOf } from './batch.js';
import type { Transaction } from './transaction.js';

/** Maximum number of entries that are kept in one log, even if they have not expired. */
const maxLogEntries = 1_000_000;
/**
 * Number of expired entries that each write deletes. It is more than a write adds, and it keeps
 * each commit short.
 */
const sweptAtOnce = 10;

export function set(
  transaction: Transaction,
  { key, value, expiresAt, at }: WriteOf<'set'>,
): undefined {
  put(transaction, key, value, expiresAt, at);
}

export function increment(
  transaction: Transaction,
  { key, expiresAt, at }: WriteOf<'increment'>,
): number {
  const row = transaction.database.get<{ value: string; expires_at: number }>(
    'SELECT value, expires_at FROM shared WHERE key = ? AND expires_at > ?',
    key,
    at,
  );
  const stored: unknown = row && JSON.parse(row.value);
  const value = (typeof stored === 'number' ? stored : 0) + 1;
  put(transaction, key, JSON.stringify(value), row?.expires_at ?? expiresAt, at);
  return value;
}

export function replace(
  transaction: Transaction,
  { key, before, value, expiresAt, at }: WriteOf<'replace'>,
): boolean {
  const stored = transaction.database.value<string | undefined>(
    'SELECT value FROM shared WHERE key = ? AND expires_at > ?',
    key,
    at,
  );
  if ((stored ?? null) !== before) return false;
  if (value === null) transaction.database.run('DELETE FROM shared WHERE key = ?', key);
  else put(transaction, key, value, expiresAt, at);
  return true;
}

function put(
  { database, counters }: Transaction,
  key: string,
  value: string,
  expiresAt: number,
  at: number,
): void {
  database.run(
    `DELETE FROM shared WHERE key IN (SELECT key FROM shared WHERE expires_at <= ?
      ORDER BY expires_at LIMIT ?)`,
    at,
    sweptAtOnce,
  );
  database.run(
    'INSERT OR REPLACE INTO shared (key, value, expires_at, rev) VALUES (?, ?, ?, ?)',
    key,
    value,
    expiresAt,
    counters.nextRev(),
  );
}

export function append(
  { database }: Transaction,
  { log, entry, expiresAt, at }: WriteOf<'append'>,
): undefined {
  const last = database.value<number>(
    'SELECT coalesce(max(n), 0) FROM shared_log WHERE log = ?',
    log,
  );
  database.run(
    'INSERT INTO shared_log (log, n, entry, expires_at) VALUES (?, ?, ?, ?)',
    log,
    last + 1,
    entry,
    expiresAt,
  );
  // Each new entry deletes a few of the oldest ones. This limits the size of a log and keeps each
  // commit short.
  database.run(
    `DELETE FROM shared_log
     WHERE log = ? AND n IN (SELECT n FROM shared_log WHERE log = ? ORDER BY n LIMIT 10)
       AND (expires_at <= ? OR n <= ?)`,
    log,
    log,
    at,
    last - maxLogEntries,
  );
}
