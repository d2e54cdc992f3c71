import type { ScheduleState } from '../../../tasks/queue-state.js';
import { type Recurrence, readRecurrence } from '../../../tasks/schedule.js';
import { keyOf } from '../jobs/job-ids.js';
import type { QueueReads, SchedulerFields } from '../queues/queue-reads.js';
import type { WindowModel } from '../read/window-model.js';

/** Maximum number of schedulers that are shown per queue. */
const maxSchedulers = 500;

/** A BullMQ job scheduler and its queue. */
interface Scheduler {
  queue: string;
  fields: SchedulerFields;
}

/** Lists the job schedulers of a queue that run next. */
export async function listSchedulers(queue: string, reads: QueueReads): Promise<Scheduler[]> {
  const schedulers = await reads.schedulers(maxSchedulers);
  return schedulers.map((fields) => ({ queue, fields }));
}

/** Returns the recurrence rule of a scheduler, or undefined if the rule is not supported. */
export function recurrenceOf({ fields }: Scheduler): Recurrence | undefined {
  const { pattern, tz, every, id } = fields;
  try {
    if (pattern !== undefined)
      return readRecurrence(id, { cron: pattern, timezone: tz }, Date.now());
    return every === undefined
      ? undefined
      : readRecurrence(id, { every: every / 1000 }, Date.now());
  } catch {
    return undefined;
  }
}

/** Returns a scheduler as the API shows a schedule. */
export function toScheduleState({ queue, fields }: Scheduler, model: WindowModel): ScheduleState {
  const { id, name: task, pattern, tz, every = 0, next } = fields;
  const name = keyOf(queue, id);
  const last = model
    .inWindow({ schedule: name, sort: 'startedAt', limit: 1, counted: false })
    .find(({ startedAt }) => startedAt !== null);
  return {
    name,
    task,
    rule: pattern === undefined ? `every ${every / 1000}` : `${pattern} ${tz ?? 'UTC'}`,
    nextRunAt: new Date(next).toISOString(),
    lastRunAt: last?.startedAt ?? null,
    lastTaskId: last?.id ?? null,
    paused: false,
    pause: null,
    pausable: false,
    skipped: 0,
    undefinedSince: null,
  };
}
