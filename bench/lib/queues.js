// The task queues that are measured, behind one shape.
import { join } from 'node:path';
import { Queue, Worker } from 'bullmq';
import PgBoss from 'pg-boss';
import { TaskManager } from '../../dist/index.js';
import { temporaryFolder } from './at-exit.js';
import { startPostgres } from './postgres.js';
import { startRedis } from './redis.js';

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {number} slowness It is given so many times fewer tasks, so that a row takes no
 * minutes.
 * @property {boolean} [elsewhere] Its tasks run in a process of their own, where no handler of ours
 * is called.
 * @property {() => Promise<Round>} open A queue that is empty.
 * @property {() => Promise<void> | void} stop
 */
/**
 * @typedef {object} Round
 * @property {(n: number) => Promise<unknown>} enqueue Resolves when the queue says that it has the
 * task.
 * @property {(amount: number) => Promise<unknown>} enqueueMany
 * @property {(handler: (n: number) => void) => Promise<void>} run Runs tasks from now on, a hundred
 * at once.
 * @property {() => Promise<unknown>} close
 */

/**
 * On disk when the promise resolves.
 * @returns {Contender}
 */
export function ours() {
  const { path: folder, remove } = temporaryFolder();
  let files = 0;
  return {
    name: 'koa-taskflow',
    slowness: 1,
    async open() {
      const tasks = new TaskManager({
        database: join(folder, `${files++}.db`),
        logger: false,
        concurrency: 100,
      });
      const noop = /** @type {import('../../dist/index.js').DeclaredTask<[n: number]>} */ (
        tasks.define('noop')
      );
      await tasks.start({ run: true });
      return {
        enqueue: (n) => noop.enqueue(n),
        enqueueMany: (amount) => noop.enqueueMany(Array.from({ length: amount }, (_, n) => [n])),
        run: async (handler) => void noop.handle(handler),
        close: () => tasks.stop(),
      };
    },
    stop: remove,
  };
}

/**
 * @param {'everysec' | 'always'} fsync
 * @returns {Promise<Contender>}
 */
export async function bullmq(fsync) {
  const redis = await startRedis(fsync);
  const connection = { host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: null };
  let queues = 0;
  return {
    name: `BullMQ, ${fsync}`,
    slowness: 1,
    async open() {
      const name = `bench${queues++}`;
      const queue = new Queue(name, { connection });
      await queue.waitUntilReady();
      /** @type {Worker | undefined} */ let worker;
      return {
        enqueue: (n) => queue.add('noop', { n }),
        enqueueMany: (amount) =>
          queue.addBulk(Array.from({ length: amount }, (_, n) => ({ name: 'noop', data: { n } }))),
        async run(handler) {
          worker = new Worker(name, async (job) => handler(job.data.n), {
            connection,
            concurrency: 100,
          });
          await worker.waitUntilReady();
        },
        async close() {
          await worker?.close();
          await queue.close();
        },
      };
    },
    stop: () => redis.stop(),
  };
}

/** @returns {Promise<Contender | undefined>} */
export async function pgBoss() {
  const postgres = await startPostgres();
  if (!postgres) return undefined;
  const boss = new PgBoss(postgres.url);
  // Its connections are cut when the server ends.
  boss.on('error', () => {});
  await boss.start();
  let queues = 0;
  return {
    name: 'pg-boss',
    slowness: 10,
    async open() {
      const name = `bench${queues++}`;
      await boss.createQueue(name);
      return {
        enqueue: (n) => boss.send(name, { n }),
        enqueueMany: (amount) =>
          boss.insert(Array.from({ length: amount }, (_, n) => ({ name, data: { n } }))),
        async run(handler) {
          await boss.work(name, { batchSize: 100, pollingIntervalSeconds: 0.5 }, async (jobs) => {
            for (const job of jobs) handler(/** @type {{ n: number }} */ (job.data).n);
          });
        },
        close: () => boss.offWork(name),
      };
    },
    async stop() {
      await boss.stop({ graceful: false });
      await postgres.stop();
    },
  };
}

/**
 * Where its packages are installed, which are optional: its SQLite driver is compiled on machines
 * that find no built one.
 *
 * @returns {Promise<Contender | undefined>}
 */
export async function sidequest() {
  const { Sidequest } = await import('sidequest').catch(() => ({ Sidequest: undefined }));
  if (!Sidequest) return undefined;
  const { NoopJob } = await import('./sidequest-job.js');
  const { path: folder, remove } = temporaryFolder();
  const backend = {
    driver: /** @type {const} */ ('@sidequest/sqlite-backend'),
    config: join(folder, 'jobs.sqlite'),
  };
  const queues = [{ name: 'default', concurrency: 100 }];
  const logger = { level: 'error' };
  await Sidequest.start({
    backend,
    queues,
    logger,
    dashboard: { enabled: false },
    maxConcurrentJobs: 100,
  });
  const ended = async () => Number((await Sidequest.job.count()).completed);
  return {
    name: 'sidequest',
    slowness: 50,
    elsewhere: true,
    async open() {
      /** @type {NodeJS.Timeout | undefined} */ let timer;
      const enqueue = (/** @type {number} */ n) => Sidequest.build(NoopJob).enqueue(n);
      return {
        enqueue,
        enqueueMany: (amount) => Promise.all(Array.from({ length: amount }, (_, n) => enqueue(n))),
        async run(handler) {
          let seen = await ended();
          timer = setInterval(async () => {
            const now = await ended();
            for (; seen < now; seen++) handler(seen);
          }, 20);
        },
        close: async () => clearInterval(timer),
      };
    },
    async stop() {
      await Sidequest.stop();
      remove();
    },
  };
}
