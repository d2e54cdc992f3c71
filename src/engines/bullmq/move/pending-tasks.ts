import type { JobJson } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Database } from '../../embedded/database.js';
import { idOf } from '../../embedded/rows.js';
import { ChangeNotes } from '../jobs/change-notes.js';
import { JobAdder } from '../jobs/job-adder.js';
import { deduplicationId, jobPriority, type TaskJobOptions } from '../jobs/task-job.js';
import { type EngineKeys, queueName } from '../keys.js';
import { type CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import { type MoveProgress, type MoveTransaction, unusable } from './progress.js';
import { optionsWithKey, type PendingTask, readPending } from './stored-tasks.js';

interface PendingParts {
  database: Database;
  redis: Redis;
  keys: EngineKeys;
  progress: MoveProgress;
  /** Tasks with a concurrency of their own over all processes, which have a BullMQ queue of their own. */
  concurrency: ReadonlyMap<string, number>;
}

/** The command of ioredis for {@link completeScript}. */
const completeCommand = 'taskflow:complete';

/**
 * Completes a job that was just added; one that has run is left as it is. KEYS: the job, its log. ARGV: the number of fields, the
 * fields with their values, the lines of the log. `ats` is BullMQ's count of starts, `tfn` the count of ended attempts.
 */
const completeScript = `
if redis.call('HEXISTS', KEYS[1], 'ats') == 1 or redis.call('HEXISTS', KEYS[1], 'tfn') == 1 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local fields = tonumber(ARGV[1])
for n = 2, fields * 2, 2 do redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1]) end
for n = fields * 2 + 2, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[n]) end
return 1
`;

/** Moves the pending tasks of a file. */
export class PendingTasks {
  readonly #parts: PendingParts;
  readonly #adder: JobAdder;
  readonly #changes: ChangeNotes;
  /** By BullMQ's name. */
  #entries = new Map<string, CatalogEntry>();

  constructor(parts: PendingParts) {
    this.#parts = parts;
    const { redis, keys } = parts;
    this.#changes = new ChangeNotes(redis, keys);
    this.#adder = new JobAdder(redis, keys);
    redis.defineCommand(completeCommand, { lua: completeScript, numberOfKeys: 2 });
  }

  /** Moves all of them. */
  async move(): Promise<void> {
    const { database, progress } = this.#parts;
    await this.#adder.client;
    await this.#listQueues();
    await this.#moveKeys();
    for (let after = await progress.at('tasks'); ; ) {
      const now = Date.now();
      const tasks = readPending(database, after, now);
      const to = tasks.at(-1)?.id;
      if (to === undefined) return;
      const counted = { what: 'tasks', n: tasks.length } as const;
      await progress.step({ part: 'tasks', from: after, to, counted, write: (transaction) => this.#write(transaction, tasks, now) });
      after = to;
    }
  }

  /**
   * Adds the queues of the pending tasks to the list of the engine. A queue in which one task has a priority has priorities for
   * all, since BullMQ runs jobs without one first.
   */
  async #listQueues(): Promise<void> {
    const { database, redis, keys, concurrency } = this.#parts;
    const catalog = new QueueCatalog(redis, keys);
    await catalog.refresh();
    for (const { name, label, prioritized } of partitionsOf(database)) {
      const entry = await catalog.route({ name, queue: label, priority: prioritized ? 1 : 0, concurrency: concurrency.get(name) });
      this.#entries.set(entry.queue, entry);
    }
  }

  /** Moves the idempotency keys that are taken, those of ended tasks too. BullMQ then answers with the id of the task. */
  async #moveKeys(): Promise<void> {
    const { database, progress, keys } = this.#parts;
    for (let from = await progress.at('keys'); ; ) {
      const [name, key] = from === '' ? ['', ''] : (JSON.parse(from) as [string, string]);
      const now = Date.now();
      const rows = database.all(
        `SELECT k.name, k.key, k.id, k.expires_at, lane.queue FROM idempotency AS k
         LEFT JOIN task ON task.id = k.id LEFT JOIN lane ON lane.id = task.lane
         WHERE (k.name, k.key) > (?, ?) AND k.released = 0 ORDER BY k.name, k.key LIMIT 500`,
        ...[name, key],
      );
      const last = rows.at(-1);
      if (!last) return;
      const to = JSON.stringify([last.name, last.key]);
      const write = (transaction: MoveTransaction): void => {
        for (const row of rows) {
          const left = Number(row.expires_at) - now;
          if (left <= 0 || row.queue === null) continue;
          const at = keys.ofQueue(
            this.#queueOf(String(row.name), String(row.queue)),
            `de:${deduplicationId(String(row.name), String(row.key))}`,
          );
          transaction.set(at, idOf(row.id), 'PX', left, 'NX');
        }
      };
      await progress.step({ part: 'keys', from, to, write });
      from = to;
    }
  }

  #write(transaction: MoveTransaction, tasks: readonly PendingTask[], now: number): void {
    const notes = tasks.map((task) => {
      const { queue, prioritized } = this.#entryOf(task);
      const json = jobOf(task, prioritized === true, now);
      // The promise belongs to a single command; those of a transaction are answered together.
      void this.#adder.add(transaction, queue, json);
      this.#complete(transaction, task, json);
      return { queue, jobId: task.id, state: task.runAt > now ? ('delayed' as const) : ('waiting' as const) };
    });
    this.#changes.addTo(transaction, notes);
  }

  /** Adds what BullMQ's step does not store. In the same transaction, so that no worker takes the job before. */
  #complete(transaction: MoveTransaction, task: PendingTask, { opts }: JobJson): void {
    const { id, name, notes, keyUntil, lines } = task;
    const withKey = keyUntil !== undefined && {
      deid: deduplicationId(name, notes.key ?? ''),
      opts: JSON.stringify(optionsWithKey(task, opts as TaskJobOptions)),
    };
    const fields = Object.entries({ ...task.fields, ...withKey });
    if (fields.length === 0 && lines.length === 0) return;
    const job = this.#parts.keys.ofQueue(this.#entryOf(task).queue, id);
    transaction.runCommand(completeCommand, [job, `${job}:logs`, fields.length, ...fields.flat(), ...lines]);
  }

  #entryOf({ name, label }: PendingTask): CatalogEntry {
    const entry = this.#entries.get(this.#queueOf(name, label));
    if (!entry) throw unusable(`the queue '${label}' appeared while its tasks were moved: run the command again`);
    return entry;
  }

  #queueOf(name: string, label: string): string {
    return this.#parts.concurrency.has(name) ? queueName(label, name) : queueName(label);
  }
}

