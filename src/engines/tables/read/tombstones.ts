import type { Database } from '../schema/database.js';

/**
 * Maximum number of tombstones: the deletions that a reader of changes can catch up on when it
 * resumes.
 */
const tombstones = 100_000;

/** Returns the change number of the newest tombstone beyond the maximum. */
export function lastTombstone(database: Database): number | undefined {
  return database.value('SELECT rev FROM tombstone ORDER BY rev DESC LIMIT 1 OFFSET ?', tombstones);
}
