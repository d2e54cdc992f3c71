import type { Redis } from 'ioredis';
import type { Database } from '../../tables/schema/database.js';
import { idOf } from '../../tables/schema/rows.js';
import { stateCode } from '../../tables/schema/states.js';
import type { ScriptTransaction } from '../connection/redis-script.js';
import { type ChangeNote, ChangeNotes } from '../jobs/change-notes.js';
import { JobAdder } from '../jobs/job-adder.js';
import { deduplicationId, jobFields, type TaskJobOptions, toJob } from '../jobs/task-job.js';
import { type EngineKeys, queueName } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import type { MoveProgress } from './progress.js';
import { type PendingTask, readPending } from './stored-tasks.js';

interface PendingDeps {
  database: Database;
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
  progress: MoveProgress;
  /** The limits of tasks that the caller gave, by name. */
  concurrency: ReadonlyMap<string, number>;
}

/** The command of ioredis for {@link completeScript}. */
const completeCommand = 'taskflow:complete';

/**
 * Completes a job that was just added. A job that has run is left as it is. A job that could not be
 * added gets no fields, because BullMQ would take it for one that was added.
 * KEYS: the job, its log. ARGV: the number of fields, the fields with their values, the lines of
 * the log. `ats` is BullMQ's count of starts, `tfn` is the count of ended attempts.
 */
const completeScript = `
if redis.call('HEXISTS', KEYS[1], 'timestamp') == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'ats') == 1 or redis.call('HEXISTS', KEYS[1], 'tfn') == 1 then
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local fields = tonumber(ARGV[1])
for n = 2, fields * 2, 2 do redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1]) end
for n = fields * 2 + 2, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[n]) end
return 1
`;

/** An idempotency key in use. The queue of its task is null if the task was deleted. */
interface KeyRow {
  name: string;
  key: string;
  id: Uint8Array;
  expires_at: number;
  queue: string | null;
}

/** Moves the pending tasks of a file. */
export class PendingTasks {
  readonly #deps: PendingDeps;
  readonly #adder: JobAdder;
  readonly #changes: ChangeNotes;

  constructor(deps: PendingDeps) {
    this.#deps = deps;
    const { redis, keys } = deps;
    this.#changes = new ChangeNotes(redis, keys);
    this.#adder = new JobAdder(redis, keys);
    redis.defineCommand(completeCommand, { lua: completeScript, numberOfKeys: 2 });
  }

  /** Moves all of them. */
  async move(): Promise<void> {
    const { database, progress } = this.#deps;
    await this.#adder.client;
    await this.#listQueues();
    await this.#moveKeys();
    await progress.each('tasks', (from) => {
      const tasks = readPending(database, from);
      const last = tasks.at(-1);
      const counted = { what: 'tasks', n: tasks.length } as const;
      return (
        last && {
          to: last.task.id,
          counted,
          write: (transaction) => this.#write(transaction, tasks),
        }
      );
    });
  }

