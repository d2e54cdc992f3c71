import { QueueKeys, RedisConnection, RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../errors.js';
import type { NewTask } from '../../tasks/engine.js';
import type { ChangeNotes, Transaction } from './change-notes.js';
import type { EngineKeys } from './keys.js';
import type { CatalogEntry, QueueCatalog } from './queue-catalog.js';
import { toJob } from './task-job.js';

/** Tasks of one call, and their size: Redis does nothing else while it stores them. */
const most = { tasks: 10_000, bytes: 16 * 1024 * 1024 };
/** Tasks of one transaction that many calls share. */
const shared = 500;

interface Call {
  tasks: readonly NewTask[];
  entries: readonly CatalogEntry[];
  resolve(ids: string[]): void;
  reject(error: unknown): void;
}

interface EnqueuerParts {
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
  changes: ChangeNotes;
}

/**
 * Adds tasks as jobs. All tasks of a call are in one transaction, and calls of the same turn of the event loop share one, which
 * is one round trip for all of them.
 */
export class Enqueuer {
  readonly #parts: EnqueuerParts;
  readonly #connection: RedisConnection;
  readonly #backend: RedisQueueBackend;
  readonly #names: QueueKeys;
  readonly #keysOf = new Map<string, ReturnType<QueueKeys['getKeys']>>();
  #waiting: Call[] = [];

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
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ tasks, entries, resolve, reject });
    });
  }

  #flush(): void {
    const calls = this.#waiting.splice(0);
    let batch: Call[] = [];
    let size = 0;
    for (const call of calls) {
      if (size > 0 && size + call.tasks.length > shared) {
        void this.#store(batch);
        [batch, size] = [[], 0];
      }
      batch.push(call);
      size += call.tasks.length;
    }
    void this.#store(batch);
  }

  async #store(calls: readonly Call[]): Promise<void> {
    try {
      const client = await this.#connection.client;
      // It is a transaction of ioredis, of which BullMQ's type shows a part.
      const transaction = client.multi() as ReturnType<typeof client.multi> & Transaction;
      const notes = calls.flatMap(({ tasks, entries }) => tasks.map((task, n) => ({ task, entry: entries[n] as CatalogEntry })));
      for (const { task, entry } of notes) {
        const job = toJob(task, entry.prioritized === true);
        // The promise belongs to a single command; those of a transaction are answered together.
        void this.#backend.addJobToTransaction(transaction, job, task.id, {}, this.#queueKeys(entry.queue));
      }
      this.#parts.changes.addTo(
        transaction,
        notes.map(({ task, entry }) => ({
          queue: entry.queue,
          jobId: task.id,
          state: task.runAt > task.createdAt ? 'delayed' : 'waiting',
        })),
      );
      const answers = await transaction.exec();
      if (!answers) throw new Error('the transaction was dropped');
      let at = 0;
      for (const { tasks, resolve, reject } of calls) {
        const own = answers.slice(at, at + tasks.length);
        at += tasks.length;
        const failed = own.find(([error, id]) => error !== null || typeof id !== 'string');
        if (failed) reject(failed[0] ?? new Error(`BullMQ did not add the job: ${String(failed[1])}`));
        else resolve(own.map(([, id]) => String(id)));
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
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

function checkSize(tasks: readonly NewTask[]): void {
  const bytes = tasks.reduce((sum, { args }) => sum + args.length, 0);
  if (tasks.length > most.tasks || bytes > most.bytes)
    throw new TaskflowError(
      'INVALID_INPUT',
      `${tasks.length} tasks with ${bytes} bytes of arguments cannot be stored in one step; on Redis one call can store ${most.tasks} tasks and ${most.bytes} bytes.`,
    );
}
