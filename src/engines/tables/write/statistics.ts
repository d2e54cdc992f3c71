import { type Level, levels, startOf } from '../../ended-stats.js';
import { keptFrom, keptSince, noQueue, readStats } from '../read/statistics.js';
import { inAnyState } from '../schema/states.js';
import type { WriteOf } from './batch.js';
import type { Transaction } from './transaction.js';

/** Drops old rollups of minutes and hours, the oldest first, and returns how many. */
export function dropStatistics(
  transaction: Transaction,
  { minutesBefore, hoursBefore, limit }: WriteOf<'dropStatistics'>,
): number {
  // Stores the statistics of this transaction first. Otherwise they could recreate a rollup that
  // has just been dropped.
  transaction.rollups.write();
  return (
    drop(transaction, 'minute', startOf('hour', minutesBefore), limit) +
    drop(transaction, 'hour', startOf('day', hoursBefore), limit)
  );
}

/**
 * Drops old rollups of one level. `before` is the start of a unit of the next longer level, so that
 * the rollups of that level cover the dropped ones.
 */
function drop(
  { database }: Transaction,
  level: 'minute' | 'hour',
  before: number,
  limit: number,
): number {
  const dropped = database.run(
    `DELETE FROM rollup WHERE level = ?1 AND (at, partition) IN (
       SELECT at, partition FROM rollup WHERE level = ?1 AND at < ?2 ORDER BY at, partition
         LIMIT ?3)`,
    level,
    before,
    limit,
  );
  if (dropped > 0)
    database.run('UPDATE meta SET value = max(value, ?) WHERE key = ?', before, keptSince[level]);
  return dropped;
}

/**
 * Drops the unneeded partitions among the next `limit` ones. Returns the id to continue after, or
 * null after the last partition.
 */
export function dropPartitions(
  transaction: Transaction,
  { after, limit }: WriteOf<'dropPartitions'>,
): number | null {
  const { database, counters, rollups, failures } = transaction;
  // This transaction may hold counts for these partitions that are not stored yet.
  counters.writeTaskCounts();
  rollups.write();
  failures.write();
  const rows = database.all<Partition & { gone: number }>(
    `SELECT id, name, active_at, active_at < ? AND queue <> ? AND NOT EXISTS (
       SELECT 1 FROM task_count WHERE ${inAnyState}
         AND task_count.partition = partition.id) AS gone
     FROM partition WHERE id > ? ORDER BY id LIMIT ?`,
    keptFrom(database, 'hour'),
    noQueue,
    after,
    limit,
  );
  const moved: [from: number, to: number][] = [];
  for (const { gone, ...partition } of rows)
    if (gone === 1) moved.push([partition.id, dissolve(transaction, partition)]);
  if (moved.length > 0) {
    database.run(
      `UPDATE failure_group SET partition = moved.value ->> 1 FROM json_each(?) AS moved
        WHERE failure_group.partition = moved.value ->> 0`,
      JSON.stringify(moved),
    );
    counters.forgetPartitions();
  }
  return rows.length < limit ? null : (rows.at(-1)?.id ?? null);
}

interface Partition {
  id: number;
  name: string;
  active_at: number;
}

interface Rollup {
  level: Level;
  at: number;
  stats: string;
}

/**
 * Moves the rollups of a partition to the partition of the same name without a queue, and deletes
 * the partition. Returns the id of the other partition.
 */
function dissolve(
  { database, counters, rollups }: Transaction,
  { id, name, active_at: activeAt }: Partition,
): number {
  const to = counters.partition(name, noQueue);
  const first = database.value<number>(
    "SELECT coalesce(min(at), 0) FROM rollup WHERE level = 'day'",
  );
  const kept = database.all<Rollup>(
    `WITH RECURSIVE day (at) AS (SELECT ?1 UNION ALL SELECT at + ?2 FROM day WHERE at < ?3)
     SELECT level, rollup.at, stats FROM day CROSS JOIN rollup ON level = 'day'
       AND rollup.at = day.at AND partition = ?4
     UNION ALL SELECT level, at, stats FROM rollup WHERE level = 'all' AND at = 0
       AND partition = ?4`,
    first,
    levels.day,
    startOf('day', activeAt),
    id,
  );
  for (const { level, at, stats } of kept) {
    rollups.addTo(level, at, to, readStats(stats));
    database.run('DELETE FROM rollup WHERE level = ? AND at = ? AND partition = ?', level, at, id);
  }
  database.run('DELETE FROM partition WHERE id = ?', id);
  return to;
}
