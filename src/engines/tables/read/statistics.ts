import type { EndedStats } from '../../ended-stats.js';
import type { Database } from '../schema/database.js';

/*
 * Each partition (a name together with a queue) has one rollup per minute, hour and day, and one
 * for all time.
 * - Old rollups of minutes and hours are dropped.
 * - A partition is dropped when it has no task and none has ended in it for as long as the rollups
 *   of hours are kept. Its rollups of days and of all time move to the partition of its name
 *   without a queue, so the statistics of the function stay correct.
 */

/**
 * The levels whose old rollups are dropped. For each, the key in `meta` of the time before which
 * rollups may be missing.
 */
export const keptSince = { minute: 'minutes_from', hour: 'hours_from' } as const;

/**
 * The queue of the partition that keeps the rollups of dropped partitions. No real queue has an
 * empty name.
 */
export const noQueue = '';

/** Returns the time since which all rollups of a level are kept, in Unix milliseconds. */
export function keptFrom(database: Database, level: 'minute' | 'hour' | 'day'): number {
  if (level === 'day') return 0;
  return (
    database.value<number | undefined>('SELECT value FROM meta WHERE key = ?', keptSince[level]) ??
    0
  );
}

/** Returns the statistics in a column `stats`. */
export function readStats(stats: string): EndedStats {
  return JSON.parse(stats);
}
