import { keptEntries } from '../jobs/change-notes.js';
import { type JobRef, keyOf } from '../jobs/job-ids.js';
import { jobFields, markerAt } from '../jobs/task-job.js';
import { type EngineKeys, type Marker, markers } from '../keys.js';
import type { StepPart } from './whole-step.js';

/*
 * Scripts that follow a step of BullMQ. They update this package's keys to match the step, and
 * write nothing if BullMQ refused it or Redis lacked its script.
 */

/**
 * Adds an ended job to the set of its marker, removes the request to cancel it, and notes the
 * change, if its last end is this one. A set that held the marker of an end that BullMQ refused
 * could lose that of the job's real end. Every count of tasks takes a job without its marker as
 * failed, so the marker must be stored together with the step.
 * KEYS: the job, the failed jobs, the set, the hash of requests, the stream of changes. ARGV: the
 * id, the time of the end, the marker in the job, the name of the job in the hash and the stream,
 * the number of entries to keep.
 */
const recordEnd = `
if redis.call('ZSCORE', KEYS[2], ARGV[1]) == ARGV[2]
  and redis.call('HGET', KEYS[1], '${jobFields.marker}') == ARGV[3] then
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[4])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'failed', cjson.encode({ ARGV[4] }))
end
`;

/**
 * Drops the markers of a job that was removed and the request to cancel it, and notes the change.
 * When Redis is full, it refuses a script whose first write may need memory.
 * KEYS: the job, the set of each marker, the hash of requests, the stream of changes. ARGV: the id,
 * the name of the job in the hash and the stream, the number of entries to keep.
 */
const recordRemoval = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[2])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[3], '*', 'removed', cjson.encode({ ARGV[2] }))
end
`;

/** Returns what follows the end of a job with a marker. `at`: Unix milliseconds. */
export function recordOfEnd(
  keys: EngineKeys,
  { queue, jobId, marker, at }: JobRef & { marker: Marker; at: number },
): StepPart {
  const sets = [keys.ofQueue(queue, 'failed'), keys.marked(queue, marker)];
  return {
    name: 'recordEnd',
    text: recordEnd,
    keys: [keys.ofQueue(queue, jobId), ...sets, keys.cancelling, keys.changes],
    args: [jobId, at, markerAt(marker, at), keyOf(queue, jobId), keptEntries],
  };
}

/** Returns what follows the removal of a job. */
export function recordOfRemoval(keys: EngineKeys, { queue, jobId }: JobRef): StepPart {
  const sets = markers.map((marker) => keys.marked(queue, marker));
  return {
    name: 'recordRemoval',
    text: recordRemoval,
    keys: [keys.ofQueue(queue, jobId), ...sets, keys.cancelling, keys.changes],
    args: [jobId, keyOf(queue, jobId), keptEntries],
  };
}
