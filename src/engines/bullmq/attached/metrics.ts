import type { MetricsRange } from '../../../tasks/engine-queries.js';
import { noCounts, noStats } from '../../../tasks/no-stats.js';
import {
  type Counts,
  type Coverage,
  type Metrics,
  type Stats,
  taskStatuses,
} from '../../../tasks/types.js';
import { successRate } from '../../metrics.js';
import type { WindowModel } from '../read/window-model.js';

/**
 * Reads the metrics of the jobs in the window. The counts of queues, and of all jobs together, are
 * those of BullMQ, which may have more jobs than the window. BullMQ does not count jobs by name, so
 * the counts of functions are those of the window.
 */
export async function readMetrics(
  model: WindowModel,
  names: readonly string[],
  range: MetricsRange,
): Promise<Metrics> {
  const metrics = await model.aggregate('metrics', [range]);
  const isRanged = range.from !== undefined || range.to !== undefined;
  const known = new Map(metrics.queues.map((stats) => [stats.name, stats]));
  const all = noCounts();
  const queues = await Promise.all(
    names.map(async (name) => {
      const counts = await model.counts({ queue: name });
      for (const status of taskStatuses) all[status] += counts[status];
      return withCounts(known.get(name) ?? { name, ...noStats }, counts, isRanged);
    }),
  );
  return { ...withCounts(metrics, all, isRanged), queues };
}

/** Replaces the counts of statistics. Within a range, BullMQ does not count ended jobs. */
function withCounts<T extends Stats>(
  stats: T,
  { pending, running, ...ended }: Counts,
  isRanged: boolean,
): T {
  const counts = isRanged ? { ...stats.counts, pending, running } : { pending, running, ...ended };
  return { ...stats, counts, successRate: successRate(counts) };
}

/**
 * Returns which jobs the statistics of a range include. `from`: the start of the range.
 * `readSince`: since when every event is read. Both are Unix milliseconds.
 */
export function coverageOf(from: number | undefined, readSince: number): Coverage {
  return from !== undefined && from >= readSince
    ? {}
    : { completeSince: new Date(readSince).toISOString() };
}
