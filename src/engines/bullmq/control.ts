import { Job } from 'bullmq';
import { TaskflowError } from '../../errors.js';
import type { Command, CommandBy, CommandResult, Outcome } from '../../tasks/engine.js';
import type { TaskStatus, TaskSummary } from '../../tasks/types.js';
import type { TasksCommand } from '../bulk.js';
import { keyOf, partsOf } from './job-ids.js';
import type { JobState } from './jobs.js';
import { stateByTimes, toMirrored } from './jobs.js';
import type { JobMirror } from './mirror.js';
import type { QueueReads } from './queue-reads.js';

/** Where each action can be done: a job that waits is deleted too, which is how a queue is drained. */
const allowed: Partial<Record<TasksCommand['action'], readonly TaskStatus[]>> = {
  retry: ['failed'],
  delete: ['pending', 'success', 'failed'],
  run: ['pending'],
};

export function isAllowed(action: TasksCommand['action'], status: TaskStatus): boolean {
  return allowed[action]?.includes(status) ?? false;
}

/** Options of a job that are of that one alone. */
const ownOptions = ['jobId', 'delay', 'timestamp', 'repeat', 'repeatJobKey', 'parent', 'deduplication', 'debounce', 'prevMillis'];

/** Commands to jobs, as BullMQ carries them out. */
export class JobControl {
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #mirror: JobMirror;

  constructor(queues: ReadonlyMap<string, QueueReads>, mirror: JobMirror) {
    this.#queues = queues;
    this.#mirror = mirror;
  }

  async pause(name: string, paused: boolean, by: CommandBy): Promise<Outcome> {
    const queue = this.#queues.get(name)?.queue;
    if (!queue) return { results: [], known: false };
    // Said before it is done, so that the event of it finds who and why.
    await this.#mirror.pause(name, paused, { by: by.actor, reason: by.reason });
    await (paused ? queue.pause() : queue.resume());
    return { results: [], known: true };
  }

  async schedule({ action, schedule }: Extract<Command, { schedule: string }>): Promise<Outcome> {
    if (action !== 'run') throw new TaskflowError('NOT_SUPPORTED', 'BullMQ cannot pause a job scheduler.');
    const { queue: name, jobId: id } = partsOf(schedule);
    const reads = this.#queues.get(name);
    const scheduler = await reads?.queue.getJobScheduler(id);
    if (!reads || !scheduler) return { results: [], known: false };
    const { data, opts } = scheduler.template ?? {};
    const job = await reads.queue.add(scheduler.name, data ?? {}, { ...opts });
    return { results: [await this.#done(reads, job.id ?? '', 'waiting')], known: true };
  }

  async rerun({ ids, args }: Extract<Command, { action: 'rerun' }>): Promise<Outcome> {
    const results: CommandResult[] = [];
    for (const id of ids) results.push(await this.#onJob(id, (reads, jobId, task) => this.#copy(reads, jobId, task, args)));
    return { results };
  }

  async act({ action }: TasksCommand, ids: readonly string[], delays: readonly number[] | undefined): Promise<CommandResult[]> {
    if (delays) throw new TaskflowError('NOT_SUPPORTED', 'BullMQ retries jobs at once; they cannot be spread over time.');
    return Promise.all(ids.map((id) => this.#onJob(id, (reads, jobId, task) => this.#actOn(action, reads, jobId, task))));
  }

  /** What BullMQ refuses is a conflict: the job is in another state by now, or a worker holds it. */
  async #onJob(
    id: string,
    act: (reads: QueueReads, jobId: string, task: TaskSummary) => Promise<CommandResult | undefined>,
  ): Promise<CommandResult> {
    const { queue: name, jobId } = partsOf(id);
    const reads = this.#queues.get(name);
    const task = this.#mirror.summary(id);
    if (!reads || !task) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    return (await act(reads, jobId, task)) ?? { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status };
  }

  async #actOn(action: TasksCommand['action'], reads: QueueReads, jobId: string, task: TaskSummary): Promise<CommandResult | undefined> {
    if (!isAllowed(action, task.status)) return undefined;
    const [json] = await reads.jobs([jobId]);
    if (!json && action === 'delete') return this.#forgotten(task);
    if (!json) return undefined;
    // A job that waits for its turn alone is due already.
    if (action === 'run' && (task.engineState === 'waiting' || task.engineState === 'prioritized')) return { id: task.id, ok: true, task };
    // Without its data and result, which may be large and which none of this needs.
    const job = Job.fromJSON(reads.queue, { ...json, data: '{}', stacktrace: '[]' }, jobId);
    try {
      if (action === 'retry') await job.retry('failed');
      else if (action === 'run') await job.promote();
      else await job.remove();
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
    return action === 'delete' ? this.#forgotten(task) : this.#done(reads, jobId, 'waiting');
  }

  /** The job is gone: BullMQ has removed it, now or before, maybe together with its parent in a flow. */
  async #forgotten(task: TaskSummary): Promise<CommandResult> {
    await this.#mirror.forget([task.id]);
    return { id: task.id, ok: true, task };
  }

  /** The job as it is now, without waiting for its event. */
  async #done(reads: QueueReads, jobId: string, state: JobState): Promise<CommandResult> {
    const { name } = reads.queue;
    const key = keyOf(name, jobId);
    const [job] = await reads.jobs([jobId]);
    if (job) await this.#mirror.put([toMirrored(name, job, job.finishedOn === undefined ? state : stateByTimes(job))]);
    const task = this.#mirror.summary(key);
    return task ? { id: key, ok: true, task } : { id: key, ok: false, code: 'TASK_NOT_FOUND' };
  }

  /** The only command that reads the data of a job, to add another one with it. */
  async #copy(reads: QueueReads, jobId: string, task: TaskSummary, args: string | undefined): Promise<CommandResult | undefined> {
    if (task.endedAt === null) return undefined;
    const job: Job | undefined = await reads.queue.getJob(jobId);
    if (!job) return undefined;
    const opts = Object.fromEntries(Object.entries(job.opts).filter(([name]) => !ownOptions.includes(name)));
    const made = await reads.queue.add(job.name, dataOf(job, args), opts);
    return this.#done(reads, made.id ?? '', 'waiting');
  }
}

/** A job has one value, where a task has a list of arguments. */
function dataOf(job: Job, args: string | undefined): unknown {
  if (args === undefined) return job.data;
  const list = JSON.parse(args) as unknown[];
  if (list.length !== 1)
    throw new TaskflowError('INVALID_INPUT', `args must be a list of one value, the data of the job; it has ${list.length}.`);
  return list[0];
}

/** Errors of BullMQ's scripts have a code below zero; that a lock is held it says in words alone. */
function isRefusal(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (typeof code === 'number' && code < 0) || (typeof message === 'string' && /locked by another worker/.test(message));
}