/** The names and queues of the pending tasks, and whether one of them has a priority. */
export function partitionsOf(database: Database): { name: string; label: string; prioritized: boolean }[] {
  return database
    .all(
      `SELECT name, queue, max(priority <> 0) AS prioritized FROM task JOIN lane ON lane.id = task.lane
       WHERE status = 0 GROUP BY lane ORDER BY prioritized, queue, name`,
    )
    .map(({ name, queue, prioritized }) => ({ name: String(name), label: String(queue), prioritized: prioritized === 1 }));
}

/** The job of a task. BullMQ must not look at its idempotency key, which the task has already. */
function jobOf({ id, name, args, createdAt, runAt, attempts, priority, notes }: PendingTask, prioritized: boolean, now: number): JobJson {
  const delay = runAt > now ? runAt - createdAt : 0;
  const opts: TaskJobOptions = {
    attempts,
    ...(delay > 0 && { delay }),
    ...(prioritized && { priority: jobPriority(priority) }),
    ...(Object.keys(notes).length > 0 && { taskflow: notes }),
  };
  return {
    ...{ id, name, data: args, opts, timestamp: createdAt },
    ...{ progress: 0, attemptsMade: 0, attemptsStarted: 0, stalledCounter: 0, failedReason: '', returnvalue: '' },
  };
}
