import { createHash } from 'node:crypto';

/** A UUIDv7, as ids of tasks are. */
const taskIdForm = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether an id has the form of those that this package gives. */
export function isOwnId(id: string): boolean {
  return taskIdForm.test(id);
}

/**
 * The id of a task whose job is in a queue of `bullmqEngine`. A job that another program added may have any id, which is unique
 * within its queue alone, so the name of the queue is in front.
 */
export function taskIdOf(queue: string, jobId: string): string {
  return isOwnId(jobId) ? jobId : keyOf(queue, jobId);
}

/** What a job is called outside: ids of jobs are unique within their queue alone. */
export function keyOf(queue: string, jobId: string): string {
  return `${queue}:${jobId}`;
}

/** The queue and the job of a key: names of queues have no colon, ids of jobs may. */
export function partsOf(key: string): { queue: string; jobId: string } {
  const at = key.indexOf(':');
  return { queue: key.slice(0, at), jobId: key.slice(at + 1) };
}

/** The end of the year 9999, in Unix milliseconds. Other programs write any time, and no list looks for the largest ids. */
const latest = 253_402_300_799_999;

/** The UUIDv7 under which a job is kept: always the same for a job, and in the order of creation. `createdAt` is Unix milliseconds. */
export function idOfJob(key: string, createdAt: number): string {
  const time = Math.max(0, Math.min(latest, Math.floor(createdAt)))
    .toString(16)
    .padStart(12, '0');
  const hash = createHash('sha256').update(key).digest('hex');
  const variant = ((Number.parseInt(hash.slice(3, 4), 16) & 0x3) | 0x8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}
