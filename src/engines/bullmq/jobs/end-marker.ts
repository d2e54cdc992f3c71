import type { EngineKeys, Marker } from '../keys.js';
import type { JobRef } from './job-ids.js';
import { jobFields, markerAt } from './task-job.js';

/** An end of a job that is to have a marker. */
interface MarkedEnd extends JobRef {
  marker: Marker;
  /** Unix milliseconds. */
  at: number;
}

/** A connection or transaction of ioredis. */
interface Target {
  eval(text: string, keys: number, ...args: (string | number)[]): unknown;
}

/**
 * Adds an ended job to the set of its marker, if its last end is this one. A set that held the
 * marker of an end that BullMQ refused could lose that of the job's real end.
 * KEYS: the job, the failed jobs, the set. ARGV: the id, the time of the end, the marker in the job.
 */
const markEnd = `
if redis.call('ZSCORE', KEYS[2], ARGV[1]) == ARGV[2] and redis.call('HGET', KEYS[1], '${jobFields.marker}') == ARGV[3] then
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
end
`;

/**
 * Sends the marker of an end. It must follow BullMQ's step in the same transaction, because every
 * count of tasks drops a marker without its job, and takes a job without its marker as failed.
 * Its text is sent each time, so Redis cannot lack it.
 */
export function sendMarker(
  target: Target,
  keys: EngineKeys,
  { queue, jobId, marker, at }: MarkedEnd,
): unknown {
  const sets = [keys.ofQueue(queue, 'failed'), keys.marked(queue, marker)];
  return target.eval(
    markEnd,
    3,
    keys.ofQueue(queue, jobId),
    ...sets,
    jobId,
    at,
    markerAt(marker, at),
  );
}
