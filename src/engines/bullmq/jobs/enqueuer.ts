import type { JobJson, RedisClient } from 'bullmq';
import { TaskflowError } from '../../../errors.js';
import { grouped } from '../../../show-value.js';
import type { NewTask } from '../../../tasks/new-task.js';
import { hasCode } from '../connection/redis-errors.js';
import { transact } from '../connection/redis-script.js';
import type { CatalogEntry, StoredQueues } from '../queues/queue-catalog.js';
import type { ChangeNote, ChangeNotes } from './change-notes.js';
import { JobAdder } from './job-adder.js';
import { isDelayed, toJob } from './task-job.js';

const mebibyte = 1024 * 1024;
/** Maximum number of tasks and bytes per call. Redis does nothing else while it stores them. */
export const maxAtOnce = { tasks: 10_000, bytes: 16 * mebibyte };

/** A task to be stored, and its queue. */
interface RoutedTask {
  task: NewTask;
  entry: CatalogEntry;
}

interface EnqueuerDeps extends StoredQueues {
  changes: ChangeNotes;
}

/** Adds tasks as jobs. All tasks of a call are in one transaction. A single task needs none. */
export class Enqueuer {
  readonly #deps: EnqueuerDeps;
  readonly #adder: JobAdder;
  /**
   * The connection, once BullMQ's scripts are defined on it. It is kept, because an await for each
   * task would cost more than to find its queue.
   */
  #client: RedisClient | undefined;

  constructor(deps: EnqueuerDeps) {
    this.#deps = deps;
    this.#adder = new JobAdder(deps.redis, deps.keys);
  }

  /**
   * Stores all tasks or none, and resolves to their ids. If another task has the idempotency key of
   * a task, that is the id of the other task. `sending` is called just before the tasks are sent.
   *
   * @throws TaskflowError INVALID_INPUT if they are too many for one transaction.
   */
  async enqueue(
    tasks: readonly NewTask[],
    sending: () => void = () => undefined,
  ): Promise<string[]> {
    checkSize(tasks);
    this.#client ??= await this.#adder.client;
    const { catalog } = this.#deps;
    const routed: RoutedTask[] = [];
    for (const task of tasks)
      routed.push({ task, entry: catalog.known(task) ?? (await catalog.route(task)) });
    const [first] = routed;
    if (routed.length === 1 && first)
      try {
        return [await this.#storeOne(this.#client, first, sending)];
      } catch (error) {
        if (!hasCode(error, 'NOSCRIPT')) throw error;
      }
    return this.#storeAll(this.#client, routed, sending);
  }

  /** Stores a single task without a transaction, which would cost more than the rest. */
  #storeOne(client: RedisClient, routed: RoutedTask, sending: () => void): Promise<string> {
    const job = jobOf(routed);
    sending();
    // The note is sent after the job, in the next tick.
    this.#deps.changes.soon(noteOf(routed));
    return this.#adder.add(client, routed.entry.queue, job);
  }

  /** Stores all tasks of one call, or none. */
  async #storeAll(
    client: RedisClient,
    routed: readonly RoutedTask[],
    sending: () => void,
  ): Promise<string[]> {
    const jobs = routed.map((each) => ({ queue: each.entry.queue, job: jobOf(each) }));
    // A job that Redis already has stays as it is, so the transaction can be repeated.
    const answers = await transact(client, (transaction) => {
      sending();
      // The promises are not used, because `exec` answers for all commands.
      for (const { queue, job } of jobs) void this.#adder.add(transaction, queue, job);
      this.#deps.changes.addTo(transaction, routed.map(noteOf));
    });
    return answers.slice(0, jobs.length).map(([error, id]) => {
      if (error) throw error;
      if (typeof id !== 'string') throw new Error(`BullMQ did not add the job: ${String(id)}`);
      return id;
    });
  }
}

function jobOf({ task, entry }: RoutedTask): JobJson {
  return toJob(task, entry.prioritized === true);
}

function noteOf({ task, entry: { queue } }: RoutedTask): ChangeNote {
  return { queue, jobId: task.id, state: isDelayed(task) ? 'delayed' : 'waiting' };
}

function checkSize(tasks: readonly NewTask[]): void {
  const bytes = tasks.reduce((sum, { args }) => sum + Buffer.byteLength(args), 0);
  if (tasks.length <= maxAtOnce.tasks && bytes <= maxAtOnce.bytes) return;
  // The size is rounded up, so that the message never shows the limit itself as too large.
  const mebibytes = Math.ceil((bytes / mebibyte) * 10) / 10;
  throw new TaskflowError(
    'INVALID_INPUT',
    'on Redis, one call can store at most 10,000 tasks with 16 MiB of arguments; this one has ' +
      `${grouped(tasks.length)} tasks with ${mebibytes} MiB. Use several calls.`,
  );
}
