import type { Job, Queue } from 'bullmq';
import { TaskflowError } from '../../errors.js';
import type { Command, CommandBy, CommandResult, Outcome } from '../../tasks/engine.js';
import type { TaskStatus, TaskSummary } from '../../tasks/types.js';
import type { TasksCommand } from '../bulk.js';
import { keyOf, partsOf } from './job-ids.js';
import type { JobState } from './jobs.js';
import { stateByTimes, toMirrored } from './jobs.js';
import type { JobMirror } from './mirror.js';

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
  readonly #queues: ReadonlyMap<string, Queue>;
  readonly #mirror: JobMirror;

  constructor(queues: ReadonlyMap<string, Queue>, mirror: JobMirror) {
    this.#queues = queues;
    this.#mirror = mirror;
  }

  async pause(name: string, paused: boolean, by: CommandBy): Promise<Outcome> {
    const queue = this.#queues.get(name);
    if (!queue) return { results: [], known: false };
    // Said before it is done, so that the event of it finds who and why.
    await this.#mirror.pause(name, paused, { by: by.actor, reason: by.reason });
    await (paused ? queue.pause() : queue.resume());
    return { results: [], known: true };
  }

  async schedule({ action, schedule }: Extract<Command, { schedule: string }>): Promise<Outcome> {
    if (action !== 'run') throw new TaskflowError('NOT_SUPPORTED', 'BullMQ cannot pause a job scheduler.');
    const { queue: name, jobId: id } = partsOf(schedule);
    const queue = this.#queues.get(name);
    const scheduler = await queue?.getJobScheduler(id);
    if (!queue || !scheduler) return { results: [], known: false };
    const { data, opts } = scheduler.template ?? {};
    const job = await queue.add(scheduler.name, data ?? {}, { ...opts });
    return { results: [await this.#done(queue, job, 'waiting')], known: true };
  }

  async rerun({ ids, args }: Extract<Command, { action: 'rerun' }>): Promise<Outcome> {
    const results: CommandResult[] = [];
    for (const id of ids) results.push(await this.#onJob(id, (queue, job, task) => this.#copy(queue, job, task, args)));
    return { results };
  }

  async act({ action }: TasksCommand, ids: readonly string[], delays: readonly number[] | undefined): Promise<CommandResult[]> {
    if (delays) throw new TaskflowError('NOT_SUPPORTED', 'BullMQ retries jobs at once; they cannot be spread over time.');
    return Promise.all(ids.map((id) => this.#onJob(id, (queue, job, task) => this.#actOn(action, queue, job, task))));
  }

  /** What BullMQ refuses is a conflict: the job is in another state by now, or a worker holds it. */
  async #onJob(id: string, act: (queue: Queue, job: Job, task: TaskSummary) => Promise<CommandResult | undefined>): Promise<CommandResult> {
    const { queue: name, jobId } = partsOf(id);
    const queue = this.#queues.get(name);
    const [job, task] = [await queue?.getJob(jobId), this.#mirror.summary(id)];
    if (!queue || !task) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    const refused: CommandResult = { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status };
    if (!job) return refused;
    return (await act(queue, job as Job, task)) ?? refused;
  }

  async #actOn(action: TasksCommand['action'], queue: Queue, job: Job, task: TaskSummary): Promise<CommandResult | undefined> {
    if (!isAllowed(action, task.status)) return undefined;
    try {
      if (action === 'retry') await job.retry('failed');
      else if (action === 'run') await job.promote();
      else await job.remove();
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
    if (action !== 'delete') return this.#done(queue, job, 'waiting');
    await this.#mirror.forget([task.id]);
    return { id: task.id, ok: true, task };
  }

  /** The job as it is now, without waiting for its event. */
  async #done(queue: Queue, job: Job, state: JobState): Promise<CommandResult> {
    const id = job.id ?? '';
    const key = keyOf(queue.name, id);
    const data = await queue.getBackend().getJobData(id);
    if (data) await this.#mirror.put([toMirrored(queue.name, { ...data, id }, data.finishedOn === undefined ? state : stateByTimes(data))]);
    const task = this.#mirror.summary(key);
    return task ? { id: key, ok: true, task } : { id: key, ok: false, code: 'TASK_NOT_FOUND' };
  }

  async #copy(queue: Queue, job: Job, task: TaskSummary, args: string | undefined): Promise<CommandResult | undefined> {
    if (task.endedAt === null) return undefined;
    const opts = Object.fromEntries(Object.entries(job.opts).filter(([name]) => !ownOptions.includes(name)));
    const made = await queue.add(job.name, dataOf(job, args), opts);
    return this.#done(queue, made as Job, 'waiting');
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
