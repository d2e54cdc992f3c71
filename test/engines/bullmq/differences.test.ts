import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { type BullmqEngineOptions, bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { JobEngine, type JobEngineOptions } from '../../../src/engines/bullmq/job-engine.js';
import { TaskManager } from '../../../src/manager.js';
import { loggerOption } from '../../../src/options.js';
import type { EnginePromises } from '../../../src/tasks/promises.js';
import type { PromiseOfManager } from '../../../src/testing/contract/declaring.js';
import { turnableClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { inState, said, useJobProcesses } from '../../helpers/job-processes.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { eventually, sleep, waitFor } from '../../helpers/wait.js';

/** A difference between the engines: a declared promise, or a method of the embedded engine. */
type Difference = keyof EnginePromises | 'enqueueIn' | 'backup';
/** A test with its title. */
type Tested = readonly [behaviour: string, test: () => Promise<void>];

const by = { actor: 'test' };
const unsupported = expect.objectContaining({ code: 'NOT_SUPPORTED' });
const processes = useJobProcesses();
const keep = closeAfterEach();
let redis: RedisServer;
let prefixes = 0;

beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.remove());

interface Shared {
  /** A manager on the prefix of this test. */
  manager(engine?: Partial<BullmqEngineOptions>): TaskManager;
  /** A queue as any program that uses BullMQ sees it. */
  plainQueue(name?: string): Queue;
  prefix: string;
}

function share(on = redis): Shared {
  prefixes += 1;
  const prefix = `differs-${prefixes}`;
  return {
    prefix,
    manager(engine = {}) {
      const made = new TaskManager({
        engine: bullmqEngine({ connection: on.connection, prefix, logger: false, ...engine }),
        logger: false,
      });
      keep({ close: () => made.stop({ timeout: 0.1 }) });
      return made;
    },
    plainQueue: (name = 'default') =>
      keep(new Queue(name, { connection: on.connection, prefix: `{${prefix}}` })),
  };
}

const differences: Record<Exclude<Difference, PromiseOfManager>, Tested> = {
  stored: [
    'leaves it to Redis when an enqueued task is on disk',
    async () => {
      const own = await RedisServer.start('--appendonly', 'no');
      keep({ close: () => own.remove() });
      const tasks = share(own).manager();
      const id = await tasks.define('note').enqueue();
      expect([(await tasks.get(id))?.status, tasks.promises.stored]).toEqual(['pending', 'server']);
      await own.stop('SIGKILL');
      await own.start();
      await waitFor(async () => (await tasks.get(id).catch(() => null)) === undefined);
    },
  ],
  crashFoundWithin: [
    'ends the task of a killed process once another process finds its lock expired',
    async () => {
      const tasks = processes.manager();
      const worker = await processes.worker();
      await tasks.start({ run: false });
      const id = await tasks.define<[ms: number]>('once').enqueue(60_000);
      await waitFor(() => said(worker, 'began').length === 1);
      await processes.kill(worker);
      expect(tasks.promises.crashFoundWithin).toBe(1.7);
      await inState(tasks, id, 'interrupted', 1.7 * 8);
    },
  ],
  longestBlock: [
    'treats a worker as dead if its event loop is blocked for longer than a lock lasts',
    async () => {
      const tasks = processes.manager();
      const worker = await processes.worker();
      await tasks.start({ run: false });
      const { longestBlock } = tasks.promises;
      const id = await tasks.define<[ms: number]>('block').enqueue(Number(longestBlock) * 4000);
      await inState(tasks, id, 'interrupted');
      expect(said(worker, 'did')).toEqual([]);
      await waitFor(() => said(worker, 'did').length === 1);
      await eventually(async () =>
        expect(said(worker, 'log').filter((line) => line.includes('was dropped'))).toHaveLength(1),
      );
      expect(await tasks.get(id)).toMatchObject({ status: 'interrupted', result: null });
    },
  ],
  limitedTasksApart: [
    'keeps a task with its own concurrency in a queue of its own',
    async () => {
      const { manager, plainQueue } = share();
      const tasks = manager();
      await tasks.define('narrow', { concurrency: 1 }).enqueue();
      expect([
        await plainQueue('default/narrow').getWaitingCount(),
        await plainQueue().getWaitingCount(),
      ]).toEqual([1, 0]);
      expect((await tasks.describe()).queues.map(({ name }) => name)).toEqual(['default']);
      expect((await tasks.find({ queue: 'default' })).total).toBe(1);
      expect(tasks.promises.limitedTasksApart).toBe(true);
    },
  ],
  clockSetBack: [
    'extends a delay by the step of a clock that is set back',
    async () => {
      const { manager } = share();
      const [tasks, other] = [manager(), manager()];
      const noop = tasks.task('noop', () => 1);
      other.task('noop', () => 1);
      // Ids never go back, so they are ahead of a clock that is set back after this.
      await noop.with({ queue: 'other' }).enqueue();
      const clock = turnableClock();
      try {
        const id = await noop.with({ runIn: 0.5 }).enqueue();
        clock.pass(-60);
        await tasks.start();
        await sleep(2);
        expect([(await tasks.get(id))?.status, tasks.promises.clockSetBack]).toEqual([
          'pending',
          'extends',
        ]);
        clock.pass(61);
        // A waiting worker polls after ten seconds at the latest. A new worker polls immediately.
        await other.start();
        await inState(tasks, id, 'success');
      } finally {
        jest.useRealTimers();
      }
    },
  ],
  handlerFoundWithin: [
    'delays a task without a handler, and later runs it as its first attempt',
    async () => {
      const { manager, plainQueue } = share();
      const [one, two] = [manager(), manager()];
      await one.start();
      const id = await one.define('late').enqueue();
      const queue = plainQueue();
      await waitFor(async () => (await queue.getDelayedCount()) === 1);
      expect((await queue.getJob(id))?.delay).toBeLessThanOrEqual(
        one.promises.handlerFoundWithin * 1000,
      );
      // While both run, either may fetch the task. This one delays it for longer each time.
      await one.stop();
      two.task('late', () => 1);
      await two.start();
      expect(await inState(two, id, 'success')).toMatchObject({
        attempt: 1,
        attempts: [{ number: 1 }],
      });
    },
  ],
  shortestInterval: [
    'skips runs of a schedule only if the interval is below the documented minimum',
    async () => {
      const tasks = share().manager();
      const noop = tasks.task('noop', () => 1);
      const { shortestInterval } = tasks.promises;
      for (const every of [shortestInterval, 0.05])
        tasks.schedule(`every ${every}`, noop, { every, overlap: true });
      await tasks.start();
      const times = async (every: number): Promise<number[]> => {
        const { items } = await tasks.find({ schedule: `every ${every}`, limit: 200 });
        return items.map(({ createdAt }) => Date.parse(createdAt)).reverse();
      };
      // No other command is sent, because each command makes Redis check its timers.
      await sleep(1.5);
      const madeOf = async (every: number): Promise<number> => {
        const made = await times(every);
        return (
          (made.length - 1) / Math.round((Number(made.at(-1)) - Number(made[0])) / (every * 1000))
        );
      };
      // A run may be skipped if it is due while the machine is busy.
      expect(await madeOf(shortestInterval)).toBeGreaterThan(0.7);
      expect(await madeOf(0.05)).toBeLessThan(1);
    },
  ],
  retentionOf: [
    'limits the number of ended tasks by an option of the engine, not of the manager',
    async () => {
      const tasks = share().manager({ retentionCount: 3 });
      const noop = tasks.task('noop', () => 1);
      await tasks.start();
      for (let n = 0; n < 6; n++) await inState(tasks, await noop.enqueue(), 'success');
      expect((await tasks.aggregate('statsSnapshot')).counts.success).toBe(3);
      expect(tasks.promises.retentionOf).toBe('engine');
      const engine = bullmqEngine({ connection: redis.connection, logger: false });
      keep({ close: () => engine.stop({ timeout: 0 }) });
      expect(() => new TaskManager({ engine, retentionCount: 1 } as never)).toThrow(
        /retentionCount/,
      );
    },
  ],
  window: [
    'lists and commands only the newest tasks if there are more than a process keeps in memory',
    async () => {
      const tasks = windowed({ ended: 10, pending: 5 });
      expect(tasks.promises.window).toEqual({ ended: 10, pending: 5 });
      const ids = await tasks.define('noop').enqueueMany(Array.from({ length: 8 }, () => []));
      const filter = { name: 'noop' };
      await eventually(async () => {
        const { items, limited } = await tasks.find({ ...filter, limit: 20 });
        expect([items.map(({ id }) => id), limited]).toEqual([ids.slice(3).reverse(), true]);
      });
      const outcome = await tasks.control({ action: 'cancel', filter }, { ...by, dryRun: true });
      expect([outcome.results.length, outcome.scope]).toEqual([5, 'window']);
    },
  ],
  resumesIn: [
    'numbers changes in each process separately, so that a stream starts over in another one',
    async () => {
      const { manager } = share();
      const [one, two] = [manager(), manager()];
      await one.define('noop').enqueue();
      const [{ rev }, other] = [await one.describe(), await two.describe()];
      expect(rev >= other.oldestRev && rev <= other.rev).toBe(false);
      expect(one.promises.resumesIn).toBe('same');
    },
  ],
  cancelsWithin: [
    'cancels a task that runs in another process within about a second',
    async () => {
      const { manager } = share();
      const [web, worker] = [manager(), manager()];
      const deaf = worker.task('deaf', () => new Promise(() => undefined), { cancelGrace: 0.01 });
      await worker.start();
      const id = await deaf.enqueue();
      await inState(web, id, 'running');
      await web.control({ action: 'cancel', ids: [id] }, by);
      await inState(web, id, 'cancelled', web.promises.cancelsWithin * 8);
    },
  ],
  markedAsFailed: [
    'shows a cancelled task as failed to other programs, and lets them retry or remove it',
    async () => {
      const { manager, plainQueue } = share();
      const tasks = manager();
      const noop = tasks.task('noop', () => 1);
      const [one = '', two = ''] = await noop.enqueueMany([[], []]);
      await tasks.control({ action: 'cancel', ids: [one, two] }, by);
      const queue = plainQueue();
      expect((await queue.getFailed()).map(({ id }) => id).sort()).toEqual([one, two].sort());
      await (await queue.getJob(one))?.retry();
      await (await queue.getJob(two))?.remove();
      await tasks.start();
      await inState(tasks, one, 'success');
      await eventually(async () => {
        expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
          success: 1,
          cancelled: 0,
          failed: 0,
        });
      });
      expect(await tasks.get(two)).toBeUndefined();
      expect(tasks.promises.markedAsFailed).toBe(true);
    },
  ],
  enqueueIn: [
    'has no transaction with the database of the app',
    async () => {
      const noop = share().manager().define('noop');
      expect(() => noop.enqueueIn({} as never)).toThrow(unsupported);
    },
  ],
  backup: [
    'has no file to copy',
    async () => {
      await expect(share().manager().backup('copy.db')).rejects.toThrow(unsupported);
    },
  ],
};

