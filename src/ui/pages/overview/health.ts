import type { Metrics } from '../../../client/client.js';

/** Describes whether tasks fail at present, since when, and which function fails most. */
export interface Health {
  tone: 'good' | 'bad' | 'quiet';
  /** Number of failures in the last 15 minutes. */
  failed: number;
  ended: number;
  /** The function that fails most, and its share of the failures of the last hour. */
  worst: { name: string; share: number } | undefined;
  /**
   * When the present failures began: the first minute with a failure after five minutes without
   * one.
   */
  since: number | undefined;
}

const minute = 60_000;
const recent = 15 * minute;
/** Milliseconds without a failure that end a run of failures. */
const rest = 5 * minute;

/** Returns the health of the last 15 minutes, given the metrics of each minute. */
export function healthOf({ series, functions }: Metrics, now: number): Health {
  const points = series.map(({ at, failed, success }) => ({ at: Date.parse(at), failed, success }));
  const last = points.filter(({ at }) => at >= now - recent);
  const failed = last.reduce((sum, point) => sum + point.failed, 0);
  const ended = failed + last.reduce((sum, { success }) => sum + success, 0);
  if (failed === 0)
    return {
      tone: ended === 0 ? 'quiet' : 'good',
      failed,
      ended,
      worst: undefined,
      since: undefined,
    };
  const allFailed = functions.reduce((sum, { counts }) => sum + counts.failed, 0);
  const [worst] = [...functions].sort((a, b) => b.counts.failed - a.counts.failed);
  return {
    tone: 'bad',
    failed,
    ended,
    worst:
      worst && allFailed > 0
        ? { name: worst.name, share: worst.counts.failed / allFailed }
        : undefined,
    since: startOfRun(points.filter((point) => point.failed > 0).map(({ at }) => at)),
  };
}

function startOfRun(failing: readonly number[]): number | undefined {
  let start = failing.at(-1);
  for (const at of [...failing].reverse()) {
    if (start !== undefined && start - at > rest) break;
    start = at;
  }
  return start;
}
