import type { JobSchedulerJson, Queue } from 'bullmq';
import type { ScheduleState } from '../../tasks/engine.js';
import { readTimetable, type Timetable } from '../../tasks/schedule.js';
import { keyOf } from './job-ids.js';
import type { JobMirror } from './mirror.js';

/** Schedulers of a queue that are shown. */
const most = 500;

/** A job scheduler of BullMQ, with the queue it is of. */
interface Scheduler {
  queue: string;
  json: JobSchedulerJson;
}

export async function listSchedulers(queue: Queue): Promise<Scheduler[]> {
  const schedulers = await queue.getJobSchedulers(0, most - 1, true);
  return schedulers.map((json) => ({ queue: queue.name, json }));
}

/** When a scheduler fires; nothing for a rule that is not understood here. */
export function timetableOf({ json }: Scheduler): Timetable | undefined {
  const { pattern, tz, every, key } = json;
  try {
    if (pattern !== undefined) return readTimetable(key, { cron: pattern, timezone: tz }, Date.now());
    return every === undefined ? undefined : readTimetable(key, { every: every / 1000 }, Date.now());
  } catch {
    return undefined;
  }
}

/** A scheduler as a schedule is shown. */
export function toScheduleState({ queue, json }: Scheduler, mirror: JobMirror): ScheduleState {
  const name = keyOf(queue, json.key);
  const last = mirror.lastOf(name);
  return {
    name,
    task: json.name,
    rule: json.pattern === undefined ? `every ${(json.every ?? 0) / 1000}` : `${json.pattern} ${json.tz ?? 'UTC'}`,
    nextRunAt: json.next === undefined ? null : new Date(json.next).toISOString(),
    lastRunAt: last?.startedAt ?? null,
    lastTaskId: last?.id ?? null,
    paused: false,
    pause: null,
    pausable: false,
    skipped: 0,
    undefinedSince: null,
  };
}
