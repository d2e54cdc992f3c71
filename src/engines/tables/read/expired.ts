import type { Database } from '../schema/database.js';

/** Deletes so far back can be told to a stream that comes back. */
const tombstones = 100_000;

/** Whether there is anything that a write of the kind `dropExpired` would drop. */
export function hasExpired(database: Database, at: number): boolean {
  return (
    database.get('SELECT 1 FROM idempotency WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
    database.get('SELECT 1 FROM shared WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
    lastTombstone(database) !== undefined
  );
}

/** Returns the revision of the newest tombstone beyond those that are kept. */
export function lastTombstone(database: Database): number | undefined {
  const row = database.get(
    'SELECT rev FROM tombstone ORDER BY rev DESC LIMIT 1 OFFSET ?',
    tombstones,
  );
  return row && Number(row.rev);
}
