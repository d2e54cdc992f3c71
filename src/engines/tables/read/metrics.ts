import type { DurationHistogram, MetricsRange } from '../../../tasks/engine-queries.js';
import { noCounts } from '../../../tasks/no-stats.js';
import type { Metrics, StatsSnapshot } from '../../../tasks/types.js';
import { type Level, levels, startOf } from '../../ended-stats.js';
import { histogramsOf, type Live, metricsOf, type Summed, successRate } from '../../metrics.js';
import type { Database } from '../schema/database.js';
import { type PauseRow, toPause } from '../schema/rows.js';
import { stateOf } from '../schema/states.js';
import { keptFrom, noQueue, readStats } from './statistics.js';

const hour = 3_600_000;

/**
 * Returns the stats snapshot of the live stream. It takes two short reads, however many tasks there
 * are.
 */
export function readStatsSnapshot(database: Database, now: number): StatsSnapshot {
  const counts = noCounts();
  for (const { status, n } of database.all<{ status: number; n: number }>(
    'SELECT status, sum(n) AS n FROM task_count GROUP BY status',
  ))
    counts[stateOf(status)] = n;
  const minute = startOf('minute', now);
  // The share of the previous minute that lies within the past sixty seconds. All tasks of the
  // current minute count in full.
  const share = 1 - (now - minute) / levels.minute;
  const perMinute = database.value<number | null>(
    `SELECT sum(iif(at = ?1, 1, ?2) * (SELECT sum(value) FROM json_each(stats, '$.ended')))
     FROM rollup WHERE level = 'minute' AND at >= ?3 AND at <= ?1`,
    minute,
    share,
    minute - levels.minute,
  );
  return {
    counts,
    successRate: successRate(counts),
    running: counts.running,
    pending: counts.pending,
    perMinute: Math.round(perMinute ?? 0),
    paused: readPaused(database),
  };
}

function readPaused(database: Database): StatsSnapshot['paused'] {
  return database
    .all<PauseRow>('SELECT * FROM paused ORDER BY queue')
    .map((row) => ({ queue: row.queue, ...toPause(row) }));
}

/** Returns the statistics of a time range, or of all time, from rollups. */
export function readMetrics(
  database: Database,
  { from, to, step, series = true }: MetricsRange,
  now: number,
): Metrics {
  const live = readLive(database);
  const ranged = from !== undefined || to !== undefined;
  const end = to ?? now;
  // All time is one rollup, however many days it covers.
  const ever = to === undefined && (from === undefined || from <= 0);
  const seriesFrom = from ?? end - 24 * hour;
  const level = step === undefined ? levelFor(end - seriesFrom) : levelFor(step * 1000 * 60);
  const points = ever && !series ? [] : readKept(database, level, startOf(level, seriesFrom), end);
  const sums = ever
    ? readSums(database, 'all', 0, 0)
    : from === undefined
      ? readSums(database, 'day', 0, end)
      : points;
  const size = !series ? undefined : (step ?? levels[level] / 1000) * 1000;
  return metricsOf({ sums, live, points, step: size, ranged, noQueue });
}

/** Returns the histogram of all ended attempts, by function. */
export function readHistograms(database: Database, bounds: readonly number[]): DurationHistogram[] {
  return histogramsOf(readSums(database, 'all', 0, 0), bounds);
}

/** Returns the finest level for which a range has few rollups to read. */
export function levelFor(range: number): Exclude<Level, 'all'> {
  if (range > 14 * 24 * hour) return 'day';
  return range > 6 * hour ? 'hour' : 'minute';
}

/** Returns the current number of tasks by name, queue and state. */
export function readLive(database: Database): Live[] {
  return database
    .all<Omit<Live, 'status'> & { status: number }>(
      `SELECT name, queue, status, n FROM task_count
        JOIN partition ON partition.id = task_count.partition`,
    )
    .map((row) => ({ ...row, status: stateOf(row.status) }));
}

/**
 * Returns the rollups of a level as far back as they are kept. Before that, returns the rollups of
 * the next longer level.
 */
function readKept(
  database: Database,
  level: Exclude<Level, 'all'>,
  from: number,
  to: number,
): Summed[] {
  const kept = keptFrom(database, level);
  if (level === 'day' || from >= kept) return readSums(database, level, from, to);
  const longer = level === 'minute' ? 'hour' : 'day';
  const before = readKept(database, longer, startOf(longer, from), Math.min(to, kept - 1));
  return to < kept ? before : [...before, ...readSums(database, level, kept, to)];
}

function readSums(database: Database, level: Level, from: number, to: number): Summed[] {
  return database
    .all<Omit<Summed, 'stats'> & { stats: string }>(
      `SELECT name, queue, at, stats FROM rollup JOIN partition ON partition.id = rollup.partition
        WHERE level = ? AND at >= ? AND at <= ?`,
      level,
      from,
      to,
    )
    .map((row) => ({ ...row, stats: readStats(row.stats) }));
}
