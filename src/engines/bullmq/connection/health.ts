import type { Redis } from 'ioredis';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import { checkPermissions, UnusableRedis } from './permissions.js';
import type { RedisClock } from './redis-clock.js';
import {
  explain,
  placeOf,
  plainError,
  RedisTimeout,
  whenReady,
  withinTime,
} from './redis-connection.js';
import { hasCode, isAnswer } from './redis-errors.js';
import { infoField, warnIfVolatile } from './redis-info.js';

/** Milliseconds. */
const times = { answer: 5000, look: 5000, probe: 10_000 };
/** Oldest version of Redis that has every command. */
export const oldestVersion = [6, 2] as const;

interface RedisHealthDeps {
  /** A command fails soon if Redis is unreachable. */
  redis: Redis;
  clock: RedisClock;
  /** A key of this package for the check whether Redis can be written. */
  probe: string;
  logger: Logger;
}

/**
 * Checks whether the engine can use Redis. `logOutages` reports lost connections. If Redis hangs,
 * is full or has become a replica, its connections stay open. This class therefore writes a small
 * key every few seconds. It logs one `error` line when the write begins to fail, and one `info`
 * line when it works again.
 */
export class RedisHealth {
  readonly #deps: RedisHealthDeps;
  /** Why Redis cannot be used although it is connected. */
  #problem: Error | undefined;
  #policy = 'noeviction';
  #isExamined = false;
  #examining: Promise<void> | undefined;
  #isLooking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: RedisHealthDeps) {
    this.#deps = deps;
  }

  /** The address of Redis, for log lines and errors. */
  get place(): string {
    return placeOf(this.#deps.redis);
  }

  /**
   * Checks everything that the engine needs, and then checks it regularly. If Redis is unreachable,
   * the log already says so, and the check follows when Redis is back.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if Redis refuses something that the engine needs.
   */
  async start(): Promise<void> {
    const { redis } = this.#deps;
    try {
      await whenReady(redis);
      await this.#check();
    } catch (error) {
      if (isAnswer(error) || error instanceof UnusableRedis) throw this.unavailable(error);
      if (redis.status === 'ready') this.#lost(plainError(error));
    }
    if (this.#timer) return;
    this.#timer = runInEmptyContext(() => setInterval(() => this.#look(), times.look).unref());
    redis.on('ready', this.#look);
  }

  /**
   * Returns the error of a call that failed because of Redis. `effect` says what is known about the
   * effect of the call.
   */
  unavailable(
    thrown: unknown,
    { maybeDone = false, effect = '' }: { maybeDone?: boolean; effect?: string | undefined } = {},
  ): TaskflowError {
    if (thrown instanceof TaskflowError) return thrown;
    const cause = plainError(thrown);
    const also = effect ? ` ${effect}` : '';
    return new TaskflowError(
      'ENGINE_UNAVAILABLE',
      `Redis at ${this.place} cannot be used: ${explain(this.#deps.redis, thrown)}${also}`,
      {
        cause,
        maybeDone,
        reported: this.#problem !== undefined,
        detail: `Redis, which holds the tasks, ${whatFailed(thrown)}.${also}`,
      },
    );
  }

  readonly #look = (): void => {
    const { redis } = this.#deps;
    if (this.#isLooking || redis.status !== 'ready') return;
    this.#isLooking = true;
    this.#check()
      .then(
        () => this.#back(),
        (error: unknown) => {
          if (redis.status === 'ready') this.#lost(plainError(error));
        },
      )
      .finally(() => {
        this.#isLooking = false;
      });
  };

  async #check(): Promise<void> {
    await this.examine();
    await this.#probe();
  }

  /** Whether {@link examine} has succeeded. */
  get isExamined(): boolean {
    return this.#isExamined;
  }

  /** Checks the version, the kind and the permissions of Redis, until it succeeds once. */
  async examine(): Promise<void> {
    if (this.#isExamined) return;
    this.#examining ??= this.#examine().finally(() => {
      this.#examining = undefined;
    });
    await this.#examining;
  }

  async #examine(): Promise<void> {
    const { redis, clock, probe, logger } = this.#deps;
    checkServer(await withinTime(clock.info(), times.answer));
    await withinTime(checkPermissions(redis, probe), times.answer);
    this.#isExamined = true;
    void warnIfVolatile(redis, logger);
  }

  /** Checks whether Redis can be written, and whether it may drop keys when its memory is full. */
  async #probe(): Promise<void> {
    const { redis, probe } = this.#deps;
    const [, memory] = await withinTime(
      Promise.all([redis.set(probe, '', 'PX', times.probe), redis.info('memory')]),
      times.answer,
    );
    const policy = infoField(memory, 'maxmemory_policy') ?? 'noeviction';
    if (policy !== this.#policy && policy !== 'noeviction')
      this.#deps.logger.error(
        { policy, redis: this.place },
        'the maxmemory-policy of Redis must be noeviction; with any other policy Redis may ' +
          'drop tasks and logouts when its memory is full',
      );
    this.#policy = policy;
  }

  #lost(err: Error): void {
    if (this.#problem) return;
    this.#problem = err;
    this.#deps.logger.error({ err, redis: this.place }, 'Redis cannot be used');
  }

  #back(): void {
    if (!this.#problem) return;
    this.#problem = undefined;
    this.#deps.logger.info({ redis: this.place }, 'Redis can be used again');
  }

  /** Ends the regular checks. `start` begins them again. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#deps.redis.off('ready', this.#look);
  }
}

/** Describes what is wrong with Redis, without details that a client of the API must not see. */
function whatFailed(error: unknown): string {
  if (error instanceof RedisTimeout) return 'does not answer';
  if (hasCode(error, 'OOM')) return 'has no memory left';
  return isAnswer(error) || error instanceof UnusableRedis
    ? 'rejects commands'
    : 'cannot be reached';
}

/** @throws UnusableRedis if Redis is too old or a node of a cluster. */
function checkServer(info: string): void {
  // A node has only some of the keys, and which ones can change at any time.
  if (infoField(info, 'redis_mode') === 'cluster')
    throw new UnusableRedis(
      'it is a node of Redis Cluster, which is not supported; use one Redis server, or Sentinel',
    );
  const version = infoField(info, 'redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = oldestVersion;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    throw new UnusableRedis(
      `version ${version} is too old; it must be ${oldestVersion.join('.')} or newer`,
    );
}
