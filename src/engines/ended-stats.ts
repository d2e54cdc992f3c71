import type { TaskStatus } from '../tasks/types.js';

/**
 * The levels of rollups, each with its length in milliseconds. `all` is a single rollup of all
 * time.
 */
export const levels = { all: 0, day: 86_400_000, hour: 3_600_000, minute: 60_000 } as const;

/** The name of a level. */
export type Level = keyof typeof levels;

/** Statistics of ended tasks: their number by state, and the durations of their attempts. */
export interface EndedStats {
  ended: Partial<Record<TaskStatus, number>>;
  /** Number of attempts that ran. Total, minimum and maximum of their durations in milliseconds. */
  ran: number;
  total: number;
  min: number;
  max: number;
  /** Number of attempts by duration bucket. */
  buckets: Record<string, number>;
}

/** Buckets per doubling of the duration. With 16, a percentile is within 2.2 % of the exact one. */
const perDoubling = 16;

/** Returns the statistics of no tasks. */
export function emptyStats(): EndedStats {
  return { ended: {}, ran: 0, total: 0, min: 0, max: 0, buckets: {} };
}

/** Returns the bucket of a duration in milliseconds. */
export function bucketOf(ms: number): number {
  return Math.floor(Math.log2(ms + 1) * perDoubling);
}

/**
 * Adds one ended task. `ms` is the duration of its last attempt, or `undefined` if it never ran.
 */
export function addEnded(stats: EndedStats, status: TaskStatus, ms: number | undefined): void {
  stats.ended[status] = (stats.ended[status] ?? 0) + 1;
  if (ms === undefined) return;
  const bucket = bucketOf(ms);
  stats.buckets[bucket] = (stats.buckets[bucket] ?? 0) + 1;
  stats.min = stats.ran === 0 ? ms : Math.min(stats.min, ms);
  stats.max = Math.max(stats.max, ms);
  stats.ran += 1;
  stats.total += ms;
}

/** Adds statistics to other ones. */
export function addStats(into: EndedStats, other: EndedStats): void {
  for (const [status, n] of Object.entries(other.ended) as [TaskStatus, number][])
    into.ended[status] = (into.ended[status] ?? 0) + n;
  for (const [bucket, n] of Object.entries(other.buckets))
    into.buckets[bucket] = (into.buckets[bucket] ?? 0) + n;
  into.min =
    into.ran === 0 ? other.min : other.ran === 0 ? into.min : Math.min(into.min, other.min);
  into.max = Math.max(into.max, other.max);
  into.ran += other.ran;
  into.total += other.total;
}

/** Returns the buckets with their numbers of attempts, the shortest durations first. */
export function bucketsOf({ buckets }: EndedStats): [bucket: number, n: number][] {
  return Object.entries(buckets)
    .map(([bucket, n]): [number, number] => [Number(bucket), n])
    .sort(([a], [b]) => a - b);
}

/**
 * Returns the duration in milliseconds that a share (0 to 1) of the attempts did not exceed, or
 * null if none ran.
 */
export function percentile(stats: EndedStats, share: number): number | null {
  const { ran, min, max } = stats;
  if (ran === 0) return null;
  let left = Math.ceil(ran * share);
  for (const [bucket, n] of bucketsOf(stats)) {
    left -= n;
    if (left <= 0) return Math.min(max, Math.max(min, 2 ** ((bucket + 0.5) / perDoubling) - 1));
  }
  return max;
}

/** Returns the start of the unit of a level that contains a time. */
export function startOf(level: Level, at: number): number {
  return level === 'all' ? 0 : at - (at % levels[level]);
}
