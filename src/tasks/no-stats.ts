import { type Counts, type Stats, taskStatuses } from './types.js';

/** Returns counts of 0 for every state. */
export function noCounts(): Counts {
  return Object.fromEntries(taskStatuses.map((status) => [status, 0])) as Counts;
}

/** The statistics of no task. */
export const noStats: Stats = {
  counts: noCounts(),
  successRate: null,
  durations: { avg: null, min: null, max: null, p50: null, p95: null, p99: null },
};