  /**
   * Adds the queues of the pending tasks to the catalog of the engine. If one task in a queue has a
   * priority, all get one, because BullMQ runs jobs without a priority first.
   */
  async #listQueues(): Promise<void> {
    const { database, catalog, concurrency } = this.#deps;
    for (const { name, label, prioritized } of partitionsOf(database))
      await catalog.route({
        name,
        queue: label,
        priority: prioritized ? 1 : 0,
        concurrency: concurrency.get(name),
      });
  }

  /**
   * Returns the BullMQ queue of a pending task. The catalog knows the tasks with their own queue.
   */
  #entryOf(name: string, label: string): CatalogEntry {
    const { catalog, concurrency } = this.#deps;
    const entry = catalog.known({
      name,
      queue: label,
      priority: 0,
      concurrency: concurrency.get(name),
    });
    if (!entry)
      throw new Error(`the queue '${label}' of the task '${name}' is not in the list of queues`);
    return entry;
  }

  /**
   * Moves the idempotency keys that are in use, also those of ended and deleted tasks. BullMQ then
   * answers with the id of the task. A key is stored for each BullMQ queue in which an enqueuer may
   * look for it: if the task gets its own `concurrency` after the move, it has its own queue.
   */
  async #moveKeys(): Promise<void> {
    const { database, progress, keys } = this.#deps;
    await progress.each('keys', (from) => {
      const [name, key] = from === '' ? ['', ''] : (JSON.parse(from) as [string, string]);
      const now = Date.now();
      const rows = database.all<KeyRow>(
        `SELECT k.name, k.key, k.id, k.expires_at, partition.queue FROM idempotency AS k
         LEFT JOIN task ON task.id = k.id LEFT JOIN partition ON partition.id = task.partition
         WHERE (k.name, k.key) > (?, ?) AND k.released = 0 ORDER BY k.name, k.key LIMIT 500`,
        ...[name, key],
      );
      const last = rows.at(-1);
      const write = (transaction: ScriptTransaction): void => {
        for (const { name: task, key: own, id, expires_at: end, queue } of rows) {
          const left = end - now;
          if (left <= 0) continue;
          const labels = queue === null ? labelsOf(database, task) : [queue];
          for (const each of labels.flatMap((label) => [queueName(label), queueName(label, task)]))
            transaction.set(
              keys.ofQueue(each, `de:${deduplicationId(task, own)}`),
              idOf(id),
              'PX',
              left,
              'NX',
            );
        }
      };
      return last && { to: JSON.stringify([last.name, last.key]), write };
    });
  }

  #write(transaction: ScriptTransaction, tasks: readonly PendingTask[]): void {
    const notes = tasks.map(({ task, fields, lines }): ChangeNote => {
      const { id, name, queue: label, runAt, createdAt, idempotency } = task;
      const entry = this.#entryOf(name, label);
      const { queue } = entry;
      // BullMQ must not check the idempotency key, because the task already has it.
      const { deduplicationId: deid, ...job } = toJob(task, entry.prioritized === true);
      const { deduplication: de, ...opts } = job.opts as TaskJobOptions;
      // The promise is not used, because `exec` answers for all commands.
      void this.#adder.add(transaction, queue, { ...job, opts });
      const isDelayed = opts.delay !== undefined;
      const hasKey =
        deid !== undefined && idempotency !== undefined && idempotency.until > Date.now();
      this.#complete(transaction, this.#deps.keys.ofQueue(queue, id), {
        fields: {
          ...fields,
          // No set of BullMQ says since when a task is due.
          ...(!isDelayed && runAt !== createdAt && { [jobFields.runAt]: runAt }),
          ...(hasKey && { deid, opts: JSON.stringify({ ...opts, de }) }),
        },
        lines,
      });
      return { queue, jobId: id, state: isDelayed ? 'delayed' : 'waiting' };
    });
    this.#changes.addTo(transaction, notes);
  }

  /** Adds what BullMQ's step does not store, before any worker can take the job. */
  #complete(
    transaction: ScriptTransaction,
    job: string,
    { fields, lines }: Omit<PendingTask, 'task'>,
  ): void {
    const all = Object.entries(fields);
    if (all.length === 0 && lines.length === 0) return;
    transaction.runCommand(completeCommand, [
      job,
      `${job}:logs`,
      all.length,
      ...all.flat(),
      ...lines,
    ]);
  }
}

/** The queue of a task that declares none. */
const defaultLabel = 'default';

/** Returns the queues that a task has used in the file. A deleted task does not say its queue. */
function labelsOf(database: Database, name: string): string[] {
  const labels = database
    .all<{ queue: string }>('SELECT queue FROM partition WHERE name = ?', name)
    .map(({ queue }) => queue);
  return labels.length > 0 ? labels : [defaultLabel];
}

/** The names and queues of the pending tasks, and whether one of them has a priority. */
export function partitionsOf(
  database: Database,
): { name: string; label: string; prioritized: boolean }[] {
  return database
    .all<{ name: string; label: string; prioritized: number }>(
      `SELECT name, queue AS label, max(priority <> 0) AS prioritized FROM task
        JOIN partition ON partition.id = task.partition
       WHERE status = ${stateCode.pending} GROUP BY partition ORDER BY prioritized, queue, name`,
    )
    .map((row) => ({ ...row, prioritized: row.prioritized === 1 }));
}
