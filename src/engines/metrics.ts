import type { DurationHistogram } from '../tasks/engine-queries.js';
import {
  type Counts,
  type Durations,
  type Metrics,
  type TaskStatus,
  taskStatuses,
} from '../tasks/types.js';
import { addFigures, bucketOf, type Figures, noFigures, percentile } from './figures.js';

/** A sum of the tasks of one name and queue that ended within a stretch of time. */
export interface Summed {
  name: string;
  queue: string;
  /** When the stretch begins; Unix milliseconds. */
  at: number;
  figures: Figures;
}

/** How many tasks of a name and queue are in a state now. */
export interface Live {
  name: string;
  queue: string;
  status: TaskStatus;
  n: number;
}

/** What is summed up for a name, for a queue, or for all tasks. */
interface Group {
  figures: Figures;
  live: Counts;
}

/** What metrics are made of. */
interface MetricsParts {
  sums: readonly Summed[];
  live: readonly Live[];
  /** Sums of the stretches of the series. */
  points: readonly Summed[];
  /** Milliseconds of one point of the series; without it there is no series. */
  step: number | undefined;
  /** Whether only a part of all time was asked for. */
  ranged: boolean;
  /** Label that stands for no queue, and is left out. */
  noQueue?: string | undefined;
}

/** Makes the metrics of a range, or of all time, from sums that were kept as tasks ended. */
export function metricsOf({ sums, live, points, step, ranged, noQueue }: MetricsParts): Metrics {
  const figures = (group: Group): Pick<Metrics, 'counts' | 'successRate' | 'durations'> =>
    figuresOf(group, ranged);
  const total = groupBy(() => '', sums, live).get('') ?? noGroup();
  const grouped = (key: 'name' | 'queue'): Metrics['functions'] =>
    [...groupBy((row) => row[key], sums, live)]
      .filter(([name]) => name !== noQueue)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, group]) => ({ name, ...figures(group) }));
  return {
    ...figures(total),
    functions: grouped('name'),
    queues: grouped('queue'),
    series: step === undefined ? [] : seriesOf(points, step),
  };
}

/** Returns how many attempts of each name took at most each number of seconds. */
export function histogramsOf(
  sums: readonly Summed[],
  bounds: readonly number[],
): DurationHistogram[] {
  const last = bounds.map((seconds) => bucketOf(seconds * 1000));
  return [...groupBy(({ name }) => name, sums, [])]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { figures }]) => {
      const buckets = Object.entries(figures.buckets).map(
        ([bucket, n]) => [Number(bucket), n] as const,
      );
      const within = (bucket: number): number =>
        buckets.reduce((sum, [each, n]) => (each <= bucket ? sum + n : sum), 0);
      return { name, counts: last.map(within), count: figures.ran, sum: figures.total / 1000 };
    });
}

/** Counts of no tasks. */
export function noCounts(): Counts {
  return Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Counts;
}

function noGroup(): Group {
  return { figures: noFigures(), live: noCounts() };
}

/** Groups the sums by a key. */
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
  for (const sum of sums) addFigures(groupOf(sum).figures, sum.figures);
  for (const row of live) groupOf(row).live[row.status] += row.n;
  return groups;
}

/**
 * Over all time the live counts are the truth; within a range, what ended in it, beside what waits
 * and runs now.
 */
function figuresOf(
  { figures, live }: Group,
  ranged: boolean,
): Pick<Metrics, 'counts' | 'successRate' | 'durations'> {
  const counts = ranged
    ? { ...noCounts(), pending: live.pending, running: live.running, ...figures.ended }
    : live;
  return { counts, successRate: successRate(counts), durations: durationsOf(figures) };
}

function seriesOf(points: readonly Summed[], step: number): Metrics['series'] {
  const byTime = new Map<number, Figures>();
  for (const point of points) {
    const at = point.at - (point.at % step);
    const total = byTime.get(at) ?? noFigures();
    byTime.set(at, total);
    addFigures(total, point.figures);
  }
  return [...byTime]
    .sort(([a], [b]) => a - b)
    .map(([at, figures]) => ({
      at: new Date(at).toISOString(),
      success: figures.ended.success ?? 0,
      failed: figures.ended.failed ?? 0,
      p95: inSeconds(percentile(figures, 0.95)),
    }));
}

/** The share of ended tasks that succeeded; null if none has ended. */
export function successRate({ success, failed, interrupted }: Counts): number | null {
  const ended = success + failed + interrupted;
  return ended === 0 ? null : success / ended;
}

function durationsOf(figures: Figures): Durations {
  const { ran, total, min, max } = figures;
  return {
    avg: inSeconds(ran === 0 ? null : total / ran),
    min: inSeconds(ran === 0 ? null : min),
    max: inSeconds(ran === 0 ? null : max),
    p50: inSeconds(percentile(figures, 0.5)),
    p95: inSeconds(percentile(figures, 0.95)),
    p99: inSeconds(percentile(figures, 0.99)),
  };
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms) / 1000;
}
