import { keptEntries } from '../jobs/change-notes.js';
import { sendMarker } from '../jobs/end-marker.js';
import { type JobRef, keyOf } from '../jobs/job-ids.js';
import { type EngineKeys, markers } from '../keys.js';

/*
 * Scripts that follow a step of BullMQ in the same transaction. They update this
 * package's keys to match the step, and write nothing if BullMQ refused it or Redis lacked its
 * script. Their text is sent each time, so Redis cannot lack them.
 */

/**
 * Removes the request to cancel a job that has ended with a marker, and notes the change.
 * KEYS: the set of the marker, the hash of requests, the stream of changes. ARGV: the id, the time
 * of the end, the name of the job in the hash and the stream, the number of entries to keep.
 */
const recordEnd = `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[3])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'failed', cjson.encode({ ARGV[3] }))
end
`;

/**
 * Drops the markers of a job that was removed and the request to cancel it, and notes the change.
 * When Redis is full, it refuses a script whose first write may need memory.
 * KEYS: the job, the set of each marker, the hash of requests, the stream of
 * changes. ARGV: as above, without the time.
 */
const recordRemoval = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[2])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[3], '*', 'removed', cjson.encode({ ARGV[2] }))
end
`;

/** A connection or transaction of ioredis. */
type Target = Parameters<typeof sendMarker>[0];

/** Returns the commands that follow the end of a job with a marker. */
export function recordsOfEnd(
  keys: EngineKeys,
  end: Parameters<typeof sendMarker>[2],
): ((target: Target) => unknown)[] {
  const { queue, jobId, marker, at } = end;
  const names = [keys.marked(queue, marker), keys.cancelling, keys.changes];
  return [
    (target) => sendMarker(target, keys, end),
    (target) =>
      target.eval(recordEnd, names.length, ...names, jobId, at, keyOf(queue, jobId), keptEntries),
  ];
}

/** Returns the commands that follow the removal of a job. */
export function recordsOfRemoval(
  keys: EngineKeys,
  { queue, jobId }: JobRef,
): ((target: Target) => unknown)[] {
  const sets = markers.map((marker) => keys.marked(queue, marker));
  const names = [keys.ofQueue(queue, jobId), ...sets, keys.cancelling, keys.changes];
  return [
    (target) =>
      target.eval(recordRemoval, names.length, ...names, jobId, keyOf(queue, jobId), keptEntries),
  ];
}
