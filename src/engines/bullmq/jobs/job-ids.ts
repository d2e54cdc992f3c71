import { createHash } from 'node:crypto';

/** A job: its queue and its id, which is unique only within the queue. */
export interface JobRef {
  /** BullMQ's name of the queue. */
  queue: string;
  jobId: string;
}

/** Why the next job of a job scheduler is neither cancelled nor deleted. */
export const ofScheduler =
  'A BullMQ job scheduler made this job for its next run. Without this job, the scheduler ' +
  'would stop. To end it, remove the job scheduler with BullMQ.';

/** The form of task ids: UUIDv7. */
const taskIdForm = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether an id has the form of a task id. */
export function isOwnId(id: string): boolean {
  return taskIdForm.test(id);
}

/**
 * Returns the id of the task whose job is in a queue of `bullmqEngine`. A job that another program
 * added may have any id, so its task has the key of the job as its id.
 */
export function taskIdOf(queue: string, jobId: string): string {
  return isOwnId(jobId) ? jobId : keyOf(queue, jobId);
}

/** Returns the key of a job, which is unique across all queues. */
export function keyOf(queue: string, jobId: string): string {
  return `${queue}:${jobId}`;
}

/**
 * Splits the key of a job. The name of a queue has no colon, but the id of a job may have some. The
 * queue is empty if the text has no colon.
 */
export function partsOf(key: string): JobRef {
  const colon = key.indexOf(':');
  return colon < 0
    ? { queue: '', jobId: key }
    : { queue: key.slice(0, colon), jobId: key.slice(colon + 1) };
}

/**
 * The end of the year 9999, in Unix milliseconds. Another program may store any time for a job.
 * Later times are stored as this one. The order of such jobs does not matter.
 */
const latest = 253_402_300_799_999;

/**
 * Returns the UUIDv7 of a job in a window, or of the task of a scheduled run. The same key always
 * gets the same UUIDv7, and they are in the order of creation. `createdAt`: Unix milliseconds.
 */
export function idOfJob(key: string, createdAt: number): string {
  const time = Math.max(0, Math.min(latest, Math.floor(createdAt)))
    .toString(16)
    .padStart(12, '0');
  const hash = createHash('sha256').update(key).digest('hex');
  const variant = ((Number.parseInt(hash.slice(3, 4), 16) & 0x3) | 0x8).toString(16);
  const end = `${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${end}`;
}
