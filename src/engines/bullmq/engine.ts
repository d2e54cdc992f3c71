import { number, type OptionsOf, optionSet, seconds, text, whole } from '../../option-set.js';
import { loggerOption } from '../../options.js';
import type { TaskEngine } from '../../tasks/engine.js';
import { statsOption } from '../stats-option.js';
import type { RedisConnection } from './connection/connection-option.js';
import { JobEngine } from './job-engine.js';

const engineOptions = optionSet({
  connection: (_name, value: RedisConnection) => value,
  /**
   * Prefix of all keys, 1 to 100 characters without braces, colons or spaces. Engines with the
   * same prefix on the same Redis share their tasks. Other BullMQ tools see the queues under the
   * prefix in braces, such as `{koa-taskflow}`. Default `koa-taskflow`.
   */
  prefix: text({
    default: 'koa-taskflow',
    maxLength: 100,
    pattern: /^[^{}\s:]+$/,
    accepted: 'text of 1 to 100 characters without braces, colons or spaces',
  }),
  /**
   * Seconds after which a running task counts as crashed if its worker has not renewed its lock, 5
   * to 3,600. A handler that blocks the event loop for longer counts as crashed too. A worker waits
   * up to 2 seconds before it connects to Redis again, so a shorter lock would expire during a
   * reconnect. Default 20.
   */
  lockDuration: seconds({ default: 20, min: 5, max: 3600 }),
  /** Seconds between two checks for crashed tasks, over all processes, 1 to 3,600. Default 5. */
  stalledInterval: seconds({ default: 5, min: 1, max: 3600 }),
  /**
   * How many days a task is kept after its end, above 0 and at most 36,500; fractions are allowed.
   * Default 7.
   */
  retentionDays: number({ default: 7, above: true, max: 36_500, unit: 'days' }),
  /**
   * How many ended tasks each queue keeps: this many in the state `success`, and this many in any
   * other ended state. 1 to 10,000,000, default 100,000.
   */
  retentionCount: whole({ default: 100_000, min: 1, max: 10_000_000 }),
  /** How long the statistics by minute and by hour are kept. */
  stats: statsOption,
  /** The app's pino logger, or `false` for silence. */
  logger: loggerOption,
});

/** Options of {@link bullmqEngine}. */
export interface BullmqEngineOptions extends OptionsOf<typeof engineOptions> {
  /**
   * Where Redis is: options of ioredis with a `host`, `path`, `sentinels` or `url`, a `redis://` or
   * `rediss://` URL, or an ioredis client, which is duplicated and stays as it is. The engine
   * connects when it is started or first used.
   */
  connection: RedisConnection;
}

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
  const { lockDuration, stalledInterval, retentionDays, retentionCount, stats, ...settings } =
    engineOptions.read(options, { where: 'bullmqEngine' });
  return new JobEngine({
    ...settings,
    lockDuration: lockDuration * 1000,
    stalledInterval: stalledInterval * 1000,
    kept: { age: retentionDays * 86_400, count: retentionCount },
    statistics: stats,
  });
}
