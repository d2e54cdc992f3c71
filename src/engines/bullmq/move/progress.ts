import type { RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../../errors.js';
import { EngineConnection } from '../connection/engine-connection.js';
import { withinTime } from '../connection/redis-connection.js';
import { hasCode, isAnswer } from '../connection/redis-errors.js';
import { type ScriptTransaction, scriptTransaction } from '../connection/redis-script.js';
import type { EngineKeys } from '../keys.js';

/** What was moved so far, over all runs of the command. */
export interface MovedCounts {
  tasks: number;
  schedules: number;
  queues: number;
  entries: number;
}

/** A step of a part of a move: what it writes, and how far the part is then. */
export interface MoveStep {
  to: string;
  /** Added to a count. */
  counted?: { what: keyof MovedCounts; n: number };
  write(transaction: ScriptTransaction): void;
}

/** Timeout of one step in milliseconds. */
const stepTimeout = 30_000;

function inTime<T>(answer: Promise<T>): Promise<T> {
  return withinTime(answer, stepTimeout);
}

/**
 * Stores how far a move is, in a hash next to the moved data. Each step is a transaction that also
 * writes how far the move is after the step, and that happens only if the hash has not changed
 * since it was read. So a step happens once, even if the command is killed, and even if Redis
 * executes its last transaction later.
 */
export class MoveProgress {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #origin: string;
  /** The same connection with BullMQ's scripts. */
  readonly #connection: RedisConnection;

  constructor(redis: Redis, keys: EngineKeys, origin: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#origin = origin;
    this.#connection = new EngineConnection(redis);
  }

  /**
   * Whether the move of this file has begun.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the prefix has other tasks or schedules.
   */
  async hasBegun(): Promise<boolean> {
    const { moved, queues, schedules } = this.#keys;
    const [origin, stored] = await inTime(
      Promise.all([this.#redis.hget(moved, 'origin'), this.#redis.hgetall(queues)]),
    );
    if (origin === this.#origin) return true;
    // A worker that was started has added its queues.
    const counters = this.#counters(stored);
    const [planned, used] = await inTime(
      Promise.all([
        this.#redis.exists(schedules),
        counters.length > 0 ? this.#redis.exists(...counters) : 0,
      ]),
    );
    if (origin === null && planned + used === 0) return false;
    const found = origin !== null ? 'the tasks of another file' : used > 0 ? 'tasks' : 'schedules';
    throw unusable(
      `the prefix '${this.#name}' of this Redis has ${found} already: choose another --prefix`,
    );
  }

  /** Returns the keys in which BullMQ counts the jobs that were added to queues. */
  #counters(stored: Readonly<Record<string, string>>): string[] {
    return Object.keys(stored).map((queue) => this.#keys.ofQueue(queue, 'id'));
  }

  /** Begins the move. `write` adds the data that is moved in this first step. */
  async begin(
    counts: Partial<MovedCounts>,
    write: (transaction: ScriptTransaction) => Promise<void>,
  ): Promise<void> {
    const { moved, queues, schedules } = this.#keys;
    await inTime(this.#redis.watch(moved, queues, schedules));
    // A task that is added to a known queue changes only the counter of that queue.
    const counters = this.#counters(await inTime(this.#redis.hgetall(queues)));
    if (counters.length > 0) await inTime(this.#redis.watch(...counters));
    if (await this.hasBegun()) {
      await this.#redis.unwatch();
      return;
    }
    const transaction = await this.#transaction();
    transaction.hset(moved, { origin: this.#origin, ...counts });
    await write(transaction);
    await this.#execute(transaction);
  }

  /**
   * Does the steps of a part of the move, until `next` returns none. `from`: how far the part is,
   * or empty at its beginning.
   */
  async each(part: string, next: (from: string) => MoveStep | undefined): Promise<void> {
    const field = `part:${part}`;
    let from = (await inTime(this.#redis.hget(this.#keys.moved, field))) ?? '';
    for (let step = next(from); step; step = next(from)) {
      await this.#step(field, from, step);
      from = step.to;
    }
  }

  /**
   * Does a step.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if another process has changed the hash.
   */
  async #step(field: string, from: string, { to, counted, write }: MoveStep): Promise<void> {
    const { moved } = this.#keys;
    const what = counted?.what ?? 'tasks';
    const read = Promise.all([
      this.#redis.watch(moved),
      this.#redis.hmget(moved, 'origin', field, what),
    ]);
    const [, [origin, at, count]] = await inTime(read);
    if (origin !== this.#origin || (at ?? '') !== from) throw changed();
    const before = Number(count ?? 0);
    const transaction = await this.#transaction();
    write(transaction);
    transaction.hset(moved, { [field]: to, [what]: before + (counted?.n ?? 0) });
    try {
      await this.#execute(transaction);
    } catch (error) {
      // Redis does not undo a transaction in which a command failed. The next run repeats this
      // step, which does not change jobs that exist.
      if (isAnswer(error) && !hasCode(error, 'EXECABORT'))
        await inTime(this.#redis.hset(moved, { [field]: from, [what]: before })).catch(
          () => undefined,
        );
      throw error;
    }
  }

  async #transaction(): Promise<ScriptTransaction> {
    return scriptTransaction(await this.#connection.client, true);
  }

  async #execute(transaction: ScriptTransaction): Promise<void> {
    const answers = await inTime(transaction.exec());
    if (!answers) throw changed();
    for (const [error] of answers) if (error) throw error;
  }

  async counts(): Promise<MovedCounts> {
    const stored = await inTime(this.#redis.hgetall(this.#keys.moved));
    const count = (name: keyof MovedCounts): number => Number(stored[name] ?? 0);
    return {
      tasks: count('tasks'),
      schedules: count('schedules'),
      queues: count('queues'),
      entries: count('entries'),
    };
  }

  get #name(): string {
    return this.#keys.prefix.slice(1, -1);
  }
}

function changed(): TaskflowError {
  return unusable(
    'another process moves the same file, or Redis has lost a part of what was moved: run the ' +
      'command again',
  );
}

/** Creates the error of a move that cannot continue. */
export function unusable(why: string): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', why);
}
