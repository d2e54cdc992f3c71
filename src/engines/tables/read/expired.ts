import type { Database } from '../schema/database.js';

/**
 * Maximum number of tombstones: the deletions that a reader of changes can catch up on when it
 * resumes.
 */
const tombstones = 100_000;

/** Returns whether a `dropExpired` write would drop anything. */
export function hasExpired(database: Database, at: number): boolean {
  return (
    database.get('SELECT 1 FROM idempotency WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
    database.get('SELECT 1 FROM shared WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
    lastTombstone(database) !== undefined
  );
}

/** Returns the change number of the newest tombstone beyond the maximum. */
export function lastTombstone(database: Database): number | undefined {
  return database.value('SELECT rev FROM tombstone ORDER BY rev DESC LIMIT 1 OFFSET ?', tombstones);
}
