import { createHash } from 'node:crypto';
import type { Job } from 'bullmq';
import type { Schedule } from '../../../tasks/new-task.js';

/**
 * Returns the id of the job scheduler of a schedule. It has no colons, because BullMQ builds ids of
 * jobs from it.
 */
export function schedulerId(name: string): string {
  return encodeURIComponent(name);
}

/** Returns when a schedule that is stored at `now` fires first. */
export function firstAfter(now: number, { interval, next }: Schedule): number | undefined {
  return interval === undefined ? next(now) : now + interval;
}

/** Returns when a tick was due, in Unix milliseconds. */
export function dueOf({ opts, timestamp }: Job): number {
  return opts.prevMillis ?? timestamp;
}

/**
 * Returns the id of the task of one run: a UUIDv7 of its time and a hash of the schedule, which is
 * the same each time.
 */
export function idOfRun(schedule: string, due: number): string {
  const time = due.toString(16).padStart(12, '0');
  const hash = createHash('sha256').update(`${schedule}\0${due}`).digest('hex');
  const variant = ((Number.parseInt(hash.slice(3, 4), 16) & 0x3) | 0x8).toString(16);
  const end = `${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${end}`;
}
