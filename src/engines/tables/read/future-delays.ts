import type { Database } from '../schema/database.js';

/** A delay: the row id of its task, and its start in Unix milliseconds. */
export type Delay = readonly [rowid: number, waitsFrom: number];

/** Returns delays that begin after a time, the latest first. */
export function futureDelays(database: Database, after: number, limit: number): Delay[] {
  return database
    .all<{ rowid: number; waits_from: number }>(
      `SELECT rowid, waits_from FROM task WHERE ready_at IS NOT NULL AND waits_from IS NOT NULL
        AND waits_from > ?
       ORDER BY waits_from DESC LIMIT ?`,
      after,
      limit,
    )
    .map(({ rowid, waits_from: from }) => [rowid, from]);
}
