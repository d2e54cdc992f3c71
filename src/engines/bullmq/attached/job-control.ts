import { Job } from 'bullmq';
import { TaskflowError } from '../../../errors.js';
import type {
  Action,
  Command,
  CommandBy,
  CommandResult,
  Outcome,
} from '../../../tasks/commands.js';
import type { TaskFilter, TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { commandTasks, previewByState, type TasksCommand } from '../../bulk.js';
import { allSteps, type CallProgress } from '../connection/redis-calls.js';
import { keyOf, partsOf } from '../jobs/job-ids.js';
import type { QueueReads } from '../queues/queue-reads.js';
import type { WindowModel } from '../read/window-model.js';
import type { AttachedPauses } from './pauses.js';
import { withRejections } from './preview.js';

/** The actions that attached queues support. */
export const attachedActions: ReadonlySet<Action> = new Set([
  'retry',
  'rerun',
  'delete',
  'run',
  'pause',
  'resume',
]);

/**
 * The states in which each action is allowed. Waiting jobs can be deleted too, which drains a
 * queue.
 */
const allowed: Partial<Record<TasksCommand['action'], readonly TaskStatus[]>> = {
  retry: ['failed'],
  delete: ['pending', 'success', 'failed'],
  run: ['pending'],
};

function isAllowed(action: TasksCommand['action'], status: TaskStatus): boolean {
  return allowed[action]?.includes(status) ?? false;
}

/** Job options that a rerun does not copy, because they belong to the original job only. */
const ownOptions = [
  'jobId',
  'delay',
  'timestamp',
  'repeat',
  'repeatJobKey',
  'parent',
  'deduplication',
  'debounce',
  'prevMillis',
];

interface ControlDeps {
  queues: ReadonlyMap<string, QueueReads>;
  /** Each read includes what BullMQ did before, so it returns the job as it is after a command. */
  model: WindowModel;
  pauses: AttachedPauses;
  progress: CallProgress;
}

/**
 * Applies an action to a job. Resolves to the task afterwards, or to undefined if BullMQ rejects
 * the action.
 */
type Act = (
  reads: QueueReads,
  jobId: string,
  task: TaskSummary,
) => Promise<TaskSummary | undefined>;

/** Runs commands on attached queues and their jobs through BullMQ. */
export class JobControl {
  readonly #queues: ReadonlyMap<string, QueueReads>;
  readonly #model: WindowModel;
  readonly #pauses: AttachedPauses;
  readonly #progress: CallProgress;

  constructor({ queues, model, pauses, progress }: ControlDeps) {
    this.#queues = queues;
    this.#model = model;
    this.#pauses = pauses;
    this.#progress = progress;
  }

  async control(command: Command, by: CommandBy): Promise<Outcome> {
    if ('queue' in command) return this.#pause(command.queue, command.action === 'pause', by);
    if ('schedule' in command) return this.#schedule(command);
    if (command.action === 'rerun') return { results: await this.#rerun(command) };
    if (!attachedActions.has(command.action))
      throw new TaskflowError(
        'NOT_SUPPORTED',
        `attachQueues does not support '${command.action}' for jobs.`,
      );
    const deps = {
      find: (query: TaskQuery) => this.#model.find(query),
      count: (filter: TaskFilter) => this.#model.count(filter),
      preview: async (
        action: TasksCommand['action'],
        ids: readonly string[],
        tasks?: readonly TaskSummary[],
      ) =>
        withRejections(
          this.#queues,
          action,
          previewByState(ids, tasks ?? (await this.#model.summaries(ids)), (status) =>
            isAllowed(action, status),
          ),
        ),
      allowed: isAllowed,
      act: this.#act.bind(this),
    };
    return commandTasks(deps, command as Parameters<typeof commandTasks>[1], by);
  }

  async #pause(name: string, paused: boolean, by: CommandBy): Promise<Outcome> {
    const reads = this.#queues.get(name);
    if (!reads) return { results: [], known: false };
    const { queue } = reads;
    const wasPaused = paused && (await this.#pauses.isPaused(reads));
    await this.#changing(() => (paused ? queue.pause() : queue.resume()));
    // The events from before this pause are read first: one of them may say that the queue was
    // resumed, which would clear the record of this pause.
    if (paused) await this.#model.revs();
    if (paused) this.#pauses.paused(name, by, wasPaused);
    return { results: [], known: true };
  }

  async #schedule({ action, schedule }: Extract<Command, { schedule: string }>): Promise<Outcome> {
    if (action !== 'run')
      throw new TaskflowError(
        'NOT_SUPPORTED',
        `attachQueues does not support '${action}' for job schedulers. Supported: run.`,
      );
    const { queue: name, jobId: key } = partsOf(schedule);
    const reads = this.#queues.get(name);
    const scheduler = await reads?.queue.getJobScheduler(key);
    if (!reads || !scheduler) return { results: [], known: false };
    const { data, opts } = scheduler.template ?? {};
    const job = await this.#changing(() =>
      reads.queue.add(scheduler.name, data ?? {}, { ...opts }),
    );
    const id = keyOf(name, job.id ?? '');
    const [task] = await this.#model.summaries([id]);
    return {
      results: [task ? { id, ok: true, task } : { id, ok: false, code: 'TASK_NOT_FOUND' }],
      known: true,
    };
  }

  /**
   * Adds a new job with the data of an ended one. It is the only command that reads the data of a
   * job.
   */
  async #rerun({ ids, args }: Extract<Command, { action: 'rerun' }>): Promise<CommandResult[]> {
    return this.#onJobs(ids, async (reads, jobId, task) => {
      if (task.endedAt === null) return undefined;
      const job: Job | undefined = await reads.queue.getJob(jobId);
      if (!job) return undefined;
      const opts = Object.fromEntries(
        Object.entries(job.opts).filter(([name]) => !ownOptions.includes(name)),
      );
      const data = dataOf(job, args);
      const made = await this.#changing(() => reads.queue.add(job.name, data, opts));
      const [copy] = await this.#model.summaries([keyOf(reads.queue.name, made.id ?? '')]);
      return copy;
    });
  }

  async #act(
    { action }: TasksCommand,
    ids: readonly string[],
    delays: readonly number[] | undefined,
  ): Promise<CommandResult[]> {
    if (delays)
      throw new TaskflowError(
        'NOT_SUPPORTED',
        'attachQueues does not support spread: BullMQ retries jobs immediately.',
      );
    return this.#onJobs(ids, async (reads, jobId, task) => {
      if (!isAllowed(action, task.status)) return undefined;
      const [json] = await reads.jobs([jobId]);
      if (!json && action === 'delete') return this.#forgotten(task);
      if (!json) return undefined;
      // A job that waits only for its turn is already due.
      if (
        action === 'run' &&
        (task.engineState === 'waiting' || task.engineState === 'prioritized')
      )
        return task;
      // The job is created without its data and its stack traces, because they may be large and
      // none of these actions needs them.
      const job = Job.fromJSON(reads.queue, { ...json, data: '{}', stacktrace: '[]' }, jobId);
      try {
        await this.#changing<unknown>(() => {
          if (action === 'retry') return job.retry('failed');
          return action === 'run' ? job.promote() : job.remove();
        });
      } catch (error) {
        if (isRefusal(error)) return undefined;
        throw error;
      }
      return action === 'delete' ? task : waitingAgain(task);
    });
  }

  /** Changes something through BullMQ, and notes that the command has changed something. */
  async #changing<T>(change: () => Promise<T>): Promise<T> {
    this.#progress.sending();
    const changed = await change();
    this.#progress.changed();
    return changed;
  }

  /**
   * Drops a task whose job BullMQ has already removed, for example together with its parent in a
   * flow.
   */
  async #forgotten(task: TaskSummary): Promise<TaskSummary> {
    await this.#model.forget([task.id]);
    return task;
  }

  /**
   * Applies `act` to each job. If BullMQ rejects it, the result is a conflict: the job has changed
   * its state, or a worker runs it.
   */
  async #onJobs(ids: readonly string[], act: Act): Promise<CommandResult[]> {
    const known = new Map((await this.#model.summaries(ids)).map((task) => [task.id, task]));
    return allSteps(
      ids.map(async (id): Promise<CommandResult> => {
        const { queue, jobId } = partsOf(id);
        const [reads, task] = [this.#queues.get(queue), known.get(id)];
        if (!reads || !task) return { id, ok: false, code: 'TASK_NOT_FOUND' };
        const after = await act(reads, jobId, task);
        if (!after) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status: task.status };
        return { id: after.id, ok: true, task: after };
      }),
    );
  }
}

/** Returns the task after BullMQ has retried or promoted its job, which then waits for a worker. */
function waitingAgain(task: TaskSummary): TaskSummary {
  const engineState = task.priority === 0 ? 'waiting' : 'prioritized';
  const times = { runAt: task.createdAt, startedAt: null, endedAt: null, duration: null };
  return {
    ...task,
    ...times,
    status: 'pending',
    engineState,
    progress: null,
    error: null,
    fingerprint: null,
  };
}

/**
 * Returns the data of the new job. A BullMQ job has one value, whereas a task has a list of
 * arguments.
 */
function dataOf(job: Job, args: string | undefined): unknown {
  if (args === undefined) return job.data;
  const list = JSON.parse(args) as unknown[];
  if (list.length !== 1)
    throw new TaskflowError(
      'INVALID_INPUT',
      `args has ${list.length} values; it must be a list of one value, which becomes the data ` +
        'of the job.',
    );
  return list[0];
}

/**
 * Whether BullMQ rejected an action. Errors of its scripts have a negative code. Only the message
 * says that the job is locked.
 */
function isRefusal(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (typeof code === 'number' && code < 0) ||
    (typeof message === 'string' && /locked by another worker/.test(message))
  );
}
