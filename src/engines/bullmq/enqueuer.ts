import { QueueKeys, RedisConnection, RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../errors.js';
import type { NewTask } from '../../tasks/engine.js';
import type { ChangeNote, ChangeNotes, Transaction } from './change-notes.js';
import type { EngineKeys } from './keys.js';
import type { CatalogEntry, QueueCatalog } from './queue-catalog.js';
import { isDelayed, toJob } from './task-job.js';

/** Tasks of one call, and their size: Redis does nothing else while it stores them. */
const most = { tasks: 10_000, bytes: 16 * 1024 * 1024 };

interface EnqueuerParts {
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
  changes: ChangeNotes;
}

/**
 * Adds tasks as jobs. All tasks of a call are in one transaction. A single task, which needs none, is one command.
 */
export class Enqueuer {
  readonly #parts: EnqueuerParts;
  readonly #connection: RedisConnection;
  readonly #backend: RedisQueueBackend;
  readonly #names: QueueKeys;
  readonly #keysOf = new Map<string, ReturnType<QueueKeys['getKeys']>>();

  constructor(parts: EnqueuerParts) {
    this.#parts = parts;
    const { redis, keys } = parts;
    this.#names = new QueueKeys(keys.prefix);
    this.#connection = new RedisConnection(redis, { shared: true, blocking: false });
    this.#connection.on('error', () => undefined);
    // It only lends its scripts, so it needs no queue of its own.
    const none = this.#names.getKeys('');
    this.#backend = new RedisQueueBackend(
      this.#connection,
      '',
      none,
      (type) => this.#names.toKey('', type),
      { connection: redis },
      undefined,
      false,
    );
  }

  /**
   * Stores tasks, all or none, and resolves to their ids; of a task whose idempotency key is taken, to the id of the task that
   * has it.
   *
   * @throws TaskflowError INVALID_INPUT if they are too many for one transaction.
   */
  async enqueue(tasks: readonly NewTask[]): Promise<string[]> {
    checkSize(tasks);
    const entries: CatalogEntry[] = [];
    for (const task of tasks) {
      const known = entries.length > 0 ? entries[entries.length - 1] : undefined;
      const same = known && tasks[entries.length - 1];
      // Tasks of one call are mostly alike.
      if (known && same && same.name === task.name && same.queue === task.queue && same.priority === task.priority) entries.push(known);
      else entries.push(await this.#parts.catalog.route(task));
    }
    const [task] = tasks;
    const [entry] = entries;
    return tasks.length === 1 && task && entry ? [await this.#storeOne(task, entry)] : this.#storeAll(tasks, entries);
  }

  /** A single task needs no transaction, which would cost more than the rest. */
  async #storeOne(task: NewTask, entry: CatalogEntry): Promise<string> {
    const client = await this.#connection.client;
    const job = toJob(task, entry.prioritized === true);
    // It is written behind the job.
    this.#parts.changes.soon(noteOf(task, entry));
    return this.#backend.addJobToTransaction(client, job, task.id, {}, this.#queueKeys(entry.queue));
  }

  /** All tasks of one call, or none. */
  async #storeAll(tasks: readonly NewTask[], entries: readonly CatalogEntry[]): Promise<string[]> {
    const client = await this.#connection.client;
    // It is a transaction of ioredis, of which BullMQ's type shows a part.
    const transaction = client.multi() as ReturnType<typeof client.multi> & Transaction;
    const notes: ChangeNote[] = [];
    for (const [n, task] of tasks.entries()) {
      const entry = entries[n];
      if (!entry) continue;
      const job = toJob(task, entry.prioritized === true);
      // The promise belongs to a single command; those of a transaction are answered together.
      void this.#backend.addJobToTransaction(transaction, job, task.id, {}, this.#queueKeys(entry.queue));
      notes.push(noteOf(task, entry));
    }
    this.#parts.changes.addTo(transaction, notes);
    const answers = await transaction.exec();
    if (!answers) throw new Error('the transaction was dropped');
    return answers.slice(0, tasks.length).map(([error, id]) => {
      if (error) throw error;
      if (typeof id !== 'string') throw new Error(`BullMQ did not add the job: ${String(id)}`);
      return id;
    });
  }

  #queueKeys(queue: string): ReturnType<QueueKeys['getKeys']> {
    let keys = this.#keysOf.get(queue);
    if (!keys) {
      keys = this.#names.getKeys(queue);
      this.#keysOf.set(queue, keys);
    }
    return keys;
  }
}

function noteOf(task: NewTask, { queue }: CatalogEntry): ChangeNote {
  return { queue, jobId: task.id, state: isDelayed(task) ? 'delayed' : 'waiting' };
}

function checkSize(tasks: readonly NewTask[]): void {
  const bytes = tasks.reduce((sum, { args }) => sum + Buffer.byteLength(args), 0);
  if (tasks.length > most.tasks || bytes > most.bytes)
    throw new TaskflowError(
      'INVALID_INPUT',
      `${tasks.length} tasks with ${bytes} bytes of arguments cannot be stored in one step; on Redis one call can store ${most.tasks} tasks and ${most.bytes} bytes.`,
    );
}
