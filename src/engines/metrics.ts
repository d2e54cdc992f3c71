import type { DurationHistogram } from '../tasks/engine-queries.js';
import { noCounts } from '../tasks/no-stats.js';
import type { Counts, Durations, Metrics, TaskStatus } from '../tasks/types.js';
import {
  addStats,
  bucketOf,
  bucketsOf,
  type EndedStats,
  emptyStats,
  percentile,
} from './ended-stats.js';

/** A rollup: statistics of the tasks of one name and queue that ended in one unit of time. */
export interface Summed {
  name: string;
  queue: string;
  /** Start of the unit in Unix milliseconds. */
  at: number;
  stats: EndedStats;
}

/** The current number of tasks of a name and queue in a state. */
export interface Live {
  name: string;
  queue: string;
  status: TaskStatus;
  n: number;
}

/** The statistics of a name, of a queue, or of all tasks. */
interface Group {
  stats: EndedStats;
  live: Counts;
}

/** The input of {@link metricsOf}. */
interface MetricsInput {
  sums: readonly Summed[];
  live: readonly Live[];
  /** The rollups of the series. */
  points: readonly Summed[];
  /** Milliseconds per point of the series. Without it, there is no series. */
  step: number | undefined;
  /** Whether the query has a time range, instead of all time. */
  ranged: boolean;
  /** The label for tasks without a queue. It is left out of the list of queues. */
  noQueue?: string | undefined;
}

/** Returns the metrics of a time range, or of all time, from rollups and current counts. */
export function metricsOf({ sums, live, points, step, ranged, noQueue }: MetricsInput): Metrics {
  const total = groupBy(() => '', sums, live).get('') ?? noGroup();
  const grouped = (key: 'name' | 'queue'): Metrics['functions'] =>
    [...groupBy((row) => row[key], sums, live)]
      .filter(([name]) => name !== noQueue)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, group]) => ({ name, ...statsOf(group, ranged) }));
  return {
    ...statsOf(total, ranged),
    functions: grouped('name'),
    queues: grouped('queue'),
    series: step === undefined ? [] : seriesOf(points, step),
  };
}

/** Returns how many attempts of each name did not exceed each number of seconds. */
export function histogramsOf(
  sums: readonly Summed[],
  bounds: readonly number[],
): DurationHistogram[] {
  const last = bounds.map((seconds) => bucketOf(seconds * 1000));
  return [...groupBy(({ name }) => name, sums, [])]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { stats }]) => {
      const buckets = bucketsOf(stats);
      const within = (bucket: number): number =>
        buckets.reduce((sum, [each, n]) => (each <= bucket ? sum + n : sum), 0);
      return { name, counts: last.map(within), count: stats.ran, sum: stats.total / 1000 };
    });
}

function noGroup(): Group {
  return { stats: emptyStats(), live: noCounts() };
}

/** Groups rollups and current counts by a key. */
function groupBy(
  keyOf: (row: { name: string; queue: string }) => string,
  sums: readonly Summed[],
  live: readonly Live[],
): Map<string, Group> {
  const groups = new Map<string, Group>();
  const groupOf = (row: { name: string; queue: string }): Group => {
    const key = keyOf(row);
    const group = groups.get(key) ?? noGroup();
    groups.set(key, group);
    return group;
  };
  for (const sum of sums) addStats(groupOf(sum).stats, sum.stats);
  for (const row of live) groupOf(row).live[row.status] += row.n;
  return groups;
}

/**
 * Returns the statistics of a group. For all time, its counts are the current ones. For a range,
 * they include the tasks that ended in it, and the tasks that are pending or running now.
 */
function statsOf(
  { stats, live }: Group,
  ranged: boolean,
): Pick<Metrics, 'counts' | 'successRate' | 'durations'> {
  const counts = ranged
    ? { ...noCounts(), pending: live.pending, running: live.running, ...stats.ended }
    : live;
  return { counts, successRate: successRate(counts), durations: durationsOf(stats) };
}

function seriesOf(points: readonly Summed[], step: number): Metrics['series'] {
  const byTime = new Map<number, EndedStats>();
  for (const point of points) {
    const at = point.at - (point.at % step);
    const total = byTime.get(at) ?? emptyStats();
    byTime.set(at, total);
    addStats(total, point.stats);
  }
  return [...byTime]
    .sort(([a], [b]) => a - b)
    .map(([at, stats]) => ({
      at: new Date(at).toISOString(),
      success: stats.ended.success ?? 0,
      failed: stats.ended.failed ?? 0,
      p95: inSeconds(percentile(stats, 0.95)),
    }));
}

/**
 * Returns the share of ended tasks that succeeded, without cancelled ones; null if none has ended.
 */
export function successRate({ success, failed, interrupted }: Counts): number | null {
  const ended = success + failed + interrupted;
  return ended === 0 ? null : success / ended;
}

function durationsOf(stats: EndedStats): Durations {
  const { ran, total, min, max } = stats;
  const ifRan = (ms: number): number | null => inSeconds(ran === 0 ? null : ms);
  const within = (share: number): number | null => inSeconds(percentile(stats, share));
  return {
    avg: ifRan(total / ran),
    min: ifRan(min),
    max: ifRan(max),
    p50: within(0.5),
    p95: within(0.95),
    p99: within(0.99),
  };
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms) / 1000;
}
