import {
  durationWarnings,
  type Logger,
  loggerOption,
  numberOption,
  optionsObject,
  secondsOption,
  stringOption,
} from '../../options.js';
import type { TaskEngine } from '../../tasks/engine.js';
import { type StatsOptions, statsOption } from '../stats-option.js';
import type { RedisConnection } from './connection/connection-option.js';
import { JobEngine } from './job-engine.js';

/** Options of {@link bullmqEngine}. */
export interface BullmqEngineOptions {
  /**
   * Where Redis is: options of ioredis with a `host`, `path`, `sentinels` or `url`, a `redis://` or
   * `rediss://` URL, or an ioredis client, which is duplicated and stays as it is. The engine
   * connects when it is started or first used.
   */
  connection: RedisConnection;
  /**
   * Prefix of all keys, 1 to 100 characters without braces, colons and spaces. Engines with the
   * same prefix on the same Redis share their tasks. Other BullMQ tools see the queues under the
   * prefix in braces, such as `{koa-taskflow}`. Default `koa-taskflow`.
   */
  prefix?: string | undefined;
  /**
   * Seconds after which a running task counts as crashed if its worker has not renewed its lock, 5
   * to 3,600. A handler that blocks the event loop for longer counts as crashed too. A worker waits
   * up to 2 seconds before it connects to Redis again, so a shorter lock would expire during a
   * reconnect. Default 20.
   */
  lockDuration?: number | undefined;
  /** Seconds between two checks for crashed tasks, over all processes, 1 to 3,600. Default 5. */
  stalledInterval?: number | undefined;
  /**
   * How many days a task is kept after its end, above 0 and at most 36,500; fractions are allowed.
   * Default 7.
   */
  retentionDays?: number | undefined;
  /**
   * How many ended tasks each queue keeps: this many in the state `success`, and this many in any
   * other ended state. 1 to 10,000,000, default 100,000.
   */
  retentionCount?: number | undefined;
  /** How long the statistics by minute and by hour are kept. */
  stats?: StatsOptions | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

const optionNames = [
  'connection',
  'prefix',
  'lockDuration',
  'stalledInterval',
  'retentionDays',
  'retentionCount',
  'stats',
  'logger',
] as const;

/**
 * Creates an engine on Redis: a task is a BullMQ job, and any number of processes and hosts run
 * them by BullMQ's own workers. Processes that only run tasks keep no history. Redis must be 6.2 or
 * newer, must not evict keys (`maxmemory-policy noeviction`) and should have `appendonly yes`: then
 * a crash of Redis loses about the last second, or nothing with `appendfsync always`.
 *
 * A job that another program adds with BullMQ to a queue of this engine is a task too, with the id
 * `queue:jobId`. If its `data` is a list, the handler gets the list as its arguments. Any other
 * `data` is the only argument. If another program has added a job scheduler to the queue, no
 * command cancels or deletes its next job: BullMQ adds each job of a scheduler when the one before
 * it starts, so a scheduler without its next job never runs again.
 *
 * @throws TypeError or RangeError for a wrong option, before it connects.
 * @example
 * ```ts
 * const engine = bullmqEngine({ connection: 'redis://127.0.0.1:6379' });
 * const tasks = new TaskManager({ engine });
 * ```
 */
export function bullmqEngine(options: BullmqEngineOptions): TaskEngine {
  const given = optionsObject<BullmqEngineOptions>('bullmqEngine', options, [...optionNames]);
  const logger = loggerOption('logger', given.logger);
  const warn = durationWarnings(logger);
  return new JobEngine({
    connection: given.connection,
    prefix: stringOption('prefix', given.prefix, 'koa-taskflow', {
      maxLength: 100,
      pattern: /^[^{}\s:]+$/,
      accepted: 'text of 1 to 100 characters without braces, colons and spaces',
    }),
    logger,
    lockDuration:
      secondsOption('lockDuration', given.lockDuration, 20, { warn, min: 5, max: 3600 }) * 1000,
    stalledInterval:
      secondsOption('stalledInterval', given.stalledInterval, 5, { warn, min: 1, max: 3600 }) *
      1000,
    kept: {
      age:
        numberOption('retentionDays', given.retentionDays, 7, {
          above: true,
          max: 36_500,
          unit: 'days',
        }) * 86_400,
      count: numberOption('retentionCount', given.retentionCount, 100_000, {
        min: 1,
        max: 10_000_000,
        integer: true,
      }),
    },
    statistics: statsOption('stats', given.stats),
  });
}