function windowed(window: NonNullable<JobEngineOptions['window']>): TaskManager {
  const engine = new JobEngine({
    ...{
      connection: redis.connection,
      prefix: share().prefix,
      logger: loggerOption('logger', false),
      lockDuration: 20_000,
    },
    kept: { age: 604_800, count: 100_000 },
    statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
    window,
  });
  const made = new TaskManager({ engine, logger: false });
  keep({ close: () => made.stop() });
  return made;
}

(hasRedis ? describe : describe.skip)('unlike the embedded engine, the engine on Redis', () => {
  for (const [behaviour, test] of Object.values(differences)) it(behaviour, test);

  it('declares exactly the differences that the docs name', async () => {
    const folder = temporaryFolder();
    const embedded = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    keep({ close: () => embedded.stop().finally(folder.remove) });
    const [one, other] = [embedded.promises, share().manager().promises];
    const names = Object.keys(one) as (keyof EnginePromises)[];
    const differing = names.filter(
      (name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]),
    );
    const docs = readFileSync(
      new URL('../../../docs/from-one-file-to-redis.md', import.meta.url),
      'utf8',
    );
    const [, table = ''] = /^## Differences from the embedded engine$(.*?)^#/ms.exec(docs) ?? [];
    const documented = new Set(
      [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name),
    );
    expect([...documented].sort()).toEqual([...differing, 'enqueueIn', 'backup'].sort());
  });
});
