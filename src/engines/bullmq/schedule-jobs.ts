import type { Queue, RepeatOptions } from 'bullmq';
import type { Database } from '../embedded/database.js';
import type { Alarm } from '../table-home.js';
import { JobQueues, type JobQueuesParts, leaveNothing } from './job-queues.js';
import type { JournalBatch } from './replica.js';

interface ScheduleJobsParts extends JobQueuesParts {
  database: Database;
}

/**
 * Wakes whoever fires a schedule by a job scheduler of BullMQ: its job is there when the schedule is due, and of all processes
 * that wait for that moment the one that takes it fires. When it fires next is in the tables, which the scheduler is set by each
 * time they change; so one that is lost or late makes a run a little later, and never one more.
 */
export class ScheduleJobs implements Alarm {
  readonly #database: Database;
  readonly #queues: JobQueues;
  /** Jobs that were taken, by the schedules that they are of. */
  readonly #taken = new Map<string, string[]>();

  constructor(parts: ScheduleJobsParts) {
    this.#database = parts.database;
    this.#queues = new JobQueues(parts);
  }

  /** A queue each, since a process can only fire those it has; no lane of tasks has such a title. */
  #queue(schedule: string): Queue {
    return this.#queues.get(`schedule@${encodeURIComponent(schedule)}`);
  }

  async take(schedule: string): Promise<boolean> {
    const id = await this.#queues.take(this.#queue(schedule));
    if (id !== undefined) this.#taken.set(schedule, [...(this.#taken.get(schedule) ?? []), id]);
    return id !== undefined;
  }

  /** A batch of this process is in the tables: the schedulers of the schedules in it follow. */
  applied({ writes }: JournalBatch): void {
    for (const write of writes) {
      if (write.kind !== 'plan' && write.kind !== 'fire' && write.kind !== 'pauseSchedule') continue;
      // One that could not be set is missed when it is due, and set then.
      this.#follow(write.name).catch(() => undefined);
    }
  }

  async #follow(schedule: string): Promise<void> {
    const queue = this.#queue(schedule);
    const taken = this.#taken.get(schedule) ?? [];
    this.#taken.delete(schedule);
    // One that is no longer this process's is handed out again, and ended by whoever takes it then.
    const finished = taken.map((id) => this.#queues.finish(queue, id).catch(() => undefined));
    await Promise.all([
      // A scheduler that is there would keep its rhythm.
      queue.removeJobScheduler(schedule),
      // What a process took that was killed before it could fire.
      queue.getBackend().moveStalledJobsToWait(),
      ...finished,
    ]);
    const row = this.#database.get('SELECT rule, next_at, paused_at FROM schedule WHERE name = ?', schedule);
    if (typeof row?.next_at !== 'number' || row.paused_at !== null) return;
    await queue.upsertJobScheduler(schedule, { ...repeatOf(String(row.rule)), startDate: row.next_at }, { opts: leaveNothing });
  }

  close(): Promise<void> {
    return this.#queues.close();
  }
}

/** The rule of a schedule as BullMQ has it. */
function repeatOf(rule: string): Pick<RepeatOptions, 'every' | 'pattern' | 'tz'> {
  const every = /^every ([\d.]+)$/.exec(rule)?.[1];
  if (every !== undefined) return { every: Math.round(Number(every) * 1000) };
  const zone = rule.lastIndexOf(' ');
  return { pattern: rule.slice(0, zone), tz: rule.slice(zone + 1) };
}
