import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { ProcessInfo } from '../../../tasks/types.js';
import { type Definitions, describeWorker, type WorkerRow } from '../../this-process.js';
import { RedisWork } from '../connection/connections.js';
import { DataMark } from '../connection/data-mark.js';
import type { RedisClock } from '../connection/redis-clock.js';
import { placeOf } from '../connection/redis-connection.js';
import type { EngineKeys } from '../keys.js';
import { forgottenAfter, Instances } from './instances.js';

interface PresenceDeps {
  redis: Redis;
  keys: EngineKeys;
  clock: RedisClock;
  logger: Logger;
  /** Returns how many attempts run in this process, and how many it runs at once at most. */
  load(): { running: number; slots: number };
  /** Returns whether this process sends nothing more. */
  isClosed(): boolean;
  /** Stores again what this process defines if Redis has lost it. */
  restore(): Promise<unknown>;
}

/** Milliseconds between two heartbeats, and between an enqueue and its check. */
const interval = 5000;

const dataLost =
  'Redis has lost its data: the tasks, pauses and ended sessions in it are gone; this process ' +
  'has stored its queues and schedules again';

/**
 * This process in the list of processes. With each heartbeat it checks that Redis still has what it
 * stored. A process that has not started sends no heartbeat, so it checks a little after it has
 * enqueued a task.
 */
export class Presence {
  readonly #deps: PresenceDeps;
  readonly #owner = randomUUID();
  readonly #instances: Instances;
  readonly #mark: DataMark;
  readonly #beating: Background;
  readonly #checking: Background;
  #self: WorkerRow | undefined;
  #timer: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    const { redis, keys, logger } = deps;
    this.#instances = new Instances(redis, keys);
    this.#mark = new DataMark(redis, keys);
    this.#beating = new RedisWork(logger, 'the heartbeat of this process');
    this.#checking = new RedisWork(logger, 'checking the list of queues');
  }

  /** Lists the processes. */
  async list(): Promise<ProcessInfo[]> {
    return this.#instances.list(await this.#deps.clock.now());
  }

  /** Puts this process on the list with the next heartbeat. */
  enter(slots: number, defined: Definitions): void {
    this.#self = describeWorker(this.#owner, slots, defined);
  }

  /** Changes the entry of this process in the list. */
  update(change: Partial<WorkerRow>): void {
    if (this.#self) this.#self = { ...this.#self, ...change };
  }

  /**
   * Sends a heartbeat now, every few seconds, and whenever Redis is reachable again. The timer
   * never keeps the process alive.
   */
  start(): void {
    this.#timer = setInterval(this.beatSoon, interval).unref();
    this.#deps.redis.on('ready', this.beatSoon);
  }

  /** Sends a heartbeat in the background. */
  readonly beatSoon = (): void => this.#beating.run(() => this.beat());

  /** Checks soon, unless heartbeats do that. The timer never keeps the process alive. */
  checkSoon(): void {
    if (this.#self || this.#deps.isClosed()) return;
    this.#check ??= runInEmptyContext(() =>
      setTimeout(() => this.#checking.run(() => this.#checkNow()), interval).unref(),
    );
  }

  /** Checks, and checks again soon if that fails, because this process may enqueue nothing more. */
  async #checkNow(): Promise<void> {
    this.#check = undefined;
    try {
      await this.#deps.restore();
    } catch (error) {
      this.checkSoon();
      throw error;
    }
  }

  async beat(): Promise<void> {
    const { isClosed, restore } = this.#deps;
    if (!this.#self || isClosed()) return;
    await Promise.all([this.#checkData(), restore(), this.#send()]);
  }

  /** Logs a loss of data, which only the first look after it can see. */
  async #checkData(): Promise<void> {
    const { logger, redis } = this.#deps;
    if (await this.#mark.isOther()) logger.error({ redis: placeOf(redis) }, dataLost);
  }

  async #send(): Promise<void> {
    const { clock, load, redis, keys } = this.#deps;
    const now = await clock.now();
    // It may have left the list meanwhile.
    if (!this.#self) return;
    const { running, slots } = load();
    // Before it serves a queue, a worker has the slots of one.
    const self = { ...this.#self, slots: Math.max(this.#self.slots, slots) };
    const heartbeat = this.#instances.heartbeat(self, running, now);
    // Each minute, one process removes those that have died, even if no process reads the list.
    const isElected = redis.set(keys.forgetting, this.#owner, 'PX', forgottenAfter, 'NX');
    await Promise.all([heartbeat, isElected]);
    if ((await isElected) === 'OK') await this.#instances.list(now);
  }

  /** Sends no more heartbeats, and checks no more. */
  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#check);
    this.#deps.redis.off('ready', this.beatSoon);
  }

  /** Removes this process from the list. */
  async leave(): Promise<void> {
    if (!this.#self) return;
    this.#self = undefined;
    await this.#instances.leave(this.#owner);
  }
}
