import type { Figures } from '../../figures.js';
import type { Database, Row } from '../schema/database.js';

/*
 * Statistics are sums for each minute, hour and day, and one for all time, of each partition: a
 * name together with a queue. Old sums for minutes and hours are dropped. A partition is dropped if
 * it has no task and none has ended in it for as long as sums for hours are kept. Its sums for days
 * and for all time move to the partition of its name that stands for no queue, so that the
 * statistics of the function stay right.
 */

/**
 * The levels whose old sums are dropped, and the key in `meta` of the time before which their sums
 * may be missing.
 */
export const keptSince = { minute: 'minutes_from', hour: 'hours_from' } as const;

/**
 * The queue of the partition that has the sums of partitions that are gone. No queue of an app has
 * an empty name.
 */
export const noQueue = '';

/** Returns the time from which all sums of a level are kept, in Unix milliseconds. */
export function keptFrom(database: Database, level: 'minute' | 'hour' | 'day'): number {
  if (level === 'day') return 0;
  return Number(database.get('SELECT value FROM meta WHERE key = ?', keptSince[level])?.value ?? 0);
}

/** Whether there are minutes or hours from before some times. */
export function hasOldStatistics(
  database: Database,
  minutesBefore: number,
  hoursBefore: number,
): boolean {
  const sql = 'SELECT 1 FROM rollup WHERE level = ? AND at < ? LIMIT 1';
  return (
    database.get(sql, 'minute', minutesBefore) !== undefined ||
    database.get(sql, 'hour', hoursBefore) !== undefined
  );
}

/** The sum that a row holds. */
export function readFigures(row: Row): Figures {
  return JSON.parse(String(row.figures)) as Figures;
}
