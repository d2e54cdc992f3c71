import { randomUUID } from 'node:crypto';
import { type Logger, loggerOption, numberOption, optionsObject, stringOption } from '../../options.js';
import type { TaskEngine } from '../../tasks/engine.js';
import { TableEngine } from '../table-engine.js';
import type { HomeNews, OpenTables, TableHome } from '../table-home.js';
import { JobHandOut } from './hand-out.js';
import { Journal } from './journal.js';
import { journalKeys } from './journal-log.js';
import { connectRedis, type RedisConnection } from './redis-connection.js';
import { RedisOwners } from './redis-owners.js';
import { redisStore } from './redis-store.js';
import { ScheduleJobs } from './schedule-jobs.js';

/** Options of {@link bullmqEngine}. */
export interface BullmqEngineOptions {
  /** Where the Redis is: options of ioredis, a `redis://` URL, or a client of it, which is copied and stays as it is. */
  connection: RedisConnection;
  /** What the names of its keys begin with: engines with the same prefix on the same Redis have the same tasks. Default `koa-taskflow`. */
  prefix?: string | undefined;
  /** Days after its end that a task is kept. Default: for ever. */
  retentionDays?: number | undefined;
  /** How many ended tasks are kept. Default: all. */
  retentionCount?: number | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

const optionNames = ['connection', 'prefix', 'retentionDays', 'retentionCount', 'logger'] as const;

/**
 * An engine on a Redis: the tasks of any number of processes and hosts are run as jobs of BullMQ, and every process shows all of
 * them. Their history is kept in a journal from which each process has tables of its own, so that a list, a search or a figure
 * asks nobody. The Redis must not evict keys (`maxmemory-policy noeviction`), and keeps what it was told as long as its own
 * file does: with `appendonly yes` a crash loses at most a second.
 *
 * @throws TypeError or RangeError for a wrong option.
 * @example
 * ```ts
 * const tasks = new TaskManager({ engine: bullmqEngine({ connection: 'redis://127.0.0.1:6379' }) });
 * ```
 */
export function bullmqEngine(options: BullmqEngineOptions): TaskEngine {
  const given = optionsObject<BullmqEngineOptions>('bullmqEngine', options, [...optionNames]);
  const prefix = stringOption('prefix', given.prefix, 'koa-taskflow', {
    maxLength: 100,
    pattern: /^[^{}\s:]+$/,
    accepted: 'text without braces, colons and spaces',
  });
  const logger = loggerOption('logger', given.logger);
  const days = given.retentionDays;
  const retention = {
    age: days === undefined ? undefined : numberOption('retentionDays', days, 0, { above: true, max: 36_500 }) * 86_400_000,
    count: numberOption('retentionCount', given.retentionCount, undefined, { integer: true }),
  };
  return new TableEngine({ home: redisHome({ connection: given.connection, prefix, logger }), logger, retention });
}

function redisHome({ connection, prefix, logger }: { connection: RedisConnection; prefix: string; logger: Logger }): TableHome {
  const redis = connectRedis(connection);
  const store = redisStore(connection, { prefix, logger });
  const owners = new RedisOwners(redis, (owner) => `{${prefix}}:tasks:owner:${owner}`);
  return {
    engine: 'bullmq',
    clockTolerance: 60_000,
    store,
    owners,
    async close() {
      await store.close();
      redis.disconnect();
    },
    async open(news: HomeNews): Promise<OpenTables> {
      const blocking = connectRedis(redis);
      const journal = new Journal({
        ...{ redis, blocking, keys: journalKeys(prefix), logger, news },
        applied(batch, result, before) {
          handOut.applied(batch, result, before);
          alarm.applied(batch);
        },
      });
      const { database } = journal.replica;
      const jobs = { bullmq: await import('bullmq'), redis, database, prefix: `{${prefix}}`, token: randomUUID() };
      const handOut = new JobHandOut({ ...jobs, inHand: () => news.inHand() });
      const alarm = new ScheduleJobs(jobs);
      await journal.open();
      return {
        port: {
          async apply(batch) {
            handOut.announce(batch);
            try {
              return await journal.apply(batch);
            } catch (error) {
              handOut.withdraw(batch);
              throw error;
            }
          },
          hold(busy) {
            journal.hold(busy);
            if (busy) owners.standIn(connection);
          },
          close: () => journal.close(),
        },
        database,
        handOut,
        alarm,
        check: () => journal.check(),
        async close() {
          await Promise.all([handOut.close(), alarm.close()]);
          await journal.close();
          blocking.disconnect();
        },
      };
    },
  };
}
