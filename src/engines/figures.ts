import type { TaskStatus } from '../tasks/types.js';

/** Lengths of time that ended tasks are summed up over; `all` is one sum for ever. */
export const levels = { all: 0, day: 86_400_000, hour: 3_600_000, minute: 60_000 } as const;

/** Name of such a length. */
export type Level = keyof typeof levels;

/** A sum of ended tasks: how many of each state, and how long the attempts ran. */
export interface Figures {
  ended: Partial<Record<TaskStatus, number>>;
  /** Attempts that ran, their total and extremes in milliseconds. */
  ran: number;
  total: number;
  min: number;
  max: number;
  /** Number of attempts by bucket of duration. */
  buckets: Record<string, number>;
}

/**
 * Sixteen buckets for each doubling: a percentile read from them is within 2.2 % of the true one.
 */
const perDoubling = 16;

/** A sum of nothing. */
export function noFigures(): Figures {
  return { ended: {}, ran: 0, total: 0, min: 0, max: 0, buckets: {} };
}

/** The bucket of a duration in milliseconds. */
export function bucketOf(ms: number): number {
  return Math.floor(Math.log2(ms + 1) * perDoubling);
}

/**
 * Adds one ended task; `ms` is how long its last attempt ran, `undefined` for one that never did.
 */
export function addEnded(figures: Figures, status: TaskStatus, ms: number | undefined): void {
  figures.ended[status] = (figures.ended[status] ?? 0) + 1;
  if (ms === undefined) return;
  const bucket = bucketOf(ms);
  figures.buckets[bucket] = (figures.buckets[bucket] ?? 0) + 1;
  figures.min = figures.ran === 0 ? ms : Math.min(figures.min, ms);
  figures.max = Math.max(figures.max, ms);
  figures.ran += 1;
  figures.total += ms;
}

/** Adds one sum to another. */
export function addFigures(into: Figures, other: Figures): void {
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

/**
 * The duration, in milliseconds, that a share (0 to 1) of the attempts stayed within; null where
 * none ran.
 */
export function percentile({ ran, min, max, buckets }: Figures, share: number): number | null {
  if (ran === 0) return null;
  let left = Math.ceil(ran * share);
  const ordered = Object.entries(buckets)
    .map(([bucket, n]) => [Number(bucket), n] as const)
    .sort(([a], [b]) => a - b);
  for (const [bucket, n] of ordered) {
    left -= n;
    if (left <= 0) return Math.min(max, Math.max(min, 2 ** ((bucket + 0.5) / perDoubling) - 1));
  }
  return max;
}

/** When the stretch of time begins that a moment lies in. */
export function startOf(level: Level, at: number): number {
  return level === 'all' ? 0 : at - (at % levels[level]);
}
